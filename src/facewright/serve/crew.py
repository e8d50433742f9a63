"""A bounded queue before processes that take what came together."""

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from facewright.errors import FacewrightError
from facewright.workers import Head, LostProcessError, Work, Worker

GATHER_S = 0.005
"""Seconds that an idle process waits for more requests after the first."""

_IDLE_S = 1.0
_REST_S = 5.0

Answered = tuple[Head, bytes]


class FullError(FacewrightError):
    """There are as many requests inside as may be."""


class WaitedTooLongError(FacewrightError):
    """A request's turn did not come in time."""


@dataclass(eq=False)
class _Request:
    job: Any
    answer: Future[Answered] = field(default_factory=Future)
    since: float = field(default_factory=time.monotonic)


class Crew:
    """Processes, each with a thread of this one that brings it what waits.

    Args:
        load: picklable; makes the work, in each process.
        workers: processes.
        threads: of the processor, for each (``Worker``).
        together: most jobs that a process takes at once.
        most: requests that may be inside, waiting or in work.
        limit_s: seconds that work on a request may take, and that it may wait for its turn.
    """

    def __init__(
        self,
        load: Callable[[], Work],
        *,
        workers: int = 1,
        threads: int | None = 1,
        together: int = 8,
        most: int = 32,
        limit_s: float = 60.0,
    ) -> None:
        self.together, self.most, self.limit_s = together, most, limit_s
        self.inside = 0
        self.lost: Counter[str] = Counter()
        self.sizes: Counter[int] = Counter()
        self._seconds_each = 1.0
        self._waiting: deque[_Request] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._workers = [Worker(load, threads=threads, limit_s=limit_s) for _ in range(workers)]
        self._threads = [threading.Thread(target=self._attend, args=(worker,)) for worker in self._workers]

    def start(self) -> None:
        """Load the work in all processes.

        Raises:
            FacewrightError: as loading; no process is left.
        """
        try:
            for worker in self._workers:
                worker.start()
        except BaseException:
            self._end_workers()
            raise
        for thread in self._threads:
            thread.start()

    @property
    def facts(self) -> Head:
        """Of the work."""
        return self._workers[0].facts

    @property
    def ready(self) -> int:
        """Processes that are there."""
        return sum(worker.pid is not None for worker in self._workers)

    @property
    def pids(self) -> list[int]:
        """Of the processes."""
        return [worker.pid for worker in self._workers if worker.pid is not None]

    @property
    def replaced(self) -> int:
        """Processes that took the place of lost ones."""
        return sum(max(0, worker.starts - 1) for worker in self._workers)

    @property
    def waiting(self) -> int:
        """Requests whose turn has not come."""
        return len(self._waiting)

    @property
    def retry_after_s(self) -> int:
        """Seconds after which there may be room again, by what requests took lately."""
        return min(120, max(1, round(self._seconds_each * self.inside / len(self._workers))))

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Room for one request while the block runs. For one thread: the service's loop.

        Raises:
            FullError: there is none.
        """
        if self._closing or self.inside >= self.most:
            raise FullError(f"expected fewer than {self.most} requests at a time; try again later")
        self.inside += 1
        try:
            yield
        finally:
            self.inside -= 1

    def submit(self, job: Any) -> Future[Answered]:
        """Queue a job; one that is cancelled before its turn costs nothing.

        The answer is its head and body, or a LostProcessError, a WaitedTooLongError, or what loading raised.
        """
        request = _Request(job)

        def forget(answer: Future[Answered]) -> None:
            if answer.cancelled():  # a client that has gone leaves no picture behind
                with self._changed, suppress(ValueError):
                    self._waiting.remove(request)

        request.answer.add_done_callback(forget)
        with self._changed:
            self._waiting.append(request)
            self._changed.notify()
        return request.answer

    def close(self) -> None:
        """End the processes, whatever they do; what waits is told so."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._end_workers()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()
        for request in list(self._waiting):
            if request.answer.set_running_or_notify_cancel():
                request.answer.set_exception(FullError("the service is ending"))
        for worker in self._workers:
            worker.end()

    def _end_workers(self) -> None:
        for worker in self._workers:
            worker.close()

    def _attend(self, worker: Worker) -> None:
        """The thread of one process."""
        while not self._closing:
            try:
                worker.start()  # also where it died while it was idle
            except FacewrightError:
                with self._changed:
                    self._changed.wait_for(lambda: self._closing, _REST_S)
            batch = self._next()
            if batch:
                self._settle(worker, batch)
        worker.end()

    def _settle(self, worker: Worker, batch: list[_Request]) -> None:
        self.sizes[len(batch)] += 1
        start, starts = time.monotonic(), worker.starts
        for number, head, body in worker.settled([request.job for request in batch]):
            answer = batch[number].answer
            if isinstance(head, FacewrightError):
                answer.set_exception(head)
                self.lost["overdue" if isinstance(head, LostProcessError) and head.overdue else "died"] += 1
            else:
                answer.set_result((head, body))
        if worker.starts == starts:
            self._seconds_each += 0.1 * ((time.monotonic() - start) / len(batch) - self._seconds_each)

    def _next(self) -> list[_Request]:
        """What came together, up to as many as a process takes; nothing for a while: none."""
        with self._changed:
            if not self._waiting:
                self._changed.wait(_IDLE_S)
            if self._waiting and len(self._waiting) < self.together:
                self._changed.wait_for(lambda: len(self._waiting) >= self.together, GATHER_S)
            batch: list[_Request] = []
            while self._waiting and len(batch) < self.together and not self._closing:
                request = self._waiting.popleft()
                if not request.answer.set_running_or_notify_cancel():
                    continue  # nobody waits for it any more
                if time.monotonic() - request.since > self.limit_s:
                    request.answer.set_exception(WaitedTooLongError("its turn did not come in time; try again later"))
                    continue
                batch.append(request)
            return batch
