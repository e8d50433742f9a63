"""What a run knows of the network that it trains: losses, what batches must hold, a picture, and nothing else."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Generic, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from facewright.records import CoefficientLayout, TensorRecord
from facewright.regress.weights import WeightsCard
from facewright.train.samples import TrainingBatch
from facewright.train.settings import Own, TrainSettings

Rows = TypeVar("Rows", bound=TensorRecord)


@dataclass(frozen=True)
class Losses:
    """The losses of a batch.

    Attributes:
        total: what is minimised: per picture the weighted sum of the terms that it takes part in, mean over the batch.
        terms: unweighted, each the mean over the pictures that take part, by names like ``weak/landmark``.
        counts: how many pictures took part in each.
    """

    total: Float[Tensor, ""]
    terms: dict[str, Float[Tensor, ""]]
    counts: dict[str, int]


@dataclass(frozen=True)
class BatchNeeds:
    """What a batch must hold.

    Attributes:
        begin: the course of a run: own settings, seed, device.
        crop_size: side of the crops, px.
        face_model: that truth must belong to; empty where none is looked at.
        face_model_edition: of its coefficients.
        layout: of that truth.
        view: how much more than the stored crop it shows, as a factor on its side.
        parts: what the pixels show must be known.
    """

    crop_size: int
    face_model: str = ""
    face_model_edition: int = 1
    layout: CoefficientLayout | None = None
    view: float = 1.0
    parts: bool = False


class Course(ABC):
    """A network that is being trained, with what it is trained for. All is made before the first step.

    Attributes:
        net: to train; of a kind in ``facewright.regress.kinds.KINDS``.
        needs: of each batch.
        card: of the weights, as far as the network knows: face model, licence, where it started (``recipe``).
    """

    net: nn.Module
    needs: BatchNeeds
    card: WeightsCard

    @abstractmethod
    def answer(self, net: nn.Module, crops: Float[Tensor, "B 3 S S"]) -> tuple[Tensor, ...]:
        """What a network (``net``, or its average) says of crops, as plain tensors: what wrappers understand."""

    @abstractmethod
    def losses(self, answer: tuple[Tensor, ...], batch: TrainingBatch) -> Losses:
        """The losses of an answer, which may come in half precision. Halves of a batch, averaged, give the whole's."""

    @abstractmethod
    def terms(self) -> list[str]:
        """Names of all terms that ``losses`` may give, in a fixed order."""

    @abstractmethod
    def preview(self, net: nn.Module, batch: TrainingBatch, heading: str) -> Float[Tensor, "3 H W"] | None:
        """A picture of how a network does on a few faces (on the CPU), sRGB-coded, 0..1; None: nothing to see."""

    def varied(self, batch: TrainingBatch) -> TrainingBatch:
        """What is learnt from instead of a batch: pictures changed at random, and their points with them.

        What is drawn comes from torch's own generator of the CPU: runs that are resumed go on with it.
        """
        return batch

    def in_trunk(self, parameter: str) -> bool:
        """Whether a parameter, by its name, is of the trunk, which has its own learning rate."""
        return parameter.startswith("backbone.")


@dataclass(frozen=True)
class Trainee(Generic[Own]):
    """A line of ``TRAINEES``.

    Attributes:
        purpose: one sentence for ``--help``.
        settings: class of its own settings, a frozen dataclass; each becomes an option of the command line.
        presets: whole runs to start from, by name.
        preset: the one that is taken if none is named.
        crop_size: side of the crops that a network of own settings sees, px.
        check: raises ``TrainingError`` for own settings that cannot be, before anything is loaded.
    """

    purpose: str
    settings: type[Own]
    presets: Mapping[str, TrainSettings[Own]]
    preset: str
    begin: Callable[[Own, int, torch.device], Course]
    crop_size: Callable[[Own], int]
    check: Callable[[Own], None] = lambda settings: None


def rows(record: Rows, ids: Int[Tensor, " N"]) -> Rows:
    """Some entries of a batched record."""
    picked: dict[str, Any] = {}
    for entry in fields(record):  # pyright: ignore[reportArgumentType] - every record is a dataclass, the mixin is not
        value = getattr(record, entry.name)
        if isinstance(value, Tensor):
            picked[entry.name] = value.index_select(0, ids.to(value.device))
        elif isinstance(value, TensorRecord):
            picked[entry.name] = rows(value, ids)
        elif isinstance(value, list) and value:
            picked[entry.name] = [value[k] for k in ids.tolist()]
    return replace(record, **picked)  # pyright: ignore[reportArgumentType] - as above
