"""Wavefront OBJ files as face models use them: vertex order kept, polygons in fans, texture ids per corner."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from facewright.errors import FaceModelError
from facewright.morphable.readers.arrays import shaped
from facewright.untrusted import reading
from facewright.untrusted.text import read_bytes

_MOST_BYTES = 16 << 20
"""Of a file; the largest published one has three million. Taken apart, it takes up to thirty times that."""


@dataclass(frozen=True)
class ObjMesh:
    """Triangles of a file; ids from 0.

    Attributes:
        vertices: in the file's unit and order.
        faces: vertex ids.
        uv: texture coordinates, origin bottom-left; None if there are none.
        faces_uv: ids into ``uv`` per face corner.
    """

    vertices: Float[np.ndarray, "V 3"]
    faces: Int[np.ndarray, "F 3"]
    uv: Float[np.ndarray, "T 2"] | None
    faces_uv: Int[np.ndarray, "F 3"] | None


def read_vertices(path: Path) -> Float[np.ndarray, "V 3"]:
    """Only the positions of an OBJ file.

    Raises:
        FaceModelError: the file has no vertices, or a damaged one.
    """
    return _columns(_lines(path), b"v ", 3, path.name)


def read_obj(path: Path) -> ObjMesh:
    """Positions, triangles and texture coordinates of an OBJ file.

    Raises:
        FaceModelError: the file has no vertices or faces, or a damaged line.
    """
    lines = _lines(path)
    vertices = _columns(lines, b"v ", 3, path.name)
    textured = any(line.startswith(b"vt ") for line in lines)
    uv = _columns(lines, b"vt ", 2, path.name) if textured else None
    corners, triangles = _fans([line[2:] for line in lines if line.startswith(b"f ")], path.name)
    faces = _corner_ids(corners, 0, len(vertices), path.name)[triangles]
    if uv is None or b"/" not in corners[0] or not corners[0].split(b"/")[1]:
        return ObjMesh(vertices, faces, None, None)
    return ObjMesh(vertices, faces, uv, _corner_ids(corners, 1, len(uv), path.name)[triangles])


def _lines(path: Path) -> list[bytes]:
    with reading(path.name, FaceModelError, "an OBJ file", "take it from its authors' own page"):
        return read_bytes(path, most=_MOST_BYTES).splitlines()


def _columns(lines: list[bytes], key: bytes, width: int, file: str) -> np.ndarray:
    """Numbers of all lines that start with ``key``."""
    rows = [line[len(key) :] for line in lines if line.startswith(key)]
    if not rows:
        raise FaceModelError(
            f"{file}: expected lines {key.decode().strip()!r}, found none; is it an OBJ file, and whole?"
        )
    with reading(file, FaceModelError, f"{width} numbers per {key.decode().strip()!r} line", "take the file again"):
        columns = np.loadtxt(rows, usecols=range(width), comments=None, ndmin=2)
    if len(columns) < len(rows):
        raise FaceModelError(
            f"{file}: expected {width} numbers per {key.decode().strip()!r} line, received none in some"
        )
    return shaped(columns, (None, width), f"{file}: lines {key.decode().strip()!r}")


def _fans(polygons: list[bytes], file: str) -> tuple[list[bytes], Int[np.ndarray, "F 3"]]:
    """Corners of all polygons in a row, and which of them make each triangle."""
    sizes = np.array([len(polygon.split()) for polygon in polygons], np.int64)
    count = np.maximum(sizes - 2, 0)
    if not count.sum():
        raise FaceModelError(f"{file}: expected faces, found none; the file is truncated or no mesh")
    first = np.repeat(np.cumsum(sizes) - sizes, count)
    step = 1 + np.arange(len(first)) - np.repeat(np.cumsum(count) - count, count)
    return b" ".join(polygons).split(), np.stack([first, first + step, first + step + 1], -1)


def _corner_ids(corners: list[bytes], part: int, count: int, file: str) -> Int[np.ndarray, " C"]:
    with reading(file, FaceModelError, "faces of vertex ids", "take the file again"):
        ids = np.array([int(corner.split(b"/")[part]) for corner in corners], np.int64)
    if ids.min() < 1 or ids.max() > count:
        raise FaceModelError(f"{file}: expected ids 1..{count} in faces, received {ids.min()}..{ids.max()}")
    return ids - 1
