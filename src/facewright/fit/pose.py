"""A first pose from points: in closed form, then by what all points say."""

from dataclasses import replace
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from facewright.errors import ReconstructionError
from facewright.fit.evidence import Evidence, PointEvidence
from facewright.fit.plan import FitPlan
from facewright.fit.points import point_terms
from facewright.fit.prior import held_fast, no_prior
from facewright.fit.solver import minimise
from facewright.geometry.rotations import angles_from_rotation
from facewright.geometry.similarity import similarity_from_points
from facewright.records import Camera, FaceCoefficients

SMALLEST_FACE_PX = 2.0
"""Radius, crop px, within which points are one place."""


def first_pose(evidence: Evidence, plan: FitPlan, *, iterations: int = 25) -> FaceCoefficients:
    """The mean face where the points are: a start for a fit that has none.

    In closed form from the first points; then the pose alone by all points, whatever their trust in a pose will be.

    Args:
        evidence: of the photo.
        plan: of the face model.
        iterations: linearisations at most.

    Raises:
        ReconstructionError: there are no points, or they fix no pose.
    """
    if not evidence.points:
        raise ReconstructionError("expected points to find a pose by, received none; pass five or 68, or a start")
    unknowns, camera, mean = plan.unknowns, evidence.camera, plan.mean_face()
    start = pose_from_points(evidence.points[0], mean, camera)
    pose_alone = held_fast(no_prior(plan), slice(unknowns.id.start, unknowns.size), unknowns.values(mean))
    terms = partial(point_terms, evidence.points, camera, unknowns)
    return minimise(terms, start, unknowns, pose_alone, iterations=iterations)


def pose_from_points(target: PointEvidence, mean: FaceCoefficients, camera: Camera) -> FaceCoefficients:
    """Pose of the mean face from its points in the picture.

    Where the detector gives depth, the rotation is that of the 3D similarity between model and detected points;
    otherwise it is the scaled-orthographic one: two rows by least squares, made orthonormal (POS, DeMenthon 1995).
    Distance follows from the scale, place from the centroid.

    Raises:
        ReconstructionError: the points do not fix a pose (too few, or all in one place).
    """
    model, pixels, weight = target.points.mean, target.pixels, target.precision
    if int((weight > 0).sum()) < 4:
        raise ReconstructionError(
            f"expected at least 4 usable points to find a pose, received {int((weight > 0).sum())}; "
            "pass five or 68 points"
        )
    share = weight / weight.sum()
    center = share @ pixels
    if not float((pixels - center).norm(dim=-1).amax()) > SMALLEST_FACE_PX:
        raise ReconstructionError("the points fix no pose: all lie in one place; pass five distinct points")
    if target.depth is not None:
        seen = torch.stack([pixels[:, 0], -pixels[:, 1], -target.depth], -1)
        scale, rotation, _ = similarity_from_points(model, seen, weights=weight)
    else:
        scale, rotation = _scaled_orthographic(target)
    distance = camera.focal_px[0] / scale
    turned = share @ (model @ rotation.T)
    place = torch.stack(
        [
            (center[0] - camera.cx[0]) / scale - turned[0],
            -(center[1] - camera.cy[0]) / scale - turned[1],
            camera.distance_dm - distance - turned[2],
        ]
    )
    return replace(mean, angles=angles_from_rotation(rotation)[None], translation=place[None])


def _scaled_orthographic(target: PointEvidence) -> tuple[Float[Tensor, ""], Float[Tensor, "3 3"]]:
    root = target.precision.sqrt()[:, None]
    design = torch.cat([target.points.mean, torch.ones_like(target.points.mean[:, :1])], -1) * root
    picture = torch.stack([target.pixels[:, 0], -target.pixels[:, 1]], -1) * root
    # Not by torch.linalg.lstsq: on the CPU the same rows give other bits from call to call.
    rows = (torch.linalg.pinv(design.double()) @ picture.double()).to(design)[:3].T
    u, s, vh = torch.linalg.svd(rows, full_matrices=False)
    x_axis, y_axis = (u @ vh).unbind(0)
    rotation = torch.stack([x_axis, y_axis, torch.linalg.cross(x_axis, y_axis)])
    return s.mean(), rotation
