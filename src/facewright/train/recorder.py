"""What a run writes while it trains: the log, TensorBoard, sheets of faces, checkpoints, weights."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from facewright.errors import MissingExtraError
from facewright.export.png import write_png
from facewright.regress.weights import WeightsCard, save_weights
from facewright.train.checkpoint import save_checkpoint
from facewright.train.course import rows
from facewright.train.loop import StepReport, Stopwatch, Training
from facewright.train.run_folder import RunFolder, append_log, cut_log
from facewright.train.samples import TrainingBatch
from facewright.train.settings import INSTALL, TrainSettings
from facewright.train.validation import Validated, Validation

SHEET_FACES = 6


@dataclass(frozen=True)
class LoggedStep:
    """A step as it is logged.

    Attributes:
        report: what it did.
        images_per_second: since the last logged step, over all processes, data and logging included.
    """

    report: StepReport
    images_per_second: float


class Recorder:
    """Writes what a run leaves behind; only the first process has one. Called after each step.

    Args:
        training: whose state is saved.
        settings: how often what is written.
        folder: of the run.
        card: of the weights.
        on_log: called at each logged step.
        validation: what nothing is learnt from; None: there is none.
        on_validation: called with its losses, at each checkpoint.
    """

    def __init__(
        self,
        training: Training,
        settings: TrainSettings[Any],
        folder: RunFolder,
        card: WeightsCard,
        on_log: Callable[[LoggedStep], None] | None,
        validation: Validation | None = None,
        on_validation: Callable[[Validated], None] | None = None,
    ) -> None:
        self.training, self.settings, self.folder, self.card = training, settings, folder, card
        self.on_log, self.watch = on_log, Stopwatch()
        self.validation, self.on_validation = validation, on_validation
        cut_log(folder.log, training.step)
        self.board = open_tensorboard(folder.path / "tensorboard", training.step)

    def __call__(self, report: StepReport, batch: TrainingBatch) -> None:
        """Log, draw and save what is due after a step."""
        settings, last = self.settings, report.step + 1 == self.settings.steps
        self.watch.add(settings.data.batch_size)
        if report.step % settings.log_every == 0 or last or not report.finite:
            self._log(report)
        if settings.sheet_every and (report.step % settings.sheet_every == 0 or last):
            self._draw(report.step, batch, "step", "faces")
        if (report.step + 1) % settings.checkpoint_every == 0 or last:
            if self.validation is not None:
                found = self._validate(self.validation, report.step)
                if (report.step + 1) % settings.checkpoint_every == 0:  # the same places, however long the run is
                    self.training.observe(found.total)
            self._save()

    def close(self) -> None:
        """Write what is buffered."""
        self.board.close()

    def _log(self, report: StepReport) -> None:
        logged = LoggedStep(report, self.watch.per_second())
        scalars = {"total": report.total, "gradient_norm": report.gradient_norm, "lr": report.lr}
        scalars |= {"images_per_second": logged.images_per_second, "skipped": report.skipped}
        append_log(self.folder.log, {"step": report.step, **scalars, "finite": report.finite, "terms": report.terms})
        for name, value in (scalars | report.terms).items():
            self.board.add_scalar(name, value, report.step)
        if self.on_log is not None:
            self.on_log(logged)

    def _validate(self, validation: Validation, step: int) -> Validated:
        """A line in the log, and a sheet, of faces that nothing is learnt from."""
        found = validation(self.training.result, step, self.training.fabric.device)
        append_log(self.folder.log, {"step": step, "validation": {"total": found.total, "terms": found.terms}})
        for name, value in ({"total": found.total} | found.terms).items():
            self.board.add_scalar(f"validation/{name}", value, step)
        self._draw(step, next(validation.batches()), "validation", "validation")
        if self.on_validation is not None:
            self.on_validation(found)
        return found

    def _draw(self, step: int, batch: TrainingBatch, stem: str, tag: str) -> None:
        some = rows(batch, torch.arange(min(SHEET_FACES, len(batch))))
        net, course = self.training.result, self.training.course
        was_training = net.training
        sheet = course.preview(net.eval(), some, f"{stem} {step}")
        net.train(was_training)
        if sheet is None:
            return
        write_png(self.folder.path / "sheets" / f"{stem}_{step:08d}.png", sheet)
        self.board.add_image(tag, sheet.cpu().numpy(), step)

    def _save(self) -> None:
        save_checkpoint(self.folder.checkpoints, self.training.checkpoint(), self.settings.keep_checkpoints)
        if self.training.skipped < self.training.step:  # else there is nothing that was trained
            save_weights(self.training.result, self.card, self.folder.weights)


def open_tensorboard(folder: Path, step: int) -> Any:
    """A writer of TensorBoard events from a step on.

    Raises:
        MissingExtraError: tensorboard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingExtraError(f"training expects tensorboard, which is not installed: {INSTALL}") from error
    return SummaryWriter(str(folder), purge_step=step or None)
