"""How a network does on faces that it does not learn from: always the same ones, as they are stored."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from facewright.records import CoefficientLayout
from facewright.train.course import Course
from facewright.train.jitter import NO_JITTER
from facewright.train.loader import BatchStream
from facewright.train.samples import TrainingBatch
from facewright.train.shards import DataSet


@dataclass(frozen=True)
class Validated:
    """Losses of data that nothing is learnt from.

    Attributes:
        step: after which.
        total: mean of what is minimised.
        terms: unweighted, each the mean over the pictures that took part.
    """

    step: int
    total: float
    terms: dict[str, float]


class Validation:
    """The pictures, and the losses of a network on them.

    Args:
        course: gives the losses.
        datasets: what is looked at; equal shares of each.
        batch_size: faces at once; fewer where there are fewer.
        batches: how many, at most.
        together: neighbours of the data that stay neighbours.
        layout: of the truth; None takes that of the data sets.

    Raises:
        TrainingDataError: as ``BatchStream``.
    """

    def __init__(
        self,
        course: Course,
        datasets: Sequence[DataSet],
        *,
        batch_size: int,
        batches: int,
        layout: CoefficientLayout | None = None,
        together: int = 1,
    ) -> None:
        faces = sum(len(data) for data in datasets)
        size = max(min(batch_size, faces), len(datasets))
        self.course, self.count = course, min(batches, -(-faces // size))
        crop_size = course.needs.crop_size
        self.stream = BatchStream(
            datasets,
            batch_size=size,
            crop_size=crop_size,
            layout=layout,
            jitter=NO_JITTER,
            together=together,
            view=course.needs.view,
        )

    def batches(self) -> Iterator[TrainingBatch]:
        """All of them, from the first."""
        return (self.stream.batch(number) for number in range(self.count))

    @torch.no_grad()
    def __call__(self, net: nn.Module, step: int, device: torch.device) -> Validated:
        """The losses of a network as it is used: its batch statistics and its mode stay as they were."""
        was_training = net.training
        net.eval()
        total, pictures, sums, counts = 0.0, 0, dict[str, float](), dict[str, int]()
        for batch in self.batches():
            losses = self.course.losses(self.course.answer(net, batch.crops.to(device)), batch.to(device))
            total, pictures = total + len(batch) * float(losses.total), pictures + len(batch)
            for name, value in losses.terms.items():
                sums[name] = sums.get(name, 0.0) + losses.counts[name] * float(value)
                counts[name] = counts.get(name, 0) + losses.counts[name]
        net.train(was_training)
        return Validated(step, total / pictures, {name: value / counts[name] for name, value in sums.items()})
