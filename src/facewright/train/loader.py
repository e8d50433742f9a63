"""Batches out of stored samples: an endless stream whose only state is the number of the step.

``BatchStream.batch(step)`` depends on the seed and the step alone, whatever was read before; so a run that goes on from
a checkpoint sees what the unbroken run would have seen, and processes that share a batch see together what one sees.
"""

import multiprocessing
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from functools import cache, lru_cache
from itertools import count
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray

from facewright.detect.landmarks import MESH_MIRROR
from facewright.errors import TrainingDataError
from facewright.geometry.ibug68 import MIRROR_68
from facewright.records import CoefficientLayout
from facewright.train.jitter import USUAL_JITTER, CropJitter, CropPlace, place_crop
from facewright.train.processes import take_one_thread
from facewright.train.samples import DataCard, TrainingBatch
from facewright.train.shards import DataSet, StoredGroup, decoded

WINDOW_GROUPS = 32
"""Row groups whose rows are mixed with each other (2,048 faces); twice as many are kept in memory, still coded."""
BATCHES_AHEAD = 2
"""Batches per worker that are made before they are asked for."""
_GROUPS, _ROWS, _JITTER, _TIMES = 0, 1, 2, 3  # streams of random numbers

_Rows = list[tuple[StoredGroup, int, DataCard]]


