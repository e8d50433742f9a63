"""Binary STL, for printing: triangles alone."""

import trimesh
from trimesh.exchange.stl import export_stl

from facewright.export.asset import UNIT_PER_DM, Unit, checked, with_expression
from facewright.records import MeshAsset


def stl_bytes(asset: MeshAsset, *, units: Unit = "mm") -> bytes:
    """A binary ``.stl``; the expression is baked in; no colours, no shared vertices (the format has none).

    Raises:
        ExportError: the asset is not fit to be written.
    """
    asset = with_expression(checked(asset))
    mesh = trimesh.Trimesh(asset.vertices.double().numpy() * UNIT_PER_DM[units], asset.faces.numpy(), process=False)
    return export_stl(mesh)
