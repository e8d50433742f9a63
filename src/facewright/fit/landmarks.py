"""The landmark terms of a fit: the detector's dense points, and jaw contours that slide as the head turns."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from facewright.detect.landmarks import MESH_TO_IBUG68
from facewright.errors import ReconstructionError
from facewright.fit.motion import LinearPoints, pixel_motion, world_motion
from facewright.fit.parameters import Unknowns
from facewright.fit.solver import LinearTerm
from facewright.geometry.frames import apply_homogeneous
from facewright.morphable.linear import FaceModel
from facewright.records import AlignedFace, Camera, FaceCoefficients, FaceDetection

SIGMA_68_PX, SIGMA_JAW_PX, SIGMA_FIVE_PX = 1.5, 6.0, 0.7
"""Errors of sparse points in the 224 crop, with what they leave unsaid between them counted in."""


@dataclass(frozen=True)
class PointTarget:
    """Model points and where the photo shows them.

    Attributes:
        name: of the term.
        points: model points.
        pixels: where they were seen, crop pixels.
        precision: per point, 1 / px^2; 0 leaves a point out.
        depth: crop pixels, growing away from the camera, any zero; None if unknown. Used for the first pose only.
    """

    name: str
    points: LinearPoints
    pixels: Float[Tensor, "N 2"]
    precision: Float[Tensor, " N"]
    depth: Float[Tensor, " N"] | None = None


def point_term(
    target: PointTarget, coefficients: FaceCoefficients, camera: Camera, unknowns: Unknowns, *, scale_px: float = 6.0
) -> LinearTerm:
    """Robust reprojection error: Geman-McClure of the pixel distance with the given scale.

    rho(d) = d^2 / (1 + d^2 / s^2), whose IRLS weight is 1 / (1 + d^2 / s^2)^2: a point far off is a wrong point.
    """
    pixels = pixel_motion(world_motion(target.points, coefficients), camera)
    residual = pixels.value - target.pixels
    spread = 1.0 + residual.square().sum(-1) / scale_px**2
    weight = (target.precision / spread.square())[:, None].expand_as(residual)
    cost = (target.precision * residual.square().sum(-1) / spread).sum()
    return LinearTerm(
        target.name, pixels.jacobian.flatten(0, 1), residual.flatten(), weight.flatten(), unknowns.geometry, float(cost)
    )


def point_targets(
    aligned: AlignedFace, detection: FaceDetection, model: FaceModel, sigma_px: float
) -> list[PointTarget]:
    """What the detection says about a model's points: its dense mesh where the model knows it, else 68 or five points.

    Args:
        aligned: crop of the face.
        detection: points in photo pixels.
        model: which points it knows.
        sigma_px: error of a trusted dense point, correlations counted in.

    Raises:
        ReconstructionError: detection and model share no points.
    """
    marks = model.annotations
    T_crop_photo = torch.linalg.inv(aligned.T_photo_crop)
    scale = float(T_crop_photo[0, 0])
    if detection.mesh is not None and marks.mesh468 is not None:
        corners, weights = marks.mesh468.corners, marks.mesh468.weights
        trust = torch.ones(len(corners)) if marks.mesh468_trust is None else marks.mesh468_trust
        pixels = apply_homogeneous(T_crop_photo, detection.mesh[:, :2])
        points = linear_points(model, corners, weights)
        return [PointTarget("points_px", points, pixels, trust.to(pixels) / sigma_px**2, detection.mesh[:, 2] * scale)]
    if marks.five is None or marks.ibug68 is None:
        raise ReconstructionError(
            f"face model {model.name!r} knows neither the detector's dense points nor iBUG-68; import it with landmarks"
        )
    if detection.mesh is not None:
        photo_points, corners = detection.mesh[MESH_TO_IBUG68, :2], marks.ibug68[:, None]
        sigmas = torch.tensor([SIGMA_JAW_PX] * 17 + [SIGMA_68_PX] * 51)  # the mesh's jaw line has another meaning
    else:
        photo_points, corners = detection.five, marks.five
        sigmas = torch.full((5,), SIGMA_FIVE_PX)
    weights = (corners >= 0).to(model.mean_shape)
    points = linear_points(model, corners.clamp_min(0), weights / weights.sum(-1, keepdim=True))
    pixels = apply_homogeneous(T_crop_photo, photo_points)
    return [PointTarget("points_px", points, pixels, sigmas.to(pixels) ** -2)]


def linear_points(model: FaceModel, corners: Int[Tensor, "N C"], weights: Float[Tensor, "N C"]) -> LinearPoints:
    """Points that are weighted means of a model's vertices."""
    basis = torch.cat([model.id_basis[corners], model.exp_basis[corners]], -1)
    mean = (model.mean_shape[corners] * weights[..., None]).sum(1)
    return LinearPoints(mean, (basis * weights[..., None, None]).sum(1))
