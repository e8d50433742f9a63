"""A batch from its source to its parts: nothing is lost, nothing is there twice, and memory does not grow."""

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from facewright.errors import FacewrightError
from facewright.files import put
from facewright.provenance import VERSION
from facewright.scale.engines import Batch, Engine, Outcome
from facewright.scale.jobs import PhotoJob
from facewright.scale.parts import Parts
from facewright.scale.rows import arrow, table_of, unpacked, why_not
from facewright.scale.sources import PhotoEntry
from facewright.workers import Head

ROWS_A_PART = 1000
"""Inputs whose rows become one part."""

SUMMARY = "_batch.json"
"""Readers of folders of Parquet leave out what begins so."""

log = logging.getLogger(__name__)


@dataclass
class Counts:
    """What became of the inputs of a run.

    Attributes:
        inputs: named by the source, each once.
        done: of which faces were reconstructed in this run.
        kept: of which the parts had faces.
        failed: of which nothing came, in this run or, of the same bytes, before; those that cost their process too.
        faces: reconstructed in this run.
        parts: written in this run.
        last: what went wrong last; for whoever watches.
    """

    inputs: int = 0
    done: int = 0
    kept: int = 0
    failed: int = 0
    faces: int = 0
    parts: int = 0
    last: str = field(default="", repr=False)


def run_batch(
    entries: Iterator[PhotoEntry],
    folder: Path,
    engine: Engine,
    facts: Head,
    *,
    resume: bool = False,
    inputs_a_part: int = ROWS_A_PART,
    on_input: Callable[[Counts], None] | None = None,
) -> Counts:
    """Reconstruct what a source names into parts.

    Args:
        entries: of the source.
        folder: of the parts.
        engine: does the work.
        facts: of the work: its version, and how many photos profit from each other.
        resume: keep rows of the same bytes and the same version; rows of inputs that changed are replaced.
        inputs_a_part: inputs whose rows become one part.
        on_input: called after each input.

    Raises:
        ExportError: the folder cannot be used.
        FacewrightError: the source is damaged; what is before that is done and kept.
    """
    arrow()
    counts, version = Counts(), str(facts["version"])
    with Parts(folder, resume=resume) as parts:
        source = _Source(entries, parts, version, int(facts["together"]), counts)
        pending = _Pending(parts, inputs_a_part, version, counts)
        try:
            for outcomes in engine(source.batches()):
                for outcome in outcomes:
                    pending.add(outcome)
                    if on_input is not None:
                        on_input(counts)
        finally:  # an interrupt keeps what was done
            pending.flush()
        summary = {"facewright": VERSION, **facts, **{k: v for k, v in asdict(counts).items() if k != "last"}}
        put(folder / SUMMARY, (json.dumps(summary, indent=2) + "\n").encode())
    if source.error is not None:
        raise source.error
    return counts


class _Source:
    """Photos as batches of jobs; where the source is damaged it ends, and ``error`` says why."""

    def __init__(
        self, entries: Iterator[PhotoEntry], parts: Parts, version: str, together: int, counts: Counts
    ) -> None:
        self._entries, self._parts, self._version = entries, parts, version
        self._together, self._counts = together, counts
        self.error: FacewrightError | None = None

    def batches(self) -> Iterator[Batch]:
        jobs = self._jobs()
        while batch := list(islice(jobs, self._together)):
            yield batch

    def _jobs(self) -> Iterator[PhotoJob]:
        try:
            for entry in self._entries:
                if not self._parts.is_first(entry.name):
                    log.warning("%s is named more than once; it is done once", entry.name)
                    continue
                self._counts.inputs += 1
                known = self._parts.known(entry.name)
                same = known is not None and known.version == self._version and not known.lost
                yield PhotoJob(entry, known.sha256 if known is not None and same else "")
        except FacewrightError as error:
            self.error = error


class _Pending:
    """Rows that wait for their part."""

    def __init__(self, parts: Parts, most: int, version: str, counts: Counts) -> None:
        self._parts, self._most, self._version, self._counts = parts, most, version, counts
        self._tables: list[Any] = []

    def add(self, outcome: Outcome) -> None:
        counts, name = self._counts, outcome.job.entry.name
        if outcome.head is None:
            row = why_not(name, "", self._version, "lost", "process", outcome.lost)
            self._failed(name, outcome.lost)
            self._tables.append(table_of([row]))
        elif outcome.head.get("kept"):
            known = self._parts.known(name)
            if known is not None and not known.done:
                self._failed(name, "as in a run before")
            else:
                counts.kept += 1
            return
        else:
            table = unpacked(outcome.body)
            counts.faces += outcome.head["faces"]
            if outcome.head["faces"]:
                counts.done += 1
            else:
                self._failed(name, str(table["error"][0]))
            self._tables.append(table)
        if len(self._tables) >= self._most:
            self.flush()

    def _failed(self, name: str, why: str) -> None:
        self._counts.failed += 1
        self._counts.last = f"{name}: {why}"

    def flush(self) -> None:
        if self._tables:
            tables, self._tables = self._tables, []
            self._parts.add(arrow().concat_tables(tables))
            self._counts.parts += 1
