"""Who hands batches of photos to processes: threads of this program, or Ray Data on this machine or a cluster.

Both take batches no faster than they are done, and answer in the order in which they are ready.
"""

import json
import queue
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from functools import partial
from importlib import import_module
from itertools import islice
from typing import Any, Protocol, runtime_checkable

from facewright.errors import FacewrightError, MissingExtraError
from facewright.scale.jobs import PhotoJob
from facewright.scale.sources import PhotoEntry
from facewright.workers import Head, Work, Worker

Batch = Sequence[PhotoJob]
Hire = Callable[[], Worker]

WAVE = 64
"""Batches a process that Ray Data is given at a time: what it has not begun is in memory."""


@dataclass(frozen=True)
class Outcome:
    """What became of one photo.

    Attributes:
        job: the photo.
        head: of the answer; None: the process that worked on it alone ended.
        body: of the answer: packed rows.
        lost: how it ended.
    """

    job: PhotoJob
    head: Head | None
    body: bytes = b""
    lost: str = ""


@runtime_checkable
class Engine(Protocol):
    """Batches in, outcomes out; as many of each photo."""

    def __call__(self, batches: Iterator[Batch], /) -> Iterator[list[Outcome]]:
        """Outcomes of batches, as they are ready."""
        ...


def hired(load: Callable[[], Work], *, threads: int | None, limit_s: float | None) -> Hire:
    """What makes processes."""
    return partial(Worker, load, threads=threads, limit_s=limit_s)


def outcomes(worker: Worker, batch: Batch) -> list[Outcome]:
    """A batch's outcomes by one process, which is replaced as often as it takes."""
    found = []
    for number, head, body in worker.settled(batch):
        lost = isinstance(head, FacewrightError)
        found.append(Outcome(batch[number], None if lost else head, body, str(head) if lost else ""))
    return found


class LocalEngine:
    """Processes on this machine, each with a thread of this program.

    Args:
        hire: makes processes.
        workers: how many.
        first: one that is there already.
    """

    def __init__(self, hire: Hire, *, workers: int = 1, first: Worker | None = None) -> None:
        self._idle: queue.SimpleQueue[Worker] = queue.SimpleQueue()
        self._all = [first or hire(), *[hire() for _ in range(workers - 1)]]
        for worker in self._all:
            self._idle.put(worker)

    def __call__(self, batches: Iterator[Batch]) -> Iterator[list[Outcome]]:
        """See ``Engine``."""
        ahead = 2 * len(self._all)
        running: set[Future[list[Outcome]]] = set()
        threads = ThreadPoolExecutor(len(self._all))
        try:
            for batch in batches:
                running.add(threads.submit(self._done, batch))
                while len(running) >= ahead:
                    ready, running = wait(running, return_when=FIRST_COMPLETED)
                    yield from (future.result() for future in ready)
            while running:
                ready, running = wait(running, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in ready)
        finally:
            for future in running:
                future.cancel()
            for worker in self._all:
                worker.close()
            threads.shutdown()
            for worker in self._all:
                worker.end()

    def _done(self, batch: Batch) -> list[Outcome]:
        worker = self._idle.get()
        try:
            return outcomes(worker, batch)
        finally:
            self._idle.put(worker)


class RayEngine:
    """Actors of Ray Data, each with a process of its own that may be killed without the actor.

    Args:
        load: makes the work, in each process.
        workers: actors.
        threads: of the processor, for each.
        limit_s: seconds that a batch may take.
        gpus: for each actor.
        address: of a cluster (``auto``, ``ray://host:10001``); None: this machine.

    Raises:
        MissingExtraError: Ray is not installed.
    """

    def __init__(
        self,
        load: Callable[[], Work],
        *,
        workers: int = 1,
        threads: int | None = 1,
        limit_s: float | None = None,
        gpus: float = 0.0,
        address: str | None = None,
    ) -> None:
        self._ray = _ray()
        self._workers, self._threads, self._gpus, self._address = workers, threads, gpus, address
        self._hire = hired(load, threads=threads, limit_s=limit_s)

    def __call__(self, batches: Iterator[Batch]) -> Iterator[list[Outcome]]:
        """See ``Engine``."""
        ray = self._ray
        cpus = float(self._threads or 1)
        here = self._address is None
        spare = {"num_cpus": int(self._workers * cpus) + 1} if here else {}
        ray.init(address="local" if here else self._address, log_to_driver=False, logging_level="ERROR", **spare)
        try:
            ray.data.DataContext.get_current().enable_progress_bars = False
            while wave := list(islice(batches, WAVE * self._workers)):
                told = ray.data.from_items([{"jobs": _told(batch)} for batch in wave], override_num_blocks=len(wave))
                done = told.map_batches(
                    _Actor,
                    fn_constructor_args=(self._hire,),
                    batch_size=1,
                    compute=ray.data.ActorPoolStrategy(size=min(self._workers, len(wave))),
                    num_cpus=cpus,
                    num_gpus=self._gpus,
                )
                for row in done.iter_rows():
                    yield _heard(row)
        finally:
            ray.shutdown()


class _Actor:
    """On whatever machine."""

    def __init__(self, hire: Hire) -> None:
        self._worker = hire()

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        done = [outcomes(self._worker, _jobs(str(told))) for told in batch["jobs"]]
        return {
            "told": [
                json.dumps([[asdict(each.job), each.head, each.lost] for each in some], ensure_ascii=True)
                for some in done
            ],
            "bodies": [[each.body for each in some] for some in done],
        }


def _told(batch: Batch) -> str:
    return json.dumps([asdict(job) for job in batch], ensure_ascii=True)


def _job(told: dict[str, Any]) -> PhotoJob:
    return PhotoJob(PhotoEntry(**told["entry"]), told["known"])


def _jobs(told: str) -> list[PhotoJob]:
    return [_job(each) for each in json.loads(told)]


def _heard(row: dict[str, Any]) -> list[Outcome]:
    heads = json.loads(row["told"])
    return [
        Outcome(_job(job), head, bytes(body), lost)
        for (job, head, lost), body in zip(heads, row["bodies"], strict=True)
    ]


def _ray() -> Any:
    try:
        ray: Any = import_module("ray")
        import_module("ray.data")
    except ImportError as error:
        raise MissingExtraError(
            "--engine ray expects the package ray, which is not installed: pip install 'facewright[scale]'; "
            "--engine local works without it"
        ) from error
    return ray
