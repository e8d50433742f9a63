"""Files are written whole or not at all."""

import os
import tempfile
import zipfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from facewright.errors import ExportError


@contextmanager
def written_whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside ``path``, of the same suffix; it becomes ``path`` if the block ends well.

    Raises:
        ExportError: the folder cannot be made or written, or the disk is full; nothing is left behind.
    """
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".facewright-", suffix=target.suffix, dir=target.parent)
    except OSError as error:
        raise ExportError(
            f"cannot write {target}: {error.strerror or error}; expected a writable folder: choose another --out"
        ) from error
    os.close(handle)
    temporary = Path(name)
    try:
        try:
            yield temporary
            temporary.chmod(0o666 & ~_current_umask())
            temporary.replace(target)
        except OSError as error:
            raise ExportError(
                f"cannot write {target}: {error.strerror or error}; free some space or choose another --out"
            ) from error
    finally:
        temporary.unlink(missing_ok=True)


def _current_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_arrays(
    path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray], *, uncompressed: Collection[str] = ()
) -> None:
    """Write an ``.npz`` that ``numpy.load(path, allow_pickle=False)`` opens; the same arrays give the same bytes.

    (``numpy.savez`` stores the time of writing.)

    Args:
        path: ends in ``.npz``.
        arrays: by name; no object arrays.
        uncompressed: names of arrays that are stored as they are, so that they load fast.

    Raises:
        ExportError: the file cannot be written.
    """
    with written_whole(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_STORED if name in uncompressed else zipfile.ZIP_DEFLATED
            with archive.open(entry, "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
