"""The training loop, on Lightning Fabric: one process or many, any precision, exactly resumable."""

import copy
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, cast, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from facewright.train.checkpoint import Checkpoint, restore_rng, rng_state
from facewright.train.course import Course, Losses, rows
from facewright.train.plateau import Plateau
from facewright.train.samples import TrainingBatch
from facewright.train.schedules import ema_decay_at, lr_factor, update_average
from facewright.train.settings import OptimizerSettings

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@runtime_checkable
class BatchSource(Protocol):
    """Where pictures come from: the same batches for the same steps, always."""

    def batches(self, from_step: int = 0) -> Iterator[TrainingBatch]:
        """This process's pictures of the given step and of all later ones, without end."""
        ...


@dataclass(frozen=True)
class StepReport:
    """What a step did.

    Attributes:
        step: its number, from 0.
        total: the weighted loss, mean over processes and parts.
        terms: unweighted, means over the pictures that took part; terms without pictures are left out.
        gradient_norm: before clipping.
        lr: learning rate of the heads.
        finite: whether loss and gradient were; if not, nothing was changed.
        skipped: steps so far that were not.
    """

    step: int
    total: float
    terms: dict[str, float]
    gradient_norm: float
    lr: float
    finite: bool
    skipped: int


class Answering(nn.Module):
    """A network that answers as its course says, with plain tensors, which is what wrappers of modules understand."""

    def __init__(self, net: nn.Module, course: Course) -> None:
        super().__init__()
        self.net = net
        self.course = course

    def forward(self, crops: Float[Tensor, "B 3 S S"]) -> tuple[Tensor, ...]:
        """The network's answer."""
        return self.course.answer(self.net, crops)


