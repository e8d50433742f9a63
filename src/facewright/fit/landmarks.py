"""The landmark terms of a fit: the detector's dense points, and jaw contours that slide as the head turns."""

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from jaxtyping import Float, Int
from torch import Tensor

from facewright.detect.landmarks import MESH_TO_IBUG68
from facewright.errors import ReconstructionError
from facewright.fit.motion import LinearPoints, pixel_motion, world_motion
from facewright.fit.parameters import Unknowns
from facewright.fit.solver import LinearTerm
from facewright.geometry.frames import apply_homogeneous, pose_points, project_points
from facewright.geometry.mesh import surrounding_normals, vertex_normals
from facewright.geometry.rotations import rotation_from_angles
from facewright.morphable.linear import FaceModel
from facewright.records import AlignedFace, Camera, FaceCoefficients, FaceDetection, LandmarkBelief

MESH_TERM, CONTOUR_TERM, FIVE_TERM, BELIEF_TERM = "mesh_px", "contour_px", "five_px", "landmarks_px"

SIGMA_68_PX, SIGMA_JAW_PX, SIGMA_FIVE_PX, SIGMA_CONTOUR_PX = 1.5, 6.0, 0.7, 2.5
"""Errors of sparse points in the 224 crop, with what they leave unsaid between them counted in."""

AWAY, SIDEWAYS = -0.5, 0.0
"""z of a normal (1 faces the camera) at which a dense point has lost its trust, and at which it begins to."""

BELIEF_FLOOR_PX = 1.5
"""Least error of a landmark that a network is sure of, in the 224 crop: what it errs by, it errs by together."""

MESH_LOST_FROM, MESH_LOST = math.radians(30), math.radians(60)
"""Yaw at which the dense points begin to lose their say to a network that knows profiles, and at which it is gone."""

CONTOUR_FROM, CONTOUR_FULL = math.radians(20), math.radians(40)
"""Yaw at which the far jaw begins to slide to the contour, and at which it counts in full."""


@dataclass(frozen=True)
class PointTarget:
    """Model points and where the photo shows them.

    Attributes:
        name: of the term.
        points: model points.
        pixels: where they were seen, crop pixels.
        precision: per point, 1 / px^2; 0 leaves a point out.
        depth: crop pixels, growing away from the camera, any zero; None if unknown. Used for the first pose only.
        across: unit directions, crop pixels, along which alone a point is held: it may slide at a right angle to them.
            None holds it both ways.
    """

    name: str
    points: LinearPoints
    pixels: Float[Tensor, "N 2"]
    precision: Float[Tensor, " N"]
    depth: Float[Tensor, " N"] | None = None
    across: Float[Tensor, "N 2"] | None = None


def point_term(
    target: PointTarget, coefficients: FaceCoefficients, camera: Camera, unknowns: Unknowns, *, scale_px: float = 6.0
) -> LinearTerm:
    """Robust reprojection error: Geman-McClure of the pixel distance with the given scale.

    rho(d) = d^2 / (1 + d^2 / s^2), whose IRLS weight is 1 / (1 + d^2 / s^2)^2: a point far off is a wrong point.
    """
    pixels = pixel_motion(world_motion(target.points, coefficients), camera)
    residual, jacobian = pixels.value - target.pixels, pixels.jacobian
    if target.across is not None:
        residual = (target.across * residual).sum(-1, keepdim=True)
        jacobian = (target.across[..., None] * jacobian).sum(1, keepdim=True)
    spread = 1.0 + residual.square().sum(-1) / scale_px**2
    weight = (target.precision / spread.square())[:, None].expand_as(residual)
    cost = (target.precision * residual.square().sum(-1) / spread).sum()
    return LinearTerm(
        target.name, jacobian.flatten(0, 1), residual.flatten(), weight.flatten(), unknowns.geometry, float(cost)
    )


def point_terms(
    targets: list[PointTarget], camera: Camera, unknowns: Unknowns, coefficients: FaceCoefficients
) -> list[LinearTerm]:
    """The terms of all targets at given coefficients."""
    return [point_term(target, coefficients, camera, unknowns) for target in targets]


