"""What a training run is: frozen dataclasses, presets of them, and their JSON. Below the loop nothing takes these.

The presets' schedules are those of docs/deep3d.md, section 7; loss weights are in ``losses.presets``.
"""

import json
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from facewright.errors import TrainingError
from facewright.regress.backbones import BACKBONES
from facewright.train.arcface import ChipCoding
from facewright.train.loader import NO_JITTER, CropJitter
from facewright.train.losses.presets import PRESETS, LossPreset
from facewright.train.losses.supervised import SUPERVISED_TERMS, SupervisedWeights
from facewright.train.starts import FROM_DLIB

RunPreset = Literal["paper", "deng-tf", "deng-pytorch", "open", "smoke"]
Precision = Literal["32", "bf16-mixed"]
ScheduleKind = Literal["constant", "cosine", "step"]

Settings = TypeVar("Settings")


@dataclass(frozen=True)
class NetSettings:
    """The network.

    Attributes:
        backbone: name of the trunk.
        width: factor on its channel counts.
        crop_size: side of its crops, px.
        landmark_head: also predict the 68 points directly, with their uncertainty.
        init: weights file to start from; ``dlib``: the trunk of dlib's face recognition network, which has seen real
            faces; empty: random trunk. Heads start at zero but from a file.
    """

    backbone: str = "resnet50"
    width: float = 1.0
    crop_size: int = 224
    landmark_head: bool = False
    init: str = ""


@dataclass(frozen=True)
class DataSettings:
    """The pictures.

    Attributes:
        folders: prepared photographs and synthetic pictures.
        shares: of each folder in a batch; empty: the same share for all.
        batch_size: pictures per optimiser step, over all processes and accumulated parts.
        jitter: of the crops.
        workers: threads per training process that read ahead; 0: none.
    """

    folders: tuple[str, ...] = ()
    shares: tuple[float, ...] = ()
    batch_size: int = 32
    jitter: CropJitter = field(default_factory=CropJitter)
    workers: int = 1


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
    weak_on_synthetic: bool = False
    embedder: str = ""
    chips: ChipCoding = field(default_factory=ChipCoding)


@dataclass(frozen=True)
class OptimizerSettings:
    """Steps through weight space.

    Attributes:
        name: ``adam`` or ``adamw``.
        lr: learning rate of the heads.
        backbone_lr_scale: the trunk's, as a factor of that.
        weight_decay: of matrices and filters; biases and norms have none.
        schedule: ``constant``; ``cosine`` to zero; ``step``: times ``decay_factor`` every ``decay_every`` steps.
        warmup_steps: over which the rate rises from zero.
        decay_every: of ``step``, optimiser steps.
        decay_factor: of ``step``.
        clip_norm: largest norm of the gradient; 0: not clipped.
        ema_decay: of the averaged weights, per step; 0: none are averaged.
    """

    name: Literal["adam", "adamw"] = "adam"
    lr: float = 1e-4
    backbone_lr_scale: float = 1.0
    weight_decay: float = 0.0
    schedule: ScheduleKind = "constant"
    warmup_steps: int = 0
    decay_every: int = 100_000
    decay_factor: float = 0.2
    clip_norm: float = 0.0
    ema_decay: float = 0.0


@dataclass(frozen=True)
class TrainSettings:
    """A whole run.

    Attributes:
        objective: what is minimised.
        preset: that the settings started from.
        face_model: ``open`` or a file.
        net: the network.
        data: the pictures.
        optimizer: steps.
        steps: optimiser steps of the whole run.
        precision: of the network's forward pass; decoding, rendering and losses are always float32.
        accumulate: parts into which a process splits its pictures of a step, one after the other.
        seed: of weights, order of pictures and jitter.
        device: torch device, or ``auto``: cuda where there is one.
        log_every: steps between lines of the log.
        sheet_every: steps between sheets of pictures; 0: none.
        checkpoint_every: steps between checkpoints.
        keep_checkpoints: how many of the newest are kept.
    """

    objective: ObjectiveSettings
    preset: str = "open"
    face_model: str = "open"
    net: NetSettings = field(default_factory=NetSettings)
    data: DataSettings = field(default_factory=DataSettings)
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    steps: int = 100_000
    precision: Precision = "32"
    accumulate: int = 1
    seed: int = 0
    device: str = "auto"
    log_every: int = 50
    sheet_every: int = 1000
    checkpoint_every: int = 2000
    keep_checkpoints: int = 3


