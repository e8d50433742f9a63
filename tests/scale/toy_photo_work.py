"""Work of a batch without networks: a photo's bytes say what becomes of it. Light: no torch.

    python -m tests.scale.toy_photo_work SOURCE OUT INPUTS_A_PART VERSION

runs a batch with it, going on where one stopped.
"""

import hashlib
import os
import sys
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from facewright.errors import FacewrightError
from facewright.scale.engines import LocalEngine, hired
from facewright.scale.jobs import PhotoJob
from facewright.scale.rows import packed, table_of, why_not
from facewright.scale.run import Counts, run_batch
from facewright.scale.sources import EntryReader, entries_in


class ToyPhotoWork:
    """``die``: the process does; ``fail``; ``sleep 3``; ``2 faces``; anything else is one face."""

    def __init__(self, version: str, note: str) -> None:
        self.facts = {"version": version, "together": 4, "method": "toy", "weights": ""}
        self.reader, self.note = EntryReader(), note
        packed(table_of([]))  # loads what makes tables, before anybody looks at the clock

    def __call__(self, jobs: Sequence[PhotoJob]) -> Iterator[tuple[int, dict[str, Any], bytes]]:
        for number, job in enumerate(jobs):
            yield number, *self.answer(job)

    def answer(self, job: PhotoJob) -> tuple[dict[str, Any], bytes]:
        try:
            content = self.reader.read(job.entry)
        except FacewrightError as error:
            return {"faces": 0}, self.failed(job, "", str(error))
        sha256 = hashlib.sha256(content).hexdigest()
        if sha256 == job.known:
            return {"kept": True}, b""
        if self.note:
            with Path(self.note).open("a") as file:
                file.write(f"{job.entry.name}\n")
        words = content.split()
        if words[0] == b"die":
            os._exit(9)
        if words[0] == b"fail":
            return {"faces": 0}, self.failed(job, sha256, "so it says")
        if words[0] == b"sleep":
            time.sleep(float(words[1]))
        count = int(words[0]) if words[0].isdigit() else 1
        common = {"input": job.entry.name, "sha256": sha256, "version": self.facts["version"], "status": "done"}
        return {"faces": count}, packed(table_of([common | {"face": k, "id": [1.0, 2.0]} for k in range(count)]))

    def failed(self, job: PhotoJob, sha256: str, why: str) -> bytes:
        return packed(table_of([why_not(job.entry.name, sha256, self.facts["version"], "failed", "read", why)]))


def is_photo(name: str) -> bool:
    return name.endswith(".jpg")


def toy_batch(source: str | Path, out: Path, *, version: str = "1", note: str = "", **options: Any) -> Counts:
    load = partial(ToyPhotoWork, version, note)
    engine = LocalEngine(
        hired(load, threads=None, limit_s=options.pop("limit_s", 30.0)), workers=options.pop("workers", 1)
    )
    entries = entries_in(str(source), is_photo=is_photo, without=str(out))
    return run_batch(entries, out, engine, load().facts, **options)


if __name__ == "__main__":
    toy_batch(sys.argv[1], Path(sys.argv[2]), version=sys.argv[4], inputs_a_part=int(sys.argv[3]), resume=True)
