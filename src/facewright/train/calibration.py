"""Whether a network's stated doubts are the errors that it makes, and one factor per head that makes them so."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from facewright.errors import TrainingError
from facewright.morphable.linear import FaceModel
from facewright.regress.rnet import RNet
from facewright.train.losses.dense import FAR
from facewright.train.losses.likeness_terms import wanted_points
from facewright.train.samples import TrainingBatch

HEADS = ("points", "depth", "id", "exp", "tex")
"""What a network that sees many points states doubts about."""
_SIGMA, _DEPTH_SIGMA = 2, 4  # places in the answers about a point


@dataclass(frozen=True)
class DoubtReport:
    """Errors of a head, held against what it said of them.

    Attributes:
        ratio: root mean square of errors in units of their stated deviations, each counted as at most ``FAR``: 1 where
            doubts are right, more where the network is too sure.
        error: root mean square error: pixels, or units of the coefficients.
        stated: root mean square of the stated deviations, likewise.
    """

    ratio: float
    error: float
    stated: float


@torch.no_grad()
def measure_doubts(net: RNet, model: FaceModel, batches: Iterable[TrainingBatch]) -> dict[str, DoubtReport]:
    """Compare stated with actual errors on drawn pictures that nothing was learnt from.

    Args:
        net: sees many points; in evaluation mode.
        model: that it is for.
        batches: with truth.

    Raises:
        TrainingError: a net that states no doubts, or no picture with truth.
    """
    if net.point_ids is None:
        raise TrainingError("expected a net that states doubts, received one without; train with --dense-points")
    sums = {name: torch.zeros(4, dtype=torch.float64) for name in HEADS}
    for batch in batches:
        found, truth, known = net.predict(batch.crops), batch.truth, batch.truth_known
        wanted, weights = wanted_points(batch, model, net.point_ids)
        assert found.points_px is not None
        assert found.points_sigma_px is not None
        assert found.depth_px is not None
        assert found.depth_sigma_px is not None
        weights = weights * known[:, None]
        flat = (found.points_px - wanted[..., :2]).flatten(1), found.points_sigma_px.repeat_interleave(2, 1)
        _add(sums["points"], *flat, weights.repeat_interleave(2, 1))
        _add(sums["depth"], found.depth_px - wanted[..., 2], found.depth_sigma_px, weights)
        for name in ("id", "exp", "tex"):
            error = getattr(found.coefficients, name) - getattr(truth, name)
            _add(sums[name], error, getattr(found, f"{name}_sigma"), known[:, None].to(error).expand_as(error))
    if not all(float(sums[name][3]) > 0 for name in HEADS):
        raise TrainingError("expected pictures with truth to compare doubts with, received none")
    return {
        name: DoubtReport(*((total / values[3]).sqrt().item() for total in values[:3])) for name, values in sums.items()
    }


@torch.no_grad()
def scale_doubts(net: RNet, scales: dict[str, float]) -> None:
    """Multiply the doubts of each head, in place: their logarithms are what the net computes, so biases are moved.

    Args:
        net: sees many points.
        scales: factors by the names in ``HEADS``.

    Raises:
        TrainingError: a net that states no doubts; factors that are not positive.
    """
    if net.point_ids is None or net.landmark_head is None or net.doubt_head is None:
        raise TrainingError("expected a net that states doubts, received one without; train with --dense-points")
    if not all(scale > 0 for scale in scales.values()):
        raise TrainingError(f"expected positive factors, received {scales}")
    answers = net.landmark_head.bias.unflatten(0, (len(net.point_ids), -1))
    answers[:, _SIGMA] += math.log(scales["points"])
    answers[:, _DEPTH_SIGMA] += math.log(scales["depth"])
    parts = net.doubt_head.bias.split([net.layout.id, net.layout.exp, net.layout.tex])
    for name, part in zip(("id", "exp", "tex"), parts, strict=True):
        part += math.log(scales[name])


def calibrated(net: RNet, model: FaceModel, batches: Iterable[TrainingBatch], *, rounds: int = 3) -> dict[str, float]:
    """Scale a net's doubts until they are its errors, in place; gives the factors, by the names in ``HEADS``.

    More than one round, as far errors count less and no doubt goes below its least.

    Args:
        net: sees many points; in evaluation mode.
        model: that it is for.
        batches: with truth, looked at in every round.
        rounds: how often the factors are mended.

    Raises:
        TrainingError: as ``measure_doubts``.
    """
    pictures: list[TrainingBatch] = list(batches)
    scales: dict[str, float] = {}
    scales.update(dict.fromkeys(HEADS, 1.0))
    for _ in range(rounds):
        found = {name: report.ratio for name, report in measure_doubts(net, model, pictures).items()}
        scale_doubts(net, found)
        scales = {name: scales[name] * found[name] for name in HEADS}
    return scales


def _add(
    sums: Float[Tensor, "4"], error: Float[Tensor, "B K"], sigma: Float[Tensor, "B K"], weights: Float[Tensor, "B K"]
) -> None:
    """Weighted sums of squares in doubts, of squares, of variances, and of weights."""
    error, sigma, weights = error.double(), sigma.double(), weights.double()
    off = (error / sigma).square().clamp_max(FAR**2)
    parts = off, error.square(), sigma.square(), torch.ones_like(error)
    sums += torch.stack([(weights * part).sum() for part in parts]).cpu()
