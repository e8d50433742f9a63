"""A process that owns something loaded once, does jobs together, and may be killed and replaced.

What strangers' bytes are decoded in is not trusted: answers come back as JSON and bytes, and nothing of them is
unpickled. A job that kills its process, or takes too long, costs the jobs beside it some time and nothing else.
"""

import json
import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any, Protocol, runtime_checkable

from facewright import errors
from facewright.errors import FacewrightError

START_LIMIT_S = 600.0
"""Seconds after which a process that has not loaded its work is given up."""

_END_S = 5.0
_log = logging.getLogger(__name__)

Head = dict[str, Any]
"""The JSON-able part of an answer."""


@runtime_checkable
class Work(Protocol):
    """What a process does, once it is loaded."""

    @property
    def facts(self) -> Head:
        """What is to be known of it, JSON-able."""
        ...

    def __call__(self, jobs: Sequence[Any], /) -> Iterable[tuple[int, Head, bytes]]:
        """Answers to jobs that came together, in any order, as they are ready: number of the job, head and body."""
        ...


class LostProcessError(FacewrightError):
    """The process that worked on a job is gone.

    Attributes:
        overdue: it was killed because it took too long; else it crashed, or somebody else ended it.
    """

    def __init__(self, how: str, *, overdue: bool = False) -> None:
        super().__init__(f"the process that worked on it ended: {how}")
        self.overdue = overdue


class Worker:
    """One process, started when it is needed and replaced when it is gone. For one thread at a time.

    Args:
        load: picklable; makes the work, in the process.
        threads: of the processor, for the process; None: as many as its libraries take.
        limit_s: seconds that jobs which are given together may take; None: as long as they want.
    """

    def __init__(self, load: Callable[[], Work], *, threads: int | None = 1, limit_s: float | None = None) -> None:
        self._load, self._threads, self._limit_s = load, threads, limit_s
        self._process: Any = None
        self._pipe: Connection | None = None
        self._overdue = threading.Event()
        self._closed = False
        self.facts: Head = {}
        self.starts = 0

    @property
    def pid(self) -> int | None:
        """Of the process; None while there is none."""
        process = self._process
        with suppress(AttributeError, ValueError):  # another thread may ask while it is reaped
            return process.pid if process.is_alive() else None
        return None

    def start(self) -> None:
        """See to it that there is a process and that its work is loaded.

        Raises:
            FacewrightError: what loading raised, of the same class; or the process did not come to that.
        """
        if self.pid is not None:
            return
        self._reap()
        if self._closed:
            raise LostProcessError("no more work is done")
        context = multiprocessing.get_context("spawn")  # alike on all systems, and safe where threads run
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_run, args=(theirs, self._load, self._threads), daemon=True)
        self._process.start()
        theirs.close()
        self.starts += 1
        with self._watched(START_LIMIT_S):
            try:
                said = json.loads(self._pipe.recv_bytes())
            except (EOFError, OSError, ValueError) as error:
                raise LostProcessError(self._reap(), overdue=self._overdue.is_set()) from error
        if "failed" in said:
            self._reap()
            raise _error_of(*said["failed"])
        self.facts = said["ready"]

    def answers(self, jobs: Sequence[Any]) -> Iterator[tuple[int, Head, bytes]]:
        """Do jobs together; answers as they come.

        Raises:
            FacewrightError: as ``start``.
            LostProcessError: the process ended before it had answered all.
        """
        self.start()
        assert self._pipe is not None
        with self._watched(self._limit_s):
            try:
                self._pipe.send(list(jobs))
                while "job" in (head := json.loads(self._pipe.recv_bytes())):
                    body = self._pipe.recv_bytes()
                    yield head.pop("job"), head, body
            except (EOFError, OSError, ValueError) as error:
                raise LostProcessError(self._reap(), overdue=self._overdue.is_set()) from error

    def settled(self, jobs: Sequence[Any]) -> Iterator[tuple[int, Head | FacewrightError, bytes]]:
        """Do jobs together, and those that a lost process leaves behind once more, each alone: every job is settled.

        Yields:
            Number of the job and its answer; or, of a job alone with which the process was lost, that error.
        """
        left = dict(enumerate(jobs))
        try:
            for number, head, body in self.answers(jobs):
                del left[number]
                yield number, head, body
        except FacewrightError as error:
            if len(jobs) == 1:
                yield from ((number, error, b"") for number in left)
                return
            _log.warning("%s; what it had not answered is done again, one by one", error)
        for number, job in left.items():
            for _, answer, body in self.settled([job]):
                yield number, answer, body

    def end(self) -> None:
        """End the process, whatever it does."""
        self._reap()

    def close(self) -> None:
        """End the process for good, from another thread than the one that works with it, which then finds it lost."""
        self._closed = True
        self._kill()

    def _kill(self) -> None:
        process = self._process
        with suppress(AttributeError, OSError, ValueError):  # it may be gone, or reaped at this moment
            process.kill()

    def _watched(self, limit_s: float | None) -> "_Watch":
        self._overdue.clear()
        return _Watch(limit_s, self._give_up)

    def _give_up(self) -> None:
        self._overdue.set()
        self._kill()

    def _reap(self) -> str:
        """No process and no pipe any more; how it ended."""
        process, pipe, self._process, self._pipe = self._process, self._pipe, None, None
        if pipe is not None:
            pipe.close()
        if process is None:
            return "it was not there"
        process.join(0.1)  # one that crashed has an exit code of its own
        if process.is_alive():
            process.kill()
        process.join(_END_S)
        code = process.exitcode
        process.close()
        if self._overdue.is_set():
            return "it took longer than it may"
        return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"


class _Watch:
    """Does something if the block takes too long."""

    def __init__(self, limit_s: float | None, late: Callable[[], None]) -> None:
        self._timer = None if limit_s is None else threading.Timer(limit_s, late)

    def __enter__(self) -> None:
        if self._timer is not None:
            self._timer.daemon = True
            self._timer.start()

    def __exit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()


def _error_of(name: str, message: str) -> FacewrightError:
    """An error of ours by the name of its class."""
    kind = getattr(errors, name, FacewrightError)
    return kind(message) if isinstance(kind, type) and issubclass(kind, FacewrightError) else FacewrightError(message)


def _take_threads(count: int) -> None:
    import cv2  # here: whoever hires processes need not load what they work with
    import torch

    torch.set_num_threads(count)
    cv2.setNumThreads(count)


def _run(pipe: Connection, load: Callable[[], Work], threads: int | None) -> None:
    """The process."""
    for asked in (signal.SIGINT, signal.SIGTERM):  # whoever hired it ends it
        signal.signal(asked, signal.SIG_IGN)
    if threads is not None:
        _take_threads(threads)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        work = load()
    except FacewrightError as error:
        pipe.send_bytes(json.dumps({"failed": [type(error).__name__, str(error)]}).encode())
        return
    pipe.send_bytes(json.dumps({"ready": work.facts}).encode())
    while True:
        try:
            jobs = pipe.recv()
        except (EOFError, OSError):
            return
        for number, head, body in work(jobs):
            pipe.send_bytes(json.dumps({"job": number, **head}).encode())
            pipe.send_bytes(body)
        pipe.send_bytes(b"{}")


def _end_with_parent() -> None:
    """A killed parent cannot end its children; they would go on working for nobody."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
