"""What the library warns of reaches the terminal, once, in a line; of other libraries errors alone."""

import logging
from pathlib import Path

import pytest
from PIL import Image

from facewright.assets import embedded_path
from tests.cli.conftest import Run

PORTRAIT = embedded_path("photos/astronaut.jpg")
FIVE = "203 101\n246 103\n224 127\n202 140\n245 141\n"


@pytest.mark.parametrize("quiet", [(), ("--quiet",)])
def test_warnings_are_shown_once_and_quiet_hides_none(run: Run, tmp_path: Path, quiet: tuple[str, ...]) -> None:
    with Image.open(PORTRAIT) as opened:
        opened.convert("RGB").save(tmp_path / "film.gif", save_all=True, append_images=[Image.new("RGB", (512, 512))])
    (tmp_path / "film.txt").write_text(FIVE)
    quick = ("--weights", "fast", "--refine", "0", "--formats", "json", "--landmarks", tmp_path)
    done = run("reconstruct", tmp_path / "film.gif", "--out", tmp_path / "out", *quick, *quiet)
    assert done.code == 0
    assert done.err.splitlines() == [f"warning: '{tmp_path / 'film.gif'}' holds several pictures; the first is taken"]
    assert bool(done.out) == (not quiet)


def test_ours_are_warnings_and_others_are_errors(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def noisy(path: Path) -> None:
        logging.getLogger("facewright.somewhere").info("too much")
        logging.getLogger("facewright.somewhere").warning("two\nlines [red]")
        logging.getLogger("another").warning("not ours")
        logging.getLogger("another").error("it broke")
        raise KeyboardInterrupt

    monkeypatch.setattr("facewright.cli.weights.describe_weights", noisy)
    ended = run("weights", "info", tmp_path)
    assert ended.code == 1
    assert ended.err.splitlines() == [
        "warning: two lines [red]",
        "error: it broke",
        "interrupted; what was done before is kept",
    ]
    assert not any("Terminal" in type(handler).__name__ for handler in logging.getLogger().handlers)
