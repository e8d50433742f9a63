"""What a fresh clone relies on: the Makefile's targets, the pinned versions, the gate."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PINS = {
    canonicalize_name(name): version
    for name, _, version in (
        line.partition("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line
    )
}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = {"core": PROJECT["dependencies"], **PROJECT["optional-dependencies"]}


@pytest.mark.parametrize("extra", EXTRAS)
def test_the_tested_versions_are_within_the_stated_ranges(extra: str) -> None:
    for requirement in map(Requirement, EXTRAS[extra]):
        pin = PINS.get(canonicalize_name(requirement.name))
        assert pin is not None, f"constraints.txt pins no {requirement.name}"
        assert requirement.specifier.contains(pin), f"{requirement} does not allow the tested {pin}"


def test_the_python_in_use_is_one_that_is_promised() -> None:
    from packaging.specifiers import SpecifierSet

    assert SpecifierSet(PROJECT["requires-python"]).contains("{}.{}.{}".format(*sys.version_info))


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_every_target_is_listed_with_its_purpose() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (phony,) = re.findall(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(
        ["make", "help"], cwd=ROOT, capture_output=True, text=True, env=environment, check=True, timeout=60
    )
    listed = {line.split()[0]: line.split(maxsplit=1)[1:] for line in done.stdout.splitlines()}
    assert set(listed) == set(phony.split())
    assert all(listed.values())
    assert {"demo", "test", "lint", "docs", "bench"} <= set(listed)


@pytest.mark.parametrize(("lint", "test"), [("true", "true"), ("false", "true"), ("true", "false")])
def test_the_gate_runs_the_linters_and_the_tests_and_both_count(tmp_path: Path, lint: str, test: str) -> None:
    gate = ROOT / ".ci" / "run"
    assert os.access(gate, os.X_OK)
    (tmp_path / ".ci").mkdir()
    shutil.copy(gate, tmp_path / ".ci")
    rules = f".venv/.dev:\n\t@echo installs\nlint:\n\t@echo lints; {lint}\ntest:\n\t@echo tests; {test}\n"
    (tmp_path / "Makefile").write_text(".PHONY: .venv/.dev lint test\n" + rules)
    alone = {name: value for name, value in os.environ.items() if name not in ("VENV", "MAKEFLAGS", "MAKELEVEL")}
    done = subprocess.run([tmp_path / ".ci" / "run"], env=alone, capture_output=True, text=True)
    assert (done.returncode == 0) == (lint == test == "true")
    said = done.stdout.splitlines()
    assert said[0] == "installs"
    assert said.index("tests") < said.index("lints")  # what the linters say is not mixed with the tests
