"""NumPy archives of plain arrays; nothing in them is ever executed."""

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from facewright.errors import FaceModelError

_UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, OSError, KeyError, MemoryError)


def read_npz(path: Path, *, skip: tuple[str, ...] = ()) -> dict[str, Any]:
    """All arrays of an ``.npz`` but those named in ``skip``.

    Raises:
        FaceModelError: it is no archive, is truncated, or holds objects.
    """
    try:
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise ValueError("a single array")
            return {name: np.asarray(archive[name]) for name in archive.files if name not in skip}
    except _UNREADABLE as error:
        raise FaceModelError(
            f"{path.name}: expected a whole .npz of plain arrays, received one that cannot be read "
            f"({type(error).__name__}: {error}); save it with numpy.savez and no objects, or download it again"
        ) from error
