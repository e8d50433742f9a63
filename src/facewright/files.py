"""Files are written whole or not at all."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from facewright.errors import ExportError


@contextmanager
def written_whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` (same suffix); rename it onto ``path`` if the block ends well, else delete it.

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
