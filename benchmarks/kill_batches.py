"""Batches that are killed at random moments: no row may be lost, none may be there twice.

    python benchmarks/kill_batches.py [--kills 200] [--photos 2000] [--minutes 60]

Runs a batch of a toy method in a program of its own and kills it (SIGKILL), or one of its processes, at a random
moment; then again, going on there, until it comes to its end; then from the start. After every kill the parts are read:
each must be whole, and no photo may be in them twice. At every end each photo must be there once.
"""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import tyro
from pyarrow import parquet

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Arguments:
    """Kill batches."""

    kills: int = 200
    """How often."""
    minutes: float = 60.0
    """After which no more are begun."""
    photos: int = 2000
    """Of the batch."""
    part: int = 20
    """Photos whose rows become one part."""
    seconds_each: float = 0.002
    """Of work on a photo."""
    longest: float = 6.0
    """Most seconds that a program has before it is killed."""
    seed: int = 0
    """Of the moments."""


def children_of(pid: int) -> list[int]:
    """Processes of a program, whichever of its threads began them; /proc is Linux's."""
    found = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            found += [int(word) for word in path.read_text().split()]
    return found


def names_in(out: Path) -> list[str]:
    """Photos of all rows; reading fails where a part is not whole."""
    return [name for path in sorted(out.glob("part-*")) for name in parquet.read_table(path)["input"].to_pylist()]


def main(arguments: Arguments) -> int:
    """Print what was found; 1 if a row was lost or there twice."""
    rng, counts, wrong = random.Random(arguments.seed), Counter[str](), list[str]()
    with tempfile.TemporaryDirectory() as folder:
        photos = Path(folder) / "photos"
        photos.mkdir()
        wanted = [f"{k}.jpg" for k in range(arguments.photos)]
        for k, name in enumerate(wanted):
            (photos / name).write_text(f"sleep {arguments.seconds_each} {k}")
        ends, names = 0, list[str]()
        until = time.monotonic() + 60.0 * arguments.minutes
        while counts["program"] + counts["process"] < arguments.kills and time.monotonic() < until:
            out = Path(folder) / f"out{ends}"
            options = [str(photos), str(out), str(arguments.part), "1"]
            command = [sys.executable, "-m", "tests.scale.toy_photo_work", *options]
            run = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
            try:
                code = run.wait(arguments.longest * rng.random())
            except subprocess.TimeoutExpired:
                inside = children_of(run.pid)
                of_program = not inside or rng.random() < 0.7
                counts["program" if of_program else "process"] += 1
                with suppress(ProcessLookupError):
                    os.kill(run.pid if of_program else rng.choice(inside), signal.SIGKILL)
                code = run.wait() if of_program else run.wait(600)
            names = names_in(out) if out.is_dir() else []
            if len(names) != len(set(names)):
                wrong.append(f"{len(names) - len(set(names))} rows twice after {sum(counts.values())} kills")
            if code == 0:
                ends += 1
                if sorted(names) != sorted(wanted):
                    wrong.append(f"at the end of batch {ends}: {len(names)} rows of {len(wanted)} photos")
                left = [name for name in os.listdir(out) if name.startswith(".")]
                wrong += [f"left behind: {name}" for name in left]
            elif code != -signal.SIGKILL:
                wrong.append(f"exit code {code}")
            time.sleep(0.01)
    print(f"{counts['program']} kills of the program, {counts['process']} of one of its processes")
    print(f"rows at the last kill: {len(names)}")
    print(f"{ends} batches of {arguments.photos} photos came to their end")
    print(f"rows lost or twice, parts not whole, files left: {len(wrong)}")
    for line in wrong[:10]:
        print(f"  {line}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Arguments)))
