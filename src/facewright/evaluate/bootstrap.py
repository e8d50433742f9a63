"""Confidence intervals by resampling cases (Efron 1979): percentiles, seeded; also of paired differences. numpy."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Num
from numpy import ndarray

DRAWS_TOGETHER = 100
"""Means and medians of so many draws are taken at once, which is a hundred times as fast."""

Statistic = Callable[..., float]
"""Of the rows of an array: ``np.mean``, ``np.median``, or any function of an (N, ...) array."""


@dataclass(frozen=True)
class Interval:
    """A figure and what it may be.

    Attributes:
        value: the statistic of all cases.
        low: lower end of the interval.
        high: upper end.
        n: independent cases (groups, where cases come in groups).
        level: coverage, 0..1.
    """

    value: float
    low: float
    high: float
    n: int
    level: float = 0.95

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval lies on one side of zero: of a difference, whether it is more than chance."""
        return self.low > 0 or self.high < 0


def bootstrap_interval(
    values: Num[ndarray, "N ..."],
    statistic: Statistic = np.mean,  # pyright: ignore[reportArgumentType] - numpy scalars are floats
    *,
    groups: Int[ndarray, " N"] | None = None,
    num_resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Percentile interval of a statistic of cases.

    Args:
        values: one row per case.
        statistic: of rows.
        groups: cases of one group (the images of one person) are not independent: whole groups are drawn.
        num_resamples: draws.
        level: coverage.
        seed: of the draws; the same seed draws the same cases whatever the values are, so that differences are paired.

    Raises:
        ValueError: no case.
    """
    if not len(values):
        raise ValueError("expected at least one case, received none; nothing can be said of no faces")
    members = _members(len(values), groups)
    rng = np.random.default_rng(seed)
    parts = []
    for start in range(0, num_resamples, DRAWS_TOGETHER):
        draws = rng.integers(len(members), size=(min(DRAWS_TOGETHER, num_resamples - start), len(members)))
        if groups is None and values.ndim == 1 and statistic in (np.mean, np.median):
            parts.append(statistic(values[draws], axis=1))
        else:
            rows = draws if groups is None else (np.concatenate([members[j] for j in chosen]) for chosen in draws)
            parts.append([statistic(values[chosen]) for chosen in rows])
    drawn = np.concatenate(parts)
    tail = 50.0 * (1.0 - level)
    low, high = np.nanpercentile(drawn, [tail, 100.0 - tail])
    return Interval(float(statistic(values)), float(low), float(high), len(members), level)


def paired_difference(
    first: Float[ndarray, " N"],
    second: Float[ndarray, " N"],
    statistic: Statistic = np.mean,  # pyright: ignore[reportArgumentType] - numpy scalars are floats
    *,
    groups: Int[ndarray, " N"] | None = None,
    num_resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Interval of statistic(second) - statistic(first) over the same cases; negative: the second method errs less."""
    both = np.stack([first, second], -1)

    def difference(rows: ndarray) -> float:
        return float(statistic(rows[:, 1]) - statistic(rows[:, 0]))

    return bootstrap_interval(both, difference, groups=groups, num_resamples=num_resamples, level=level, seed=seed)


def _members(count: int, groups: ndarray | None) -> list[ndarray]:
    if groups is None:
        return [np.array([i]) for i in range(count)]
    return [np.flatnonzero(groups == group) for group in np.unique(groups)]