def point_targets(
    aligned: AlignedFace, detection: FaceDetection, model: FaceModel, sigma_px: float
) -> list[PointTarget]:
    """What the detection says about a model's points: its dense mesh where the model knows it, else 68 or five points.

    Where the mesh network doubts (profile, blur: low ``mesh_score``), the five points take over in proportion.

    Args:
        aligned: crop of the face.
        detection: points in photo pixels.
        model: which points it knows.
        sigma_px: error of a trusted dense point, correlations counted in.

    Raises:
        ReconstructionError: detection and model share no points.
    """
    marks = model.annotations
    like = model.mean_shape
    T_crop_photo = torch.linalg.inv(aligned.T_photo_crop)
    if detection.mesh is not None and marks.mesh468 is not None:
        corners, weights = marks.mesh468.corners.to(like.device), marks.mesh468.weights.to(like)
        trust = torch.ones_like(weights[:, 0]) if marks.mesh468_trust is None else marks.mesh468_trust.to(like)
        pixels = apply_homogeneous(T_crop_photo, detection.mesh[:, :2])
        depth = detection.mesh[:, 2] * T_crop_photo[0, 0].to(like)
        sure = detection.mesh_score
        mesh = PointTarget(MESH_TERM, linear_points(model, corners, weights), pixels, sure * trust / sigma_px**2, depth)
        if marks.five is None or sure > 0.999:
            return [mesh]
        return [
            mesh,
            _sparse_target(FIVE_TERM, model, marks.five, T_crop_photo, detection.five, SIGMA_FIVE_PX, 1 - sure),
        ]
    if marks.five is None or marks.ibug68 is None:
        raise ReconstructionError(
            f"face model {model.name!r} knows neither the detector's dense points nor iBUG-68; import it with landmarks"
        )
    if detection.mesh is None:
        return [_sparse_target("points_px", model, marks.five, T_crop_photo, detection.five, SIGMA_FIVE_PX)]
    # The mesh's jaw line has another meaning than iBUG's.
    sigmas = torch.tensor([SIGMA_JAW_PX] * 17 + [SIGMA_68_PX] * 51)
    points = detection.mesh[MESH_TO_IBUG68, :2]
    return [_sparse_target("points_px", model, marks.ibug68[:, None], T_crop_photo, points, sigmas)]


def belief_target(belief: LandmarkBelief, model: FaceModel, camera: Camera, share: float) -> PointTarget | None:
    """What a network says about a model's landmarks, each weighed by how sure it is; None without iBUG-68.

    Args:
        belief: of the network.
        model: which points it knows.
        camera: of the crop.
        share: how much of their own precision they get: their errors go together.
    """
    ids = model.annotations.ibug68
    if ids is None:
        return None
    corners = ids[:, None].to(model.mean_shape.device)
    floor = BELIEF_FLOOR_PX * camera.width / 224
    precision = share / (belief.sigma_px.square() + floor**2)
    points = linear_points(model, corners, torch.ones_like(corners, dtype=model.mean_shape.dtype))
    return PointTarget(BELIEF_TERM, points, belief.points_px, precision.to(model.mean_shape))


def five_target(aligned: AlignedFace, detection: FaceDetection, model: FaceModel, share: float) -> PointTarget | None:
    """The detector's five points, which are nearer to where people put them than the dense points; None if unknown.

    Args:
        aligned: crop of the face.
        detection: points in photo pixels.
        model: which points it knows.
        share: how much of their own precision they get.
    """
    five = model.annotations.five
    if five is None or share <= 0:
        return None
    T_crop_photo = torch.linalg.inv(aligned.T_photo_crop)
    return _sparse_target(FIVE_TERM, model, five, T_crop_photo, detection.five, SIGMA_FIVE_PX, share)


def beside_a_network(targets: list[PointTarget], yaw: float) -> list[PointTarget]:
    """The detector's points fade out toward the profile, where it guesses and the network does not.

    Args:
        targets: of the fit.
        yaw: radians.
    """
    front = min(max((MESH_LOST - abs(yaw)) / (MESH_LOST - MESH_LOST_FROM), 0.0), 1.0)
    fading = (MESH_TERM, CONTOUR_TERM, FIVE_TERM)
    return [replace(t, precision=t.precision * front) if t.name in fading else t for t in targets]


