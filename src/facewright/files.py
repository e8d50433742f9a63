"""Files are written whole or not at all, and those that belong together all or none."""

import errno
import hashlib
import io
import os
import re
import secrets
import zipfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePath
from types import TracebackType
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np

from facewright.errors import ExportError


@runtime_checkable
class ByteSink(Protocol):
    """An open file or anything else that takes bytes."""

    def write(self, content: bytes, /) -> object:
        """Take the bytes."""
        ...


Destination = str | os.PathLike[str] | ByteSink
"""Where a file goes: a path, or a stream that takes bytes."""

TEMPORARY_PREFIX = ".facewright-"
"""Of files that are not whole yet; a run that was killed leaves them."""

Named = TypeVar("Named", str, Path)

_EPOCH = (1980, 1, 1, 0, 0, 0)
_REMEDIES = {
    errno.ENAMETOOLONG: "choose a shorter name",
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "free some space or choose another --out"),
}


class FileSet:
    """Files that appear together.

    In a ``with`` block, each is written to a temporary file beside its place; if the block ends well, all are renamed
    to their places, the first last. If it does not, none of them appears and whatever was there before stays.

    A file that is there and may not be replaced is refused before anything is written.

    A rename that fails after others did not (a folder that changes meanwhile) raises an ``ExportError`` whose
    ``written`` names the files that stand.
    """

    def __init__(self, may_replace: Callable[[Path], bool] | None = None) -> None:
        self._temporaries: dict[Path, Path] = {}
        self._may_replace = may_replace

    @property
    def paths(self) -> list[Path]:
        """The files of the set so far, in the order in which they came."""
        return list(self._temporaries)

    def temporary(self, path: str | os.PathLike[str]) -> Path:
        """An empty temporary file, of the same suffix, that is to become ``path``; the same one if asked again.

        Raises:
            ExportError: the folder cannot be made or written, or a folder is in the way.
        """
        target = Path(path)
        if target in self._temporaries:
            return self._temporaries[target]
        temporary = target.with_name(f"{TEMPORARY_PREFIX}{os.getpid()}-{secrets.token_hex(8)}{target.suffix}")
        if self._may_replace is not None and target.exists() and not self._may_replace(target):
            raise ExportError(
                f"cannot write {target}: expected its place to be free, found a file that facewright did not write; "
                "move it, or choose another --out"
            )
        with _naming(target, otherwise="expected a writable folder: choose another --out"):
            if target.is_dir():
                raise ExportError(f"cannot write {target}: expected a file, found a folder; choose another --out")
            target.parent.mkdir(parents=True, exist_ok=True)
            # 0o666 less the user's mask, as any new file. (Asking for the mask means to change it, for all threads.)
            os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        self._temporaries[target] = temporary
        return temporary

    def write(self, path: str | os.PathLike[str], blob: bytes) -> None:
        """Add a file of these bytes.

        Raises:
            ExportError: it cannot be written.
        """
        temporary = self.temporary(path)
        with _naming(Path(path)):
            temporary.write_bytes(blob)

    def __enter__(self) -> "FileSet":
        """Begin."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Put all files in their places if the block ended well; else remove the temporary ones."""
        try:
            if error is None:
                self._put_in_place()
        finally:
            for temporary in self._temporaries.values():
                temporary.unlink(missing_ok=True)

    def _put_in_place(self) -> None:
        done: list[Path] = []
        try:
            for target, temporary in reversed(self._temporaries.items()):
                with _naming(target):
                    temporary.replace(target)
                done.append(target)
        except ExportError as error:
            error.written = tuple(done)
            raise


def remove_leftovers(folder: Path) -> None:
    """Remove temporary files of programs that were killed; those of programs that run are left alone."""
    for path in folder.glob(f"{TEMPORARY_PREFIX}*"):
        owner = re.match(rf"{re.escape(TEMPORARY_PREFIX)}(\d+)-", path.name)
        if owner is not None and not _runs(int(owner.group(1))):
            path.unlink(missing_ok=True)


def _runs(process: int) -> bool:
    """Whether there is such a process here, or one that cannot be asked."""
    if os.name != "posix":  # elsewhere asking would end it
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def natural_order(paths: Iterable[Named]) -> list[Named]:
    """Paths, or names with forward slashes, folder by folder, with numbers by their value: 2 before 10."""

    def key(path: Named) -> list[list[tuple[int, str]]]:
        return [_by_value(part) for part in PurePath(path).parts]

    return sorted(paths, key=key)


def _by_value(name: str) -> list[tuple[int, str]]:
    return [(int(part) if re.fullmatch(r"[0-9]+", part) else -1, part) for part in re.split(r"([0-9]+)", name)]


@contextmanager
def _naming(target: Path, *, otherwise: str = "choose another --out") -> Iterator[None]:
    """Say of what the system refuses which file it was, and what helps."""
    try:
        yield
    except OSError as error:
        remedy = _REMEDIES.get(error.errno or 0, otherwise)
        raise ExportError(f"cannot write {target}: {error.strerror or error}; {remedy}") from error


@contextmanager
def written_whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside ``path``, of the same suffix; it becomes ``path`` if the block ends well.

    Raises:
        ExportError: the folder cannot be made or written, or the disk is full; nothing is left behind.
    """
    with FileSet() as files:
        temporary = files.temporary(path)
        with _naming(Path(path)):
            yield temporary


def put(destination: Destination, blob: bytes) -> None:
    """Write bytes, to a path whole or not at all.

    Raises:
        ExportError: the path cannot be written. (What a stream raises is its owner's.)
    """
    if isinstance(destination, str | os.PathLike):
        with FileSet() as files:
            files.write(destination, blob)
    else:
        destination.write(blob)


def zipped(files: Mapping[str, bytes]) -> bytes:
    """A ZIP archive of files by name, in their order; the same files give the same bytes."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, blob in files.items():
            archive.writestr(_entry(name), blob)
    return stream.getvalue()


def _entry(name: str, compression: int = zipfile.ZIP_DEFLATED) -> zipfile.ZipInfo:
    """Without the time of writing, which would give other bytes each time."""
    entry = zipfile.ZipInfo(name, date_time=_EPOCH)
    entry.compress_type = compression
    return entry


def write_arrays(
    destination: Destination, arrays: Mapping[str, np.ndarray], *, uncompressed: Collection[str] = ()
) -> None:
    """Write an ``.npz`` that ``numpy.load(path, allow_pickle=False)`` opens; the same arrays give the same bytes.

    (``numpy.savez`` stores the time of writing.)

    Args:
        destination: a path that ends in ``.npz``, or a stream.
        arrays: by name; no object arrays.
        uncompressed: names of arrays that are stored as they are, so that they load fast.

    Raises:
        ExportError: the file cannot be written.
    """
    if isinstance(destination, str | os.PathLike):
        with written_whole(destination) as temporary, temporary.open("wb") as stream:
            _archive(stream, arrays, uncompressed)
    else:
        memory = io.BytesIO()  # the archive goes back to entries that it has begun: not every stream can
        _archive(memory, arrays, uncompressed)
        destination.write(memory.getvalue())


def _archive(
    stream: io.BufferedWriter | io.BytesIO, arrays: Mapping[str, np.ndarray], uncompressed: Collection[str]
) -> None:
    with zipfile.ZipFile(stream, "w") as archive:
        for name, array in arrays.items():
            entry = _entry(f"{name}.npy", zipfile.ZIP_STORED if name in uncompressed else zipfile.ZIP_DEFLATED)
            with archive.open(entry, "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
