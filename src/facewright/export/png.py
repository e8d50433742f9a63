"""8-bit sRGB pictures."""

import io
from os import PathLike

from jaxtyping import Float
from PIL import Image
from torch import Tensor

from facewright.errors import ExportError
from facewright.export.asset import to_uint8
from facewright.files import written_whole


def write_png(path: str | PathLike[str], srgb: Float[Tensor, "3 H W"]) -> None:
    """Write a picture, sRGB-coded 0..1 (clamped), row 0 on top.

    Raises:
        ExportError: a value is not finite, or the file cannot be written.
    """
    bad = int((~srgb.isfinite()).sum())
    if bad:
        raise ExportError(f"picture {path}: expected finite values, received {bad} that are not; nothing was written")
    blob = png_bytes(srgb)
    with written_whole(path) as temporary:
        temporary.write_bytes(blob)


def png_bytes(srgb: Float[Tensor, "3 H W"]) -> bytes:
    """The PNG file of a picture, sRGB-coded 0..1 (clamped)."""
    stream = io.BytesIO()
    Image.fromarray(to_uint8(srgb.permute(1, 2, 0))).save(stream, format="PNG")
    return stream.getvalue()
