"""Checkpoints: all that a run needs to go on as if it had never stopped."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from facewright.errors import TrainingError
from facewright.files import natural_order, written_whole
from facewright.train.plateau import Plateau

_NAME = re.compile(r"step_(\d{8})\.pt")
_ENTRIES = {"format", "step", "skipped", "net", "average", "optimizer", "rng"}
_LATER_ENTRIES = {"plateau"}
"""Which the first checkpoints did not have."""
FORMAT = "facewright-checkpoint/1"


@dataclass(frozen=True)
class Checkpoint:
    """State between two steps.

    Attributes:
        step: number of the next step.
        skipped: steps that were skipped so far because they were not finite.
        net: state of the network.
        average: state of the averaged network; empty if none is averaged.
        optimizer: state of the optimiser.
        rng: state of torch's generators by device (``cpu``, ``cuda:0``, ...).
        plateau: what the learning rate remembers of the validation loss.
    """

    step: int
    skipped: int
    net: Mapping[str, Tensor]
    average: Mapping[str, Tensor]
    optimizer: Mapping[str, Any]
    rng: Mapping[str, Tensor]
    plateau: Plateau = field(default_factory=Plateau)


def save_checkpoint(folder: Path, checkpoint: Checkpoint, keep: int) -> Path:
    """Write ``step_<number>.pt``, whole, then remove all but the newest ``keep``.

    Raises:
        ExportError: the file cannot be written.
    """
    path = folder / f"step_{checkpoint.step:08d}.pt"
    content = {
        "format": FORMAT,
        "step": checkpoint.step,
        "skipped": checkpoint.skipped,
        "net": dict(checkpoint.net),
        "average": dict(checkpoint.average),
        "optimizer": dict(checkpoint.optimizer),
        "rng": dict(checkpoint.rng),
        "plateau": asdict(checkpoint.plateau),
    }
    with written_whole(path) as temporary:
        torch.save(content, temporary)
    for old in list_checkpoints(folder)[:-keep]:
        old.unlink()
    return path


def list_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a folder, oldest first."""
    if not folder.is_dir():
        return []
    return natural_order(path for path in folder.iterdir() if _NAME.fullmatch(path.name))


def step_of(path: Path | None) -> int:
    """Number of the next step of a checkpoint, by its name; 0 for none."""
    return 0 if path is None else int(path.stem.removeprefix("step_"))


def load_checkpoint(path: Path, device: torch.device | str = "cpu") -> Checkpoint:
    """Read a checkpoint; nothing in the file is executed.

    Raises:
        TrainingError: the file is not a whole checkpoint.
    """
    try:
        content = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:
        raise TrainingError(
            f"{path} is not a whole checkpoint ({error}); remove it to resume from the one before"
        ) from (error)
    if not isinstance(content, dict) or content.get("format") != FORMAT or content.keys() - _LATER_ENTRIES != _ENTRIES:
        raise TrainingError(f"{path}: expected a checkpoint of format {FORMAT!r}, received something else; remove it")
    plateau = Plateau(**content.pop("plateau", {}))
    return Checkpoint(**{name: content[name] for name in _ENTRIES - {"format"}}, plateau=plateau)


def rng_state(device: torch.device) -> dict[str, Tensor]:
    """State of the generators that a step on a device may draw from."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states[str(device)] = torch.cuda.get_rng_state(device)
    return states


@contextmanager
def own_dice(seed: int, device: torch.device) -> Iterator[None]:
    """Generators that begin with a seed inside the block, as torch's layers draw from them; the caller's stay."""
    cuda = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if cuda else []):
        torch.default_generator.manual_seed(seed)
        if cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield


def restore_rng(states: Mapping[str, Tensor], device: torch.device) -> None:
    """Put the generators back; those of devices that are not there are left out."""
    torch.set_rng_state(states["cpu"].cpu())
    if str(device) in states:
        torch.cuda.set_rng_state(states[str(device)].cpu(), device)
