"""The table of mesh formats, and the one function that picks from it."""

from os import PathLike
from pathlib import Path
from typing import Literal, Protocol

from facewright.errors import ExportError
from facewright.export.asset import Unit
from facewright.export.glb import write_glb
from facewright.export.npz import write_npz
from facewright.export.obj import write_obj
from facewright.export.ply import write_ply
from facewright.export.stl import write_stl
from facewright.records import MeshAsset


class MeshWriter(Protocol):
    """Writes one asset to one path, whole or not at all."""

    def __call__(self, asset: MeshAsset, path: str | PathLike[str], *, units: Unit = ...) -> None:
        """Write the file; raise ``ExportError`` and leave nothing behind if that is not possible."""
        ...


MESH_WRITERS: dict[str, MeshWriter] = {
    ".glb": write_glb,
    ".obj": write_obj,
    ".ply": write_ply,
    ".npz": write_npz,
    ".stl": write_stl,
}


def export_mesh(
    asset: MeshAsset, path: str | PathLike[str], *, units: Literal["m", "dm", "mm", "default"] = "default"
) -> None:
    """Write a face in the format that the path's suffix names.

    Args:
        asset: the face.
        path: where to; missing folders are made.
        units: of the vertices; ``default`` is the format's own: metres in GLB, millimetres in OBJ, PLY and STL,
            decimetres in NPZ. GLB takes metres alone.

    Raises:
        ExportError: the suffix is unknown, the asset is not fit to be written, or the file cannot be written.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in MESH_WRITERS:
        known = ", ".join(MESH_WRITERS)
        raise ExportError(f"{path}: expected a name ending in {known}, received {suffix or 'no suffix'!r}")
    if units == "default":
        MESH_WRITERS[suffix](asset, path)
    else:
        MESH_WRITERS[suffix](asset, path, units=units)
