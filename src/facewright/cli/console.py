"""Where the command line prints: results on stdout, progress and failures on stderr."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import rich.progress
from rich.console import Console
from rich.markup import escape

from facewright.errors import FacewrightError

DONE, SOME_FAILED, WRONG_COMMAND = 0, 1, 2
"""Exit codes."""

out_console = Console()
error_console = Console(stderr=True)


class CommandError(FacewrightError):
    """The command line asks for something that cannot be."""


def say(text: object) -> None:
    """One plain line on stdout, never wrapped or coloured: programs read it too."""
    out_console.print(str(text), soft_wrap=True, markup=False, highlight=False)


def note(text: object) -> None:
    """One plain line on stderr: how work goes on, where no bar shows it."""
    error_console.print(str(text), soft_wrap=True, markup=False, highlight=False)


def complain(what: str, message: str) -> None:
    """One line on stderr."""
    error_console.print(f"[red]{escape(what)}[/red] {escape(message)}", soft_wrap=True)


def transient_progress(*, quiet: bool = False) -> rich.progress.Progress:
    """Bars on stderr that vanish when done; none where stderr is a file, or ``quiet``."""
    hidden = quiet or not error_console.is_terminal
    return rich.progress.Progress(console=error_console, transient=True, disable=hidden)


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[str, float], None]]:
    """A bar on stderr while the block runs; yields what moves it: a message and the fraction done, 0..1."""
    with transient_progress() as progress:
        task = progress.add_task(what, total=1.0)
        yield lambda message, fraction: progress.update(
            task, description=f"{what}: {escape(message)}", completed=fraction
        )
