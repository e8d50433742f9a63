"""Wavefront OBJ with MTL and texture. Vertex order and count are the model's; seams live in the ``vt`` ids alone."""

import re
import zlib
from contextlib import ExitStack
from os import PathLike
from pathlib import Path

import numpy as np

from facewright.errors import ExportError
from facewright.export.asset import UNIT_NAMES, UNIT_PER_DM, Unit, checked, with_expression
from facewright.export.png import png_bytes
from facewright.files import written_whole
from facewright.records import MeshAsset

_DECIMALS: dict[Unit, int] = {"mm": 4, "dm": 6, "m": 7}
"""Vertices are exact to 0.1 micrometre."""


def write_obj(asset: MeshAsset, path: str | PathLike[str], *, units: Unit = "mm") -> None:
    """Write ``x.obj``; with a texture also ``x.mtl`` and ``x_texture.png``; without one, colours as ``v x y z r g b``.

    Texture coordinates come with a texture only, as readers that find them drop the colours. The expression is baked
    into the vertices. The names inside the files (of the two companions too) are ASCII letters, digits, dots, dashes
    and underscores, whatever the path: readers disagree on anything else.

    Raises:
        ExportError: the asset is not fit to be written, or one of the files cannot be written; then none is.
    """
    path = Path(path)
    asset = with_expression(checked(asset))
    material_path, texture_path = obj_companions(path)
    targets = [path] if asset.texture is None else [path, material_path, texture_path]
    for target in targets:
        if target.is_dir():
            raise ExportError(f"cannot write {target}: expected a file, found a folder; choose another --out")
    with ExitStack() as stack:
        # Entered first, renamed last: an .obj that is there has its companions.
        obj, *companions = [stack.enter_context(written_whole(target)) for target in targets]
        obj.write_text(_obj_text(asset, units, material_path.name), encoding="ascii")
        if asset.texture is not None:
            companions[0].write_text(_mtl_text(asset.name, texture_path.name), encoding="ascii")
            companions[1].write_bytes(png_bytes(asset.texture))


def obj_companions(path: Path) -> tuple[Path, Path]:
    """Where the material and the texture of an ``.obj`` lie: beside it."""
    stem = safe_name(path.stem)
    return path.with_name(f"{stem}.mtl"), path.with_name(f"{stem}_texture.png")


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
