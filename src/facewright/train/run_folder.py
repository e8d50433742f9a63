"""The folder of a run: what was asked for, what happened, and where it stands.

``config.json`` (resolved settings), ``run.json`` (seed; commit and versions of each session), ``log.jsonl`` (a line per
logged step), ``checkpoints/``, ``sheets/``, ``tensorboard/`` and ``weights.safetensors`` (usable at any time).
"""

import json
import math
import platform
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from facewright.errors import TrainingError
from facewright.files import written_whole
from facewright.provenance import source_commit
from facewright.train.checkpoint import list_checkpoints, step_of
from facewright.train.settings import TrainSettings, differing, read_settings, settings_json


@dataclass(frozen=True)
class RunFolder:
    """Paths of a run.

    Attributes:
        path: the folder.
    """

    path: Path

    @property
    def config(self) -> Path:
        """Resolved settings."""
        return self.path / "config.json"

    @property
    def log(self) -> Path:
        """One JSON object a line."""
        return self.path / "log.jsonl"

    @property
    def checkpoints(self) -> Path:
        """Folder of checkpoints."""
        return self.path / "checkpoints"

    @property
    def weights(self) -> Path:
        """The network so far."""
        return self.path / "weights.safetensors"

    @property
    def last_checkpoint(self) -> Path | None:
        """The newest checkpoint."""
        found = list_checkpoints(self.checkpoints)
        return found[-1] if found else None


def open_run(path: Path, settings: TrainSettings[Any], *, resume: bool) -> RunFolder:
    """Make the folder of a run, or go on in one.

    Args:
        path: of the folder.
        settings: of the run.
        resume: go on from the newest checkpoint, or start where there is none.

    Raises:
        TrainingError: the folder holds something and ``resume`` is not asked for; or the run there has other settings.
    """
    folder = RunFolder(path)
    if path.exists() and not path.is_dir():
        raise TrainingError(f"expected a folder as --out, found a file at {path}; choose another --out")
    if path.is_dir() and any(path.iterdir()) and not resume:
        raise TrainingError(f"{path} holds something already; go on there with --resume, or choose another --out")
    if folder.config.is_file():
        before = read_settings(folder.config, type(settings.network))
        if changed := differing(before, settings):
            raise TrainingError(
                f"{path} was trained with other settings ({', '.join(changed)}); give the same ones to --resume, or "
                "choose another --out"
            )
    with written_whole(folder.config) as temporary:
        temporary.write_text(settings_json(settings), encoding="utf-8")
    _record_session(folder, settings.seed)
    return folder


def _record_session(folder: RunFolder, seed: int) -> None:
    """Add to ``run.json`` which code goes on from which step."""
    path, sessions = folder.path / "run.json", []
    if path.is_file():
        with suppress(ValueError, KeyError, TypeError, RecursionError):  # it informs people; nothing depends on it
            sessions = list(json.loads(path.read_text(encoding="utf-8"))["sessions"])
    facts = {"commit": source_commit(), "torch": torch.__version__, "machine": platform.machine()}
    sessions.append({"from_step": step_of(folder.last_checkpoint), **facts})
    with written_whole(path) as temporary:
        temporary.write_text(json.dumps({"seed": seed, "sessions": sessions}, indent=2) + "\n", encoding="utf-8")


def append_log(path: Path, line: Mapping[str, Any]) -> None:
    """Add a line to a log; numbers that JSON has not become null."""
    text = json.dumps(_plain(line), allow_nan=False)
    with path.open("a", encoding="utf-8") as file:
        file.write(text + "\n")


def cut_log(path: Path, step: int) -> None:
    """Remove the lines of a step and all later ones: they will be made again. A half-written line goes too."""
    if not path.is_file():
        return
    kept = []
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            line = json.loads(text)
        except (ValueError, RecursionError):
            break
        if line["step"] >= step:
            break
        kept.append(text + "\n")
    with written_whole(path) as temporary:
        temporary.write_text("".join(kept), encoding="utf-8")


def read_log(path: Path) -> list[dict[str, Any]]:
    """All lines of a log."""
    return [json.loads(text) for text in path.read_text(encoding="utf-8").splitlines()]


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(entry) for name, entry in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
