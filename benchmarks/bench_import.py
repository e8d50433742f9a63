"""Time and memory of importing face models of the published sizes, and of loading what was imported.

    python benchmarks/bench_import.py [--kinds bfm2009 flame ...]

Files with made-up numbers are written into a temporary folder. Each import and each load runs in a process of its own;
memory is that process's peak resident set, Python and torch (about 0.3 GB) included.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the writers of synthetic files live with the tests

from facewright.morphable.container import load_face_model, save_face_model
from facewright.morphable.readers import KINDS, import_face_model
from tests.morphable.readers.full_size import WRITERS


@dataclass(frozen=True)
class Arguments:
    """Measure imports."""

    kinds: tuple[str, ...] = tuple(WRITERS)
    """Which kinds of files to import."""
    child: str = ""
    """Internal: the job of a child process, as JSON."""


def peak_memory_gb() -> float:
    """Peak resident set of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024**2 if sys.platform != "darwin" else 1024**3)


def run_child(job: dict[str, Any]) -> dict[str, Any]:
    """Write synthetic files, import them, or load what was imported."""
    folder, kind = Path(job["folder"]), job["kind"]
    out = folder / "imported.npz"
    if job["step"] == "write":
        arguments = WRITERS[kind](folder)
        return {"arguments": {key: str(v) if isinstance(v, Path) else v for key, v in vars(arguments).items()}}
    start = time.perf_counter()
    if job["step"] == "import":
        values = {key: Path(v) if isinstance(v, str) and "/" in v else v for key, v in job["arguments"].items()}
        arguments_of_kind: Any = KINDS[kind].arguments
        model, _ = import_face_model(arguments_of_kind(**values))
        save_face_model(model, out)
    else:
        load_face_model(out)
    return {"seconds": time.perf_counter() - start, "memory_gb": peak_memory_gb()}


def in_child(**job: Any) -> dict[str, Any]:
    """Run a job in a fresh process (a process inherits the peak memory of its parent) and read what it prints."""
    command = [sys.executable, __file__, "--child", json.dumps(job)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def measure(kind: str, folder: Path) -> dict[str, float]:
    """Seconds and peak GB of one import (with writing the container), and seconds of one load."""
    written = in_child(step="write", kind=kind, folder=str(folder))
    imported = in_child(step="import", kind=kind, folder=str(folder), arguments=written["arguments"])
    loaded = in_child(step="load", kind=kind, folder=str(folder))
    return {"import_s": imported["seconds"], "memory_gb": imported["memory_gb"], "load_s": loaded["seconds"]}


def main() -> None:
    """Print one line per kind."""
    arguments = tyro.cli(Arguments)
    if arguments.child:
        print(json.dumps(run_child(json.loads(arguments.child))))
        return
    print(f"{'kind':<10} {'import + save, s':>17} {'peak memory, GB':>16} {'load, s':>8}")
    for kind in arguments.kinds:
        with tempfile.TemporaryDirectory() as folder:
            result = measure(kind, Path(folder))
        print(f"{kind:<10} {result['import_s']:>17.1f} {result['memory_gb']:>16.2f} {result['load_s']:>8.2f}")


if __name__ == "__main__":
    main()
