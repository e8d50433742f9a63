"""Whoever types options of Deng's programs is told ours."""

import re
from pathlib import Path

import pytest

from facewright.cli.official_options import OFFICIAL_OPTIONS
from tests.cli.conftest import Run


@pytest.mark.parametrize("written", ["--w_feat", "--w-feat", "--w_feat=0.2"])
def test_official_names_are_answered_with_ours(written: str, run: Run, tmp_path: Path) -> None:
    done = run("train", "rnet", "--data", "photos", "--out", tmp_path / "run", written, "0.2")
    assert done.code == 2
    assert "did you mean --perceptual?" in done.err
    assert not (tmp_path / "run").exists()


def test_names_that_are_the_same_are_understood(run: Run, tmp_path: Path) -> None:
    done = run("train", "rnet", "--data", "nowhere", "--out", tmp_path / "run", "--batch_size", "0")
    assert "expected --batch-size of at least 1" in done.err


def test_every_name_that_is_recommended_is_an_option_and_no_official_one_is(run: Run) -> None:
    options = set(re.findall(r"--[a-z][a-z0-9-]*", run("train", "rnet", "--help").out))
    recommended = {name for ours in OFFICIAL_OPTIONS.values() for name in re.findall(r"--[a-z-]+", ours)}
    assert recommended <= options
    assert not {f"--{name.replace('_', '-')}" for name in OFFICIAL_OPTIONS} & options
