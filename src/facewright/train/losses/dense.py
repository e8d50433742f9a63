"""Losses of what a network sees directly: points, their depths, and the doubts about these and about coefficients."""

import torch
from jaxtyping import Float
from torch import Tensor

FAR = 3.0
"""Deviations beyond which a miss costs linearly: a face hidden altogether must not outweigh a thousand others."""


def point_likelihood(
    points_px: Float[Tensor, "B N 2"],
    sigma_px: Float[Tensor, "B N"],
    wanted_px: Float[Tensor, "B N 2"],
    weights: Float[Tensor, "B N"],
    crop_size: int,
) -> Float[Tensor, ""]:
    """Weighted mean negative log-likelihood under a two-dimensional Gaussian per point, less a constant.

    ``log σ² + ‖q - q'‖² / 2σ²`` with σ in per cent of the crop's side (Wood et al. 2022, equation 1); far misses count
    linearly.
    """
    unit = 100.0 / crop_size
    off = (points_px - wanted_px).square().sum(-1) / sigma_px.square()
    likelihood = 2.0 * (unit * sigma_px).log() + far_linear(off)
    return (weights * likelihood).sum() / weights.sum().clamp_min(1.0)


def depth_likelihood(
    depth_px: Float[Tensor, "B N"],
    sigma_px: Float[Tensor, "B N"],
    wanted_px: Float[Tensor, "B N"],
    weights: Float[Tensor, "B N"],
    crop_size: int,
) -> Float[Tensor, ""]:
    """The same along the line of sight: ``log σ + (d - d')² / 2σ²``, per cent of the crop's side."""
    off = (depth_px - wanted_px).square() / sigma_px.square()
    likelihood = (100.0 / crop_size * sigma_px).log() + far_linear(off)
    return (weights * likelihood).sum() / weights.sum().clamp_min(1.0)


def coefficient_likelihood(
    error: Float[Tensor, "B K"], sigma: Float[Tensor, "B K"], weights: Float[Tensor, " K"]
) -> Float[Tensor, " B"]:
    """``log σ + e² / 2σ²`` of each coefficient, mean by weights: what each moves. The error itself learns nothing here.

    Args:
        error: of coefficients; no gradient passes, or a net would buy certainty by errors that are easy to foresee.
        sigma: stated deviations.
        weights: of the coefficients.
    """
    off = error.detach().square() / sigma.square()
    return ((sigma.log() + far_linear(off)) * weights).sum(-1) / weights.sum().clamp_min(1e-12)


def far_linear(squared: Float[Tensor, "*B"]) -> Float[Tensor, "*B"]:
    """Half of a squared number of deviations; beyond ``FAR`` it goes on straight (Huber 1964)."""
    return torch.where(squared < FAR**2, squared / 2.0, FAR * squared.clamp_min(1e-12).sqrt() - FAR**2 / 2.0)
