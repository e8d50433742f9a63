"""Losses against the whole truth, for pictures that were drawn: distances of surfaces, colours, points and light.

Errors of coefficients are weighed by what they move: an identity is wrong by the distance of its vertices.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from facewright.geometry.frames import pose_points, project_points
from facewright.geometry.rotations import rotation_from_angles
from facewright.morphable.linear import FaceModel
from facewright.records import Camera, FaceCoefficients
from facewright.regress.rnet import RNetPrediction
from facewright.render.lighting import sh_shading
from facewright.train.losses.dense import point_likelihood
from facewright.train.samples import TrainingBatch

MM_PER_DM = 100.0
BASIC_TERMS = ("projection", "identity", "expression", "exp_weights", "albedo", "light", "rotation", "points")
LIKENESS_TERMS = ("likeness", "same_person", "spread", "mirrored", "depth", "doubts", "skin", "shaded")
"""Terms of ``losses.likeness_terms``: they need a rig of the face model."""
SUPERVISED_TERMS = (*BASIC_TERMS, *LIKENESS_TERMS)


@dataclass(frozen=True)
class SupervisedWeights:
    """Weights of the terms against the truth; 0 leaves one out.

    Attributes:
        projection: mean distance of projected points (68 and 468), per cent of the crop's side.
        identity: mean distance of neutral vertices, mm.
        expression: mean distance of the expression's own movement, mm.
        exp_weights: mean error of expression coefficients: small blinks and smiles move few vertices.
        albedo: mean error of the albedo per vertex, per cent.
        light: mean error of the light on a white ball, per cent.
        rotation: mean angle between rotations, degrees.
        points: negative log-likelihood of the directly seen points under their doubt.
        likeness: mean distance of the neutral face, mm, less what pose and size explain, weighed by what is seen.
        same_person: distance of a picture's identity from the mean of that person's pictures in the batch, mm.
        spread: how wrongly far apart the identities of different people in the batch are, mm.
        mirrored: how much identity (mm) and points (per cent of the crop) change in a mirror.
        depth: negative log-likelihood of the depths of the points.
        doubts: negative log-likelihood of the errors of coefficients under their stated doubts.
        skin: mean difference of the albedo of the face in white light, CIELAB.
        shaded: the same in the light of the picture.
    """

    projection: float = 1.0
    identity: float = 0.5
    expression: float = 1.0
    exp_weights: float = 4.0
    albedo: float = 0.1
    light: float = 0.05
    rotation: float = 0.1
    points: float = 1.0
    likeness: float = 0.0
    same_person: float = 0.0
    spread: float = 0.0
    mirrored: float = 0.0
    depth: float = 0.0
    doubts: float = 0.0
    skin: float = 0.0
    shaded: float = 0.0

    def total(self, terms: dict[str, Float[Tensor, ""]]) -> Float[Tensor, ""]:
        """The weighted sum of ``supervised_terms``."""
        return torch.stack([getattr(self, name) * value for name, value in terms.items()]).sum()


def supervised_terms(
    prediction: RNetPrediction, batch: TrainingBatch, model: FaceModel, camera: Camera
) -> dict[str, Float[Tensor, ""]]:
    """Each term of ``BASIC_TERMS`` (``points``, of landmarks, where any are seen), the mean over samples with truth.

    Points are compared for all samples that have them; without any truth its terms are zero.

    Args:
        prediction: of the net for the batch.
        batch: crops and truth.
        model: the face model of both.
        camera: of the crops (a batch of one, or of all).
    """
    found, truth = prediction.coefficients, batch.truth
    known = batch.truth_known.to(found.id)
    share = known / known.sum().clamp_min(1.0)

    def mean_of(errors: Float[Tensor, " B"]) -> Float[Tensor, ""]:
        return (share * errors).sum()

    terms = {
        "projection": projection_error(found, batch, model, camera),
        "identity": mean_of(surface_error(model.id_basis, found.id - truth.id, face_weights(model))),
        "expression": mean_of(surface_error(model.exp_basis, found.exp - truth.exp, face_weights(model))),
        "exp_weights": mean_of((found.exp - truth.exp).abs().mean(-1)),
        "albedo": mean_of(surface_error(model.albedo_basis, found.tex - truth.tex, face_weights(model))),
        "light": mean_of(light_error(found, truth)),
        "rotation": mean_of(rotation_error_deg(found.angles, truth.angles)),
    }
    if prediction.landmarks_px is not None and prediction.landmarks_sigma_px is not None:
        terms["points"] = point_likelihood(
            prediction.landmarks_px,
            prediction.landmarks_sigma_px,
            batch.landmarks,
            batch.landmark_weights,
            camera.width,
        )
    return terms


def face_weights(model: FaceModel) -> Float[Tensor, " V"]:
    """Where errors count: the face, a fifth as much the rest of the head."""
    face = model.annotations.regions.get("face")
    like = model.mean_shape[:, 0]
    return torch.ones_like(like) if face is None else 0.2 + 0.8 * face


def surface_error(
    basis: Float[Tensor, "V 3 K"], difference: Float[Tensor, "B K"], weights: Float[Tensor, " V"]
) -> Float[Tensor, " B"]:
    """Root-mean-square of what wrong coefficients move, by the basis' Gram matrix: mm for shapes, per cent for albedo.

    The same number as decoding all vertices, at the price of a small matrix.
    """
    gram = gram_matrix(basis, weights)
    return MM_PER_DM * (torch.einsum("bk,kl,bl->b", difference, gram, difference) + 1e-8).sqrt()


def gram_matrix(basis: Float[Tensor, "V 3 K"], weights: Float[Tensor, " V"]) -> Float[Tensor, "K K"]:
    """Mean product of two modes' movements over the weighed vertices."""
    flat = (basis * (weights / weights.sum()).sqrt()[:, None, None]).flatten(0, 1)
    return flat.T @ flat


