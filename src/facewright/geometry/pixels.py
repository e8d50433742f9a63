"""Parts of a photo as floating point: no more of it, and no finer, than is looked at."""

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from facewright.records import Photo

_BLOCK_PIXELS = 4_000_000


def reduced_part(photo: Photo, left: int, top: int, right: int, bottom: int, factor: int = 1) -> Float[Tensor, "3 h w"]:
    """Pixels of a photo from (left, top) to before (right, bottom), each square of ``factor`` px averaged to one.

    Taken in bands of rows: a large photo never lies in memory as floating point.

    Args:
        photo: the picture.
        left: first column, px; within the photo, like the others.
        top: first row.
        right: column after the last.
        bottom: row after the last.
        factor: side of the averaged squares. Squares that reach over ``right`` or ``bottom`` count black there.

    Returns:
        sRGB-coded 0..1, float32, on the photo's device; ceil of the part's sides over ``factor``.
    """
    if factor == 1:
        return photo.part(left, top, right, bottom)
    pixels = photo.pixels.detach().permute(1, 2, 0)
    columns = -(-(right - left) // factor)
    rows = max(1, _BLOCK_PIXELS // (columns * factor * factor)) * factor
    bands = []
    for first in range(top, bottom, rows):
        band = pixels[first : min(first + rows, bottom), left:right].cpu().numpy()
        height, width = band.shape[:2]
        if height % factor or width % factor:
            band = np.pad(band, ((0, -height % factor), (0, -width % factor), (0, 0)))
        size = (columns, len(band) // factor)
        bands.append(cv2.resize(band.astype(np.float32, order="C"), size, interpolation=cv2.INTER_AREA))
    averaged = torch.from_numpy(np.concatenate(bands)).to(photo.pixels.device)
    return averaged.permute(2, 0, 1).contiguous().div_(255.0)
