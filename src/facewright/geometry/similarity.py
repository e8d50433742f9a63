"""Similarity and rigid alignment of matched points."""

import torch
from jaxtyping import Float
from torch import Tensor


def similarity_from_points(
    source: Float[Tensor, "*B N D"],
    target: Float[Tensor, "*B N D"],
    *,
    weights: Float[Tensor, "*B N"] | None = None,
    with_scale: bool = True,
) -> tuple[Float[Tensor, "*B"], Float[Tensor, "*B D D"], Float[Tensor, "*B D"]]:
    """Scale s, rotation R (det +1) and translation t that minimise sum w |s R source + t - target|^2 (Umeyama 1991).

    Args:
        source: matched points.
        target: matched points, any unit.
        weights: non-negative, per pair; equal if None.
        with_scale: False fixes s = 1.
    """
    w = torch.ones_like(source[..., 0]) if weights is None else weights
    w = (w / w.sum(-1, keepdim=True))[..., None]
    mean_source, mean_target = (w * source).sum(-2, keepdim=True), (w * target).sum(-2, keepdim=True)
    a, b = source - mean_source, target - mean_target
    u, s, vh = torch.linalg.svd((w * b).transpose(-1, -2) @ a)
    sign = torch.ones_like(s)
    sign[..., -1] = torch.where(torch.linalg.det(u @ vh) < 0, -1.0, 1.0).to(s)
    rotation = (u * sign[..., None, :]) @ vh
    scale = (s * sign).sum(-1) / (w * a.square()).sum((-1, -2)) if with_scale else torch.ones_like(s[..., 0])
    translation = mean_target[..., 0, :] - scale[..., None] * (rotation @ mean_source[..., 0, :, None])[..., 0]
    return scale, rotation, translation


def apply_similarity(
    points: Float[Tensor, "*B N D"],
    scale: Float[Tensor, "*B"],
    rotation: Float[Tensor, "*B D D"],
    translation: Float[Tensor, "*B D"],
) -> Float[Tensor, "*B N D"]:
    """Apply a similarity to points: s R p + t."""
    return scale[..., None, None] * (points @ rotation.transpose(-1, -2)) + translation[..., None, :]
