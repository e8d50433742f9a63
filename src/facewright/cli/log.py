"""What the library notes on the way: warnings and errors, a line each, on stderr beside progress and failures."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from facewright.cli.console import complain

_OURS = "facewright"


class TerminalHandler(logging.Handler):
    """Shows our own warnings, and of other libraries errors alone."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether it is shown."""
        ours = record.name.partition(".")[0] == _OURS
        return record.levelno >= (logging.WARNING if ours else logging.ERROR) and super().filter(record) is not False

    def emit(self, record: logging.LogRecord) -> None:
        """One line; what nobody foresaw is followed by its trace."""
        message = " ".join(record.getMessage().splitlines())
        if record.exc_info:
            message += "\n" + logging.Formatter().formatException(record.exc_info)
        complain(f"{record.levelname.lower()}:", message)


@contextmanager
def log_on_terminal() -> Iterator[None]:
    """While the block runs."""
    root, handler = logging.getLogger(), TerminalHandler()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
