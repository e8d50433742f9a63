"""Normalised mean error (NME) of landmarks: point sets, normalisers, yaw bins. numpy; fractions, not percent."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from facewright.geometry.ibug68 import AFLW_21_OF_68, ALL_68

Normalizer = Literal["box", "outer_eyes", "pupils"]
"""``box``: sqrt(w h) of the true points' tight box; ``outer_eyes``: between points 36 and 45; ``pupils``: between the
means of the six points of each eye."""
DepthZero = Literal["mean", "min", "none"]
"""What depth is measured from in 3D errors: the mean over the points, the least of them, or as given."""

YAW_EDGES_DEG = (30.0, 60.0)
YAW_BIN_NAMES = ("[0,30]", "(30,60]", "(60,90]")


def aflw21_from_ibug68(points: Float[ndarray, "N 68 D"]) -> Float[ndarray, "N 21 D"]:
    """The 21 AFLW points of 68-point sets."""
    return np.stack([points[..., group, :].mean(-2) for group in AFLW_21_OF_68], -2)


def box_size(truth: Float[ndarray, "N L D"]) -> Float[ndarray, " N"]:
    """Square root of width times height of the tight box around points, in their unit (Zhu et al. 2016).

    The diagonal sqrt(w w + h h), which also circulates, gives errors about 0.7 times as large.
    """
    extent = np.ptp(truth[..., :2], axis=-2)
    return np.sqrt(extent[..., 0] * extent[..., 1])


def eye_distance(truth: Float[ndarray, "N 68 D"], kind: Literal["outer_eyes", "pupils"]) -> Float[ndarray, " N"]:
    """Distance between the outer eye corners or between the eye centres, in all the dimensions that are given."""
    right, left = ([36], [45]) if kind == "outer_eyes" else (range(36, 42), range(42, 48))
    return np.linalg.norm(truth[..., list(right), :].mean(-2) - truth[..., list(left), :].mean(-2), axis=-1)


def nme(
    predicted: Float[ndarray, "N L D"],
    truth: Float[ndarray, "N L D"],
    size: Float[ndarray, " N"],
    *,
    valid: Bool[ndarray, "N L"] | None = None,
    depth_zero: DepthZero = "none",
) -> Float[ndarray, " N"]:
    """Mean distance of matched points over a size, per face; 0.03 is the "3 %" of the tables.

    Args:
        predicted: points in the truth's frame and unit; two columns for a 2D error, three for a 3D error.
        truth: the same points.
        size: what distances are divided by: ``box_size`` or ``eye_distance`` of the truth.
        valid: points that count (AFLW marks hidden ones by -1); all if None.
        depth_zero: 3D only: z is known up to a shift; where it is counted from moves the error by a full percent
            on AFLW2000-3D, so it must be said.

    Raises:
        ValueError: a face has no valid point, or a size is not positive.
    """
    if not (np.asarray(size) > 0).all():
        raise ValueError(
            f"expected positive normalising sizes, received {np.min(size)}; the true points are degenerate"
        )
    if depth_zero != "none":
        predicted, truth = _shift_depth(predicted, depth_zero), _shift_depth(truth, depth_zero)
    distances = np.linalg.norm(predicted - truth, axis=-1)
    if valid is None:
        return distances.mean(-1) / size
    if not valid.any(-1).all():
        raise ValueError("expected at least one valid point per face, received none in some; leave that face out")
    return np.where(valid, distances, 0.0).sum(-1) / valid.sum(-1) / size


def nme_68(
    predicted: Float[ndarray, "N 68 D"],
    truth: Float[ndarray, "N 68 D"],
    *,
    normalizer: Normalizer = "box",
    points: Int[ndarray, " L"] = ALL_68,
    depth_zero: DepthZero = "none",
) -> Float[ndarray, " N"]:
    """NME of (a subset of) the iBUG-68 points; the normaliser always comes from all 68 true ones."""
    size = box_size(truth) if normalizer == "box" else eye_distance(truth, normalizer)
    return nme(predicted[..., points, :], truth[..., points, :], size, depth_zero=depth_zero)


def _shift_depth(points: ndarray, zero: DepthZero) -> ndarray:
    if points.shape[-1] < 3:
        raise ValueError(f"expected 3D points for depth_zero={zero!r}, received {points.shape[-1]} columns")
    depth = points[..., 2]
    origin = depth.mean(-1, keepdims=True) if zero == "mean" else depth.min(-1, keepdims=True)
    return np.concatenate([points[..., :2], (depth - origin)[..., None]], -1)


def yaw_bins(yaw_deg: Float[ndarray, " N"]) -> Int[ndarray, " N"]:
    """Bin 0, 1 or 2 of |yaw|: [0,30], (30,60], above 60 degrees."""
    return np.searchsorted(np.array(YAW_EDGES_DEG), np.abs(yaw_deg), side="left")


@dataclass(frozen=True)
class BinnedMean:
    """A table row as the AFLW2000-3D literature prints it.

    Attributes:
        means: per bin; NaN for an empty one.
        counts: faces per bin.
        mean: the *unweighted* mean of the bins that have faces ("Mean"), not the mean over faces.
        std: population standard deviation of those bins ("Std").
        mean_over_faces: the ordinary mean.
    """

    means: tuple[float, ...]
    counts: tuple[int, ...]
    mean: float
    std: float
    mean_over_faces: float


def binned_mean(values: Float[ndarray, " N"], bins: Int[ndarray, " N"], num_bins: int = 3) -> BinnedMean:
    """Mean per bin and the balanced mean of the bins."""
    counts = np.bincount(bins, minlength=num_bins)
    sums = np.bincount(bins, weights=values, minlength=num_bins)
    means = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    full = means[counts > 0]
    if not len(full):
        nan = float("nan")
        return BinnedMean(tuple(means.tolist()), tuple(counts.tolist()), nan, nan, nan)
    return BinnedMean(
        tuple(means.tolist()), tuple(counts.tolist()), float(full.mean()), float(full.std()), float(np.mean(values))
    )
