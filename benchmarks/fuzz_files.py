"""Damaged files of every format that is read: nothing but the product's own errors, no crash, no memory bomb.

    python benchmarks/fuzz_files.py [--rounds 20000] [--formats model-flame ...] [--seed 0] [--repeat FORMAT ROUND]

Each round damages one file of a small whole set and reads it in a child process of limited address space, which is
replaced when it crashes or hangs. Rounds follow from their seed and number: ``--repeat`` runs one here, with its trace.
Exit code 1 if anything but acceptance and refusal came out.
"""

import argparse
import ctypes
import logging
import multiprocessing
import os
import resource
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the writers of synthetic files live with the tests

from facewright.errors import FacewrightError
from tests.untrusted.mutations import mutate
from tests.untrusted.seeds import FORMATS

SECONDS_PER_ROUND, MOST_WAIT = 60, 1800
"""Of the processor's time for a round that ends, and of the clock's: a busy machine makes no hang."""
MOST_BYTES = 1 << 30
"""Peak memory of a round, over what the process had before it."""

ADDRESS_SPACE = 6 << 30
"""Over what the process has mapped before: only a file that runs wild reaches it."""


@dataclass
class Tally:
    """What came out of the rounds of one format."""

    outcomes: Counter[str] = field(default_factory=Counter)
    peak: int = 0
    faults: list[str] = field(default_factory=list)


class Rounds:
    """The rounds of one format over a folder of whole files."""

    def __init__(self, name: str, folder: Path, seed: int) -> None:
        self.format, self.folder, self._seed = FORMATS[name], folder, [seed, *name.encode()]
        self._whole = {path: path.read_bytes() for path in sorted(folder.glob(self.format.files)) if path.is_file()}

    def damage(self, number: int) -> Path:
        """Damage one of the files, as the number says."""
        rng = np.random.default_rng([*self._seed, number])
        path = list(self._whole)[int(rng.integers(len(self._whole)))]
        path.write_bytes(mutate(self._whole[path], rng))
        return path

    def mend(self, path: Path) -> None:
        """Make it whole again."""
        path.write_bytes(self._whole[path])


def play(name: str, folder: Path, seed: int, channel: Connection) -> None:
    """The child: damage, read, tell; as long as numbers come."""
    warnings.simplefilter("ignore")
    logging.disable()
    rounds = Rounds(name, folder, seed)
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + ADDRESS_SPACE, mapped + ADDRESS_SPACE))
    while True:
        number = channel.recv()
        path = rounds.damage(number)
        channel.send("damaged")
        ctypes.CDLL(None).malloc_trim(0)
        before = memory("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # VmHWM starts anew
        try:
            rounds.format.read(folder)
            outcome, trace = "accepted", ""
        except FacewrightError:
            outcome, trace = "refused", ""
        except Exception:  # noqa: BLE001 - these are what is looked for
            outcome, trace = "other exception", traceback.format_exc()
        channel.send((outcome, trace, memory("VmHWM") - before))
        rounds.mend(path)


def memory(key: str) -> int:
    """A line of this process's status, bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(key + ":"))


class Child:
    """A process that plays rounds, replaced when it dies."""

    def __init__(self, name: str, folder: Path, seed: int) -> None:
        self._arguments = (name, folder, seed)
        self._whole = folder.with_name(folder.name + "-whole")
        shutil.copytree(folder, self._whole)
        self._start()

    def _start(self) -> None:
        name, folder, seed = self._arguments
        shutil.rmtree(folder)
        shutil.copytree(self._whole, folder)
        self._channel, other = multiprocessing.Pipe()
        context = multiprocessing.get_context("fork")
        self._process = context.Process(target=play, args=(name, folder, seed, other), daemon=True)
        self._process.start()
        other.close()

    def outcome(self, number: int) -> tuple[str, str, int]:
        """Of one round: what, its trace, and peak memory, bytes."""
        self._channel.send(number)
        try:
            self._channel.recv()  # the damage is ours: it may take its time
            before, deadline = self._seconds(), time.monotonic() + MOST_WAIT
            while not (ready := self._channel.poll(1.0)):
                if self._seconds() - before > SECONDS_PER_ROUND or time.monotonic() > deadline:
                    break
            if ready:
                return self._channel.recv()
            result = ("hang", f"longer than {SECONDS_PER_ROUND} s", 0)
        except (EOFError, ConnectionResetError):
            self._process.join()
            result = ("crash", f"exit code {self._process.exitcode}", 0)
        self.end()
        self._start()
        return result

    def _seconds(self) -> float:
        """Of the processor, used so far; none once it has ended."""
        try:
            words = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0.0
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    def end(self) -> None:
        """Stop the process."""
        self._process.kill()
        self._process.join()


def run_format(name: str, rounds: range, seed: int, root: Path) -> Tally:
    """All rounds of one format."""
    folder = root / name
    folder.mkdir()
    FORMATS[name].write(folder)
    FORMATS[name].read(folder)  # whole, it must be accepted; and what is loaded lazily is loaded before the fork
    tally, child = Tally(), Child(name, folder, seed)
    try:
        for number in rounds:
            outcome, trace, peak = child.outcome(number)
            if peak > MOST_BYTES:
                outcome, trace = "memory bomb", f"{peak >> 20} MiB"
            tally.outcomes[outcome] += 1
            tally.peak = max(tally.peak, peak)
            if outcome not in ("accepted", "refused"):
                tally.faults.append(
                    f"{name} round {number} (--seed {seed} --repeat {name} {number}): {outcome}\n{trace}"
                )
                print(tally.faults[-1], flush=True)
    finally:
        child.end()
    return tally


def shares(total: int, names: list[str], first: int) -> Iterator[tuple[str, range]]:
    """Rounds of each format."""
    for i, name in enumerate(names):
        count = total // len(names) + (i < total % len(names))
        yield name, range(first, first + count)


def repeat(name: str, number: int, seed: int) -> None:
    """One round, here."""
    with tempfile.TemporaryDirectory() as root:
        FORMATS[name].write(Path(root))
        print("damaged:", Rounds(name, Path(root), seed).damage(number).name)
        print("accepted:", FORMATS[name].read(Path(root)))


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20_000, help="over all formats together")
    parser.add_argument("--first", type=int, default=0, help="number of the first round")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--formats", nargs="+", default=list(FORMATS), choices=list(FORMATS))
    parser.add_argument("--repeat", nargs=2, metavar=("FORMAT", "ROUND"))
    arguments = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)
    if arguments.repeat:
        repeat(arguments.repeat[0], int(arguments.repeat[1]), arguments.seed)
        return 0
    total: Counter[str] = Counter()
    peak, faults = 0, 0
    with tempfile.TemporaryDirectory() as root:
        for name, rounds in shares(arguments.rounds, arguments.formats, arguments.first):
            tally: Any = run_format(name, rounds, arguments.seed, Path(root))
            total += tally.outcomes
            peak, faults = max(peak, tally.peak), faults + len(tally.faults)
            print(f"{name:20} {line(tally.outcomes)}  peak {tally.peak >> 20} MiB", flush=True)
    print(f"{'all':20} {line(total)}  peak {peak >> 20} MiB")
    return 1 if faults else 0


def line(outcomes: Counter[str]) -> str:
    """Counts in words."""
    names = ("refused", "accepted", "other exception", "crash", "hang", "memory bomb")
    return f"{sum(outcomes.values())} rounds: " + ", ".join(f"{outcomes[name]} {name}" for name in names)


if __name__ == "__main__":
    sys.exit(main())
