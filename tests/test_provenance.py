"""Tests of what says which program made a file."""

import re
import subprocess
from pathlib import Path

import pytest

import facewright
from facewright import provenance
from facewright.provenance import VERSION, source_commit

ROOT = Path(__file__).resolve().parents[1]


def test_the_commit_is_the_repository_s() -> None:
    assert facewright.__version__ == VERSION
    done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    expected = done.stdout.strip() if done.returncode == 0 else f"version {VERSION}"
    assert re.fullmatch(re.escape(expected) + r"(\+changes)?", source_commit())


def test_without_git_it_is_the_version(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> None:
        raise FileNotFoundError("git")

    monkeypatch.setattr(provenance.subprocess, "run", missing)
    assert source_commit() == f"version {VERSION}"
