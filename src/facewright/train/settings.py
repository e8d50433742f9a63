"""What a training run is, whatever it trains: frozen dataclasses and their JSON. Below the loop nothing takes these.

Command line and ``config.json`` are read by these classes; there is no other list of options.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar, get_origin

import tyro

from facewright.bounds import Use, bounded, check_bounds
from facewright.errors import MissingExtraError, TrainingError
from facewright.train.balance import Trait
from facewright.train.jitter import CropJitter

Precision = Literal["32", "bf16-mixed", "auto"]
ScheduleKind = Literal["constant", "cosine", "linear", "plateau", "step"]
Own = TypeVar("Own")
"""Settings of a trainee's own, a frozen dataclass."""

INSTALL = "pip install 'facewright[train]'"


def scheduled(*schedules: ScheduleKind) -> Use:
    """What has a use under some schedules of the learning rate."""
    return Use(f"with --schedule {' or '.join(schedules)}", lambda options: options["schedule"] in schedules)


@dataclass(frozen=True)
class DataSettings:
    """The pictures.

    Attributes:
        folders: prepared photographs and synthetic pictures.
        shares: of each folder in a batch; empty: the same share for all.
        val: prepared data that nothing is learnt from: its losses and a sheet with every checkpoint.
        val_batches: how many batches of it are looked at, at most; always the same.
        balance: what faces of each folder are balanced by: ranges of ``yaw``, a ``label`` of each; the paper takes pose
            and race.
        labels: files of ``key,label`` lines, for ``label``.
        most_repeats: times that a face of a rare kind is shown while all are shown once, at most.
        batch_size: pictures per optimiser step, over all processes and accumulated parts.
        together: how many neighbouring pictures of the data stay neighbours in a batch: as many as there are of each
            person, where one was drawn after the other; 1: none.
        jitter: shift, resize and mirror crops.
        moves: how far.
        workers: per training process, that read ahead: several are processes, one is a thread; 0: none.
        source: ``stored``: what lies in the folders; ``live``: synthetic people drawn while the network is trained,
            ``together`` pictures of each; where folders are given too, the first of the shares is theirs.
    """

    folders: Annotated[tuple[str, ...], tyro.conf.arg(name="data")] = ()
    shares: tuple[float, ...] = ()
    val: tuple[str, ...] = ()
    val_batches: int = bounded(16, least=1, use=Use("beside --val", lambda o: bool(o["val"])))
    balance: tuple[Trait, ...] = ()
    labels: tuple[str, ...] = ()
    most_repeats: float = bounded(20.0, least=1, most=1e6, use=Use("beside --balance", lambda o: bool(o["balance"])))
    batch_size: int = bounded(32, least=1)
    together: int = bounded(1, least=1, most=64)
    jitter: bool = True
    moves: CropJitter = field(default_factory=CropJitter)
    workers: int = bounded(1, most=1024)
    source: Literal["stored", "live"] = "stored"

    @property
    def sources(self) -> int:
        """How many kinds of pictures a batch is mixed from."""
        return len(self.folders) + (self.source == "live")


@dataclass(frozen=True)
class OptimizerSettings:
    """Steps through weight space.

    Attributes:
        name: ``adam`` or ``adamw``.
        lr: learning rate of the heads.
        backbone_lr_scale: the trunk's, as a factor of that.
        weight_decay: of matrices and filters; biases and norms have none.
        schedule: ``constant``; ``cosine`` or ``linear`` to zero; ``step``: times ``decay_factor`` every ``decay_every``
            steps; ``plateau``: times ``decay_factor`` when the validation loss no longer falls.
        warmup_steps: over which the rate rises from zero.
        decay_every: of ``step``, optimiser steps.
        decay_factor: of ``step`` and ``plateau``.
        patience: of ``plateau``: validations (one with every checkpoint) without gain that are borne.
        least_gain: of ``plateau``: share of the best validation loss that counts as a gain.
        clip_norm: largest norm of the gradient; 0: not clipped.
        ema_decay: of the averaged weights, per step; 0: none are averaged.
    """

    name: Annotated[Literal["adam", "adamw"], tyro.conf.arg(name="optimizer")] = "adam"
    lr: float = bounded(1e-4, above=0)
    backbone_lr_scale: float = 1.0
    weight_decay: float = 0.0
    schedule: ScheduleKind = "constant"
    warmup_steps: int = 0
    decay_every: int = bounded(100_000, least=1, use=scheduled("step"))
    decay_factor: float = bounded(0.2, most=1, use=scheduled("step", "plateau"))
    patience: int = bounded(5, use=scheduled("plateau"))
    least_gain: float = bounded(0.01, below=1, use=scheduled("plateau"))
    clip_norm: float = 0.0
    ema_decay: float = bounded(0.0, below=1)


