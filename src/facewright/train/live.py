"""Batches of people who do not exist, drawn while a network is trained: no picture is seen twice, none is stored.

Like stored data (``loader``) an endless stream whose only state is the number of the step: seeds, jitter and so the
pictures depend on the run's seed and the step alone.
"""

import multiprocessing
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, fields
from itertools import count

import numpy as np
import torch
from torch import Tensor

from facewright.errors import TrainingDataError
from facewright.geometry.ibug68 import MIRROR_68
from facewright.records import PARTS, FaceCoefficients
from facewright.synthetic.plan import LIVE_SEED
from facewright.train.jitter import USUAL_JITTER, CropJitter, place_crop
from facewright.train.loop import BatchSource
from facewright.train.processes import take_one_thread
from facewright.train.samples import TrainingBatch, empty_points
from facewright.train.synthetic import Window, data_card, draw_windows, frame_people, open_cached_studio, window_parts

SCENES_PER_RUN = 2**40
"""Seeds that a run may use before it meets those of the next run seed."""
BATCHES_AHEAD = 2
"""Batches per worker that are drawn before they are asked for."""
_JITTER = 2  # stream of random numbers, as in the loader


@dataclass(frozen=True)
class LiveStream:
    """Endless batches, drawn; a pure function of the step. Picklable, so that other processes can draw.

    Attributes:
        batch_size: rows of a batch, over all processes.
        crop_size: side of the net's crops, px; they are drawn where they lie after jitter, and never resampled.
        face_model: who is drawn.
        per_person: pictures of each person in a batch, one after the other.
        seed: of the run.
        jitter: of the crops.
        rank: number of this process; it gets the rank-th part of every batch.
        world: number of processes.
        device: where to draw.
        view: how much more than its crops a net sees, as a factor on their sides.
        parts: say what the pixels show.
        workers: on the CPU, processes that draw ahead; 1: a thread; 0: none. On a GPU never more than a thread.

    Raises:
        TrainingDataError: a batch that does not divide among processes or persons; crops that are black beyond.
    """

    batch_size: int
    crop_size: int
    face_model: str = "open"
    per_person: int = 1
    seed: int = 0
    jitter: CropJitter = USUAL_JITTER
    rank: int = 0
    world: int = 1
    device: str = "cpu"
    workers: int = 0
    view: float = 1.0
    parts: bool = False

    def __post_init__(self) -> None:
        if self.batch_size % (self.world * self.per_person) or not 0 <= self.rank < self.world:
            raise TrainingDataError(
                f"expected rows of drawn pictures that {self.world} processes and {self.per_person} pictures of each "
                f"person divide evenly, received {self.batch_size}; change --batch-size or --shares"
            )
        if self.jitter.beyond != "photo":
            raise TrainingDataError(
                "expected --beyond photo for pictures that are drawn live (they go on beyond their crops), received "
                f"{self.jitter.beyond!r}; store them first (facewright train synthesize)"
            )

    def batches(self, from_step: int = 0) -> Iterator[TrainingBatch]:
        """Batches of this process from a step on, without end."""
        if self.workers == 0:
            yield from map(self.levels, count(from_step))
        pool, workers = self._pool()
        ahead: deque[Future[TrainingBatch]] = deque()
        try:
            for step in count(from_step):
                ahead.append(pool.submit(self.levels, step))
                if len(ahead) > BATCHES_AHEAD * workers:
                    yield ahead.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _pool(self) -> tuple[Executor, int]:
        if self.workers == 1 or torch.device(self.device).type != "cpu":
            return ThreadPoolExecutor(1, thread_name_prefix="drawing"), 1
        context = multiprocessing.get_context("spawn")
        return ProcessPoolExecutor(self.workers, context, initializer=take_one_thread), self.workers

    def batch(self, step: int) -> TrainingBatch:
        """This process's rows of one step's batch."""
        return self.levels(step).in_shares()

    def levels(self, step: int) -> TrainingBatch:
        """``batch`` with its pictures as bytes."""
        part = self.batch_size // self.world
        mine = range(self.rank * part, (self.rank + 1) * part)
        first = LIVE_SEED + self.seed * SCENES_PER_RUN + step * self.batch_size
        studio, card = open_cached_studio(self.face_model), data_card(self.crop_size, self.face_model)
        seeds = [first + row for row in mine]
        framed = frame_people(studio, seeds, self.crop_size, per_person=self.per_person, device=self.device)
        rng = np.random.default_rng((self.seed, _JITTER, step))
        normals, uniforms = rng.standard_normal((self.batch_size, 4)), rng.random(self.batch_size)
        places = [place_crop(card, self.crop_size, self.jitter, normals[i], uniforms[i], self.view) for i in mine]
        half = (self.crop_size - 1) / 2
        windows = [
            Window(
                (place.middle[0] - half * place.pitch, place.middle[1] - half * place.pitch), place.pitch, place.size
            )
            for place in places
        ]
        pictures = draw_windows(framed, windows)
        levels = np.stack(pictures).transpose(0, 3, 1, 2)
        marks = np.stack(
            [place.points(points, MIRROR_68) for place, points in zip(places, framed.landmarks, strict=True)]
        )
        dense, known = [empty_points(468)[0]] * part, framed.points is not None
        if framed.points is not None:
            own = np.arange(468)  # nobody is mirrored
            dense = [place.points(points, own) for place, points in zip(places, framed.points, strict=True)]
        shown = np.stack(window_parts(framed, windows, pictures)).transpose(0, 3, 1, 2) if self.parts else None
        return TrainingBatch(
            crops=torch.from_numpy(np.ascontiguousarray(levels)),
            skin=torch.zeros(part, self.crop_size, self.crop_size, dtype=torch.uint8),
            landmarks=torch.from_numpy(marks),
            landmark_weights=torch.ones(part, 68),
            points=torch.from_numpy(np.stack(dense)),
            point_weights=torch.full((part, 468), float(known)),
            truth=framed.truth,
            truth_known=torch.ones(part, dtype=torch.bool),
            keys=[f"scene-{seed}" for seed in seeds],
            persons=torch.tensor([plan.person for plan in framed.stage.plans]),
            parts=None if shown is None else torch.from_numpy(np.ascontiguousarray(shown)),
        )