class ShuffledRows:
    """An endless order of a data set's rows, random access: every epoch all of them, each in another order.

    Row groups are shuffled, and rows among neighbouring groups: reading stays sequential in pieces of a megabyte.
    Where rows have shares, an epoch has as many places as before, and each row as many of them as its share says,
    rounded down or up by chance, so that over epochs it is exact.

    Args:
        data: what is read.
        seed: of the order.
        together: neighbouring rows that stay neighbours: pictures of one person, drawn one after the other.
        shares: of each row in an epoch, in the stored order, summing to their number; None: once each. Not with
            ``together``.
    """

    def __init__(
        self,
        data: DataSet,
        seed: tuple[int, ...],
        together: int = 1,
        shares: Float[ndarray, " N"] | None = None,
    ) -> None:
        self.data, self.seed, self.together = data, seed, together
        self._shares = shares
        self._begins = np.concatenate([[0], np.cumsum([rows for _, _, rows in data.groups])])
        self._ends = None if shares is None else np.round(np.cumsum(shares) * len(data) / np.sum(shares), 6)
        self._times = lru_cache(2)(self._times_shown)
        self._lock = threading.Lock()  # threads that need the same group shall read it once
        self._group = lru_cache(2 * WINDOW_GROUPS)(data.read_group)
        self._epoch = lru_cache(2)(self._shuffled_groups)
        self._window = lru_cache(4)(self._shuffled_rows)

    def __reduce__(self) -> tuple[Any, ...]:
        """Begun anew in other processes: caches and locks stay behind."""
        return ShuffledRows, (self.data, self.seed, self.together, self._shares)

    def rows(self, first: int, number: int) -> _Rows:
        """Rows by their place in the endless order."""
        with self._lock:
            found = [self._place(position) for position in range(first, first + number)]
            return [(self._group(group), row, self.data.card) for group, row in found]

    def _place(self, position: int) -> tuple[int, int]:
        epoch, offset = divmod(position, len(self.data))
        _, starts = self._epoch(epoch)
        window = int(np.searchsorted(starts, offset, side="right")) - 1
        group, row = self._window(epoch, window)[offset - starts[window]].tolist()
        return group, row

    def _shuffled_groups(self, epoch: int) -> tuple[Int[ndarray, " G"], Int[ndarray, " W"]]:
        sizes = np.add.reduceat(self._times(epoch), self._begins[:-1])
        order = np.random.default_rng((*self.seed, _GROUPS, epoch)).permutation(len(sizes))
        begins = np.concatenate([[0], np.cumsum(sizes[order])[:-1]])
        return order, begins[::WINDOW_GROUPS]

    def _times_shown(self, epoch: int) -> Int[ndarray, " N"]:
        """How often each row is shown."""
        if self._ends is None:
            return np.ones(len(self.data), np.int64)
        upto = np.floor(self._ends + np.random.default_rng((*self.seed, _TIMES, epoch)).random())
        return np.diff(upto, prepend=0.0).astype(np.int64)

    def _shuffled_rows(self, epoch: int, window: int) -> Int[ndarray, "N 2"]:
        groups = self._epoch(epoch)[0][window * WINDOW_GROUPS :][:WINDOW_GROUPS]
        begins, ends = self._begins[groups], self._begins[groups + 1]
        rows = np.concatenate([np.arange(end - begin) for begin, end in zip(begins, ends, strict=True)])
        places = np.stack([np.repeat(groups, ends - begins), rows], -1)
        places = np.repeat(places, self._times(epoch)[self._begins[places[:, 0]] + places[:, 1]], axis=0)
        rng, each = np.random.default_rng((*self.seed, _ROWS, epoch, window)), self.together
        order = rng.permutation(-(-len(places) // each))[:, None] * each + np.arange(each)
        return places[order[order < len(places)]]


class BatchStream:
    """Endless batches from one or more data sets, a pure function of the step.

    Args:
        datasets: what to mix; all with truth of the same face model, or without.
        shares: of each data set in every batch; equal if None. They are rounded to whole rows.
        row_shares: of each data set, how often each of its rows is shown in an epoch (``balanced_shares``); None: once.
        batch_size: rows of a batch, over all processes.
        crop_size: side of the net's crops, px; windows are resampled.
        layout: of the truth; None takes that of the data sets (photographs alone have none).
        seed: of order and jitter.
        jitter: of the crops.
        rank: number of this process; it gets rows rank, rank + world, ... of every batch.
        world: number of processes; divides ``batch_size``.
        workers: processes that make batches ahead; 1: a thread; 0 makes them when asked for.
        together: neighbouring rows of a data set that stay neighbours, in one process' share too.
        view: how much more than its crops a net sees, as a factor on their sides.

    Raises:
        TrainingDataError: data sets that cannot be mixed, are empty, or get no row of a batch.
    """

    def __init__(
        self,
        datasets: Sequence[DataSet],
        *,
        batch_size: int,
        crop_size: int,
        shares: Sequence[float] | None = None,
        row_shares: Sequence[Float[ndarray, " N"]] | None = None,
        layout: CoefficientLayout | None = None,
        seed: int = 0,
        jitter: CropJitter = USUAL_JITTER,
        rank: int = 0,
        world: int = 1,
        workers: int = 0,
        together: int = 1,
        view: float = 1.0,
    ) -> None:
        _check_kinds(datasets)
        known = layout or next((data.card.layout for data in datasets if data.card.layout), None)
        if known is None or batch_size % world or not 0 <= rank < world:
            raise TrainingDataError(
                "expected the layout of a face model where no data set has truth, and a batch that divides among the "
                f"processes; received {known}, {batch_size} rows for {world} processes, rank {rank}"
            )
        if any(data.card.layout not in (None, known) for data in datasets):
            raise TrainingDataError(f"expected truth of {known}, received {[d.card.layout for d in datasets]}")
        self.layout, self.counts = known, rows_of_shares(shares or [1.0] * len(datasets), batch_size)
        self.orders = [
            ShuffledRows(data, (seed, number), together, None if row_shares is None else row_shares[number])
            for number, data in enumerate(datasets)
        ]
        self.batch_size, self.crop_size, self.seed, self.jitter = batch_size, crop_size, seed, jitter
        self.rank, self.world, self.workers, self.together = rank, world, workers, together
        self.view = view

    def batches(self, from_step: int = 0) -> Iterator[TrainingBatch]:
        """Batches of this process from a step on, without end; pictures are bytes until they are ``to`` a device."""
        if self.workers == 0:
            yield from map(self.levels, count(from_step))
        pool, work = self._pool()
        ahead: deque[Future[TrainingBatch]] = deque()
        try:
            for step in count(from_step):
                ahead.append(pool.submit(work, step))
                if len(ahead) > BATCHES_AHEAD * self.workers:
                    yield ahead.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _pool(self) -> tuple[Executor, Callable[[int], TrainingBatch]]:
        """Threads would wait for each other: half of the work is the interpreter's."""
        if self.workers == 1:
            return ThreadPoolExecutor(1, thread_name_prefix="batches"), self.levels
        context = multiprocessing.get_context("spawn")
        return ProcessPoolExecutor(self.workers, context, initializer=_hold, initargs=(self,)), _levels_held

    def batch(self, step: int) -> TrainingBatch:
        """This process's rows of one step's batch.

        Raises:
            TrainingDataError: a shard is damaged.
        """
        return self.levels(step).in_shares()

    def levels(self, step: int) -> TrainingBatch:
        """``batch`` with its pictures as bytes.

        Raises:
            TrainingDataError: a shard is damaged.
        """
        rng = np.random.default_rng((self.seed, _JITTER, step))
        moves, uniforms = rng.standard_normal((self.batch_size, 3)), rng.random(self.batch_size)
        normals = np.concatenate([moves, rng.standard_normal((self.batch_size, 1))], 1)
        each = self.together if self.batch_size % (self.world * self.together) == 0 else 1
        mine = [i for i in range(self.batch_size) if i // each % self.world == self.rank]
        rows = self._rows(step)
        places = [place_crop(rows[i][2], self.crop_size, self.jitter, normals[i], uniforms[i], self.view) for i in mine]
        return _collated([rows[i] for i in mine], places, self.layout)

    def _rows(self, step: int) -> _Rows:
        """All rows of the batch, in an order that gives every process its share of every data set."""
        return [
            row
            for order, number in zip(self.orders, self.counts, strict=True)
            for row in order.rows(step * number, number)
        ]


@cache
def _held() -> list[BatchStream]:
    """What a process that makes batches makes them of, once it was told."""
    return []


def _hold(stream: BatchStream) -> None:
    take_one_thread()
    _held().append(stream)


def _levels_held(step: int) -> TrainingBatch:
    return _held()[0].levels(step)


def rows_of_shares(shares: Sequence[float], rows: int) -> list[int]:
    """Whole rows in proportion to shares; the largest remainders are rounded up.

    Raises:
        TrainingDataError: a share is not positive, or gets no row.
    """
    wanted = np.array(shares, np.float64) / sum(shares) * rows if sum(shares) > 0 else np.zeros(len(shares))
    counts = np.floor(wanted).astype(int)
    counts[np.argsort(counts - wanted, kind="stable")[: rows - counts.sum()]] += 1
    if (counts < 1).any() or min(shares) <= 0:
        raise TrainingDataError(
            f"expected positive shares that give every data set a row of {rows}, received {list(shares)}; "
            "take a larger batch, or leave a data set out"
        )
    return counts.tolist()


def _check_kinds(datasets: Sequence[DataSet]) -> None:
    empty = [str(data.folder) for data in datasets if not len(data)]
    if empty or not datasets:
        raise TrainingDataError(f"expected data sets with samples, received {empty or 'none'}; make them first")
    cards = [data.card for data in datasets]
    models = {f"{card.face_model}, edition {card.face_model_edition}" for card in cards if card.face_model}
    for what, named in {"template": {card.template for card in cards}, "face model": models}.items():
        if len(named) > 1:
            raise TrainingDataError(f"expected data sets of one {what}, received {sorted(named)}; train on one of them")


def _collated(rows: _Rows, places: list[CropPlace], layout: CoefficientLayout) -> TrainingBatch:
    number, size = len(rows), places[0].size
    crops, skin = np.zeros((number, size, size, 3), np.uint8), np.zeros((number, size, size), np.uint8)
    landmarks, points = np.zeros((number, 68, 2), np.float32), np.zeros((number, 468, 2), np.float32)
    weights_68, weights_468 = np.zeros((number, 68), np.float32), np.zeros((number, 468), np.float32)
    truth, known = np.zeros((number, layout.size), np.float32), np.zeros(number, bool)
    parts = np.zeros((number, size, size, 4), np.uint8) if any(card.parts for _, _, card in rows) else None
    for i, ((stored, row, card), place) in enumerate(zip(rows, places, strict=True)):
        side, key = card.crop_size + 2 * card.margin, stored.keys[row]
        crops[i] = place.picture(decoded(stored.windows[row], side, key), card.margin)
        if stored.skins[row]:
            skin[i] = place.picture(decoded(stored.skins[row], side, key, channels=1), card.margin)
        if parts is not None and stored.parts is not None:
            parts[i] = place.picture(decoded(stored.parts[row], side, key, channels=4), card.margin)
        landmarks[i] = place.points(stored.landmarks[row], MIRROR_68)
        points[i] = place.points(stored.points[row], _MESH_MIRROR)
        weights_68[i] = stored.landmark_weights[row][MIRROR_68] if place.mirrored else stored.landmark_weights[row]
        weights_468[i] = stored.point_weights[row][_MESH_MIRROR] if place.mirrored else stored.point_weights[row]
        if stored.truth is not None:
            truth[i], known[i] = stored.truth[row], True
    return TrainingBatch(
        crops=torch.from_numpy(np.ascontiguousarray(crops.transpose(0, 3, 1, 2))),
        skin=torch.from_numpy(skin),
        landmarks=torch.from_numpy(landmarks),
        landmark_weights=torch.from_numpy(weights_68),
        points=torch.from_numpy(points),
        point_weights=torch.from_numpy(weights_468),
        truth=layout.unpack(torch.from_numpy(truth)),
        truth_known=torch.from_numpy(known),
        keys=[stored.keys[row] for stored, row, _ in rows],
        persons=torch.tensor([int(stored.persons[row]) for stored, row, _ in rows]),
        parts=None if parts is None else torch.from_numpy(np.ascontiguousarray(parts.transpose(0, 3, 1, 2))),
    )


_MESH_MIRROR = np.array(MESH_MIRROR)
