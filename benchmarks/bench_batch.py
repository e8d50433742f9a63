"""What a photo costs in ``facewright batch``, beside the plain loop over the flow.

    python benchmarks/bench_batch.py [--photos 24] [--workers 1] [--turns 1]

Both see the same photos, sixteen at a time; the loop writes nothing, the batch reads, digests, hands over and writes
Parquet. CPU time of all processes, so that a busy machine slows both alike, without what it takes to begin: a batch of
one photo is taken off. With two workers the ratio that counts is that of wall times, on a machine that has nothing else
to do; both are printed.
"""

import hashlib
import io
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import tyro
from pyarrow import parquet

from facewright.assets import embedded_path
from facewright.cli import main as command
from facewright.cli.threads import take_threads
from facewright.photo import read_photo
from facewright.pipeline.flow import Reconstructor, load_reconstructor
from facewright.scale.photo_work import face_row
from facewright.scale.rows import packed, table_of, unpacked

TOGETHER = 16


@dataclass(frozen=True)
class Arguments:
    """Measure batches."""

    photos: int = 24
    """Of the larger batch."""
    workers: int = 1
    """Of the batch."""
    turns: int = 1
    """How often; the best counts."""


def spent() -> tuple[float, float]:
    """CPU seconds of this process and of all that have ended, and the time."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages), time.perf_counter()


def photos_in(folder: Path, count: int) -> list[Path]:
    """The portraits, in turn."""
    folder.mkdir()
    names = [embedded_path(f"photos/{name}.jpg") for name in ("astronaut", "grace_hopper")]
    return [Path(shutil.copy(names[k % 2], folder / f"{k}.jpg")) for k in range(count)]


def batch(folder: Path, count: int, workers: int) -> tuple[float, float]:
    """CPU and wall seconds of a batch, its beginning included."""
    shutil.rmtree(folder / "out", ignore_errors=True)
    cpu, wall = spent()
    code = command(
        ["batch", str(folder / str(count)), "--out", str(folder / "out"), "--workers", str(workers), "--quiet"]
    )
    assert code == 0
    after = spent()
    return after[0] - cpu, after[1] - wall


def stages(flow: Reconstructor, paths: list[Path]) -> None:
    """Print CPU milliseconds a photo, of sixteen that go through the flow together."""
    spent: dict[str, float] = {}

    def timed(stage: str, step: Callable[[], Any]) -> Any:
        start = time.process_time()
        result = step()
        spent[stage] = spent.get(stage, 0.0) + time.process_time() - start
        return result

    paths = paths[:TOGETHER]
    blobs = timed("read and digest", lambda: [path.read_bytes() for path in paths])
    timed("read and digest", lambda: [hashlib.sha256(blob).digest() for blob in blobs])
    photos = timed("decode", lambda: [read_photo(io.BytesIO(blob)) for blob in blobs])
    found = timed("detect", lambda: flow.find_faces(photos))
    bare = replace(flow, estimator=replace(flow.estimator, refine=0))  # pyright: ignore[reportArgumentType]
    timed("align, network, check", lambda: bare.faces_in_batch(photos, detections=found))
    faces = timed("refine", lambda: flow.faces_in_batch(photos, detections=found))
    spent["refine"] -= spent["align, network, check"]
    named = {"input": "a", "sha256": "", "version": "", "status": "done"}
    table = timed("rows", lambda: [unpacked(packed(table_of([face_row(face) | named]))) for face in faces])
    timed("part", lambda: parquet.write_table(pa.concat_tables(table), io.BytesIO(), compression="zstd"))
    for stage, seconds in spent.items():
        print(f"{stage:22s} {1000 * seconds / len(paths):7.2f} ms of CPU a photo")
    print(f"{'all':22s} {1000 * sum(spent.values()) / len(paths):7.2f}")
    many = pa.concat_tables(table * 16)
    print(f"a face takes {many.nbytes / len(many):.0f} bytes, before compression")


def main(arguments: Arguments) -> None:
    """Print the table."""
    take_threads(1)
    flow = load_reconstructor()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = photos_in(folder / str(arguments.photos), arguments.photos)
        photos_in(folder / str(arguments.workers), arguments.workers)
        flow.faces_in_batch([read_photo(path) for path in paths[:2]])  # networks are exported once
        stages(flow, paths)
        loops, batches, begins = [], [], []
        for _ in range(arguments.turns):
            begins.append(batch(folder, arguments.workers, arguments.workers))
            batches.append(batch(folder, arguments.photos, arguments.workers))
            cpu, wall = spent()
            for first in range(0, len(paths), TOGETHER):
                flow.faces_in_batch([read_photo(path) for path in paths[first : first + TOGETHER]])
            after = spent()
            loops.append((after[0] - cpu, after[1] - wall))
    loop, whole, begin = (min(times) for times in (loops, batches, begins))
    more = arguments.photos - arguments.workers
    for column, what in enumerate(("CPU", "wall")):
        of_loop = loop[column] / arguments.photos
        of_batch = (whole[column] - begin[column]) / more
        print(f"{what:4s} s a photo: loop {of_loop:.3f}, batch {of_batch:.3f}: {of_loop / of_batch:.2f} times as many")
    print(f"to begin: {begin[0]:.1f} s of CPU, {begin[1]:.1f} s; {arguments.workers} workers, {os.cpu_count()} cores")


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Arguments)))
