"""8-bit sRGB pictures that say who made them."""

import os
import struct
import zlib

import cv2
from jaxtyping import Float
from torch import Tensor

from facewright.errors import ExportError
from facewright.export.asset import to_uint8
from facewright.files import Destination, put
from facewright.records import MeshAsset

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_KEYWORD, _MAKER = "Software", "facewright"
_MOST_CHUNKS, _LONGEST_MARK = 100, 200
_AFTER_HEADER = 33
"""Bytes of a PNG before its second chunk: signature, and the first chunk with its frame."""
_QUICK = (cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE)
"""A sixth of the time of zlib's usual level for a tenth more bytes: photographs hardly repeat themselves."""


def write_png(destination: Destination, srgb: Float[Tensor, "3 H W"], *, kind: str = "picture") -> None:
    """Write a picture, sRGB-coded 0..1 (clamped), row 0 on top; arguments as ``png_bytes``.

    Raises:
        ExportError: a value is not finite, or the file cannot be written.
    """
    put(destination, png_bytes(srgb, kind=kind))


def png_bytes(srgb: Float[Tensor, "3 H W"], *, kind: str = "picture") -> bytes:
    """The PNG file of a picture, marked as ours in a text chunk (``is_own_picture``).

    Args:
        srgb: sRGB-coded 0..1 (clamped), row 0 on top.
        kind: what the picture is, for the mark: ``overlay``, ``texture``.

    Raises:
        ExportError: a value is not finite.
    """
    bad = int((~srgb.isfinite()).sum())
    if bad:
        raise ExportError(f"{kind}: expected finite values, received {bad} that are not; nothing was written")
    pixels = to_uint8(srgb).transpose(1, 2, 0)
    _, encoded = cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), _QUICK)
    blob, text = encoded.tobytes(), b"tEXt" + f"{_KEYWORD}\0{_MAKER} {kind}".encode("latin-1")
    mark = struct.pack(">I", len(text) - 4) + text + struct.pack(">I", zlib.crc32(text))
    return blob[:_AFTER_HEADER] + mark + blob[_AFTER_HEADER:]


def texture_png(asset: MeshAsset) -> bytes:
    """The texture of an asset that has one, as a PNG file: as it was encoded before, or encoded now.

    Raises:
        ExportError: a value is not finite.
    """
    if asset.texture_png is not None:
        return asset.texture_png
    assert asset.texture is not None
    return png_bytes(asset.texture, kind="texture")


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
