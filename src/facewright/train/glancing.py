"""Teaching a second glance alone: the trunk and the first answer are held, so that what it sees is worked out once.

Minutes of a CPU, where learning it with everything else takes hours. Each picture is looked at in a mirror too.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields

import torch
from jaxtyping import Float
from torch import Tensor

from facewright.errors import TrainingError
from facewright.geometry.frames import crop_camera, pose_points, project_points
from facewright.geometry.rotations import rotation_from_angles
from facewright.morphable.linear import FaceModel
from facewright.records import FaceCoefficients, TensorRecord
from facewright.regress.glance import LANDMARKS, SecondGlance
from facewright.regress.rnet import RNet, RNetPrediction, corrected, said
from facewright.train.losses.dense import coefficient_likelihood, depth_likelihood, point_likelihood
from facewright.train.losses.likeness import likeness_error
from facewright.train.losses.likeness_terms import FaceRig, make_rig, wanted_points
from facewright.train.samples import TrainingBatch

Told = Callable[[int, float], None]
"""Is told an epoch that is over and its mean loss."""


@dataclass(frozen=True)
class Glanced(TensorRecord):
    """Pictures as a second glance needs them: what it sees, what was answered first, and the truth.

    Attributes:
        features: at the landmarks of the first answer.
        pooled: what the first answer came from.
        truth: coefficients, in the crop's own camera.
        points: of the face where they truly are, column, row and depth, crop px.
        weights: of those; 0 where unknown.
    """

    features: Float[Tensor, "B F"]
    pooled: Float[Tensor, "B C"]
    truth: FaceCoefficients
    points: Float[Tensor, "B N 3"]
    weights: Float[Tensor, "B N"]

    def __len__(self) -> int:
        return len(self.weights)


@torch.no_grad()
def glanced(net: RNet, model: FaceModel, rig: FaceRig, batch: TrainingBatch) -> list[Glanced]:
    """Look at drawn crops, and at their mirror images.

    Args:
        net: with a second glance.
        model: that it is for.
        rig: of the model and the net's points.
        batch: crops with truth.

    Raises:
        TrainingError: a net without a second glance, a face model without mirror map, or crops without truth.
    """
    if net.glance is None or net.point_ids is None:
        raise TrainingError("expected a net with a second glance, received one without; train it with --glance")
    if rig.mirror is None or rig.partners is None:
        raise TrainingError("expected a face model that knows its mirror image, received one that does not")
    if not bool(batch.truth_known.all()):
        raise TrainingError("expected drawn pictures, which have truth, received some without")
    points, weights = wanted_points(batch, model, net.point_ids)
    straight = _looked(net, net.glance, batch.crops, batch.truth, points, weights)
    flipped, size = points[:, rig.partners], net.crop_size
    flipped = torch.cat([size - 1 - flipped[..., :1], flipped[..., 1:]], -1)
    truth = rig.mirror.faces(batch.truth)
    return [straight, _looked(net, net.glance, batch.crops.flip(-1), truth, flipped, weights[:, rig.partners])]


def _looked(
    net: RNet, glance: SecondGlance, crops: Tensor, truth: FaceCoefficients, points: Tensor, weights: Tensor
) -> Glanced:
    maps = net.maps(crops)
    pooled = net.backbone.pooled(maps[-1])
    first = net.predict_from(pooled)
    features = glance.features(maps, said(first.points_px)[:, :LANDMARKS], net.crop_size)
    return Glanced(features.half(), pooled.half(), truth, points.half(), weights.half())


def joined(parts: Iterable[Glanced]) -> Glanced:
    """Pictures, one after the other."""
    rows: list[Glanced] = list(parts)
    truth = FaceCoefficients(
        **{p.name: torch.cat([getattr(row.truth, p.name) for row in rows]) for p in fields(FaceCoefficients)}
    )
    others = {p.name: torch.cat([getattr(row, p.name) for row in rows]) for p in fields(Glanced) if p.name != "truth"}
    return Glanced(truth=truth, **others)


def teach_glance(
    net: RNet,
    model: FaceModel,
    seen: Glanced,
    *,
    epochs: int = 4,
    batch_size: int = 256,
    lr: float = 1e-3,
    weight_decay: float = 0.05,
    seed: int = 0,
    told: Told = lambda epoch, loss: None,
) -> None:
    """Learn a net's second glance anew, in place; all else of it is held.

    Features are brought to mean 0 and deviation 1 while it learns; what that takes goes into its weights at the end.

    Args:
        net: with a second glance.
        model: that it is for.
        seen: pictures.
        epochs: how often each is shown.
        batch_size: pictures a step.
        lr: first rate; it falls to zero along a cosine.
        weight_decay: of AdamW.
        seed: of the order, and of the first weights.
        told: is told each epoch's mean loss.

    Raises:
        TrainingError: a net without a second glance, or fewer pictures than a batch.
    """
    if net.glance is None:
        raise TrainingError("expected a net with a second glance, received one without; train it with --glance")
    if len(seen) < batch_size:
        raise TrainingError(f"expected at least a batch of {batch_size} pictures, received {len(seen)}")
    some = seen.features[:: max(1, len(seen) // 4096)].float()
    mean, deviation = some.mean(0), some.std(0) + 1e-4
    dice = torch.Generator().manual_seed(seed)
    glance, rig = net.glance, make_rig(model, net.point_ids)
    with torch.no_grad():
        bound = 1.0 / math.sqrt(glance.see.in_features)
        glance.see.weight.uniform_(-bound, bound, generator=dice)
        for value in (glance.see.bias, glance.say.weight, glance.say.bias):
            value.zero_()
    optimizer = torch.optim.AdamW(glance.parameters(), lr=lr, weight_decay=weight_decay)
    steps = epochs * (len(seen) // batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for epoch in range(epochs):
        order, total = torch.randperm(len(seen), generator=dice), 0.0
        for start in range(0, len(seen) - batch_size + 1, batch_size):
            rows = order[start : start + batch_size].sort().values
            some = seen.mapped(lambda tensor, rows=rows: tensor[rows].float())
            with torch.no_grad():
                first = net.predict_from(some.pooled)
            answer = corrected(first, glance((some.features - mean) / deviation), net.crop_size / 2.0)
            loss = glance_loss(answer, some, model, rig, net.crop_size)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += float(loss.detach())
        told(epoch, total / (len(seen) // batch_size))
    with torch.no_grad():
        glance.see.weight.div_(deviation)
        glance.see.bias.sub_(glance.see.weight @ mean)


def glance_loss(
    answer: RNetPrediction, seen: Glanced, model: FaceModel, rig: FaceRig, crop_size: int
) -> Float[Tensor, ""]:
    """What a second glance minimises: squares of codes and rotations, projections, likelihoods, likeness in mm.

    Squares, not distances: a wink is rare, and the likeliest amount of it is none.
    """
    found, truth = answer.coefficients, seen.truth
    turned = rotation_from_angles(found.angles) - rotation_from_angles(truth.angles)
    every = torch.ones_like(found.exp[0])
    points, sigma, depth, depth_sigma = (
        said(part) for part in (answer.points_px, answer.points_sigma_px, answer.depth_px, answer.depth_sigma_px)
    )
    terms = (
        (1.0, (found.exp - truth.exp).square().sum(-1).mean()),
        (3.0, turned.square().sum((1, 2)).mean()),
        (1.0, 100.0 / crop_size * _landmarks_off(found, seen, model, crop_size)),
        (0.5, (found.id - truth.id).square().mean()),
        (0.3, likeness_error(rig.sample, found.id, truth.id, truth.angles).mean()),
        (0.3, point_likelihood(points, sigma, seen.points[..., :2], seen.weights, crop_size)),
        (0.3, depth_likelihood(depth, depth_sigma, seen.points[..., 2], seen.weights, crop_size)),
        (1.0, coefficient_likelihood(found.exp - truth.exp, said(answer.exp_sigma), every).mean()),
    )
    return torch.stack([weight * value for weight, value in terms]).sum()


def _landmarks_off(found: FaceCoefficients, seen: Glanced, model: FaceModel, crop_size: int) -> Float[Tensor, ""]:
    """Mean distance of the projected iBUG-68 from where they are, px. A moved crop's translation is in no truth."""
    marks = model.annotations.ibug68
    if marks is None:
        return found.id.sum() * 0.0
    points = pose_points(model.points(marks, found.id, found.exp), found.angles, found.translation)
    off = project_points(points, crop_camera(size=crop_size, like=points))[..., :2] - seen.points[:, :LANDMARKS, :2]
    weights = seen.weights[:, :LANDMARKS]
    return (weights * (off.square().sum(-1) + 1e-4).sqrt()).sum() / weights.sum().clamp_min(1.0)