def projection_error(
    found: FaceCoefficients, batch: TrainingBatch, model: FaceModel, camera: Camera
) -> Float[Tensor, ""]:
    """Weighted mean distance of the projected iBUG-68 and the detector's 468, per cent of the crop's side."""
    marks = model.annotations
    errors, weights = [], []
    if marks.ibug68 is not None:
        seen = _projected(model, found, marks.ibug68[:, None], None, camera)
        errors.append((seen - batch.landmarks).square().sum(-1))
        weights.append(batch.landmark_weights * 2.0)
    if marks.mesh468 is not None:
        seen = _projected(model, found, marks.mesh468.corners, marks.mesh468.weights, camera)
        trust = batch.point_weights
        if marks.mesh468_trust is not None:
            trust = trust * marks.mesh468_trust
        errors.append((seen - batch.points).square().sum(-1))
        weights.append(trust * 0.3)
    if not errors:
        return found.id.sum() * 0.0  # a model that knows no points
    distance, weight = (torch.cat(errors, 1) + 1e-4).sqrt(), torch.cat(weights, 1)
    return 100.0 / camera.width * (weight * distance).sum() / weight.sum().clamp_min(1.0)


def _projected(
    model: FaceModel,
    found: FaceCoefficients,
    corners: Int[Tensor, "L N"],
    weights: Float[Tensor, "L N"] | None,
    camera: Camera,
) -> Float[Tensor, "B L 2"]:
    """Pixels of points glued to the mesh."""
    count, each = corners.shape
    points = model.points(corners.flatten(), found.id, found.exp).unflatten(1, (count, each))
    points = points[:, :, 0] if weights is None else (points * weights[..., None]).sum(2)
    return project_points(pose_points(points, found.angles, found.translation), camera)[..., :2]


def rotation_error_deg(found: Float[Tensor, "B 3"], truth: Float[Tensor, "B 3"]) -> Float[Tensor, " B"]:
    """Angle of the turn between two rotations; its gradient is finite everywhere.

    ``‖R - R'‖_F = 2 √2 sin(angle / 2)``.
    """
    chord = (rotation_from_angles(found) - rotation_from_angles(truth)).square().sum((1, 2)) / 8.0
    return torch.rad2deg(2.0 * torch.asin((chord + 1e-8).sqrt().clamp_max(1.0 - 1e-6)))


def light_error(found: FaceCoefficients, truth: FaceCoefficients) -> Float[Tensor, " B"]:
    """Mean difference of the light on a white ball as the camera sees it, per cent."""
    ticks = torch.linspace(-0.9, 0.9, 7, dtype=found.sh.dtype, device=found.sh.device)
    x, y = (axis.flatten() for axis in torch.meshgrid(ticks, ticks, indexing="xy"))
    inside = x.square() + y.square() < 0.9
    x, y = x[inside], y[inside]
    normals = torch.stack([x, y, (1.0 - x.square() - y.square()).sqrt()], -1).expand(len(found.sh), -1, -1)
    difference = sh_shading(normals, found.sh) - sh_shading(normals, truth.sh)
    return 100.0 * difference.abs().mean((1, 2))