FREE_ON_RESUME = {"steps", "device", "data.workers", "log_every", "sheet_every", "checkpoint_every", "keep_checkpoints"}
"""What may change when a run is resumed: none of it changes what a step does (but ``steps`` bends a cosine)."""


# That program draws shifts evenly from ±10 of 224 px and sizes from ±10 %; and turns crops, which is not done here.
_PUBLISHED_JITTER = CropJitter(shift=10 / 224 / 3**0.5, scale=0.1 / 3**0.5)
NO_TRUTH = SupervisedWeights(**dict.fromkeys(SUPERVISED_TERMS, 0.0))
"""Weak supervision alone."""


def _published(name: Literal["paper", "deng-tf", "deng-pytorch"], batch_size: int, steps: int) -> TrainSettings:
    schedule: dict[str, tuple[ScheduleKind, int]] = {
        "paper": ("constant", steps),
        "deng-tf": ("step", 100_000),
        "deng-pytorch": ("step", 93_750),
    }
    kind, decay_every = schedule[name]
    return TrainSettings(
        objective=ObjectiveSettings(PRESETS[name], NO_TRUTH, embedder="dlib"),
        preset=name,
        net=NetSettings("resnet_v1_50_slim" if name == "deng-tf" else "resnet50"),
        data=DataSettings(batch_size=batch_size, jitter=_PUBLISHED_JITTER if name == "deng-pytorch" else NO_JITTER),
        optimizer=OptimizerSettings(lr=1e-4, schedule=kind, decay_every=decay_every, decay_factor=0.2),
        steps=steps,
    )


_OPEN = TrainSettings(
    objective=ObjectiveSettings(replace(PRESETS["open"], perceptual=0.0)),
    net=NetSettings("dlib_resnet29", crop_size=112, landmark_head=True, init=FROM_DLIB),
    data=DataSettings(batch_size=64),
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
    precision="bf16-mixed",
)
_SMOKE = replace(
    _OPEN,
    precision="32",
    preset="smoke",
    net=NetSettings("resnet18", width=0.125, crop_size=48),
    data=DataSettings(batch_size=8, jitter=NO_JITTER),
    optimizer=OptimizerSettings("adamw", lr=3e-3, schedule="cosine", warmup_steps=2, clip_norm=10.0, ema_decay=0.9),
    steps=30,
    log_every=1,
    sheet_every=30,
    checkpoint_every=15,
    keep_checkpoints=2,
)
RUN_PRESETS: Mapping[RunPreset, TrainSettings] = {
    "paper": _published("paper", 5, 500_000),
    "deng-tf": _published("deng-tf", 16, 200_000),
    "deng-pytorch": _published("deng-pytorch", 32, 187_500),
    "open": _OPEN,
    "smoke": _SMOKE,
}


def check_settings(settings: TrainSettings, world: int = 1) -> None:
    """Refuse what cannot be trained, before anything is loaded.

    Args:
        settings: of the run.
        world: number of training processes.

    Raises:
        TrainingError: naming the setting, what it may be, and what it was.
    """
    net, data, optimizer = settings.net, settings.data, settings.optimizer
    parts, least = world * settings.accumulate, 67 if net.backbone == "dlib_resnet29" else 32
    checks = [
        (net.backbone in BACKBONES, f"a --backbone of {', '.join(sorted(BACKBONES))}", net.backbone),
        (net.width > 0, "a --width above 0", net.width),
        (net.crop_size >= least, f"a --crop-size of at least {least} px for {net.backbone}", net.crop_size),
        (len(data.folders) > 0, "at least one folder as --data", "none"),
        (
            not data.shares or len(data.shares) == len(data.folders),
            f"one share for each of {len(data.folders)} --data",
            f"{len(data.shares)} --shares",
        ),
        (all(share >= 0 for share in data.shares), "--shares of at least 0", data.shares),
        (not data.shares or sum(data.shares) > 0, "--shares above 0 for some --data", data.shares),
        (settings.accumulate >= 1, "--accumulate of at least 1", settings.accumulate),
        (
            data.batch_size >= 1 and data.batch_size % max(parts, 1) == 0,
            f"a --batch-size that {world} processes with {settings.accumulate} accumulated parts divide evenly",
            data.batch_size,
        ),
        (settings.steps >= 1, "at least one of --steps", settings.steps),
        (optimizer.lr > 0, "an --lr above 0", optimizer.lr),
        (0 <= optimizer.ema_decay < 1, "an EMA decay in 0..1", optimizer.ema_decay),
        (optimizer.schedule != "step" or optimizer.decay_every >= 1, "decay every 1 step or more", 0),
        (min(settings.log_every, settings.checkpoint_every, settings.keep_checkpoints) >= 1, "intervals of 1 up", 0),
        (
            settings.objective.weak.perceptual == 0 or bool(settings.objective.embedder),
            "an embedder, because the perceptual term weighs something (objective.embedder: dlib, or a file)",
            "none",
        ),
    ]
    for good, expected, received in checks:
        if not good:
            raise TrainingError(f"expected {expected}; received {received}")


