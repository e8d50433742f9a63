"""One face model to one scan: iterated closest points along the scan's normals, in the light of a prior.

The scan is points of a surface with normals and a few landmarks, dm, in any pose; it knows nothing of the model's mesh.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from facewright.errors import ReconstructionError
from facewright.fit.motion import LinearPoints, world_motion
from facewright.fit.parameters import Unknowns
from facewright.fit.plan import FitPlan
from facewright.fit.prior import held_fast
from facewright.fit.solver import LinearTerm, Prior, minimise
from facewright.geometry.frames import pose_points
from facewright.geometry.mesh import vertex_normals
from facewright.geometry.rotations import angles_from_rotation
from facewright.geometry.similarity import similarity_from_points
from facewright.records import FaceCoefficients, TensorRecord

if TYPE_CHECKING:
    from scipy.spatial import KDTree


@dataclass(frozen=True)
class ScanEvidence(TensorRecord):
    """What a scan says about a face.

    Attributes:
        points: of its surface, so many that their spacing does not matter, dm.
        normals: unit, outwards or all of them inwards.
        landmarks: where the points ``landmark_numbers`` of the iBUG-68 are, dm.
        landmark_numbers: ascending.
    """

    points: Float[Tensor, "N 3"]
    normals: Float[Tensor, "N 3"]
    landmarks: Float[Tensor, "L 3"]
    landmark_numbers: Int[Tensor, " L"]


@dataclass(frozen=True)
class ScanSettings:
    """How a scan is weighed.

    Attributes:
        landmark_sigma_dm: error of a landmark.
        surface_sigma_dm: how far the scan may lie beside the model's span.
        observations: how many independent observations the whole surface counts for.
        reach_dm: pairs that are farther apart do not belong together, in the first round; a quarter in the last.
        least_cosine: of the angle between the normals of a pair.
        rounds: of new pairs.
    """

    landmark_sigma_dm: float = 0.03
    surface_sigma_dm: float = 0.01
    observations: float = 2000.0
    reach_dm: float = 0.16
    least_cosine: float = 0.6
    rounds: int = 14


@dataclass(frozen=True)
class _HeldPoints:
    """Model points of the face and the planes of the scan that they belong to."""

    points: LinearPoints
    targets: Float[Tensor, "M 3"]
    normals: Float[Tensor, "M 3"]
    precision: Float[Tensor, " M"]


def fit_scan(
    scan: ScanEvidence,
    plan: FitPlan,
    prior: Prior,
    compared: Float[Tensor, " V"],
    settings: ScanSettings | None = None,
) -> FaceCoefficients:
    """Pose, identity and expression with which a model lies on a scan; colours and light stay at zero.

    Landmarks give the first pose; then each compared vertex seeks its nearest point of the scan, and is held along that
    point's normal alone (Chen & Medioni 1992), in rounds with an ever shorter reach. Sizes count: the scan is in dm.

    Args:
        scan: its points and landmarks.
        plan: of the face model, with iBUG-68 landmarks.
        prior: what is believed of id and exp.
        compared: how much each vertex counts (the face's mask times its area); 0 leaves a vertex out.
        settings: weights.

    Raises:
        ReconstructionError: no part of the scan lies where the face is.
    """
    settings = settings or ScanSettings()
    assert plan.ibug68 is not None
    unknowns, numbers = plan.unknowns, scan.landmark_numbers
    marks = LinearPoints(plan.ibug68.mean[numbers], plan.ibug68.basis[numbers])
    state = _first_pose(plan, marks, scan)
    beliefs = held_fast(prior, slice(unknowns.tex.start, unknowns.size), unknowns.values(state))
    marked = partial(_landmark_term, marks, scan.landmarks, settings.landmark_sigma_dm, unknowns)
    state = minimise(lambda found: [marked(found)], state, unknowns, beliefs, iterations=10)
    ids = compared.nonzero()[:, 0]
    weights = compared[ids] / compared[ids].sum() * settings.observations / settings.surface_sigma_dm**2
    points = LinearPoints(plan.shape.mean[ids], torch.cat([plan.shape.id_basis[ids], plan.shape.exp_basis[ids]], -1))
    from scipy.spatial import KDTree  # here: it takes its time to load, and few fit scans

    tree = KDTree(scan.points.numpy())
    for k in range(settings.rounds):
        reach = settings.reach_dm * 0.25 ** (k / max(settings.rounds - 1, 1))
        pairs = _pairs(scan, tree, plan, ids, points, weights, state, reach, settings.least_cosine)
        terms = partial(_both, marked, partial(_surface_term, pairs, unknowns, reach))
        state = minimise(terms, state, unknowns, beliefs, iterations=4)
    return state


def _both(
    marked: Callable[[FaceCoefficients], LinearTerm],
    lying: Callable[[FaceCoefficients], LinearTerm],
    state: FaceCoefficients,
) -> list[LinearTerm]:
    return [marked(state), lying(state)]


def _first_pose(plan: FitPlan, marks: LinearPoints, scan: ScanEvidence) -> FaceCoefficients:
    """The mean face turned and moved onto the landmarks."""
    face = plan.mean_face()
    _, rotation, translation = similarity_from_points(marks.mean, scan.landmarks, with_scale=False)
    return replace(face, angles=angles_from_rotation(rotation)[None], translation=translation[None])


def _pairs(
    scan: ScanEvidence,
    tree: "KDTree",
    plan: FitPlan,
    ids: Int[Tensor, " M"],
    points: LinearPoints,
    weights: Float[Tensor, " M"],
    state: FaceCoefficients,
    reach: float,
    least_cosine: float,
) -> _HeldPoints:
    posed = pose_points(plan.shape.vertices(state), state.angles, state.translation)
    outward = vertex_normals(posed, plan.faces)[0, ids]
    away, nearest = tree.query(posed[0, ids].numpy(), distance_upper_bound=4.0 * reach)
    near = torch.from_numpy(nearest < len(scan.points))
    found = torch.from_numpy(nearest).clamp(max=len(scan.points) - 1)
    normals = scan.normals[found]
    cosine = (normals * outward).sum(-1)
    turned = -1.0 if float(cosine[near].sum()) < 0.0 else 1.0
    kept: Bool[Tensor, " M"] = near & (turned * cosine > least_cosine) & (torch.from_numpy(away) < reach)
    if int(kept.sum()) < 50:
        raise ReconstructionError(
            f"expected the scan's surface within {100 * reach:.0f} mm of the face that its landmarks mark, found "
            f"{int(kept.sum())} of {len(ids)} points; check the landmarks' order and the unit (--units)"
        )
    return _HeldPoints(points, scan.points[found], normals, weights * kept)


def _surface_term(pairs: _HeldPoints, unknowns: Unknowns, reach: float, state: FaceCoefficients) -> LinearTerm:
    """Distance along the scan's normals, Geman-McClure with a third of the reach: what is not face lies farther off."""
    world = world_motion(pairs.points, state)
    residual = ((world.value - pairs.targets) * pairs.normals).sum(-1)
    jacobian = torch.einsum("nd,ndq->nq", pairs.normals, world.jacobian)
    spread = 1.0 + (3.0 * residual / reach).square()
    cost = float((pairs.precision * residual.square() / spread).sum())
    return LinearTerm("scan_dm", jacobian, residual, pairs.precision / spread.square(), unknowns.geometry, cost)


def _landmark_term(
    marks: LinearPoints, seen: Float[Tensor, "L 3"], sigma: float, unknowns: Unknowns, state: FaceCoefficients
) -> LinearTerm:
    world = world_motion(marks, state)
    residual = (world.value - seen).flatten()
    weight = torch.full_like(residual, sigma**-2)
    cost = float((weight * residual.square()).sum())
    return LinearTerm("landmarks_dm", world.jacobian.flatten(0, 1), residual, weight, unknowns.geometry, cost)
