"""NME of the 68 landmarks by yaw, as AFLW2000-3D tables have it."""

from collections.abc import Sequence

import numpy as np
from numpy import ndarray

from facewright.evaluate.bootstrap import bootstrap_interval
from facewright.evaluate.landmarks import YAW_BIN_NAMES, binned_mean
from facewright.evaluate.results import NUM_RESAMPLES, Case, Figure


def yaw_figures(cases: Sequence[Case]) -> dict[str, Figure]:
    """``nme_68_balanced``, the mean of the yaw bins' means, and ``nme_68_yaw_<bin>``; none without measured faces.

    Args:
        cases: with ``nme_68`` among their values where the face was found, and ``yaw`` among their strata.
    """
    done = [case for case in cases if "nme_68" in case.values]
    if not done:
        return {}
    bins = np.array([YAW_BIN_NAMES.index(case.strata["yaw"]) for case in done])
    rows = np.stack([[case.values["nme_68"] for case in done], bins], -1)

    def balanced(sample: ndarray) -> float:
        return binned_mean(sample[:, 0], sample[:, 1].astype(np.int64)).mean

    figures = {"nme_68_balanced": Figure.of(bootstrap_interval(rows, balanced, num_resamples=NUM_RESAMPLES), "%")}
    for k, name in enumerate(YAW_BIN_NAMES):
        if (bins == k).any():
            interval = bootstrap_interval(rows[bins == k, 0], num_resamples=NUM_RESAMPLES)
            figures[f"nme_68_yaw_{name}"] = Figure.of(interval, "%")
    return figures
