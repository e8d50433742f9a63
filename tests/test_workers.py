"""Processes that may be killed: nothing is lost but what killed them, and what they do truly ends."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from facewright.errors import FacewrightError, WeightsError
from facewright.workers import LostProcessError, Worker
from tests.toy_work import die_loading, load_toy_work, refuse_to_load


@pytest.fixture
def worker() -> Iterator[Worker]:
    made = Worker(load_toy_work, threads=None, limit_s=20.0)
    yield made
    made.end()
    assert made.pid is None


def by_number(worker: Worker, jobs: list[bytes]) -> dict[int, Any]:
    settled = list(worker.settled(jobs))
    found = {number: head if isinstance(head, FacewrightError) else body for number, head, body in settled}
    assert len(found) == len(settled)  # each once
    return found


def runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_jobs_come_back_and_those_that_kill_cost_the_others_nothing(worker: Worker, tmp_path: Path) -> None:
    note = tmp_path / "note"
    assert by_number(worker, [b"a", b"b"]) == {0: b"a", 1: b"b"}
    assert worker.facts == {"method": "toy", "weights": "", "face_model": ""}
    first = worker.pid
    found = by_number(worker, [b"a", b"note %s die" % os.fsencode(note), b"c"])
    assert (found[0], found[2]) == (b"a", b"c")
    assert isinstance(found[1], LostProcessError)
    assert "exit code 7" in str(found[1])
    assert not found[1].overdue
    assert len(set(note.read_text().splitlines())) == 2  # together, and once more alone
    assert worker.starts == 3
    assert worker.pid not in (None, first)


def test_work_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    worker, note = Worker(load_toy_work, threads=None, limit_s=0.3), tmp_path / "note"
    start = time.monotonic()
    (lost,) = by_number(worker, [b"note %s sleep 60" % os.fsencode(note)]).values()
    assert isinstance(lost, LostProcessError)
    assert lost.overdue
    assert time.monotonic() - start < 20
    assert not runs(int(note.read_text()))
    assert by_number(worker, [b"d"]) == {0: b"d"}
    worker.close()
    (lost,) = by_number(worker, [b"e"]).values()
    assert isinstance(lost, LostProcessError)
    worker.end()


def test_a_process_that_somebody_kills_is_replaced(worker: Worker) -> None:
    worker.start()
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGTERM)  # those are for whoever hired it
    os.kill(worker.pid, signal.SIGINT)
    assert by_number(worker, [b"a"]) == {0: b"a"}
    os.kill(worker.pid, signal.SIGKILL)
    assert by_number(worker, [b"a", b"b"]) == {0: b"a", 1: b"b"}


def test_what_loading_raises_comes_back_as_it_was() -> None:
    with pytest.raises(WeightsError, match="expected other weights"):
        Worker(refuse_to_load, threads=None).start()
    with pytest.raises(LostProcessError, match="exit code 3"):
        Worker(die_loading, threads=None).start()
