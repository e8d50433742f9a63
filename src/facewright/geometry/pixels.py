"""Parts of a photo as floating point: no more of it, and no finer, than is looked at."""

import torch
from jaxtyping import Float
from torch import Tensor

from facewright.records import Photo

_BLOCK_PIXELS = 4_000_000


def reduced_part(photo: Photo, left: int, top: int, right: int, bottom: int, factor: int = 1) -> Float[Tensor, "3 h w"]:
    """Pixels of a photo from (left, top) to before (right, bottom), each square of ``factor`` px averaged to one.

    Taken in bands of rows, so that a large photo never lies in memory as floating point.

    Args:
        photo: the picture.
        left: first column, px; within the photo, like the others.
        top: first row.
        right: column after the last.
        bottom: row after the last.
        factor: side of the averaged squares. Squares that reach over ``right`` or ``bottom`` count black there.

    Returns:
        sRGB-coded 0..1, float32; ceil of the part's sides over ``factor``.
    """
    if factor == 1:
        return photo.part(left, top, right, bottom)
    rows = max(1, _BLOCK_PIXELS // max(1, (right - left) * factor)) * factor
    bands = []
    for first in range(top, bottom, rows):
        last = min(first + rows, bottom)
        band = photo.part(left, first, right, last)
        band = torch.nn.functional.pad(band, (0, -(right - left) % factor, 0, -(last - first) % factor))
        bands.append(torch.nn.functional.avg_pool2d(band, factor))
    return torch.cat(bands, 1)
