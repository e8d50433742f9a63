"""Iterative closest points between a predicted mesh and a scan: rigid, fixed scale, or its own scale. numpy, mm."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.spatial.transform import Rotation

from facewright.evaluate.alignment import Similarity, procrustes
from facewright.evaluate.surfaces import Surface, closest_points, on_rim

Direction = Literal["truth_to_prediction", "prediction_to_truth", "symmetric"]
"""From whose points partners are sought on the other mesh."""
Residual = Literal["point", "plane"]
"""What a step minimises: the distances of pairs (closed form), or those along the true or predicted normals."""


@dataclass(frozen=True)
class IcpResult:
    """Where the iterations ended.

    Attributes:
        alignment: moves the prediction onto the truth.
        mean_mm: mean point-to-surface distance of the last pairs.
        iterations: steps taken.
        converged: the mean changed by less than the tolerance in the last step.
    """

    alignment: Similarity
    mean_mm: float
    iterations: int
    converged: bool


@dataclass(frozen=True)
class _Pairs:
    """Matched points: ``prediction`` in the predicted mesh's frame, the rest in the truth's."""

    prediction: Float[ndarray, "N 3"]
    truth: Float[ndarray, "N 3"]
    normals: Float[ndarray, "N 3"]
    weights: Float[ndarray, " N"]

    def moved(self, alignment: Similarity) -> ndarray:
        return alignment.apply(self.prediction)

    def mean_mm(self, alignment: Similarity) -> float:
        return float(np.average(np.linalg.norm(self.moved(alignment) - self.truth, axis=-1), weights=self.weights))


def icp(
    prediction: Surface,
    truth: Surface,
    *,
    start: Similarity | None = None,
    scale: float | None = 1.0,
    direction: Direction = "truth_to_prediction",
    residual: Residual = "plane",
    overlap_only: bool = True,
    tolerance_mm: float = 1e-3,
    max_iterations: int = 200,
    coarse_points: int = 4000,
) -> IcpResult:
    """Align a prediction to a scan by exact closest surface points (Besl & McKay 1992; Chen & Medioni 1992).

    Residuals are measured in the truth's frame, so that a free scale cannot win by shrinking the truth. It can by
    shrinking the prediction where ``prediction_to_truth`` alone is asked for: crop both to one region, start from
    landmarks. The iterations run on every n-th vertex first, then on all.

    Args:
        prediction: the mesh that moves.
        truth: the scan, already cropped to the region that counts.
        start: first guess, from landmarks; identity if None.
        scale: 1 for none, a number for a method's global scale, None for the mesh's own.
        direction: whose vertices seek partners.
        residual: ``point`` is slow and sure, ``plane`` needs few steps.
        overlap_only: leave pairs out whose partner is on the other mesh's rim.
        tolerance_mm: stop when the mean distance changes by less (GANFit's rule: 0.001 mm).
        max_iterations: of the full set, and again of the coarse one.
        coarse_points: vertices of the first stage.

    Raises:
        ValueError: fewer than seven pairs overlap; the start is far off, or the meshes are in different units.
    """
    alignment = start or Similarity.identity()
    if scale is not None:
        alignment = _rescaled(alignment, scale, prediction.vertices_mm.mean(0))
    sizes = [len(truth.vertices_mm), len(prediction.vertices_mm)]
    strides = [max(1, size // coarse_points) for size in sizes]
    result = IcpResult(alignment, np.inf, 0, False)
    for stage in dict.fromkeys([tuple(strides), (1, 1)]):
        seeker = _Seeker(
            prediction,
            truth,
            np.arange(0, sizes[0], stage[0]) if direction != "prediction_to_truth" else np.zeros(0, np.int64),
            np.arange(0, sizes[1], stage[1]) if direction != "truth_to_prediction" else np.zeros(0, np.int64),
            overlap_only,
        )
        result = _iterate(seeker, result, scale, residual, tolerance_mm, max_iterations)
    return result


class _Seeker:
    """Finds the pairs of an alignment."""

    def __init__(
        self, prediction: Surface, truth: Surface, truth_ids: ndarray, prediction_ids: ndarray, overlap_only: bool
    ) -> None:
        self.prediction, self.truth, self.overlap_only = prediction, truth, overlap_only
        self.truth_points = truth.vertices_mm[truth_ids]
        self.prediction_points = prediction.vertices_mm[prediction_ids]

    def __call__(self, alignment: Similarity) -> _Pairs:
        parts = []
        if len(self.truth_points):
            found = closest_points(alignment.inverse().apply(self.truth_points), self.prediction)
            normals = self.prediction.face_normals[found.face_index] @ alignment.rotation.T
            used = ~on_rim(found, self.prediction) if self.overlap_only else np.ones(len(normals), bool)
            parts.append((found.points_mm[used], self.truth_points[used], normals[used]))
        if len(self.prediction_points):
            found = closest_points(alignment.apply(self.prediction_points), self.truth)
            normals = self.truth.face_normals[found.face_index]
            used = ~on_rim(found, self.truth) if self.overlap_only else np.ones(len(normals), bool)
            parts.append((self.prediction_points[used], found.points_mm[used], normals[used]))
        columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
        if len(columns[0]) < 7:
            raise ValueError(
                f"expected overlapping meshes, received {len(columns[0])} pairs; start from landmarks, give both in mm"
            )
        # Both directions weigh the same, however densely either mesh is sampled.
        weights = np.concatenate([np.full(len(part[0]), 1.0 / max(1, len(part[0]))) for part in parts])
        return _Pairs(columns[0], columns[1], columns[2], weights / weights.sum())


def _iterate(
    seeker: _Seeker, last: IcpResult, scale: float | None, residual: Residual, tolerance_mm: float, max_iterations: int
) -> IcpResult:
    alignment = last.alignment
    pairs = seeker(alignment)
    mean_mm = pairs.mean_mm(alignment)
    for i in range(max_iterations):
        if residual == "point":
            alignment = procrustes(pairs.prediction, pairs.truth, scale=scale, weights=pairs.weights)
        else:
            alignment = _plane_step(pairs, alignment, free_scale=scale is None)
        pairs = seeker(alignment)
        before, mean_mm = mean_mm, pairs.mean_mm(alignment)
        if abs(before - mean_mm) < tolerance_mm:
            return IcpResult(alignment, mean_mm, last.iterations + i + 1, True)
    return IcpResult(alignment, mean_mm, last.iterations + max_iterations, False)


def _plane_step(pairs: _Pairs, alignment: Similarity, *, free_scale: bool) -> Similarity:
    """One Gauss-Newton step on the distances along the normals, over rotation vector, translation and log scale."""
    points = pairs.moved(alignment)
    middle = pairs.weights @ points
    arm = points - middle
    columns = [np.cross(arm, pairs.normals), pairs.normals]
    if free_scale:
        columns.append((arm * pairs.normals).sum(-1, keepdims=True))
    design = np.concatenate(columns, 1)
    error = ((pairs.truth - points) * pairs.normals).sum(-1)
    weighted = design * pairs.weights[:, None]
    normal_matrix = design.T @ weighted
    # Directions that the surface does not hold (a sphere turns freely) get no step.
    step = np.linalg.lstsq(normal_matrix, weighted.T @ error, rcond=1e-10)[0]
    turn = Rotation.from_rotvec(step[:3]).as_matrix()
    grow = float(np.exp(step[6])) if free_scale else 1.0
    return Similarity(grow, turn, middle + step[3:6] - grow * (turn @ middle)).after(alignment)


def _rescaled(alignment: Similarity, scale: float, centre: ndarray) -> Similarity:
    """Another scale about the place where ``centre`` goes."""
    place = alignment.apply(centre)
    return Similarity(scale, alignment.rotation, place - scale * (alignment.rotation @ centre))