@dataclass(frozen=True)
class TrainSettings(Generic[Own]):
    """A whole run.

    Attributes:
        network: what is trained and for what; its trainee's own settings.
        trainee: its name in ``TRAINEES``.
        preset: that the settings started from.
        data: the pictures.
        optimizer: steps.
        steps: optimiser steps of the whole run.
        precision: of the network's forward pass; decoding, rendering and losses are always float32. ``auto``:
            bf16-mixed on GPUs, 32 on CPUs, of which many multiply bfloat16 ten times more slowly.
        accumulate: parts into which a process splits its pictures of a step, one after the other.
        seed: of weights, order of pictures and jitter.
        device: torch device, or ``auto``: cuda where there is one.
        log_every: steps between lines of the log.
        sheet_every: steps between sheets of pictures; 0: none.
        checkpoint_every: steps between checkpoints.
        keep_checkpoints: how many of the newest are kept.
    """

    network: Own
    trainee: tyro.conf.Suppress[str]
    preset: str
    data: DataSettings = field(default_factory=DataSettings)
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    steps: int = bounded(100_000, least=1)
    precision: Precision = "32"
    accumulate: int = bounded(1, least=1)
    seed: int = 0
    device: str = "auto"
    log_every: int = bounded(50, least=1)
    sheet_every: int = 1000
    checkpoint_every: int = bounded(2000, least=1)
    keep_checkpoints: int = bounded(3, least=1)


FREE_ON_RESUME = {
    *("steps", "device", "data.workers", "data.val", "data.val_batches"),
    *("log_every", "sheet_every", "checkpoint_every", "keep_checkpoints"),
}
"""What may change when a run is resumed: none of it changes what a step does (but ``steps`` bends a cosine)."""
WATCHED = {"data.val", "data.val_batches", "checkpoint_every"}
"""What may not, where the learning rate follows the validation loss."""


def check_settings(settings: TrainSettings[Any], world: int = 1) -> None:
    """Refuse what cannot be trained, before anything is loaded.

    Args:
        settings: of the run; what is the trainee's own is checked by it.
        world: number of training processes.

    Raises:
        TrainingError: naming the setting, what it may be, and what it was.
    """
    check_bounds(settings, TrainingError)
    data, parts = settings.data, world * settings.accumulate
    checks = [
        (data.sources > 0, "at least one folder as --data, or --source live", "none"),
        (
            not data.shares or len(data.shares) == data.sources,
            f"one share for each of {len(data.folders)} --data" + (" and --source live" * (data.source == "live")),
            f"{len(data.shares)} --shares",
        ),
        (not data.shares or sum(data.shares) > 0, "--shares above 0 for some --data", data.shares),
        (
            data.batch_size % parts == 0,
            f"a --batch-size that {world} processes with {settings.accumulate} accumulated parts divide evenly",
            data.batch_size,
        ),
        (
            data.together == 1 or not data.balance,
            "--together or --balance, not both: neighbours that are shown more often are neighbours no longer",
            f"--together {data.together} --balance {' '.join(data.balance)}",
        ),
        (
            ("label" in data.balance) == (len(data.labels) > 0) and len(set(data.balance)) == len(data.balance),
            "each trait in --balance once, and --labels where label is one of them",
            f"--balance {' '.join(data.balance)}, {len(data.labels)} --labels",
        ),
        (
            settings.optimizer.schedule != "plateau" or len(data.val) > 0,
            "validation data as --val, because --schedule plateau watches their loss",
            "none",
        ),
    ]
    for good, expected, received in checks:
        if not good:
            raise TrainingError(f"expected {expected}; received {received}")


