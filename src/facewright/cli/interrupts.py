"""A program that is asked to end: what was done is kept, whoever asks."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn


class TerminatedError(KeyboardInterrupt):
    """SIGTERM, as queues and time limits send it."""


@contextmanager
def termination_interrupts() -> Iterator[None]:
    """While the block runs, SIGTERM raises ``TerminatedError`` where SIGINT would raise KeyboardInterrupt."""
    if threading.current_thread() is not threading.main_thread():  # others may not listen to signals
        yield
        return

    def stop(*_: object) -> NoReturn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough: what is done is being written down
        raise TerminatedError

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
