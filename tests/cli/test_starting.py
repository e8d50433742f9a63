"""What is asked for alone is loaded: help needs no network, and importing the package costs nothing."""

import inspect
import subprocess
import sys
from typing import get_origin

import pytest

import facewright
from facewright.cli import COMMANDS
from tests.cli.conftest import Run

SHOWING_HELP = """
import sys
import facewright
from facewright.cli import main

try:
    main(["--help"])
except SystemExit as left:
    assert left.code == 0
heavy = {"torch", "cv2", "scipy", "trimesh", "numba", "PIL"} & sys.modules.keys()
assert not heavy, heavy
import facewright.render.renderer  # which tells its package that there is a room of that name
assert facewright.render.__name__ == "render" and callable(facewright.render)
"""


def test_help_and_the_package_load_nothing_heavy() -> None:
    command = [sys.executable, "-W", "error", "-c", SHOWING_HELP]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("name", COMMANDS)
def test_the_table_says_what_the_command_says(name: str) -> None:
    command = COMMANDS[name]
    found = command.load([])
    described = inspect.getdoc(get_origin(found) or found)
    assert described is not None
    assert command.purpose == described.splitlines()[0]


def test_help_lists_every_command(run: Run) -> None:
    shown = run("--help")
    assert shown.code == 0
    assert all(name in shown.out for name in COMMANDS)


def test_what_is_not_public_is_not_there() -> None:
    assert set(facewright.__all__) <= set(dir(facewright))
    with pytest.raises(AttributeError, match="nonsense"):
        facewright.nonsense  # noqa: B018  # pyright: ignore[reportAttributeAccessIssue] - the look-up is the point
