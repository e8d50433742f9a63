"""The command line as people use it: its exit code, and what it says."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from facewright.cli import main


@dataclass(frozen=True)
class Outcome:
    """What a command came to."""

    code: int | str | None
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


Run = Callable[..., Outcome]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """``run("decode", path, "--out", mesh)``."""

    def run_command(*arguments: str | Path) -> Outcome:
        code = exit_code([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return run_command


def exit_code(arguments: Sequence[str]) -> int | str | None:
    try:
        return main(arguments)
    except SystemExit as exit:  # the parser leaves on its own
        return exit.code
