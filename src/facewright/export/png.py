"""8-bit sRGB pictures and 16-bit depths that say who made them."""

import io
import math
import os
import struct
import zlib
from collections.abc import Callable
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from facewright.errors import ExportError
from facewright.export.asset import to_uint8
from facewright.files import Destination, put
from facewright.records import MeshAsset
from facewright.untrusted import reading

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_KEYWORD, _MAKER = "Software", "facewright"
_MOST_CHUNKS, _LONGEST_MARK = 100, 200
_EIGHT_BIT_RGB = (8, 2, 0, 0, 0)
_UP = 2
"""The filter that stores each byte as its difference from the one above."""
_QUICK = 1
"""Level of compression: a sixth of the time of the usual one for a tenth more bytes, as photographs hardly repeat."""


def write_png(destination: Destination, srgb: Float[Tensor, "3 H W"], *, kind: str = "picture") -> None:
    """Write a picture, sRGB-coded 0..1 (clamped), row 0 on top; arguments as ``png_bytes``.

    Raises:
        ExportError: a value is not finite, or the file cannot be written.
    """
    put(destination, png_bytes(srgb, kind=kind))


def png_bytes(srgb: Float[Tensor, "3 H W"] | UInt8[Tensor, "3 H W"], *, kind: str = "picture") -> bytes:
    """The PNG file of a picture, marked as ours in a text chunk (``is_own_picture``).

    Args:
        srgb: sRGB-coded 0..1 (clamped), or bytes; row 0 on top.
        kind: what the picture is, for the mark: ``overlay``, ``texture``.

    Raises:
        ExportError: a value is not finite.
    """
    if srgb.dtype == torch.uint8:
        return _encoded(srgb.permute(1, 2, 0).cpu().numpy(), f"{_MAKER} {kind}")
    if not math.isfinite(float(srgb.detach().sum())):  # a sum is not finite where a number is not
        bad = int((~srgb.isfinite()).sum())
        raise ExportError(f"{kind}: expected finite values, received {bad} that are not; nothing was written")
    return _encoded(to_uint8(srgb).transpose(1, 2, 0), f"{_MAKER} {kind}")


def _encoded(pixels: UInt8[ndarray, "H W 3"], mark: str) -> bytes:
    """A PNG file (ISO/IEC 15948) with a text chunk."""
    height, width, _ = pixels.shape
    rows = np.zeros((height, 1 + 3 * width), dtype=np.uint8)
    flat = pixels.reshape(height, -1)
    rows[:, 0], rows[:1, 1:] = _UP, flat[:1]
    np.subtract(flat[1:], flat[:-1], out=rows[1:, 1:])
    chunks = (
        (b"IHDR", struct.pack(">2I5B", width, height, *_EIGHT_BIT_RGB)),
        (b"tEXt", f"{_KEYWORD}\0{mark}".encode("latin-1")),
        (b"IDAT", _deflate()(rows, _QUICK)),
        (b"IEND", b""),
    )
    return _SIGNATURE + b"".join(_chunk(name, content) for name, content in chunks)


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(content, zlib.crc32(name)))


@cache
def _deflate() -> Callable[[Any, int], bytes]:
    """Isal's compression (extra ``fast``), four times as quick; zlib's where it is not installed."""
    return import_module("isal.isal_zlib" if find_spec("isal") else "zlib").compress


def texture_png(asset: MeshAsset) -> bytes:
    """The texture of an asset that has one, as a PNG file: as it was encoded before, or encoded now.

    Raises:
        ExportError: a value is not finite.
    """
    if asset.texture_png is not None:
        return asset.texture_png
    assert asset.texture is not None
    return png_bytes(asset.texture, kind="texture")


def depth_png_bytes(depth_dm: Float[Tensor, "H W"], *, kind: str = "depth") -> bytes:
    """A 16-bit grey PNG of distances: 65535 is the nearest, 1 the farthest, 0 where there is nothing.

    Between them it is linear; the text chunk ``Depth`` holds both distances, dm.

    Args:
        depth_dm: 0 where there is nothing.
        kind: for the mark.

    Raises:
        ExportError: a value is not finite.
    """
    if bad := int((~depth_dm.isfinite()).sum()):
        raise ExportError(f"{kind}: expected finite values, received {bad} that are not; nothing was written")
    seen = depth_dm > 0
    near, far = (float(depth_dm[seen].min()), float(depth_dm[seen].max())) if bool(seen.any()) else (0.0, 0.0)
    share = (far - depth_dm.double()) / max(far - near, 1e-12)
    levels = torch.where(seen, (1.0 + 65534.0 * share).round().clamp(1.0, 65535.0), 0.0)
    mark = PngInfo()
    mark.add_text(_KEYWORD, f"{_MAKER} {kind}")
    mark.add_text("Depth", f"near_dm {near:.6f} far_dm {far:.6f}")
    stream = io.BytesIO()
    Image.fromarray(levels.cpu().numpy().astype(np.uint16)).save(stream, format="PNG", pnginfo=mark)
    return stream.getvalue()


def read_depth_png(path: str | os.PathLike[str]) -> Float[Tensor, "H W"]:
    """Distances, dm, of a file of ``depth_png_bytes``; 0 where there is nothing.

    Raises:
        ExportError: it is none.
    """
    with reading(path, ExportError, "a depth picture of this project", "write it again"), Image.open(path) as picture:
        if picture.mode != "I;16":
            raise ValueError(f"a picture of mode {picture.mode}")
        words = str(picture.info["Depth"]).split()
        near, far = float(words[1]), float(words[3])
        levels = torch.from_numpy(np.asarray(picture).astype(np.float64))
    distance = far - (far - near) * (levels - 1.0) / 65534.0
    return torch.where(levels > 0, distance, 0.0).float()


def is_own_picture(path: str | os.PathLike[str]) -> bool:
    """Whether a file is a PNG that ``png_bytes`` made, by its mark; pixels are not read.

    False for whatever cannot be read: others say why.
    """
    try:
        with open(path, "rb") as file:
            if file.read(len(_SIGNATURE)) != _SIGNATURE:
                return False
            for _ in range(_MOST_CHUNKS):
                length, chunk = struct.unpack(">I4s", file.read(8))
                if chunk == b"tEXt" and length <= _LONGEST_MARK:
                    if file.read(length).startswith(f"{_KEYWORD}\0{_MAKER} ".encode("ascii")):
                        return True
                    length = 0
                elif chunk in (b"IDAT", b"IEND"):
                    return False
                file.seek(length + 4, os.SEEK_CUR)  # the chunk's content and checksum
    except (OSError, ValueError, struct.error):
        pass
    return False
