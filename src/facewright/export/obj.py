"""Wavefront OBJ with MTL and texture. Vertex order and count are the model's; seams live in the ``vt`` ids alone."""

import re
import zlib
from collections.abc import Sequence
from pathlib import PurePath

import numpy as np
from jaxtyping import Float
from numpy import ndarray

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
    decimals, columns = [_DECIMALS[units]] * 3, [vertices]
    if asset.texture is None and asset.colors is not None:
        decimals, columns = [*decimals, 6, 6, 6], [*columns, asset.colors.numpy()]
    parts = [f"# facewright, unit {UNIT_NAMES[units]}, y up\n"]
    if asset.texture is not None:
        parts.append(f"mtllib {material_file}\n")
    parts += [f"o {safe_name(asset.name)}\n", _rows("v", np.concatenate(columns, 1), decimals)]
    if asset.texture is not None and asset.uv is not None:
        parts.append(_rows("vt", asset.uv.numpy(), [7, 7]))
    parts.append(_rows("vn", asset.normals.numpy(), [5, 5, 5]))
    if asset.texture is not None:
        parts.append(f"usemtl {safe_name(asset.name)}\n")
    return "".join([*parts, _face_rows(asset)])


def _rows(word: str, values: Float[ndarray, "N C"], decimals: Sequence[int]) -> str:
    """Lines of a word and numbers; all of them by one pattern, which is ten times as fast as one by one."""
    # Rounding first and adding zero keeps "-0.0000" out of the file.
    rounded = np.stack([np.round(column, digits) for column, digits in zip(values.T, decimals, strict=True)], 1) + 0.0
    pattern = f"{word} {' '.join(f'%.{digits}f' for digits in decimals)}\n"
    return pattern * len(values) % tuple(rounded.ravel().tolist())


def _face_rows(asset: MeshAsset) -> str:
    faces = asset.faces.numpy() + 1  # numpy's lists are made ten times faster than torch's
    if asset.texture is None or asset.faces_uv is None:
        return "f %d//%d %d//%d %d//%d\n" * len(faces) % tuple(np.repeat(faces, 2, 1).ravel().tolist())
    corners = np.stack([faces, asset.faces_uv.numpy() + 1, faces], 2)
    return "f %d/%d/%d %d/%d/%d %d/%d/%d\n" * len(faces) % tuple(corners.ravel().tolist())


def _mtl_text(name: str, texture_file: str) -> str:
    return f"newmtl {safe_name(name)}\nKa 0 0 0\nKd 1 1 1\nKs 0 0 0\nd 1\nillum 1\nmap_Kd {texture_file}\n"
