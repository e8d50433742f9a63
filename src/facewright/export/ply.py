"""Stanford PLY: vertices in the model's order with normals and colours."""

from typing import Literal

import numpy as np

from facewright.export.asset import UNIT_NAMES, UNIT_PER_DM, Unit, checked, to_uint8, with_expression
from facewright.records import MeshAsset


def ply_bytes(asset: MeshAsset, *, units: Unit = "mm", encoding: Literal["binary", "ascii"] = "binary") -> bytes:
    """A ``.ply``; the expression is baked into the vertices.

    Colours appear twice: ``red green blue`` as bytes, which every viewer reads, and exact as the floats
    ``srgb_r srgb_g srgb_b``, which viewers skip. Texture coordinates are per face corner in the models and have no
    agreed place in PLY: write OBJ or GLB for a textured mesh.

    Args:
        asset: the face.
        units: of the vertices.
        encoding: ``binary`` is little-endian.

    Raises:
        ExportError: the asset is not fit to be written.
    """
    asset = with_expression(checked(asset))
    vertices, faces = _vertex_rows(asset, units), _face_rows(asset)
    header = _header(asset, units, encoding, vertices.dtype)
    body = (rows.tobytes() if encoding == "binary" else _ascii(rows) for rows in (vertices, faces))
    return b"".join([header.encode("ascii"), *body])


def _vertex_rows(asset: MeshAsset, units: Unit) -> np.ndarray:
    columns = {
        **_columns(("x", "y", "z"), (asset.vertices.double() * UNIT_PER_DM[units]).float().numpy()),
        **_columns(("nx", "ny", "nz"), asset.normals.numpy()),
    }
    if asset.colors is not None:
        columns |= _columns(("red", "green", "blue"), to_uint8(asset.colors))
        columns |= _columns(("srgb_r", "srgb_g", "srgb_b"), asset.colors.numpy())
    dtype = [(name, column.dtype.newbyteorder("<")) for name, column in columns.items()]
    rows = np.zeros(len(asset.vertices), dtype=dtype)
    for name, column in columns.items():
        rows[name] = column
    return rows


def _columns(names: tuple[str, str, str], values: np.ndarray) -> dict[str, np.ndarray]:
    return dict(zip(names, values.T, strict=True))


def _face_rows(asset: MeshAsset) -> np.ndarray:
    rows = np.zeros(len(asset.faces), dtype=[("count", "u1"), ("a", "<i4"), ("b", "<i4"), ("c", "<i4")])
    rows["count"] = 3
    for corner, name in enumerate("abc"):
        rows[name] = asset.faces[:, corner].numpy()
    return rows


def _header(asset: MeshAsset, units: Unit, encoding: str, dtype: np.dtype) -> str:
    kinds = {"f": "float", "u": "uchar"}
    properties = [f"property {kinds[dtype[name].kind]} {name}" for name in dtype.names or ()]
    return "\n".join(
        [
            "ply",
            f"format {'binary_little_endian' if encoding == 'binary' else 'ascii'} 1.0",
            f"comment facewright, unit {UNIT_NAMES[units]}, y up",
            f"element vertex {len(asset.vertices)}",
            *properties,
            f"element face {len(asset.faces)}",
            "property list uchar int vertex_indices",
            "end_header",
            "",
        ]
    )


def _ascii(rows: np.ndarray) -> bytes:
    return "".join(" ".join(f"{value:.9g}" for value in row) + "\n" for row in rows.tolist()).encode("ascii")
