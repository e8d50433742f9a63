"""Wavefront OBJ with MTL and texture. Vertex order and count are the model's; seams live in the ``vt`` ids alone."""

import re
import zlib
from pathlib import PurePath

import numpy as np

from facewright.export.asset import UNIT_NAMES, UNIT_PER_DM, Unit, checked, with_expression
from facewright.export.png import texture_png
from facewright.records import MeshAsset

_DECIMALS: dict[Unit, int] = {"mm": 4, "dm": 6, "m": 7}
"""Vertices are exact to 0.1 micrometre."""


def obj_files(asset: MeshAsset, name: str, *, units: Unit = "mm") -> dict[str, bytes]:
    """``x.obj``; with a texture also ``x.mtl`` and ``x_texture.png``; without one, colours as ``v x y z r g b``.

    Texture coordinates come with a texture only, as readers that find them drop the colours. The expression is baked
    into the vertices. The names inside the files (of the two companions too) are ASCII letters, digits, dots, dashes
    and underscores, whatever ``x`` is: readers disagree on anything else.

    Args:
        asset: the face.
        name: file name of the ``.obj``.
        units: of the vertices.

    Returns:
        Bytes by file name, the ``.obj`` first; its companions are to lie beside it.

    Raises:
        ExportError: the asset is not fit to be written.
    """
    asset = with_expression(checked(asset))
    stem = safe_name(PurePath(name).stem)
    material, picture = f"{stem}.mtl", f"{stem}_texture.png"
    files = {name: _obj_text(asset, units, material).encode("ascii")}
    if asset.texture is not None:
        files[material] = _mtl_text(asset.name, picture).encode("ascii")
        files[picture] = texture_png(asset)
    return files


def safe_name(name: str) -> str:
    """A name that every OBJ and MTL reader takes as one word; a checksum keeps changed names apart."""
    safe = re.sub(r"[^A-Za-z0-9._-]+", "_", name).lstrip("-.") or "_"
    return safe if safe == name else f"{safe}_{zlib.crc32(name.encode('utf-8', 'surrogatepass')):08x}"


def _obj_text(asset: MeshAsset, units: Unit, material_file: str) -> str:
    vertices = asset.vertices.double().numpy() * UNIT_PER_DM[units]
    columns = [_column(vertices, _DECIMALS[units])]
    if asset.texture is None and asset.colors is not None:
        columns.append(_column(asset.colors.numpy(), 6))
    lines = [f"# facewright, unit {UNIT_NAMES[units]}, y up"]
    if asset.texture is not None:
        lines.append(f"mtllib {material_file}")
    lines.append(f"o {safe_name(asset.name)}")
    lines += ["v " + " ".join(row) for row in zip(*columns, strict=True)]
    if asset.texture is not None and asset.uv is not None:
        lines += ["vt " + row for row in _column(asset.uv.numpy(), 7)]
    lines += ["vn " + row for row in _column(asset.normals.numpy(), 5)]
    if asset.texture is not None:
        lines.append(f"usemtl {safe_name(asset.name)}")
    return "\n".join([*lines, *_face_lines(asset), ""])


def _column(values: np.ndarray, decimals: int) -> list[str]:
    pattern = " ".join([f"%.{decimals}f"] * values.shape[1])
    # Rounding first and adding zero keeps "-0.0000" out of the file.
    return [pattern % tuple(row) for row in (np.round(values.astype(np.float64), decimals) + 0.0).tolist()]


def _face_lines(asset: MeshAsset) -> list[str]:
    faces = asset.faces.numpy() + 1  # numpy's lists are made ten times faster than torch's
    if asset.texture is None or asset.faces_uv is None:
        return [f"f {a}//{a} {b}//{b} {c}//{c}" for a, b, c in faces.tolist()]
    corners = zip(faces.tolist(), (asset.faces_uv.numpy() + 1).tolist(), strict=True)
    return [f"f {a}/{s}/{a} {b}/{t}/{b} {c}/{u}/{c}" for (a, b, c), (s, t, u) in corners]


def _mtl_text(name: str, texture_file: str) -> str:
    return f"newmtl {safe_name(name)}\nKa 0 0 0\nKd 1 1 1\nKs 0 0 0\nd 1\nillum 1\nmap_Kd {texture_file}\n"
