"""3DMM-CNN's crops (Tran et al. 2017; docs/coming-from-3dmm-cnn.md): a square around the middle of a box.

Meant to look like the boxes of CASIA-WebFace. What lies outside of the photo is black. The published program cuts whole
pixels; here the square keeps its fractions.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from facewright.align.square import Square, crop_square
from facewright.errors import ReconstructionError
from facewright.records import AlignedFace, Photo


@dataclass(frozen=True)
class Reach:
    """How far a crop goes from the middle of a box, in halves of the box's longer side."""

    left: float
    top: float
    right: float
    bottom: float


AROUND_LANDMARKS = Reach(1.9255, 2.2591, 1.9423, 1.6087)
"""Of the tight box of 68 landmarks."""
AROUND_DETECTION = Reach(1.785974, 1.951171, 1.835600, 1.670403)
"""Of a detector's box."""
_MOST_SIDE_PX = 200_000.0


def tran_box(box: Float[Tensor, "4"], reach: Reach = AROUND_DETECTION) -> Float[Tensor, "4"]:
    """The box x0, y0, x1, y1 that is cut out, in the same coordinates as a box; it may leave the photo.

    Args:
        box: x0, y0, x1, y1 of a detector, or the tight box of landmarks.
        reach: of the rule.

    Raises:
        ReconstructionError: the box is empty or not finite.
    """
    x0, y0, x1, y1 = box.double().tolist()
    half = max(x1 - x0, y1 - y0) / 2
    if not (x1 > x0 and y1 > y0 and 0.5 <= half <= _MOST_SIDE_PX):
        raise ReconstructionError(f"expected a box x0, y0, x1, y1 that holds a face, received {box.tolist()}")
    x, y = (x0 + x1) / 2, (y0 + y1) / 2
    corners = [x - reach.left * half, y - reach.top * half, x + reach.right * half, y + reach.bottom * half]
    return torch.tensor(corners, dtype=torch.float64)


def tran_box_of_landmarks(landmarks: Float[Tensor, "68 2"]) -> Float[Tensor, "4"]:
    """The box around 68 landmarks, photo px; errors as ``tran_box``."""
    return tran_box(torch.cat([landmarks.amin(0), landmarks.amax(0)]), AROUND_LANDMARKS)


def crop_tran(photo: Photo, box: Float[Tensor, "4"], five: Float[Tensor, "5 2"], *, size: int = 224) -> AlignedFace:
    """Cut a box and make it so large: bilinear, black outside of the photo.

    Args:
        photo: upright photo.
        box: ``tran_box``.
        five: photo pixels; only carried along.
        size: side of the crop, px.

    Raises:
        ReconstructionError: the box lies outside of the photo.
    """
    x0, y0, x1, y1 = box.tolist()
    side = ((x1 - x0) + (y1 - y0)) / 2  # both are alike
    # A box's corners lie between pixels; a square's on the middles of the outermost pixels of the crop.
    return crop_square(photo, Square((x0 + x1 - 1) / 2, (y0 + y1 - 1) / 2, side * (size - 1) / size), five, size=size)
