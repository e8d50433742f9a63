"""Landmark loss: equation 3 of Deng et al. 2019."""

import torch
from jaxtyping import Float
from torch import Tensor

WEIGHTS_CROP_PX = 224
"""The published weight of this loss is for distances in pixels of a crop of this size."""

_HEAVY = (28, 29, 30, *range(60, 68))


def landmark_weights(like: Tensor) -> Float[Tensor, " 68"]:
    """Weights of the iBUG-68 points: 20 for lower nose bridge to tip (28-30) and inner mouth (60-67), else 1.

    Nostrils (31-35) weigh 1, as in the published programs (docs/deep3d.md, section 6.2).

    Args:
        like: gives dtype and device.
    """
    weights = torch.ones(68, dtype=like.dtype, device=like.device)
    weights[list(_HEAVY)] = 20.0
    return weights


def landmark_loss(
    projected_px: Float[Tensor, "B L 2"],
    target_px: Float[Tensor, "B L 2"],
    weights: Float[Tensor, "B L"] | Float[Tensor, " L"],
    crop_size: int = WEIGHTS_CROP_PX,
) -> Float[Tensor, ""]:
    """Weighted mean squared distance: ``1/N Σ ω ‖q - q'‖²``, N counting all points of the batch.

    Args:
        projected_px: the mesh's landmarks in pixels of the crop.
        target_px: the detected ones, y the same way.
        weights: per point, the same for all photos or each its own; 0 leaves a point out (it stays in N).
        crop_size: side of the crop that the pixels are of. Distances are brought to a crop of 224 px, so that one
            loss weight serves all crop sizes.

    Returns:
        Square pixels of a 224-px crop.
    """
    squared = (projected_px - target_px).square().sum(-1) * (WEIGHTS_CROP_PX / crop_size) ** 2
    return (weights * squared).mean()
