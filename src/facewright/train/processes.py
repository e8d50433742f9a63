"""A pool of processes that outlives its workers: a job that kills its process is named and left out."""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, TypeVar

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


class WorkerDied(TrainingDataError):
    """A process was killed, or crashed, while it worked on a job."""


@dataclass
class _Worker:
    """One process, and the task that it has."""

    process: SpawnProcess
    line: Connection
    task: Any = None
    begun: int | None = None
    lost: dict[int, str] = field(default_factory=dict)


def on_processes(
    work: Callable[[Task, dict[int, str], Callable[[int], None]], Answer], tasks: Sequence[Task], workers: int
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
    waiting = [(task, {}) for task in reversed(tasks)]
    team: list[_Worker] = []
    deaths = 0
    try:
        while waiting or any(worker.task is not None for worker in team):
            while waiting and len(team) < workers:
                team.append(_hired(work))
                _assign(team[-1], *waiting.pop())
            for line in wait([worker.line for worker in team if worker.task is not None]):
                worker = next(one for one in team if one.line is line)
                try:
                    kind, content = worker.line.recv()
                except (EOFError, OSError):
                    team.remove(worker)
                    deaths += worker.begun is None
                    waiting.append(_without_the_culprit(worker, deaths))
                    continue
                if kind == "begins":
                    worker.begun, deaths = content, 0
                    continue
                worker.task = None
                if kind == "failed":
                    raise content
                if waiting:
                    _assign(worker, *waiting.pop())
                yield content
    finally:
        for worker in team:
            worker.process.terminate()
            worker.line.close()
        for worker in team:
            worker.process.join()


def _hired(work: Callable[..., Any]) -> _Worker:
    context = multiprocessing.get_context("spawn")  # alike on all systems, and safe where threads run
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, work), daemon=True)
    with _one_thread_inherited():
        process.start()
    theirs.close()  # so that its death ends our line
    return _Worker(process, ours)


def _assign(worker: _Worker, task: Any, lost: dict[int, str]) -> None:
    worker.task, worker.begun, worker.lost = task, None, lost
    with suppress(OSError):  # it is dead already: its line says so when it is read
        worker.line.send((task, lost))


def _without_the_culprit(worker: _Worker, deaths: int) -> tuple[Any, dict[int, str]]:
    worker.process.join()
    code = worker.process.exitcode or 0
    ending = f"signal {-code}" if code < 0 else f"exit code {code}"
    if deaths >= MOST_DEATHS_IN_A_ROW:
        raise TrainingDataError(
            f"expected working processes, {deaths} in a row ended by {ending} before they began; in a script, call "
            "this under `if __name__ == '__main__':`, or work with one process"
        )
    return worker.task, worker.lost if worker.begun is None else worker.lost | {worker.begun: ending}


def _serve(line: Connection, work: Callable[..., Any]) -> None:
    """Life of a process: tasks come, answers go, until the line ends."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        while True:
            task, lost = line.recv()
            try:
                answer = ("done", work(task, lost, lambda part: line.send(("begins", part))))
            except Exception as error:  # noqa: BLE001 - it is raised where the work was asked for
                answer = ("failed", error)
            line.send(answer)
    except (EOFError, OSError, KeyboardInterrupt):
        return


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
