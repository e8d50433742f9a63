"""Steps that may fail without costing anything but themselves."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from facewright.errors import FacewrightError

Result = TypeVar("Result")


def attempt(step: Callable[..., Result], *arguments: object) -> Result | FacewrightError:
    """What a step gives; or the error that it raises."""
    try:
        return step(*arguments)
    except FacewrightError as error:
        return error


@contextmanager
def timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    """Add what the block takes to the seconds of a stage."""
    start = time.perf_counter()
    try:
        yield
    finally:
        seconds[stage] = seconds.get(stage, 0.0) + time.perf_counter() - start