@dataclass(frozen=True)
class JoinedSources:
    """Batches whose rows come from several sources, one after the other."""

    sources: tuple[BatchSource, ...]

    def batches(self, from_step: int = 0) -> Iterator[TrainingBatch]:
        """Batches of this process from a step on, without end."""
        streams = [source.batches(from_step) for source in self.sources]
        try:
            yield from map(joined_batch, *streams)  # pyright: ignore[reportArgumentType] - of one type
        finally:
            for stream in streams:
                stream.close()  # pyright: ignore[reportAttributeAccessIssue] - generators


def joined_batch(*batches: TrainingBatch) -> TrainingBatch:
    """The rows of several batches in one. Who is unknown stays so."""
    parts: dict[str, object] = {}
    for entry in fields(TrainingBatch):
        values = [getattr(batch, entry.name) for batch in batches]
        if entry.name == "parts":
            parts[entry.name] = _joined_parts(batches)
            continue
        if isinstance(values[0], Tensor):
            parts[entry.name] = torch.cat(values)
        elif isinstance(values[0], FaceCoefficients):
            parts[entry.name] = FaceCoefficients(
                *(torch.cat([getattr(value, part.name) for value in values]) for part in fields(FaceCoefficients))
            )
        else:
            parts[entry.name] = [key for value in values for key in value]
    return TrainingBatch(**parts)  # pyright: ignore[reportArgumentType] - its own fields


def _joined_parts(batches: tuple[TrainingBatch, ...]) -> Tensor | None:
    """What the pixels of several batches show: zeros, unknown, where one does not say it; None where none does."""
    if all(batch.parts is None for batch in batches):
        return None
    unknown = [batch.crops.new_zeros(len(batch), len(PARTS), *batch.crops.shape[2:]) for batch in batches]
    return torch.cat(
        [none if batch.parts is None else batch.parts for batch, none in zip(batches, unknown, strict=True)]
    )
