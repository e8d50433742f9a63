"""PRNet's reconstruction NME: closest pairs over the outer interocular distance (Feng et al. 2018). numpy, mm."""

from typing import Literal

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.spatial import KDTree

from facewright.evaluate.alignment import Similarity
from facewright.evaluate.icp import icp
from facewright.evaluate.surfaces import Surface

PairRule = Literal["pairs_only", "aligned"]
"""``pairs_only``: a rigid ICP gives the pairs and is then forgotten; the points are measured where they were, depth
counted from its mean (the authors of VRN describe this). ``aligned``: the points are measured after the ICP."""


def reconstruction_nmes(
    prediction: Surface, truth: Surface, outer_eye_distance_mm: float, *, start: Similarity | None = None
) -> dict[PairRule, float]:
    """Mean distance of true vertices to their paired predicted vertices over the true outer interocular distance.

    The source gives no code: pairs are nearest vertices after a rigid point-to-point ICP without scale.

    Args:
        prediction: mesh in the truth's frame (pixels of the picture serve as well as mm).
        truth: mesh of the common face region.
        outer_eye_distance_mm: 3D distance of points 36 and 45 of the truth, same unit.
        start: first guess of the ICP; identity if None.

    Returns:
        What each rule measures: it changes the figure, so it must be named.
    """
    alignment = icp(prediction, truth, start=start, residual="point", overlap_only=False).alignment
    moved = alignment.apply(prediction.vertices_mm)
    nearest = KDTree(moved).query(truth.vertices_mm)[1]
    offsets = prediction.vertices_mm[nearest] - truth.vertices_mm
    offsets = offsets - np.array([0.0, 0.0, offsets[:, 2].mean()])
    found: dict[PairRule, ndarray] = {"aligned": moved[nearest] - truth.vertices_mm, "pairs_only": offsets}
    return {
        rule: float(np.linalg.norm(offsets, axis=-1).mean() / outer_eye_distance_mm) for rule, offsets in found.items()
    }


def reconstruction_nme(
    prediction: Surface,
    truth: Surface,
    outer_eye_distance_mm: float,
    *,
    rule: PairRule,
    start: Similarity | None = None,
) -> float:
    """One of ``reconstruction_nmes``."""
    return reconstruction_nmes(prediction, truth, outer_eye_distance_mm, start=start)[rule]


def rmse_3d_mm(first_mm: Float[ndarray, "N 3"], second_mm: Float[ndarray, "N 3"]) -> float:
    """3DRMSE of paired points: the root of the mean squared distance."""
    return float(np.sqrt(np.square(first_mm - second_mm).sum(-1).mean()))
