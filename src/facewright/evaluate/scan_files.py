"""Files of scans: meshes (OBJ, PLY, STL, GLB, VRML) and landmarks (PP, BND, NPY, TXT). Vertex order is kept."""

import re
from pathlib import Path

import numpy as np
import trimesh
from jaxtyping import Float
from numpy import ndarray

from facewright.errors import BenchmarkError, FaceModelError
from facewright.evaluate.surfaces import Surface
from facewright.export.formats import FORMATS
from facewright.morphable.readers.obj import read_obj

POINT_SUFFIXES = (".npy", ".txt", ".pp", ".bnd")
MAX_BYTES = 1_000_000_000


def read_surface(path: Path, *, mm_per_unit: float = 1.0) -> Surface:
    """A mesh in mm, vertices in the file's order.

    Raises:
        BenchmarkError: missing, damaged, of another kind, or with vertices that are not finite.
    """
    _require(path)
    reader = _MESH_READERS.get(path.suffix.lower())
    if reader is None:
        raise BenchmarkError(f"expected a mesh ({', '.join(MESH_SUFFIXES)}), received {path.name}")
    try:
        vertices, faces = reader(path)
        return Surface(vertices * mm_per_unit, faces)
    except (FaceModelError, ValueError, TypeError, IndexError, KeyError, AttributeError) as error:
        raise BenchmarkError(f"{path.name} is no mesh that can be read: {error}") from error


def read_points(path: Path, count: int | tuple[int, ...], *, mm_per_unit: float = 1.0) -> Float[ndarray, "N 3"]:
    """Landmarks in mm.

    Args:
        path: ``.npy`` (N, 3), ``.txt`` (a point a line), ``.pp`` (MeshLab's picked points) or ``.bnd`` (BU-3DFE).
        count: how many there must be; several numbers: any of them.
        mm_per_unit: of the file.

    Raises:
        BenchmarkError: missing, malformed, not finite, or another number of points.
    """
    _require(path)
    readers = {".npy": _npy, ".txt": _text, ".pp": _picked, ".bnd": _bnd}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise BenchmarkError(f"expected points ({', '.join(POINT_SUFFIXES)}), received {path.name}")
    try:
        points = np.asarray(reader(path), np.float64)
    except (ValueError, OSError) as error:
        raise BenchmarkError(f"{path.name} holds no points that can be read: {error}") from error
    allowed = (count,) if isinstance(count, int) else count
    if points.ndim != 2 or points.shape[1] != 3 or len(points) not in allowed or not np.isfinite(points).all():
        wanted = " or ".join(map(str, allowed))
        raise BenchmarkError(f"expected {wanted} finite points (x y z) in {path.name}, received shape {points.shape}")
    return points * mm_per_unit


def beside(path: Path, *endings: str) -> Path | None:
    """The first file with the same stem and one of these endings (``.npy``, ``_picked_points.pp``); None if none."""
    choices = (path.with_name(path.stem + ending) for ending in endings)
    return next((choice for choice in choices if choice.is_file()), None)


def _require(path: Path) -> None:
    if not path.is_file():
        raise BenchmarkError(f"expected a file, found none at {path}")
    if path.stat().st_size > MAX_BYTES:
        raise BenchmarkError(f"expected at most {MAX_BYTES} bytes, received {path.stat().st_size} in {path.name}")


def _obj(path: Path) -> tuple[ndarray, ndarray]:
    mesh = read_obj(path)
    return mesh.vertices, mesh.faces


def _by_trimesh(path: Path) -> tuple[ndarray, ndarray]:
    mesh = trimesh.load(path, process=False, force="mesh")
    return np.asarray(mesh.vertices, np.float64), np.asarray(mesh.faces, np.int64)  # pyright: ignore[reportAttributeAccessIssue]


def _vrml(path: Path) -> tuple[ndarray, ndarray]:
    """The first ``IndexedFaceSet`` of a VRML 2 file: ``point [ ]`` and ``coordIndex [ ]``, polygons in fans."""
    text = re.sub(r"#.*", "", path.read_text(encoding="latin-1"))
    point = re.search(r"\bpoint\s*\[([^\]]*)\]", text)
    index = re.search(r"\bcoordIndex\s*\[([^\]]*)\]", text)
    if point is None or index is None:
        raise ValueError("expected an IndexedFaceSet with point and coordIndex, found none")
    vertices = np.array(point.group(1).replace(",", " ").split(), np.float64).reshape(-1, 3)
    faces, polygon = [], []
    for corner in map(int, index.group(1).replace(",", " ").split()):
        if corner >= 0:
            polygon.append(corner)
            continue
        faces += [[polygon[0], polygon[i], polygon[i + 1]] for i in range(1, len(polygon) - 1)]
        polygon = []
    return vertices, np.array(faces, np.int64).reshape(-1, 3)


_MESH_READERS = {
    FORMATS["obj"].suffix: _obj,
    FORMATS["ply"].suffix: _by_trimesh,
    FORMATS["stl"].suffix: _by_trimesh,
    FORMATS["glb"].suffix: _by_trimesh,
    ".wrl": _vrml,
}
MESH_SUFFIXES = tuple(_MESH_READERS)


def _npy(path: Path) -> ndarray:
    return np.load(path, allow_pickle=False)


def _text(path: Path) -> ndarray:
    return np.loadtxt(path, ndmin=2, delimiter="," if "," in path.read_text()[:200] else None)


def _picked(path: Path) -> ndarray:
    """MeshLab's XML: attributes x, y, z of each ``point``, in the file's order. Read by pattern: no entities."""
    rows = []
    for tag in re.findall(r"<point\b[^>]*>", path.read_text(encoding="utf-8", errors="replace")):
        values = dict(re.findall(r'\b([xyz])\s*=\s*"([^"]*)"', tag))
        rows.append([float(values[axis]) for axis in "xyz" if axis in values])
    return np.array(rows)


def _bnd(path: Path) -> ndarray:
    """``number x y z`` a line."""
    return np.loadtxt(path, ndmin=2)[:, -3:]
