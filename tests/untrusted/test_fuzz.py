"""Damaged files of every format: the program that makes and reads them finds nothing."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "benchmarks" / "fuzz_files.py"), *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=environment)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_nothing_but_our_own_errors() -> None:
    ended = run("--rounds", "300", "--seed", "1")
    last = ended.stdout.splitlines()[-1]
    assert ended.returncode == 0, ended.stdout[-5000:] + ended.stderr[-2000:]
    assert "300 rounds" in last
    assert "0 other exception, 0 crash, 0 hang, 0 memory bomb" in last


def test_damage_follows_from_its_seed() -> None:
    from tests.untrusted.mutations import mutate

    whole = b"MATLAB".ljust(128) + bytes(range(256)) * 8
    first, again, other = (mutate(whole, np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert first == again
    assert first != other
    assert first != whole
