"""Figures of a clip: how much landmarks tremble."""

import torch
from jaxtyping import Float
from torch import Tensor


def jitter(times_s: Float[Tensor, " N"], points_px: Float[Tensor, "N L 2"], size_px: float) -> float:
    """Deviation of points from the straight line between the frames before and after, as a share of the face.

    Scaled so that errors that are independent from frame to frame, of deviation s in either coordinate, give s. Real
    movement that is no straight line counts too; of an error against the truth only what trembles does.

    Args:
        times_s: of the frames, ascending.
        points_px: in each.
        size_px: of the face.
    """
    if len(times_s) < 3:
        return 0.0
    share = ((times_s[1:-1] - times_s[:-2]) / (times_s[2:] - times_s[:-2])).to(points_px)
    off = points_px[1:-1] - torch.lerp(points_px[:-2], points_px[2:], share[:, None, None])
    noise = 1.0 + share.square() + (1.0 - share).square()
    return float((off.square().mean((1, 2)) / noise).mean().sqrt()) / size_px


def face_size(points_px: Float[Tensor, "N L 2"]) -> float:
    """Root of the area of the points' box, mean over frames."""
    return float((points_px.amax(1) - points_px.amin(1)).prod(-1).sqrt().mean())
