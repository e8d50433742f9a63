"""The terms that tell people apart, see many points and state doubts, for pictures that were drawn."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from facewright.geometry.color import display_from_albedo, linear_from_srgb
from facewright.geometry.lab import color_difference, lab_from_linear
from facewright.geometry.resection import project_by, projection_from_points
from facewright.geometry.rotations import rotation_from_angles
from facewright.morphable.linear import FaceModel
from facewright.morphable.mirror import MirrorMap, mirror_partners
from facewright.records import FaceCoefficients, TensorRecord
from facewright.regress.rnet import LANDMARKS, RNetPrediction
from facewright.render.lighting import sh_shading
from facewright.train.losses.dense import coefficient_likelihood, depth_likelihood, point_likelihood
from facewright.train.losses.likeness import (
    FaceSample,
    likeness_error,
    people_of,
    same_person_error,
    sample_face,
    share_of,
    spread_error,
)
from facewright.train.samples import TrainingBatch

COLORED = 200
"""Points of the face whose colours are compared."""


@dataclass(frozen=True)
class FaceRig(TensorRecord):
    """What these terms need of a face model, worked out once.

    Attributes:
        sample: points that identities are compared at.
        colored: vertices whose colours are compared.
        colored_normals: of the mean face there.
        moved: what a unit of each coefficient moves: RMS of the vertices, relative to the mean of its kind; id, exp and
            tex one after the other.
        points: vertices that the net sees directly; None if it sees the landmarks alone.
        partners: place of each point's mirror partner; None where unknown.
        mirror: codes of mirrored faces; None where unknown.
    """

    sample: FaceSample
    colored: Int[Tensor, " C"]
    colored_normals: Float[Tensor, "C 3"]
    moved: Float[Tensor, " K"]
    points: Int[Tensor, " N"] | None
    partners: Int[Tensor, " N"] | None
    mirror: MirrorMap | None


def make_rig(model: FaceModel, points: Int[Tensor, " N"] | None) -> FaceRig:
    """Measure a face model once.

    Args:
        model: whose faces are compared; the rig is on its device.
        points: that the net sees.
    """
    colored = sample_face(model, COLORED)
    moved = [
        size / size.mean().clamp_min(1e-12)
        for size in (
            basis.square().sum((0, 1)).sqrt() for basis in (model.id_basis, model.exp_basis, model.albedo_basis)
        )
    ]
    marks = model.annotations.ibug68
    seen = marks if points is None else points
    return FaceRig(
        sample_face(model),
        colored.ids,
        colored.normals,
        torch.cat(moved),
        points,
        None if seen is None else mirror_partners(model, seen),
        MirrorMap.of(model),
    )


def likeness_terms(
    prediction: RNetPrediction, batch: TrainingBatch, model: FaceModel, rig: FaceRig
) -> dict[str, Float[Tensor, ""]]:
    """All of ``LIKENESS_TERMS`` but ``mirrored``, and ``points`` where the net sees more than landmarks.

    Means over pictures with truth; points of photographs are the landmarks alone.

    Args:
        prediction: of the net for the batch.
        batch: crops and truth.
        model: the face model of both.
        rig: of the model.
    """
    found, truth = prediction.coefficients, batch.truth
    known = batch.truth_known.to(found.id.device)
    share = share_of(known, found.id)
    # each picture without truth is a person of its own, whose distances from others are not asked about
    people = people_of(truth.id)
    ids, codes, asked = people[known], found.id[known], share[known]
    terms = {
        "likeness": (share * likeness_error(rig.sample, found.id, truth.id, truth.angles)).sum(),
        "same_person": (asked * same_person_error(rig.sample, codes, ids)).sum(),
        "spread": (asked * spread_error(rig.sample, codes, truth.id[known], ids)).sum(),
    }
    terms |= {name: (share * errors).sum() for name, errors in color_errors(found, truth, model, rig).items()}
    if prediction.id_sigma is not None and prediction.exp_sigma is not None and prediction.tex_sigma is not None:
        doubts = torch.cat([prediction.id_sigma, prediction.exp_sigma, prediction.tex_sigma], -1)
        error = torch.cat([found.id - truth.id, found.exp - truth.exp, found.tex - truth.tex], -1)
        terms["doubts"] = (share * coefficient_likelihood(error, doubts, rig.moved)).sum()
    if rig.points is not None and prediction.points_px is not None and prediction.points_sigma_px is not None:
        wanted, weights = wanted_points(batch, model, rig.points)
        size = batch.crops.shape[-1]
        terms["points"] = point_likelihood(
            prediction.points_px, prediction.points_sigma_px, wanted[..., :2], weights, size
        )
        if prediction.depth_px is not None and prediction.depth_sigma_px is not None:
            deep = weights * known.to(weights)[:, None]
            terms["depth"] = depth_likelihood(
                prediction.depth_px, prediction.depth_sigma_px, wanted[..., 2], deep, size
            )
    return terms


@torch.no_grad()
def wanted_points(
    batch: TrainingBatch, model: FaceModel, points: Int[Tensor, " N"]
) -> tuple[Float[Tensor, "B N 3"], Float[Tensor, "B N"]]:
    """Where points of drawn faces are in their crops (column, row, depth behind the head's origin, px), and weights.

    The crop's own camera stands 10 dm away, the one that took the picture did not: it is found again by the points that
    are known, whatever was done to the crop. Of photographs the landmarks alone are known, and no depth.
    """
    truth, marks = batch.truth, model.annotations
    known = batch.truth_known.to(batch.landmarks.device)
    shape = model.points(points, truth.id, truth.exp)
    seen, pixels, trust = [shape[:, :LANDMARKS]], [batch.landmarks], [batch.landmark_weights]
    if marks.mesh468 is not None:
        corners = model.points(marks.mesh468.corners.flatten(), truth.id, truth.exp).unflatten(1, (-1, 3))
        seen.append((corners * marks.mesh468.weights[..., None]).sum(2))
        pixels.append(batch.points)
        trust.append(batch.point_weights)
    weights = torch.cat(trust, 1)
    enough = known & ((weights > 0).sum(1) > 12)
    weights = torch.where(enough[:, None], weights, torch.ones_like(weights))
    projection = projection_from_points(torch.cat(seen, 1), torch.cat(pixels, 1), weights)
    wanted = project_by(projection, shape)
    wanted = torch.where(enough[:, None, None], wanted, torch.zeros_like(wanted))
    wanted[:, :LANDMARKS, :2] = batch.landmarks
    further = enough.to(wanted)[:, None].expand(-1, wanted.shape[1] - LANDMARKS)
    return wanted, torch.cat([batch.landmark_weights, further], 1)


def mirror_term(prediction: RNetPrediction, twins: RNetPrediction, crop_size: int, rig: FaceRig) -> Float[Tensor, ""]:
    """How far the answers about mirrored crops are from mirrored answers: identity, mm, and points, per cent of a crop.

    Args:
        prediction: of crops.
        twins: of the same crops mirrored.
        crop_size: px.
        rig: with a mirror map.

    Raises:
        ValueError: the face model knows no mirror image.
    """
    if rig.mirror is None:
        raise ValueError("expected a rig of a face model with a mirror map")
    there = rig.mirror.faces(prediction.coefficients)
    apart = rig.sample.codes_mm(twins.coefficients.id - there.id).square().sum(-1)
    value = (apart + 1e-4).sqrt().mean()
    if prediction.points_px is None or twins.points_px is None or rig.partners is None:
        return value
    flipped = prediction.points_px[:, rig.partners]
    flipped = torch.cat([crop_size - 1 - flipped[..., :1], flipped[..., 1:]], -1)
    moved = ((twins.points_px - flipped).square().sum(-1) + 1e-4).sqrt()
    return value + 100.0 / crop_size * moved.mean()


def color_errors(
    found: FaceCoefficients, truth: FaceCoefficients, model: FaceModel, rig: FaceRig
) -> dict[str, Float[Tensor, " B"]]:
    """Mean difference of colours of the face in CIELAB: of its albedo (``skin``), and in each one's light (``shaded``).

    Both faces are lit with the mean face's normals in the true pose.
    """
    mean, basis = model.mean_albedo[rig.colored], model.albedo_basis[rig.colored].flatten(0, 1)

    def albedo(codes: Float[Tensor, "B K"]) -> Float[Tensor, "B C 3"]:
        return mean + (codes @ basis.T).unflatten(-1, (-1, 3))

    def lab(color: Float[Tensor, "B C 3"]) -> Float[Tensor, "B C 3"]:
        return lab_from_linear(linear_from_srgb(display_from_albedo(color, model.albedo_space)))

    normals = rig.colored_normals @ rotation_from_angles(truth.angles).transpose(-1, -2)
    ours, theirs = albedo(found.tex), albedo(truth.tex)
    lit = ours * sh_shading(normals, found.sh), theirs * sh_shading(normals, truth.sh)
    return {
        "skin": color_difference(lab(ours), lab(theirs)).mean(-1),
        "shaded": color_difference(lab(lit[0]), lab(lit[1])).mean(-1),
    }