def _sparse_target(
    name: str,
    model: FaceModel,
    corners: Int[Tensor, "N C"],
    T_crop_photo: Float[Tensor, "3 3"],
    points_photo: Float[Tensor, "N 2"],
    sigma_px: float | Float[Tensor, " N"],
    share: float = 1.0,
) -> PointTarget:
    """Points that are means of vertices (ids padded with -1)."""
    corners = corners.to(model.mean_shape.device)
    weights = (corners >= 0).to(model.mean_shape)
    points = linear_points(model, corners.clamp_min(0), weights / weights.sum(-1, keepdim=True))
    pixels = apply_homogeneous(T_crop_photo, points_photo)
    sigmas = torch.as_tensor(sigma_px).to(pixels).expand(len(pixels))
    return PointTarget(name, points, pixels, share * sigmas**-2)


def turned_targets(
    targets: list[PointTarget], model: FaceModel, coefficients: FaceCoefficients, camera: Camera
) -> list[PointTarget]:
    """Targets for a head whose pose is roughly known: front points keep their say, the far jaw slides to the contour.

    Dense points on parts that face away from the camera are guesses of the network and lose their trust. On the far
    side of a turned head the network's jaw points follow the visible contour, so they are matched to the vertex of each
    jaw row that reaches out farthest in this pose, and only across the contour: along it they may slide.
    """
    dense = [target for target in targets if target.name == MESH_TERM]
    if not dense:
        return targets
    others = [target for target in targets if target.name not in (MESH_TERM, CONTOUR_TERM)]
    mesh = dense[0]
    rotation = rotation_from_angles(coefficients.angles[0])
    facing = (_dense_normals(model, rotation.device) @ rotation.T)[:, 2]
    faded = replace(mesh, precision=mesh.precision * ((facing - AWAY) / (SIDEWAYS - AWAY)).clamp(0.0, 1.0))
    contour = _far_jaw(mesh, model, coefficients, camera)
    return [faded, *others] if contour is None else [faded, contour, *others]


@lru_cache(maxsize=4)
def _dense_normals(model: FaceModel, device: torch.device) -> Float[Tensor, "468 3"]:
    """Which way the mean face looks at the dense points: found once on a device."""
    glue, region = model.annotations.mesh468, model.annotations.regions.get("photometric")
    if glue is None:
        raise ValueError(f"expected a face model that knows the detector's dense points, received {model.name!r}")
    weights = torch.ones_like(model.mean_shape[:, 0]) if region is None else region.to(model.mean_shape)
    return surrounding_normals(glue.of(model.mean_shape), model.mean_shape, model.faces, weights).to(device)


def _far_jaw(mesh: PointTarget, model: FaceModel, coefficients: FaceCoefficients, camera: Camera) -> PointTarget | None:
    """The jaw rows of the far side, each at its outermost vertex; None for a head that is not turned."""
    rows, yaw = model.annotations.contours, float(coefficients.angles[0, 1])
    share = min(max((abs(yaw) - CONTOUR_FROM) / (CONTOUR_FULL - CONTOUR_FROM), 0.0), 1.0)
    if rows is None or share == 0.0:
        return None
    jaw = torch.arange(9, 17) if yaw > 0 else torch.arange(0, 8)
    rows = rows[jaw].to(model.mean_shape.device)
    vertices = model.shape(coefficients.id, coefficients.exp)
    posed = pose_points(vertices, coefficients.angles, coefficients.translation)
    columns = project_points(posed, camera)[0, rows.clamp_min(0), 0]
    reach = torch.where(rows >= 0, columns if yaw > 0 else -columns, -torch.inf)
    outermost = rows.gather(1, reach.argmax(1, keepdim=True))
    points = linear_points(model, outermost, torch.ones_like(outermost, dtype=model.mean_shape.dtype))
    seen = torch.tensor(MESH_TO_IBUG68)[jaw]
    normals = vertex_normals(posed, model.faces)[0, outermost[:, 0]]
    across = torch.nn.functional.normalize(normals[:, :2] * normals.new_tensor([1.0, -1.0]), dim=-1)
    precision = torch.full_like(mesh.precision[:8], share / SIGMA_CONTOUR_PX**2)
    return PointTarget(CONTOUR_TERM, points, mesh.pixels[seen], precision, across=across)


def linear_points(model: FaceModel, corners: Int[Tensor, "N C"], weights: Float[Tensor, "N C"]) -> LinearPoints:
    """Points that are weighted means of a model's vertices."""
    basis = torch.cat([model.id_basis[corners], model.exp_basis[corners]], -1)
    mean = (model.mean_shape[corners] * weights[..., None]).sum(1)
    return LinearPoints(mean, (basis * weights[..., None, None]).sum(1))
