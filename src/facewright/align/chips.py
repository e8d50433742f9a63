"""Chips: faces cut the way recognition networks have learnt to see them, by a similarity of their five points."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from facewright.geometry.similarity import apply_similarity, similarity_from_points

IDENTITY_CHIPS = "dlib-five-150"
"""Name of the rule of ``identity_chips``, as cards of weights have it."""
IDENTITY_CHIP_PX = 150

# Five points of dlib's mean face (eye centres: means of the six points of each eye), in a square of side one around
# brows and mouth; chips show a quarter of that side more on each side.
_DLIB_FIVE = (
    (0.225492, 0.215990),
    (0.754761, 0.215990),
    (0.490127, 0.515625),
    (0.254149, 0.780233),
    (0.726104, 0.780233),
)
_DLIB_PADDING = 0.25

Similarity = tuple[Tensor, Tensor, Tensor]
"""Scale, rotation and translation of each face, as ``similarity_from_points`` gives them."""


def identity_chips(
    crop_srgb: Float[Tensor, "B 3 H W"], five_px: Float[Tensor, "B 5 2"]
) -> Float[Tensor, "B 3 150 150"]:
    """Chips for the identity network: the similarity brings the five points to dlib's mean face.

    dlib itself uses 51 points of the face where it has 68. Bilinear; black outside of the crop; differentiable in the
    pixels. Crops should show faces about as large as chips do (70 px between the eyes): crops of ``align_face`` do.

    Args:
        crop_srgb: sRGB-coded, 0..1.
        five_px: right eye, left eye, nose tip, right and left mouth corner, in pixels of the crop.
    """
    similarity = similarity_from_points(identity_five(five_px).expand_as(five_px), five_px)
    return cut_chips(crop_srgb, similarity, IDENTITY_CHIP_PX)


def identity_five(like: Tensor) -> Float[Tensor, "5 2"]:
    """Where the five points lie in a chip of ``identity_chips``, px.

    Args:
        like: gives dtype and device.
    """
    return (like.new_tensor(_DLIB_FIVE) + _DLIB_PADDING) / (1.0 + 2.0 * _DLIB_PADDING) * IDENTITY_CHIP_PX


def cut_chips(
    crop_srgb: Float[Tensor, "B 3 H W"], crop_from_chip: Similarity, size: int
) -> Float[Tensor, "B 3 size size"]:
    """Square pictures of faces: bilinear, black outside of the crop, differentiable in the pixels.

    Args:
        crop_srgb: sRGB-coded, 0..1.
        crop_from_chip: maps pixels of the chip to pixels of the crop.
        size: side of the chips, px.
    """
    ticks = torch.arange(size, dtype=crop_from_chip[0].dtype, device=crop_srgb.device)
    chip_px = torch.stack(torch.meshgrid(ticks, ticks, indexing="xy"), -1).flatten(0, 1)
    crop_px = apply_similarity(chip_px.expand(len(crop_srgb), -1, -1), *crop_from_chip)
    extent = crop_px.new_tensor([crop_srgb.shape[3], crop_srgb.shape[2]])
    grid = ((2.0 * crop_px + 1.0) / extent - 1.0).unflatten(1, (size, size))
    return F.grid_sample(crop_srgb, grid.to(crop_srgb), padding_mode="zeros", align_corners=False)


def resized(crop_srgb: Float[Tensor, "B 3 H W"], size: int) -> Float[Tensor, "B 3 size size"]:
    """Whole crops in the size of chips: antialiased, differentiable in the pixels."""
    return F.interpolate(crop_srgb, (size, size), mode="bilinear", align_corners=False, antialias=True)
