"""Binary STL, for printing: triangles alone."""

import numpy as np

from facewright.export.asset import UNIT_PER_DM, Unit, checked, with_expression
from facewright.records import MeshAsset

_HEADER = b"facewright, binary STL"


def stl_bytes(asset: MeshAsset, *, units: Unit = "mm") -> bytes:
    """A binary ``.stl``; the expression is baked in; no colours, no shared vertices (the format has none).

    Raises:
        ExportError: the asset is not fit to be written.
    """
    asset = with_expression(checked(asset))
    corners = asset.vertices.double().numpy()[asset.faces.numpy()] * UNIT_PER_DM[units]
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    length = np.linalg.norm(across, axis=1, keepdims=True)
    triangles = np.zeros(len(corners), [("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attributes", "<u2")])
    triangles["normal"] = across / np.where(length > 0, length, 1.0)
    triangles["corners"] = corners
    return _HEADER.ljust(80, b"\0") + np.uint32(len(corners)).astype("<u4").tobytes() + triangles.tobytes()