class Training:
    """A network on its way: weights, their average, the optimiser, and the number of the next step.

    Args:
        fabric: devices, processes and precision.
        course: what is trained, and for what.
        optimizer: settings of the steps.
        steps: of the whole run.
        accumulate: parts into which each process splits its pictures.
    """

    def __init__(
        self,
        fabric: "Fabric",
        course: Course,
        optimizer: OptimizerSettings,
        *,
        steps: int,
        accumulate: int = 1,
    ) -> None:
        self.fabric, self.course, self.net = fabric, course, course.net
        if fabric.world_size > 1 and fabric.device.type == "cuda":  # one batch for all, as in Deng's PyTorch program
            self.net = nn.SyncBatchNorm.convert_sync_batchnorm(self.net)
        self.settings, self.steps, self.accumulate = optimizer, steps, accumulate
        self.step, self.skipped, self.plateau = 0, 0, Plateau()
        # a fifth faster on CPUs in batches: the channels of a pixel lie together
        self.net.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] - missing from torch's stubs
        steps_of = make_optimizer(self.net, optimizer, course.in_trunk)
        self.module, self.optimizer = fabric.setup(Answering(self.net.train(), course), steps_of)
        self.average = copy.deepcopy(self.net).eval().requires_grad_(False) if optimizer.ema_decay > 0 else None

    @property
    def result(self) -> nn.Module:
        """The network to use: averaged where weights are averaged."""
        return self.net if self.average is None else self.average

    def take_step(self, batch: TrainingBatch) -> StepReport:
        """One optimiser step on this process's pictures; nothing changes if it is not finite."""
        settings, before = self.settings, [buffer.clone() for buffer in self.net.buffers()]
        lr = settings.lr * lr_factor(
            self.step,
            schedule=settings.schedule,
            steps=self.steps,
            warmup_steps=settings.warmup_steps,
            decay_every=settings.decay_every,
            decay_factor=settings.decay_factor,
            drops=self._drops(),
        )
        for group in self.optimizer.param_groups:
            group["lr"] = lr * group["lr_scale"]
        parts = list(split_batch(batch, self.accumulate))
        losses = [self._backward(part, last=part is parts[-1]) for part in parts]
        limit = settings.clip_norm if settings.clip_norm > 0 else torch.inf
        norm = nn.utils.clip_grad_norm_(self.net.parameters(), limit)
        total, terms = reduce_losses(self.fabric, losses, self.course.terms())
        finite = bool(norm.isfinite()) and total == total and abs(total) != torch.inf
        if finite:
            self.optimizer.step()
            if self.average is not None:
                decay = ema_decay_at(self.step, settings.ema_decay)
                update_average(self.average.parameters(), self.net.parameters(), decay)
                update_average(self.average.buffers(), self.net.buffers(), 0.0)
        else:
            self.skipped += 1
            for buffer, value in zip(self.net.buffers(), before, strict=True):
                buffer.copy_(value)
        self.optimizer.zero_grad()
        self.step += 1
        return StepReport(self.step - 1, total, terms, float(norm), lr, finite, self.skipped)

    def observe(self, validation_loss: float) -> None:
        """Tell what the loss on validation data is now; the first process alone does, for all."""
        settings = self.settings
        self.plateau = self.plateau.after(validation_loss, patience=settings.patience, least_gain=settings.least_gain)

    def checkpoint(self) -> Checkpoint:
        """The state as it is now."""
        return Checkpoint(
            self.step,
            self.skipped,
            self.net.state_dict(),
            {} if self.average is None else self.average.state_dict(),
            self.optimizer.state_dict(),
            rng_state(self.fabric.device),
            self.plateau,
        )

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint of the same settings."""
        self.step, self.skipped, self.plateau = checkpoint.step, checkpoint.skipped, checkpoint.plateau
        self.net.load_state_dict(checkpoint.net)
        if self.average is not None:
            self.average.load_state_dict(checkpoint.average)
        self.optimizer.load_state_dict(dict(checkpoint.optimizer))
        restore_rng(checkpoint.rng, self.fabric.device)

    def _drops(self) -> int:
        """How often the rate has fallen: as the first process, which sees the validation data, has counted."""
        if self.settings.schedule != "plateau" or self.fabric.world_size == 1:
            return self.plateau.drops
        counted = torch.tensor(self.plateau.drops, device=self.fabric.device)
        return int(cast(Tensor, self.fabric.broadcast(counted)))

    def _backward(self, part: TrainingBatch, *, last: bool) -> Losses:
        part = self.course.varied(part)
        with self.fabric.no_backward_sync(self.module, enabled=not last):
            outputs = self.module(part.crops)
            losses = self.course.losses(outputs, part)
            # every output takes part, if only with nothing: processes wait for the gradient of each weight
            idle = torch.stack([output.sum() for output in outputs]).sum() * 0.0
            self.fabric.backward((losses.total + idle) / self.accumulate)
        return replace(losses, total=losses.total.detach())


def run_steps(
    training: Training,
    source: BatchSource,
    *,
    on_step: Callable[[StepReport, TrainingBatch], None],
) -> None:
    """Take all steps that remain.

    Args:
        training: is moved on.
        source: of pictures.
        on_step: called after each step, with this process's pictures on its device.
    """
    batches = source.batches(training.step)
    while training.step < training.steps:
        batch = next(batches).to(training.fabric.device)
        on_step(training.take_step(batch), batch)


def make_optimizer(
    net: nn.Module, settings: OptimizerSettings, in_trunk: Callable[[str], bool]
) -> torch.optim.Optimizer:
    """Adam or AdamW: trunk and heads each with its own rate; biases and norms are not decayed."""
    groups: list[dict[str, Any]] = []
    for in_backbone in (True, False):
        for decayed in (True, False):
            chosen = [
                parameter
                for name, parameter in net.named_parameters()
                if in_trunk(name) == in_backbone and (parameter.dim() > 1) == decayed
            ]
            if chosen:
                scale = settings.backbone_lr_scale if in_backbone else 1.0
                decay = settings.weight_decay if decayed else 0.0
                groups.append({"params": chosen, "lr_scale": scale, "weight_decay": decay})
    kind = torch.optim.AdamW if settings.name == "adamw" else torch.optim.Adam
    return kind(groups, lr=settings.lr)


def split_batch(batch: TrainingBatch, parts: int) -> Iterator[TrainingBatch]:
    """Equal parts of a batch: every part has the same mixture of photographs and synthetic pictures."""
    everyone = torch.arange(len(batch))
    return (rows(batch, everyone[k::parts]) if parts > 1 else batch for k in range(parts))


def reduce_losses(fabric: "Fabric", losses: list[Losses], names: list[str]) -> tuple[float, dict[str, float]]:
    """Total and terms over all parts and processes, terms weighed by how many pictures took part."""
    zero = losses[0].total.new_zeros(())
    values = [torch.stack([part.total for part in losses]).mean()]
    values += [sum((p.terms[n].detach() * p.counts[n] for p in losses if n in p.terms), start=zero) for n in names]
    counts = [sum(part.counts.get(name, 0) for part in losses) for name in names]
    table = torch.stack([*values, *(zero + count for count in counts)])
    if fabric.world_size > 1:
        table = cast(Tensor, fabric.all_reduce(table, reduce_op="mean"))
    total, *rest = table.tolist()
    sums, counted = rest[: len(names)], rest[len(names) :]
    return total, {name: value / n for name, value, n in zip(names, sums, counted, strict=True) if n > 0}


class Stopwatch:
    """Pictures per second since it was last asked."""

    def __init__(self) -> None:
        self._since, self._pictures = time.perf_counter(), 0

    def add(self, pictures: int) -> None:
        """Count pictures."""
        self._pictures += pictures

    def per_second(self) -> float:
        """The rate; counting starts anew."""
        now = time.perf_counter()
        rate = self._pictures / max(now - self._since, 1e-9)
        self._since, self._pictures = now, 0
        return rate
