"""Processes that outlive their workers: a job that kills its process is named and left out."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import cv2
import torch

from facewright.errors import TrainingDataError

MOST_DEATHS_IN_A_ROW = 3
"""Processes that may die, one after the other, before they begin a job."""
_ONE_THREAD = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "OPENCV_FOR_THREADS_NUM",
)

Task = TypeVar("Task")
Answer = TypeVar("Answer")
Lost = dict[int, str]


class WorkerDied(TrainingDataError):
    """A process was killed, or crashed, while it worked on a job."""


def on_processes(
    work: Callable[[Task, Lost, Callable[[int], None]], Answer], tasks: Sequence[Task], workers: int
) -> Iterator[Answer]:
    """Do tasks on several processes; yields answers in the order in which they are ready.

    Processes end when the block that uses them is left, and when this process dies.

    Args:
        work: picklable; called with a task, the parts of it that killed a process (with how it ended), and a function
            to be told each part before it is begun.
        tasks: picklable.
        workers: processes, with one thread each.

    Raises:
        TrainingDataError: processes die before they begin anything.
    """
    waiting: list[tuple[Any, Lost]] = [(task, {}) for task in reversed(tasks)]
    busy: dict[Future[Any], _Worker] = {}
    answers: list[Any] = []
    deaths = 0
    with TemporaryDirectory(prefix="facewright-") as folder:
        idle = [_Worker(Path(folder) / str(number)) for number in range(min(workers, len(tasks)))]
        try:
            while waiting or busy:
                while waiting and idle:
                    worker = idle.pop()
                    busy[worker.give(work, *waiting.pop())] = worker
                yield from answers
                answers = []
                for future in wait(busy, return_when=FIRST_COMPLETED).done:
                    worker = busy.pop(future)
                    idle.append(worker)
                    try:
                        answers.append(future.result())
                        deaths = 0
                    except BrokenProcessPool:
                        deaths = deaths + 1 if worker.begun is None else 0
                        waiting.append(worker.without_the_culprit(deaths))
            yield from answers
        finally:
            for worker in (*idle, *busy.values()):
                worker.dismiss()


class _Worker:
    """One process in an executor of its own, whose death ends nobody else's work; hired again when it has died.

    Args:
        note: file in which the process says which part it is at.
    """

    def __init__(self, note: Path) -> None:
        self.note = note
        self.pool: ProcessPoolExecutor | None = None
        self.process: Any = None
        self.task: Any = None
        self.lost: Lost = {}

    def give(self, work: Callable[..., Any], task: Any, lost: Lost) -> Future[Any]:
        """Begin a task."""
        self.task, self.lost = task, lost
        self.note.write_text("")
        if self.pool is not None:
            return self.pool.submit(_attempt, work, task, lost, self.note)
        context = multiprocessing.get_context("spawn")  # alike on all systems, and safe where threads run
        self.pool = ProcessPoolExecutor(1, context, initializer=_settle)
        before = set(multiprocessing.active_children())
        with _one_thread_inherited():
            future = self.pool.submit(_attempt, work, task, lost, self.note)
        self.process = (set(multiprocessing.active_children()) - before).pop()
        return future

    @property
    def begun(self) -> int | None:
        """The part that the process is at."""
        text = self.note.read_text()
        return int(text) if text else None

    def without_the_culprit(self, deaths: int) -> tuple[Any, Lost]:
        """The task of a process that died, to be given to another."""
        self.dismiss()
        code = self.process.exitcode or 0
        ending = f"signal {-code}" if code < 0 else f"exit code {code}"
        if deaths >= MOST_DEATHS_IN_A_ROW:
            raise TrainingDataError(
                f"expected working processes, {deaths} in a row ended by {ending} before they began; in a script, call "
                "this under `if __name__ == '__main__':`, or work with one process"
            )
        return self.task, self.lost if self.begun is None else self.lost | {self.begun: ending}

    def dismiss(self) -> None:
        """End the process, whatever it does."""
        if self.pool is not None:
            self.process.terminate()
            self.pool.shutdown(cancel_futures=True)
            self.pool = None


def _attempt(work: Callable[..., Any], task: Any, lost: Lost, note: Path) -> Any:
    return work(task, lost, lambda part: note.write_text(str(part)) and None)


def _settle() -> None:
    """First deed of a process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever hired it ends it
    take_one_thread()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def take_one_thread() -> None:
    """For this whole process: pictures made by many processes are those made by one. For doors and workers only."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def _end_with_parent() -> None:
    """A killed parent cannot end its children; they would go on writing while the next run does."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextmanager
def _one_thread_inherited() -> Iterator[None]:
    """What a process started inside takes for its number of threads; read when its libraries load."""
    before = {name: os.environ.get(name) for name in _ONE_THREAD}
    os.environ.update(dict.fromkeys(_ONE_THREAD, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
