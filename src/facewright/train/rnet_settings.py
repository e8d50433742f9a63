"""What a training of an R-Net is, beside what every run has: network, objective, and presets of whole runs.

The presets' schedules are those of docs/deep3d.md, section 7; loss weights are in ``losses.presets``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from facewright.bounds import Use, bounded, only
from facewright.errors import TrainingError
from facewright.regress.backbones import BACKBONES
from facewright.regress.cards import CROP_SIZES, MOST_WIDTH
from facewright.train.arcface import ChipCoding
from facewright.train.jitter import CropJitter
from facewright.train.losses.presets import PRESETS, TERMS, LossPreset, weighed
from facewright.train.losses.supervised import SUPERVISED_TERMS, SupervisedWeights
from facewright.train.settings import DataSettings, OptimizerSettings, ScheduleKind, TrainSettings
from facewright.train.starts import FROM_DLIB

AUTOMATIC = "auto"


@dataclass(frozen=True)
class NetSettings:
    """The network.

    Attributes:
        backbone: name of the trunk.
        width: factor on its channel counts.
        crop_size: side of its crops, px.
        landmark_head: also predict the 68 points directly, with their uncertainty.
        dense_points: predict some 500 points of the face directly instead, with depths, and with the uncertainty of
            points, depths and coefficients.
        glance: look a second time, where the first answer saw the landmarks.
        init: weights file to start from; ``dlib``: the trunk of dlib's face recognition network, which has seen real
            faces; ``auto``: that one where it is the trunk of dlib's network; empty: random. Heads start at zero but
            from a file.
    """

    backbone: str = "resnet50"
    width: float = bounded(1.0, above=0, most=MOST_WIDTH)
    crop_size: int = bounded(224, least=32, most=CROP_SIZES[1])
    landmark_head: bool = only(Use("without --dense-points", lambda o: not o["dense_points"]), False)
    dense_points: bool = False
    glance: bool = only(Use("with --dense-points", lambda o: o["dense_points"]), False)
    init: str = ""


@dataclass(frozen=True)
class ObjectiveSettings:
    """What is minimised.

    Attributes:
        weak: terms that need no truth, for photographs.
        supervised: terms for samples with truth.
        weak_on_synthetic: minimise the weak terms on samples with truth too.
        embedder: recognition network of the perceptual term: ``dlib``, a file, or empty where it weighs nothing.
        chips: what the network of a file was taught to see.
    """

    weak: LossPreset
    supervised: SupervisedWeights = field(default_factory=SupervisedWeights)
    weak_on_synthetic: bool = only(weighed(*TERMS), False)
    embedder: str = ""
    chips: ChipCoding = field(default_factory=ChipCoding)


@dataclass(frozen=True)
class RNetSettings:
    """An R-Net and its training.

    Attributes:
        objective: what is minimised.
        face_model: ``open`` or a file.
        net: the network.
    """

    objective: ObjectiveSettings
    face_model: str = "open"
    net: NetSettings = field(default_factory=NetSettings)


def start_of(net: NetSettings) -> str:
    """What a network starts from: ``auto`` resolved."""
    if net.init != AUTOMATIC:
        return net.init
    return FROM_DLIB if net.backbone == "dlib_resnet29" else ""


def check_rnet(settings: RNetSettings) -> None:
    """Refuse what cannot be trained, before anything is loaded.

    Raises:
        TrainingError: naming the setting, what it may be, and what it was.
    """
    net, wanted = settings.net, settings.objective
    least = 67 if net.backbone == "dlib_resnet29" else 32
    weighs = wanted.weak.perceptual > 0
    checks = [
        (net.backbone in BACKBONES, f"a --backbone of {', '.join(sorted(BACKBONES))}", net.backbone),
        (net.crop_size >= least, f"a --crop-size of at least {least} px for {net.backbone}", net.crop_size),
        (
            not weighs or bool(wanted.embedder),
            "an --embedder (dlib, or a file), because the perceptual term weighs something",
            "none",
        ),
        (
            weighs or not wanted.embedder,
            "no --embedder, because the perceptual term weighs nothing, or --perceptual above 0",
            wanted.embedder,
        ),
        (
            wanted.embedder in ("", "dlib") or Path(wanted.embedder).is_file(),
            "an --embedder that is dlib or a file",
            f"{wanted.embedder!r}, which is neither",
        ),
    ]
    for good, expected, received in checks:
        if not good:
            raise TrainingError(f"expected {expected}; received {received}")


# As that program: up to 10 of 224 px, 10 % and 10 degrees, all evenly, on crops that are black beyond their border.
_PUBLISHED_MOVES = CropJitter(shift=10 / 224, scale=0.1, turn=10.0, draw="even", beyond="black")
NO_TRUTH = SupervisedWeights(**dict.fromkeys(SUPERVISED_TERMS, 0.0))
"""Weak supervision alone."""


def _published(
    name: Literal["paper", "deng-tf", "deng-pytorch"], batch_size: int, steps: int
) -> TrainSettings[RNetSettings]:
    schedule: dict[str, tuple[ScheduleKind, int]] = {
        "paper": ("constant", steps),
        "deng-tf": ("step", 100_000),
        "deng-pytorch": ("step", 93_750),
    }
    kind, decay_every = schedule[name]
    moves = {"deng-pytorch": {"jitter": True, "moves": _PUBLISHED_MOVES}}.get(name, {"jitter": False})
    return TrainSettings(
        RNetSettings(
            ObjectiveSettings(PRESETS[name], NO_TRUTH, embedder="dlib"),
            net=NetSettings("resnet_v1_50_slim" if name == "deng-tf" else "resnet50"),
        ),
        trainee="rnet",
        preset=name,
        data=DataSettings(batch_size=batch_size, **moves),
        optimizer=OptimizerSettings(lr=1e-4, schedule=kind, decay_every=decay_every, decay_factor=0.2),
        steps=steps,
    )


_LIKENESS = SupervisedWeights(
    identity=0.1,
    albedo=0.03,
    likeness=1.0,
    same_person=0.2,
    spread=0.3,
    mirrored=0.3,
    depth=0.5,
    doubts=0.3,
    skin=0.03,
    shaded=0.03,
)
"""Who it is in millimetres, alike over pictures and mirrors, apart between people; doubts; colours as seen."""
_OPEN = TrainSettings(
    RNetSettings(
        ObjectiveSettings(replace(PRESETS["open"], perceptual=0.0), _LIKENESS),
        net=NetSettings("dlib_resnet29", crop_size=112, dense_points=True, glance=True, init=AUTOMATIC),
    ),
    trainee="rnet",
    preset="open",
    data=DataSettings(batch_size=64, together=4),
    optimizer=OptimizerSettings(
        "adamw",
        lr=1e-3,
        backbone_lr_scale=0.5,
        weight_decay=0.01,
        schedule="cosine",
        warmup_steps=50,
        clip_norm=10.0,
        ema_decay=0.998,
    ),
    steps=7500,
    precision="auto",
)
_NO_SHAPE = dict.fromkeys(
    ("projection", "identity", "expression", "exp_weights", "likeness", "same_person", "spread"), 0.0
)
_NO_POINTS = {"points": 0.0, "depth": 0.0}
_ABLATION: Mapping[str, SupervisedWeights] = {
    "coefficients": replace(_LIKENESS, **_NO_POINTS),
    "points": replace(_LIKENESS, **_NO_SHAPE),
}
"""What shape is learnt by, with the same network and doubts: the fit is given what is left, with its stated errors."""
_SMOKE = replace(
    _OPEN,
    network=RNetSettings(
        replace(_OPEN.network.objective, supervised=SupervisedWeights()),
        net=NetSettings("resnet18", width=0.125, crop_size=48),
    ),
    precision="32",
    preset="smoke",
    data=DataSettings(batch_size=8, jitter=False),
    optimizer=OptimizerSettings("adamw", lr=3e-3, schedule="cosine", warmup_steps=2, clip_norm=10.0, ema_decay=0.9),
    steps=30,
    log_every=1,
    sheet_every=30,
    checkpoint_every=15,
    keep_checkpoints=2,
)
RUN_PRESETS: Mapping[str, TrainSettings[RNetSettings]] = {
    "paper": _published("paper", 5, 500_000),
    "deng-tf": _published("deng-tf", 16, 200_000),
    "deng-pytorch": _published("deng-pytorch", 32, 187_500),
    "open": _OPEN,
    **{
        name: replace(
            _OPEN,
            network=replace(_OPEN.network, objective=replace(_OPEN.network.objective, supervised=kept)),
            preset=name,
        )
        for name, kept in _ABLATION.items()
    },
    "smoke": _SMOKE,
}
