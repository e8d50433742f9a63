"""A folder of parts, each whole or absent, and a ledger of what is in them that lies on disk, not in memory."""

import hashlib
import os
import re
import secrets
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from facewright.errors import ExportError
from facewright.files import TEMPORARY_PREFIX, remove_leftovers, written_whole
from facewright.scale.rows import arrow, schema

_NAME = "part-{:08d}.parquet"
_PATTERN = re.compile(r"part-(\d{8})\.parquet")
_ROWS_AT_ONCE = 10_000
_NOTE = """INSERT INTO known VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT (name) DO UPDATE SET done = MAX(done, excluded.done)"""
"""Of an input with several faces, one is enough."""


@dataclass(frozen=True)
class Known:
    """What a part says of an input.

    Attributes:
        sha256: of its bytes.
        version: of what made its rows.
        part: number of the part.
        lost: whether the process that worked on it ended.
        done: whether there is a face.
    """

    sha256: str
    version: str
    part: int
    lost: bool
    done: bool


class Parts:
    """The parts of an output folder; one run at a time.

    Args:
        folder: made if absent.
        resume: go on with the parts that are there; else there may be none.

    Raises:
        ExportError: the folder cannot be written, holds parts and ``resume`` is not asked for, holds something else in
            the place of a part, or another run writes to it.
    """

    def __init__(self, folder: Path, *, resume: bool) -> None:
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ExportError(f"cannot make the folder {folder}: {error.strerror}; choose another --out") from error
        place = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:16]
        self._lock = FileLock(Path(tempfile.gettempdir()) / f"facewright-batch-{place}.lock")
        try:
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise ExportError(f"expected nobody else to write to {folder}, another run does; wait for it") from error
        try:
            self._begin(resume)
        except BaseException:
            self._lock.release()
            raise

    def _begin(self, resume: bool) -> None:
        remove_leftovers(self.folder)
        numbers = sorted(self._numbers())
        if numbers and not resume:
            raise ExportError(
                f"expected a folder without parts, received {self.folder} with {len(numbers)} of them; go on with "
                "--resume, or choose another --out"
            )
        self._next = numbers[-1] + 1 if numbers else 0
        self._ledger_path = self.folder / f"{TEMPORARY_PREFIX}{os.getpid()}-{secrets.token_hex(8)}.ledger"
        try:
            self._ledger = sqlite3.connect(self._ledger_path)
            self._ledger.executescript(
                "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -20000;"
                "CREATE TABLE known (name TEXT PRIMARY KEY, sha256 TEXT, version TEXT, part INTEGER, lost INTEGER,"
                " done INTEGER)"
                " WITHOUT ROWID;"
                "CREATE TABLE seen (name TEXT PRIMARY KEY) WITHOUT ROWID;"
            )
        except sqlite3.Error as error:
            raise ExportError(f"cannot write {self.folder}: {error}; choose another --out") from error
        for number in numbers:
            self._note(number, self._read(number, ["input", "sha256", "version", "status"]))

    def close(self) -> None:
        """Let the folder go."""
        self._ledger.close()
        self._ledger_path.unlink(missing_ok=True)
        self._lock.release()

    def __enter__(self) -> "Parts":
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let the folder go."""
        self.close()

    def is_first(self, name: str) -> bool:
        """Whether an input is asked about for the first time."""
        return self._ledger.execute("INSERT OR IGNORE INTO seen VALUES (?)", (_text(name),)).rowcount > 0

    def known(self, name: str) -> Known | None:
        """What the parts say of an input; None: nothing."""
        query = "SELECT sha256, version, part, lost, done FROM known WHERE name = ?"
        row = self._ledger.execute(query, (_text(name),)).fetchone()
        return None if row is None else Known(row[0], row[1], row[2], bool(row[3]), bool(row[4]))

    def add(self, table: Any) -> Path:
        """Write rows as a new part; older rows of the same inputs are taken out of their parts before.

        In that order, so that no input is ever there twice: a kill between the two leaves inputs for ``--resume``.

        Raises:
            ExportError: a file cannot be written.
        """
        names = set(table["input"].to_pylist())
        stale: dict[int, set[str]] = {}
        for name in names:
            if (before := self.known(name)) is not None:
                stale.setdefault(before.part, set()).add(name)
        for number, gone in stale.items():
            self._take_out(number, gone)
        number = self._next
        self._next += 1
        self._write(number, table)
        self._note(number, table)
        return self.path(number)

    def path(self, number: int) -> Path:
        """Where a part lies."""
        return self.folder / _NAME.format(number)

    def _numbers(self) -> Iterator[int]:
        with _told(self.folder):
            for name in os.listdir(self.folder):
                if found := _PATTERN.fullmatch(name):
                    yield int(found.group(1))

    def _read(self, number: int, columns: Iterable[str] | None = None) -> Any:
        from pyarrow import parquet

        wanted = None if columns is None else list(columns)
        try:
            with parquet.ParquetFile(self.path(number)) as file:  # this file alone: its folder says nothing of it
                return file.read(wanted)
        except (OSError, ValueError, KeyError) as error:
            raise ExportError(
                f"expected {self.path(number)} to be a part of a batch, received another file ({error}); move it away"
            ) from error

    def _write(self, number: int, table: Any) -> None:
        from pyarrow import parquet

        with written_whole(self.path(number)) as temporary:
            parquet.write_table(table, temporary, compression="zstd")

    def _take_out(self, number: int, names: set[str]) -> None:
        table = self._read(number)
        left = table.filter(arrow().array([name not in names for name in table["input"].to_pylist()]))
        if len(left):
            self._write(number, left.cast(schema()) if left.schema != schema() else left)
        else:
            self.path(number).unlink()
        self._ledger.executemany("DELETE FROM known WHERE name = ?", [(_text(name),) for name in names])

    def _note(self, number: int, table: Any) -> None:
        for batch in table.select(["input", "sha256", "version", "status"]).to_batches(_ROWS_AT_ONCE):
            rows = zip(*(column.to_pylist() for column in batch.columns), strict=True)
            entries = [
                (_text(name), sha256, version, number, status == "lost", status == "done")
                for name, sha256, version, status in rows
            ]
            self._ledger.executemany(_NOTE, entries)


def _text(name: str) -> str:
    """What SQLite takes: names of files need not be UTF-8."""
    return name.encode("utf-8", "backslashreplace").decode()


@contextmanager
def _told(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ExportError(f"cannot read {folder}: {error.strerror or error}; choose another --out") from error