def settings_json(settings: TrainSettings[Any]) -> str:
    """The resolved settings as text; ``settings_from_json`` is the inverse."""
    return json.dumps(asdict(settings), indent=2) + "\n"


def read_settings(path: Path, own: type[Own]) -> TrainSettings[Own]:
    """Settings from a file, as a run writes them.

    Raises:
        TrainingError: it cannot be read, or as ``settings_from_json``.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TrainingError(f"expected a run's config.json at {path}: {error}") from error
    return settings_from_json(text, own, str(path))


def settings_from_json(text: str, own: type[Own], source: str = "settings") -> TrainSettings[Own]:
    """Read settings back.

    Args:
        text: JSON.
        own: class of the trainee's own settings.
        source: where it comes from, for messages.

    Raises:
        MissingExtraError: the packages of the ``train`` extra are not installed.
        TrainingError: not JSON, an unknown or missing entry, or a value of the wrong type; all of them are named.
    """
    converter, explain = _strict()
    try:
        return converter.structure(json.loads(text), TrainSettings[own])
    except (ValueError, RecursionError) as error:
        raise TrainingError(f"{source}: expected JSON as a run writes it (config.json), received {error}") from error
    except Exception as error:
        raise TrainingError(f"{explain(error, source)}; write settings as a run's config.json has them") from error


def _strict() -> tuple[Any, Callable[[Exception, str], str]]:
    """A converter that turns nothing into anything else, and what says where its errors are."""
    try:
        import cattrs
    except ImportError as error:
        raise MissingExtraError(f"config.json is read by cattrs, which is not installed: {INSTALL}") from error
    converter = cattrs.Converter(forbid_extra_keys=True)

    def exactly(value: Any, kind: type) -> Any:
        if type(value) is kind or (kind is float and type(value) is int):
            return kind(value)
        raise TypeError(f"expected {kind.__name__}, received {value!r}")

    def listed(value: Any, kind: Any) -> Any:
        if not isinstance(value, list):
            raise TypeError(f"expected a list, received {value!r}")
        return tuple(converter.structure(entry, kind.__args__[0]) for entry in value)

    def explained(error: BaseException, kind: Any) -> str:
        if isinstance(error, cattrs.errors.ForbiddenExtraKeysError):
            return f"expected no {', '.join(sorted(error.extra_fields))}"
        if isinstance(error, KeyError):
            return "expected, received none"
        return "expected named entries" if isinstance(error, AttributeError) else str(error)

    for plain in (bool, int, float, str):
        converter.register_structure_hook(plain, exactly)
    converter.register_structure_hook_func(lambda kind: get_origin(kind) is tuple, listed)
    return converter, lambda error, path: "; ".join(cattrs.transform_error(error, path, explained))


def differing(first: TrainSettings[Any], second: TrainSettings[Any]) -> list[str]:
    """Dotted names of the settings that differ, without those of ``FREE_ON_RESUME``."""
    watched = WATCHED if "plateau" in (first.optimizer.schedule, second.optimizer.schedule) else set()
    free = FREE_ON_RESUME - watched
    return [name for name in _differing(asdict(first), asdict(second)) if name not in free]


def _differing(first: Mapping[str, Any], second: Mapping[str, Any], prefix: str = "") -> list[str]:
    names = []
    for name in first:
        if isinstance(first[name], dict):
            names += _differing(first[name], second[name], f"{prefix}{name}.")
        elif first[name] != second[name]:
            names.append(prefix + name)
    return names
