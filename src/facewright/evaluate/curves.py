"""Cumulative error distributions (CED) and the area under them (AUC). numpy."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray


@dataclass(frozen=True)
class CumulativeErrors:
    """Share of cases up to each error.

    Attributes:
        thresholds: from 0 to the limit, in the errors' unit.
        shares: fraction of cases whose error is at most the threshold.
    """

    thresholds: Float[ndarray, " T"]
    shares: Float[ndarray, " T"]


def cumulative_errors(errors: Float[ndarray, " N"], limit: float, steps: int = 200) -> CumulativeErrors:
    """The CED curve on equally spaced thresholds; cases without a result enter as infinity."""
    thresholds = np.linspace(0.0, limit, steps + 1)
    return CumulativeErrors(thresholds, np.searchsorted(np.sort(errors), thresholds, side="right") / len(errors))


def area_under_ced(errors: Float[ndarray, " N"], limit: float) -> float:
    """Exact area under the CED from 0 to ``limit``, divided by ``limit``: 0 (all beyond it) .. 1 (all zero)."""
    return float(np.mean(1.0 - np.minimum(errors, limit) / limit))


def failure_rate(errors: Float[ndarray, " N"], limit: float) -> float:
    """Share of cases whose error exceeds ``limit``."""
    return float(np.mean(np.asarray(errors) > limit))
