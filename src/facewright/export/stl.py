"""Binary STL, for printing: triangles alone."""

from os import PathLike

import trimesh
from trimesh.exchange.stl import export_stl

from facewright.export.asset import UNIT_PER_DM, Unit, checked, with_expression
from facewright.files import written_whole
from facewright.records import MeshAsset


def write_stl(asset: MeshAsset, path: str | PathLike[str], *, units: Unit = "mm") -> None:
    """Write a binary ``.stl``; the expression is baked in; no colours, no shared vertices (the format has none).

    Raises:
        ExportError: the asset is not fit to be written, or the file cannot be written.
    """
    asset = with_expression(checked(asset))
    mesh = trimesh.Trimesh(asset.vertices.double().numpy() * UNIT_PER_DM[units], asset.faces.numpy(), process=False)
    blob = export_stl(mesh)
    with written_whole(path) as temporary:
        temporary.write_bytes(blob)
