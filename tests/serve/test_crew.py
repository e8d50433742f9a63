"""The bounded queue before the processes."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from contextlib import ExitStack

import pytest

from facewright.errors import WeightsError
from facewright.serve.crew import Crew, FullError, WaitedTooLongError
from facewright.workers import LostProcessError
from tests.toy_work import load_toy_work, refuse_to_load


@pytest.fixture
def hired() -> Iterator[Callable[..., Crew]]:
    with ExitStack() as crews:

        def hire(**settings: float) -> Crew:
            crew = Crew(load_toy_work, threads=None, **settings)  # pyright: ignore[reportArgumentType]
            crews.callback(crew.close)
            crew.start()
            return crew

        yield hire


def test_what_comes_together_is_done_together(hired: Callable[..., Crew]) -> None:
    crew = hired(together=4, limit_s=20.0)
    first = crew.submit(b"sleep 0.3")
    time.sleep(0.1)
    rest = [crew.submit(b"%d" % number) for number in range(6)]
    assert [answer.result()[1] for answer in rest] == [b"%d" % number for number in range(6)]
    assert first.result()[0]["faces"] == 1
    assert [answer.result()[0]["faces"] for answer in rest] == [4, 4, 4, 4, 2, 2]
    assert crew.sizes == {1: 1, 4: 1, 2: 1}


def test_a_job_that_kills_is_told_so_once_and_the_others_are_answered(hired: Callable[..., Crew]) -> None:
    crew = hired(limit_s=20.0)
    jobs = [crew.submit(job) for job in (b"sleep 0.2", b"a", b"die", b"b")]
    wait(jobs)
    assert [job.result()[1] for job in jobs if job.exception() is None] == [b"sleep 0.2", b"a", b"b"]
    assert isinstance(jobs[2].exception(), LostProcessError)
    assert (crew.lost, crew.ready) == ({"died": 1}, 1)
    assert crew.replaced == 2  # after it was tried together, and after it was tried alone


def test_what_nobody_waits_for_any_more_is_not_kept(hired: Callable[..., Crew]) -> None:
    crew = hired(together=1, limit_s=20.0)
    running, waiting = crew.submit(b"sleep 0.3"), crew.submit(b"never")
    time.sleep(0.1)
    assert crew.waiting == 1
    assert waiting.cancel()
    assert crew.waiting == 0
    assert not running.cancel()
    assert running.result()[1] == b"sleep 0.3"


def test_room_is_bounded_and_so_is_waiting(hired: Callable[..., Crew]) -> None:
    crew = hired(together=1, most=2, limit_s=0.4)
    with crew.entered(), crew.entered():
        assert crew.inside == 2
        with pytest.raises(FullError, match="fewer than 2"), crew.entered():
            pass
        assert 1 <= crew.retry_after_s <= 120
    assert crew.inside == 0
    slow, late = crew.submit(b"sleep 60"), crew.submit(b"a")
    time.sleep(0.1)
    overdue = slow.exception(20)
    assert isinstance(overdue, LostProcessError)
    assert overdue.overdue
    assert late.exception(20) is None or isinstance(late.exception(), WaitedTooLongError)


def test_the_end_comes_at_once_and_tells_those_who_wait() -> None:
    crew = Crew(load_toy_work, threads=None, together=1)
    crew.start()
    jobs = [crew.submit(b"sleep 60"), crew.submit(b"a")]
    time.sleep(0.2)
    start = time.monotonic()
    crew.close()
    assert time.monotonic() - start < 10
    assert isinstance(jobs[0].exception(0), LostProcessError)
    assert isinstance(jobs[1].exception(0), FullError | LostProcessError)
    assert crew.pids == []


def test_work_that_cannot_be_loaded_is_told_before_anything_is_answered() -> None:
    crew = Crew(refuse_to_load, threads=None)
    with pytest.raises(WeightsError):
        crew.start()
    crew.close()
