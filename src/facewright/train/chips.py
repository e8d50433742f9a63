"""Cutting faces out of crops the way recognition networks expect them."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from facewright.geometry.similarity import apply_similarity

Similarity = tuple[Tensor, Tensor, Tensor]
"""Scale, rotation and translation of each face, as ``similarity_from_points`` gives them."""


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
