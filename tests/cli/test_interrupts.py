"""A run that is ended from outside: what was done is in the report, and ``--resume`` does the rest alone."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from facewright.assets import embedded_path
from tests.cli.conftest import Run

PORTRAIT = embedded_path("photos/astronaut.jpg")
PHOTOS = 4
FIVE = "203 101\n246 103\n224 127\n202 140\n245 141\n"
STALLING = """
import sys, time
from pathlib import Path
from facewright.cli import main
from facewright.pipeline import batch

read, last = batch.read_photo, sys.argv.pop(1)

def read_photo(path, **options):
    if path.stem == last:
        Path(last).touch()
        time.sleep(60)
    return read(path, **options)

one_by_one = batch._in_batches
batch.read_photo = read_photo
batch._in_batches = lambda inputs, most: one_by_one(inputs, most=1)
sys.exit(main(sys.argv[1:]))
"""
"""The program, but at one photo it stands still."""


def ended(command: tuple[str, ...], how: signal.Signals, *, at: str, folder: Path) -> tuple[int, str]:
    """Exit code and stderr of the program, to which a signal is sent when it is at a photo."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    program = [sys.executable, "-c", STALLING, at, *command]
    pipe = subprocess.PIPE
    with subprocess.Popen(program, stdout=pipe, stderr=pipe, text=True, env=environment, cwd=folder) as running:
        while not (folder / at).exists() and running.poll() is None:
            time.sleep(0.02)
        running.send_signal(how)
        _, err = running.communicate(timeout=60)
        return running.returncode, err


def document(out: Path) -> dict[str, Any]:
    return json.loads((out / "report.json").read_text(encoding="utf-8"))


@pytest.fixture
def command(tmp_path: Path) -> tuple[str, ...]:
    """Quick work on a few photos, with points given."""
    photos = tmp_path / "in"
    photos.mkdir()
    for k in range(PHOTOS):
        (photos / f"{k}.jpg").write_bytes(PORTRAIT.read_bytes())
        (photos / f"{k}.txt").write_text(FIVE)
    quick = ("--weights", "fast", "--refine", "0", "--landmarks", str(photos), "--formats", "json")
    return ("reconstruct", str(photos), *quick, "--out", str(tmp_path / "out"))


def assert_resumed(run: Run, command: tuple[str, ...], out: Path, *, kept: set[str]) -> None:
    """The rest is done, and what was done is not done again."""
    before = {name: (out / name).stat().st_mtime_ns for name in kept}
    done = run(*command, "--resume", "--quiet")
    assert (done.code, done.err) == (0, "")
    report = document(out)
    assert [Path(result["input"]).name for result in report["results"]] == [f"{k}.jpg" for k in range(PHOTOS)]
    assert report["done"] == PHOTOS
    assert {name: (out / name).stat().st_mtime_ns for name in kept} == before
    assert sorted(path.name for path in out.iterdir()) == [
        *(f"{k}.json" for k in range(PHOTOS)),
        "report.html",
        "report.json",
    ]


def test_a_terminated_run_keeps_what_was_done(run: Run, command: tuple[str, ...], tmp_path: Path) -> None:
    out = tmp_path / "out"
    code, err = ended(command, signal.SIGTERM, at="2", folder=tmp_path)
    assert (code, err.strip()) == (1, "terminated; what was done before is kept")
    assert [result["status"] for result in document(out)["results"]] == ["done", "done"]
    assert not (out / "report.jsonl").exists()
    assert_resumed(run, command, out, kept={"0.json", "1.json"})


@pytest.mark.slow
def test_a_killed_run_goes_on_where_it_was(run: Run, command: tuple[str, ...], tmp_path: Path) -> None:
    out = tmp_path / "out"
    ended(command, signal.SIGTERM, at="1", folder=tmp_path)
    code, _ = ended((*command, "--resume"), signal.SIGKILL, at="3", folder=tmp_path)
    assert code == -signal.SIGKILL
    assert [result["status"] for result in document(out)["results"]] == ["done"]  # never emptied
    assert_resumed(run, command, out, kept={"0.json", "1.json", "2.json"})


def test_the_signal_is_given_back(run: Run, tmp_path: Path) -> None:
    """To programs that call the command line as a function."""
    before = signal.getsignal(signal.SIGTERM)
    run("weights", "info", tmp_path / "absent")
    assert signal.getsignal(signal.SIGTERM) is before
