"""HDF5 files, through the optional h5py."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from facewright.errors import FaceModelError, MissingExtraError

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"


@contextmanager
def open_hdf5(path: Path) -> Iterator[Any]:
    """Open for reading; close at the end of the block.

    Raises:
        MissingExtraError: h5py is not installed.
        FaceModelError: the file is no HDF5 file, or is truncated.
    """
    try:
        import h5py
    except ImportError as error:
        raise MissingExtraError(
            f"{path.name} is an HDF5 file and needs h5py; install it with: pip install 'facewright[import]'"
        ) from error
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise FaceModelError(
            f"{path.name}: expected a whole HDF5 file, received one that cannot be read ({error}); download it again"
        ) from error
    with file:
        yield file
