"""A PRNet in training: position maps of people who do not exist, exact in every pose; landmarks of photographs."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from facewright.bounds import Use, bounded
from facewright.errors import TrainingError
from facewright.export.pictures import draw_points
from facewright.export.sheets import contact_sheet
from facewright.morphable.container import load_face_model
from facewright.morphable.linear import FaceModel
from facewright.morphable.uv import loss_weights, map_topology, position_space
from facewright.regress.backbones import BACKBONES
from facewright.regress.cards import CROP_SIZES, MOST_WIDTH
from facewright.regress.prnet import MAP_SIZES, RESFCN, PRNet, PRNetPrediction
from facewright.regress.weights import WeightsCard
from facewright.train.course import BatchNeeds, Course, Losses, Trainee
from facewright.train.jitter import CropJitter
from facewright.train.map_truth import MapTruth
from facewright.train.prnet_start import principal_directions, start_prnet
from facewright.train.samples import TrainingBatch
from facewright.train.settings import DataSettings, OptimizerSettings, TrainSettings
from facewright.train.variation import NO_VARIATION, Variation, varied_batch

TRUE, PREDICTED = (0.25, 0.95, 0.55), (1.0, 0.35, 0.25)
TILE_PX = 224
SHOWN_POINTS = 600
DISTANCE_SHARE = 0.1
"""How much of the error that all depths of a face share counts."""
OFFSET = (0.05, 0.05, 0.45)
"""Of a published network that is trained here: it can say what lies a little left of and above the crop, and behind the
head's origin."""
EPOCH_STEPS = 122_450 // 16
"""Optimiser steps of one epoch as published: 300W-LP with its mirrored copies, 16 pictures a step."""


@dataclass(frozen=True)
class MapLossSettings:
    """What is minimised.

    Attributes:
        points: mean distance of the map's points from the truth, weighed 16 : 4 : 3 : 0, per cent of the crop's side.
        shape: the same of the steps between neighbouring pixels: small and smooth errors instead of rough ones.
        doubt: negative log-likelihood of the errors under the net's own doubt, which alone learns from it.
        landmarks: mean distance of the landmarks of pictures without truth, per cent of the crop's side.
    """

    points: float = 1.0
    shape: float = 4.0
    doubt: float = 0.1
    landmarks: float = 0.5


@dataclass(frozen=True)
class PRNetSettings:
    """A PRNet and its training.

    Attributes:
        face_model: ``open`` or a file, with texture coordinates and landmarks: whose maps.
        backbone: ``resfcn256`` or the trunk before a light decoder.
        width: factor on channel counts.
        crop_size: side of its crops, px.
        trunk_learns: train the trunk too; without it, it stays as ``init`` has it, and steps cost half.
        map_size: side of its maps, px; of ``resfcn256`` the crops'.
        init: weights to start from: a PRNet's, or an R-Net's (``open``, ``fast``, a file), whose trunk is taken, and
            of one for this face model what it says of shape and pose too; empty: random.
        loss: what is minimised.
        variation: how pictures are changed before they are learnt from.
    """

    face_model: str = "open"
    backbone: str = "dlib_resnet29"
    width: float = bounded(1.0, above=0, most=MOST_WIDTH)
    crop_size: int = bounded(112, least=32, most=CROP_SIZES[1])
    trunk_learns: bool = True
    map_size: int = bounded(
        96,
        least=MAP_SIZES[0],
        most=MAP_SIZES[1],
        use=Use(f"with another --backbone than {RESFCN}", lambda options: options["backbone"] != RESFCN),
    )
    init: str = "open"
    loss: MapLossSettings = field(default_factory=MapLossSettings)
    variation: Variation = field(default_factory=Variation)


