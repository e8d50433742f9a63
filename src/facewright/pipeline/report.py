"""``report.json``: what became of every input of an output folder, kept over runs, whatever kills them.

Entries are written as they come, a line each, to ``report.jsonl`` beside it; at the end of a run, and at the start of
the next one if it was killed, they are folded into ``report.json``, which is replaced whole. Entries of other inputs
stay. Several programs may write to one folder at the same time.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock

from facewright.errors import ExportError
from facewright.export.json import plain, write_json
from facewright.files import file_sha256
from facewright.provenance import VERSION

REPORT, LINES = "report.json", "report.jsonl"


@dataclass(frozen=True)
class FaceFailure:
    """Why a face, or a whole photo, was not reconstructed.

    Attributes:
        face: number of the face, the largest first; None: the photo itself.
        stage: where it failed.
        error: class and message.
    """

    face: int | None
    stage: str
    error: str


@dataclass(frozen=True)
class InputReport:
    """What became of one input.

    Attributes:
        input: path as given.
        stem: what the names of its files begin with.
        status: "done"; "partial": some of its faces failed; or "failed".
        error: class and message of the first thing that went wrong; None if nothing did.
        faces: reconstructed faces.
        failures: all that went wrong.
        outputs: file names, relative to the output folder.
        seconds: per stage, summed over faces.
        sha256: of the input's bytes; empty if it cannot be read.
        settings: digest of everything that decides the outputs.
    """

    input: str
    stem: str
    status: Literal["done", "partial", "failed"]
    error: str | None = None
    faces: int = 0
    failures: tuple[FaceFailure, ...] = ()
    outputs: tuple[str, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)
    sha256: str = ""
    settings: str = ""


class ReportFolder:
    """The report of an output folder.

    Args:
        folder: made if absent.

    Raises:
        ExportError: the folder cannot be written, or holds a ``report.json`` that is not one of ours.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._path, self._lines = folder / REPORT, folder / LINES
        place = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:16]
        # Not in the folder: what a killed program leaves there would stay for ever.
        self._lock = FileLock(Path(tempfile.gettempdir()) / f"facewright-{place}.lock")
        self._head: dict[str, Any] = {"facewright": VERSION}
        self._interrupted = set[str]()
        self.fold()

    def begin(self, **facts: str) -> None:
        """Note what this run is done with, for the head of the report."""
        self._head = {"facewright": VERSION, **facts}

    @property
    def entries(self) -> dict[str, InputReport]:
        """Everything known so far, by input."""
        return {entry.input: entry for entry in self._read()}

    @property
    def outputs(self) -> set[str]:
        """Names of files in the folder that runs before have written."""
        return {name for entry in self._read() for name in entry.outputs}

    @property
    def interrupted(self) -> set[str]:
        """Stems of files that runs before had begun to write when they were killed."""
        return self._interrupted

    def writing(self, stem: str) -> None:
        """Note that files of this stem are about to be written."""
        self._append({"writing": stem})

    def add(self, entry: InputReport) -> None:
        """Note what became of an input, at once."""
        self._append(asdict(entry))

    def _append(self, entry: dict[str, Any]) -> None:
        line = json.dumps(plain(entry), ensure_ascii=True) + "\n"
        with self._lock, self._lines.open("a", encoding="utf-8") as file:
            file.write(line)

    def fold(self) -> None:
        """Bring all entries into ``report.json``."""
        with self._lock:
            entries = self._read()
            failed = sum(entry.status == "failed" for entry in entries)
            partial = sum(entry.status == "partial" for entry in entries)
            counts = {
                "inputs": len(entries),
                "done": len(entries) - failed - partial,
                "partial": partial,
                "failed": failed,
            }
            self._interrupted = self._unfinished()
            document = {**self._head, **counts, "interrupted": sorted(self._interrupted)}
            write_json(self._path, document | {"results": [asdict(entry) for entry in entries]})
            self._lines.unlink(missing_ok=True)

    def _read(self) -> Sequence[InputReport]:
        """Entries of both files, the later one of an input in the place of the earlier."""
        whole = self._whole().get("results")
        before = [entry for entry in whole if isinstance(entry, dict)] if isinstance(whole, list) else []
        found = {str(entry.get("input")): entry for entry in (*before, *self._appended()) if "input" in entry}
        return [report for entry in found.values() if (report := _report_of(entry)) is not None]

    def _unfinished(self) -> set[str]:
        """Stems that were begun and of which no later entry says what became."""
        before = self._whole().get("interrupted")
        begun = {str(stem) for stem in before} if isinstance(before, list) else set[str]()
        for entry in self._appended():
            if "writing" in entry:
                begun.add(str(entry["writing"]))
            else:
                begun.discard(str(entry.get("stem")))
        return begun

    def _whole(self) -> dict[str, Any]:
        try:
            document = json.loads(self._path.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except (OSError, ValueError, RecursionError) as error:
            raise self._foreign() from error
        if not isinstance(document, dict) or "facewright" not in document:
            raise self._foreign()
        return document

    def _foreign(self) -> ExportError:
        return ExportError(
            f"expected {self._path} to be absent or a report of ours, received another file; choose another --out"
        )

    def _appended(self) -> Iterable[dict[str, Any]]:
        try:
            lines = self._lines.read_text(encoding="utf-8").splitlines()
        except OSError:
            return
        for line in lines:
            try:
                entry = json.loads(line)
            except (ValueError, RecursionError):  # torn by a kill in the middle of it
                continue
            if isinstance(entry, dict):
                yield entry


def _report_of(entry: dict[str, Any]) -> InputReport | None:
    """An entry as it was; None for one that something else has written."""
    try:
        values = {each.name: entry[each.name] for each in fields(InputReport) if each.name in entry}
        failures = tuple(FaceFailure(**failure) for failure in values.get("failures", ()))
        return InputReport(**values | {"failures": failures, "outputs": tuple(values.get("outputs", ()))})
    except TypeError:
        return None


def input_sha256(path: Path) -> str:
    """sha256 of a file's bytes; empty if it cannot be read."""
    try:
        return file_sha256(path)
    except OSError:
        return ""