def settings_json(settings: TrainSettings) -> str:
    """The resolved settings as text; ``settings_from_json`` is the inverse."""
    return json.dumps(asdict(settings), indent=2) + "\n"


def read_settings(path: Path) -> TrainSettings:
    """Settings from a file, as a run writes them.

    Raises:
        TrainingError: it cannot be read, or as ``settings_from_json``.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise TrainingError(f"expected a run's config.json at {path}: {error.strerror or error}") from error
    return settings_from_json(text, str(path))


def settings_from_json(text: str, source: str = "settings") -> TrainSettings:
    """Read settings back.

    Args:
        text: JSON.
        source: where it comes from, for messages.

    Raises:
        TrainingError: not JSON, an unknown or missing entry, or a value of the wrong type.
    """
    try:
        read = json.loads(text)
    except ValueError as error:
        raise TrainingError(f"{source}: expected JSON as a run writes it (config.json), received {error}") from error
    return _typed(TrainSettings, read, source)


def differing(first: TrainSettings, second: TrainSettings) -> list[str]:
    """Dotted names of the settings that differ, without those of ``FREE_ON_RESUME``."""
    return [name for name in _differing(asdict(first), asdict(second)) if name not in FREE_ON_RESUME]


def _differing(first: Mapping[str, Any], second: Mapping[str, Any], prefix: str = "") -> list[str]:
    names = []
    for name in first:
        if isinstance(first[name], dict):
            names += _differing(first[name], second[name], f"{prefix}{name}.")
        elif first[name] != second[name]:
            names.append(prefix + name)
    return names


def _typed(kind: type[Settings], read: Any, where: str) -> Settings:
    """A dataclass from what JSON holds, strictly."""
    hints, entries = typing.get_type_hints(kind), fields(kind)  # pyright: ignore[reportArgumentType] - a dataclass
    if not isinstance(read, dict) or not read.keys() <= hints.keys():
        found = ", ".join(read) if isinstance(read, dict) else type(read).__name__
        raise TrainingError(f"{where}: expected entries of {', '.join(hints)}; received {found}")
    values = {name: _value(hints[name], value, f"{where}.{name}") for name, value in read.items()}
    needed = {entry.name for entry in entries if entry.default is MISSING and entry.default_factory is MISSING}
    if needed - read.keys():
        raise TrainingError(f"{where}: expected {', '.join(sorted(needed - read.keys()))} too, as config.json has them")
    return kind(**values)


def _value(hint: Any, value: Any, where: str) -> Any:
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if is_dataclass(hint):
        return _typed(hint, value, where)  # pyright: ignore[reportArgumentType] - a class, not an instance
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(_value(parts[0], item, where) for item in value)
    if origin in (typing.Union, types.UnionType):
        return value if value is None else _value(parts[0], value, where)
    if origin is Literal:
        good = value in parts
    elif hint is float:
        good = isinstance(value, int | float) and not isinstance(value, bool)
    else:
        good = origin is None and type(value) is hint
    if not good:
        raise TrainingError(f"{where}: expected {hint if parts else hint.__name__}, received {value!r}")
    return float(value) if hint is float else value
