"""Work that needs no network: it says what it was given, waits, or dies, as the job says. Light: no torch."""

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from facewright.errors import WeightsError
from facewright.serve.jobs import MEDIA

Answer = tuple[int, dict[str, Any], bytes]


class ToyWork:
    """Jobs are bytes: ``die``, ``sleep 3``, ``note PATH`` (adds a line to a file), or anything, which comes back."""

    facts = {"method": "toy", "weights": "", "face_model": ""}  # noqa: RUF012

    def __call__(self, jobs: Sequence[Any]) -> Iterator[Answer]:
        for number, job in enumerate(jobs):
            words = (job if isinstance(job, bytes) else getattr(job, "picture", b"")).split()
            if words[:1] == [b"note"]:
                with Path(os.fsdecode(words.pop(1))).open("a") as file:
                    file.write(f"{os.getpid()}\n")
                words.pop(0)
            if words[:1] == [b"die"]:
                os._exit(7)
            if words[:1] == [b"sleep"]:
                time.sleep(float(words[1]))
            body = b" ".join(words) if isinstance(job, bytes) else b'{"faces": []}'
            media = MEDIA.get(getattr(job, "answer", ""), "text/plain")
            yield number, {"status": 200, "media": media, "faces": len(jobs), "pid": os.getpid()}, body


def load_toy_work() -> ToyWork:
    return ToyWork()


def refuse_to_load() -> ToyWork:
    raise WeightsError("expected other weights")


def die_loading() -> ToyWork:
    os._exit(3)
