"""``facewright train``: make training data; train networks on it."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro

from facewright.cli.console import DONE, error_console, say, transient_progress
from facewright.cli.train_data import TrainPrepare, TrainSynthesize
from facewright.train.loader import NO_JITTER
from facewright.train.recorder import LoggedStep
from facewright.train.rnet_training import train_rnet
from facewright.train.settings import RUN_PRESETS, Precision, RunPreset, TrainSettings, read_settings


@dataclass(frozen=True)
class TrainRnet:
    """Train an R-Net: hybrid-level weak supervision on photographs, truth on synthetic pictures.

    What is not given is as the preset has it. Under ``torchrun`` many processes train one network.
    """

    data: tuple[Path, ...]
    """Folders made by ``facewright train prepare`` and ``facewright train synthesize``."""
    out: Path
    """Run folder."""
    preset: RunPreset = "open"
    """Losses, network and schedule to start from."""
    config: Path | None = None
    """A run's config.json (edited or not) instead of a preset."""
    shares: tuple[float, ...] = ()
    """Share of each --data in a batch; equal shares if not given."""
    face_model: str | None = None
    """``open`` or the file of an imported model."""
    backbone: str | None = None
    """Trunk: resnet18, resnet50, mobilenet_v3_small, ..."""
    width: float | None = None
    """Factor on the trunk's channels."""
    crop_size: int | None = None
    """Side of the crops, px."""
    landmark_head: bool | None = None
    """Predict the 68 points directly too, with their uncertainty."""
    init: str | None = None
    """Weights file to start from, or ``dlib`` (real-face features for --backbone dlib_resnet29)."""
    batch_size: int | None = None
    """Pictures a step, over all processes and accumulated parts."""
    accumulate: int | None = None
    """Parts into which each process splits its pictures, for devices with little memory."""
    jitter: bool = True
    """Shift, resize and mirror crops as the preset says."""
    workers: int | None = None
    """Threads that read ahead, per training process."""
    steps: int | None = None
    """Optimiser steps."""
    lr: float | None = None
    """Learning rate of the heads."""
    backbone_lr_scale: float | None = None
    """The trunk's learning rate, as a factor of that."""
    optimizer: Literal["adam", "adamw"] | None = None
    """Optimiser."""
    schedule: Literal["constant", "cosine", "step"] | None = None
    """Course of the learning rate."""
    warmup_steps: int | None = None
    """Steps over which it rises."""
    weight_decay: float | None = None
    """Decay of filters and matrices."""
    clip_norm: float | None = None
    """Largest norm of the gradient; 0: not clipped."""
    ema_decay: float | None = None
    """Decay of the averaged weights; 0: none."""
    embedder: str | None = None
    """Recognition network of the perceptual term: ``dlib``, or a .pt or .onnx file."""
    weak_on_synthetic: bool | None = None
    """Weak terms for pictures with truth too (they need the renderer)."""
    precision: Precision | None = None
    """Of the network's forward pass."""
    seed: int | None = None
    """Of weights, order and jitter."""
    device: str | None = None
    """auto, cpu, cuda or cuda:N."""
    log_every: int | None = None
    """Steps between lines of the log."""
    sheet_every: int | None = None
    """Steps between sheets of pictures; 0: none."""
    checkpoint_every: int | None = None
    """Steps between checkpoints."""
    resume: bool = False
    """Go on in --out from its newest checkpoint; start where there is none."""

    def settings(self) -> TrainSettings:
        """The preset or file, with what was given on the command line.

        Raises:
            TrainingError: the file is not a run's configuration.
        """
        start = RUN_PRESETS[self.preset]
        if self.config is not None:
            start = read_settings(self.config)
        net = self._given("width", "crop_size", "landmark_head", "backbone")
        if self.init is not None:
            net["init"] = self.init
        elif net.get("backbone", start.net.backbone) != start.net.backbone:
            net["init"] = ""  # what the preset starts from fits its own trunk
        data = self._given("batch_size", "workers") | ({} if self.jitter else {"jitter": NO_JITTER})
        data |= {"folders": tuple(str(folder) for folder in self.data), "shares": self.shares}
        steps = self._given(
            "lr", "backbone_lr_scale", "schedule", "warmup_steps", "ema_decay", "weight_decay", "clip_norm"
        )
        if self.optimizer is not None:
            steps["name"] = self.optimizer
        whole = self._given("face_model", "steps", "precision", "accumulate", "seed", "device")
        return replace(
            start,
            **whole,
            **self._given("log_every", "sheet_every", "checkpoint_every"),
            net=replace(start.net, **net),
            data=replace(start.data, **data),
            objective=replace(start.objective, **self._given("weak_on_synthetic", "embedder")),
            optimizer=replace(start.optimizer, **steps),
        )

    def run(self) -> int:
        """Train."""
        settings = self.settings()
        first = os.environ.get("RANK", "0") == "0"  # of torchrun's processes
        with transient_progress(quiet=not first) as progress:
            task = progress.add_task("training", total=settings.steps)

            def show(logged: LoggedStep) -> None:
                progress.update(task, completed=logged.report.step + 1, description=describe(logged))
                if not logged.report.finite:
                    error_console.print(f"step {logged.report.step} was not finite and was skipped", markup=False)

            folder = train_rnet(settings, self.out, resume=self.resume, on_log=show)
        if first:
            say(f"trained  {folder.weights}")
        return DONE

    def _given(self, *names: str) -> dict[str, object]:
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}


def describe(logged: LoggedStep) -> str:
    """One line: losses and speed."""
    report = logged.report
    terms = " ".join(f"{name.partition('/')[2]} {value:.3g}" for name, value in report.terms.items())
    skipped = f", {report.skipped} skipped" if report.skipped else ""
    return f"{report.total:.4g} ({terms}) {logged.images_per_second:.0f} images/s{skipped}"


@dataclass(frozen=True)
class Train:
    """Make training data, train networks on it."""

    action: (
        Annotated[TrainRnet, tyro.conf.subcommand("rnet")]
        | Annotated[TrainPrepare, tyro.conf.subcommand("prepare")]
        | Annotated[TrainSynthesize, tyro.conf.subcommand("synthesize")]
    )

    def run(self) -> int:
        """Run the chosen one."""
        return self.action.run()