class PRNetCourse(Course):
    """A PRNet on its way.

    Args:
        net: to train; its tables are set to the face model's, and the directions of a light decoder too.
        model: whose maps; of the truth.
        settings: what is minimised, and how pictures are changed.
        device: of the tables.
    """

    def __init__(self, net: PRNet, model: FaceModel, settings: PRNetSettings, device: torch.device) -> None:
        space, surface = position_space(model, net.map_size)
        net.set_tables(space.mask, space.landmarks, space.canonical_dm, space.window)
        if net.decoder is None:
            net.offset.copy_(torch.tensor(OFFSET))
        self.net, self.settings, self.space = net, settings, space.to(device)
        ibug68 = map_topology(space).annotations.ibug68
        assert ibug68 is not None
        truth, weights = MapTruth.of(model, surface), loss_weights(space)[space.mask]
        self.truth, self.ibug68 = truth.to(device), ibug68.to(device)
        directions, self.codes = principal_directions(truth, weights)
        if net.decoder is not None:
            with torch.no_grad():
                net.decoder.directions.copy_(space.map_of(directions))
        self.weights = (weights / weights.sum()).to(device)
        self.needs = BatchNeeds(net.crop_size, model.name, model.edition, model.layout)
        self.card = WeightsCard(
            face_model=model.name,
            face_model_edition=model.edition,
            recipe=f"from {Path(settings.init).name}" if settings.init else "",
            licence=str(model.metadata.get("licence", "")),
        )

    def varied(self, batch: TrainingBatch) -> TrainingBatch:
        """See ``Course``."""
        return batch if self.settings.variation == NO_VARIATION else varied_batch(batch, self.settings.variation)

    def answer(self, net: nn.Module, crops: Float[Tensor, "B 3 S S"]) -> tuple[Tensor, ...]:
        """Position maps; doubts where the net has them."""
        seen: PRNetPrediction = net.predict(crops)  # pyright: ignore[reportCallIssue] - a PRNet
        return (seen.positions_px,) if seen.sigma_px is None else (seen.positions_px, seen.sigma_px)

    def losses(self, answer: tuple[Tensor, ...], batch: TrainingBatch) -> Losses:
        """Against the whole truth where there is one, else against the landmarks."""
        positions, *doubts = (part.float() for part in answer)
        known, size, wanted = batch.truth_known, batch.crops.shape[-1], self.settings.loss
        per_cent = 100.0 / size
        points = self.space.points_of(positions)
        terms: dict[str, tuple[float, Tensor, Tensor]] = {}
        if bool(known.any()):
            error = self._placed(points - self.truth.points_px(batch.truth, batch.landmarks, size))
            distance = error.norm(dim=-1)
            terms["points"] = (wanted.points, per_cent * (distance * self.weights).sum(-1), known)
            terms["shape"] = (wanted.shape, per_cent * self._roughness(error), known)
            if doubts:
                sigma = doubts[0][:, self.space.mask]
                likelihood = 0.5 * (distance.detach() / sigma).square() + 3.0 * torch.log(sigma / size)
                terms["doubt"] = (wanted.doubt, (likelihood * self.weights).sum(-1), known)
        seen = ~known & (batch.landmark_weights.sum(-1) > 0)
        if bool(seen.any()):
            missed = (points[:, self.ibug68, :2] - batch.landmarks).norm(dim=-1) * batch.landmark_weights
            mean = missed.sum(-1) / batch.landmark_weights.sum(-1).clamp_min(1e-6)
            terms["landmarks"] = (wanted.landmarks, per_cent * mean, seen)
        total = positions.sum() * 0.0
        means, counts = {}, {}
        for name, (weight, values, taken) in terms.items():
            part = torch.where(taken, values, 0.0).sum()
            counts[name] = int(taken.sum())
            means[name] = part / counts[name]
            total = total + weight * part / len(batch)
        return Losses(total, means, counts)

    def _placed(self, error: Float[Tensor, "B P 3"]) -> Float[Tensor, "B P 3"]:
        """As it counts: how far away a head is can hardly be seen, so that what all its depths share weighs little."""
        shared = (error[..., 2:] * self.weights[:, None]).sum(1, keepdim=True)
        return torch.cat([error[..., :2], error[..., 2:] - (1.0 - DISTANCE_SHARE) * shared], -1)

    def _roughness(self, error: Float[Tensor, "B P 3"]) -> Float[Tensor, " B"]:
        """Mean length of the steps of the error to the pixels at the right and below."""
        picture, mask = self.space.map_of(error), self.space.mask
        steps = []
        for axis in (-1, -2):
            inside = mask.narrow(axis, 1, mask.shape[axis] - 1) & mask.narrow(axis, 0, mask.shape[axis] - 1)
            length = (picture.diff(dim=axis).square().sum(1) + 1e-12).sqrt()
            steps.append((length * inside).sum((-1, -2)) / inside.sum())
        return (steps[0] + steps[1]) / 2

    def terms(self) -> list[str]:
        """See ``Course``."""
        return ["points", "shape", "doubt", "landmarks"]

    @torch.no_grad()
    def preview(self, net: nn.Module, batch: TrainingBatch, heading: str) -> Float[Tensor, "3 H W"]:
        """Three tiles a face: the crop, the points that are predicted, and those that are true or marked."""
        device, size = next(net.parameters()).device, batch.crops.shape[-1]
        batch = batch.to(device)
        points = self.space.points_of(self.answer(net, batch.crops)[0].float())[..., :2].cpu()
        true = self.truth.points_px(batch.truth, batch.landmarks, size)[..., :2].cpu()
        grown = max(1, -(-TILE_PX // size))
        crops = F.interpolate(batch.crops.cpu(), scale_factor=grown, mode="bicubic").clamp(0.0, 1.0)
        some = slice(None, None, max(1, points.shape[1] // SHOWN_POINTS))
        tiles = []
        for k, name in enumerate(batch.keys or [str(k) for k in range(len(batch))]):
            marked = true[k, some] if batch.truth_known[k] else batch.landmarks[k].cpu()
            places = [(points[k, some] + 0.5) * grown - 0.5, (marked + 0.5) * grown - 0.5]
            drawn = [draw_points(crops[k], place, color=c) for place, c in zip(places, (PREDICTED, TRUE), strict=True)]
            tiles += [(name, crops[k]), ("predicted", drawn[0]), ("given", drawn[1])]
        return contact_sheet(tiles, heading=heading, columns=6, tile_px=grown * size)


def begin_prnet(settings: PRNetSettings, seed: int, device: torch.device) -> PRNetCourse:
    """Load and build all that a training of a PRNet needs.

    Raises:
        AssetNotFoundError, FaceModelError: of the face model; it has no texture coordinates or landmarks.
        TrainingError, AssetNotFoundError, WeightsError: of what the net starts from.
    """
    torch.manual_seed(seed)
    net = PRNet(
        architecture=settings.backbone,
        width=settings.width,
        crop_size=settings.crop_size,
        map_size=settings.map_size,
    )
    model = load_face_model(settings.face_model)
    course = PRNetCourse(net, model, settings, device)
    if settings.init:
        start_prnet(net, settings.init, model, course.codes)
    net.backbone.requires_grad_(settings.trunk_learns)
    return course


def check_prnet(settings: PRNetSettings) -> None:
    """Refuse what cannot be trained, before anything is loaded.

    Raises:
        TrainingError: naming the setting, what it may be, and what it was.
    """
    least = 67 if settings.backbone == "dlib_resnet29" else 32
    checks = [
        (
            settings.backbone == RESFCN or settings.backbone in BACKBONES,
            f"a --backbone of {', '.join((RESFCN, *sorted(BACKBONES)))}",
            settings.backbone,
        ),
        (
            settings.crop_size >= least,
            f"a --crop-size of at least {least} px for {settings.backbone}",
            settings.crop_size,
        ),
        (
            settings.trunk_learns or (bool(settings.init) and settings.backbone != RESFCN),
            "a trunk that something has taught (--init) before a light decoder for --no-trunk-learns",
            f"--init {settings.init!r} and --backbone {settings.backbone}",
        ),
        (
            settings.variation.shrink <= settings.variation.grow,
            "a --shrink of at most --grow",
            f"{settings.variation.shrink} and {settings.variation.grow}",
        ),
        (
            settings.variation.darken <= settings.variation.brighten,
            "a --darken of at most --brighten",
            f"{settings.variation.darken} and {settings.variation.brighten}",
        ),
    ]
    for good, expected, received in checks:
        if not good:
            raise TrainingError(f"expected {expected}; received {received}")


_LIGHT = TrainSettings(
    PRNetSettings(),
    trainee="prnet",
    preset="light",
    data=DataSettings(batch_size=64, moves=CropJitter()),
    optimizer=OptimizerSettings(
        "adamw",
        lr=1e-3,
        backbone_lr_scale=0.5,
        weight_decay=0.01,
        schedule="cosine",
        warmup_steps=100,
        clip_norm=10.0,
        ema_decay=0.998,
    ),
    steps=10_000,
    precision="auto",
)
PRNET_PRESETS: Mapping[str, TrainSettings[PRNetSettings]] = {
    "light": _LIGHT,
    "resfcn256": replace(
        _LIGHT,
        network=PRNetSettings(backbone=RESFCN, crop_size=256, map_size=256, init=""),
        preset="resfcn256",
        data=DataSettings(batch_size=16),
        optimizer=OptimizerSettings(
            lr=1e-4, weight_decay=2e-4, schedule="step", decay_every=5 * EPOCH_STEPS, decay_factor=0.5
        ),
        steps=30 * EPOCH_STEPS,
        precision="32",
    ),
    "smoke": replace(
        _LIGHT,
        network=PRNetSettings(
            backbone="resnet18", width=0.125, crop_size=48, map_size=32, init="", variation=NO_VARIATION
        ),
        preset="smoke",
        data=DataSettings(batch_size=8, jitter=False),
        optimizer=OptimizerSettings("adamw", lr=3e-3, schedule="cosine", warmup_steps=2, ema_decay=0.9),
        steps=30,
        precision="32",
        log_every=1,
        sheet_every=30,
        checkpoint_every=15,
        keep_checkpoints=2,
    ),
}

PRNET_TRAINEE = Trainee(
    purpose="Train a PRNet: position maps, exact on synthetic pictures; landmarks of photographs.",
    settings=PRNetSettings,
    presets=PRNET_PRESETS,
    preset="light",
    begin=begin_prnet,
    crop_size=lambda settings: settings.crop_size,
    check=check_prnet,
)
