"""HDF5 files, through the optional h5py: what a dataset declares is checked before it is read."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from facewright.errors import MissingExtraError
from facewright.untrusted.reading import require_within, unfolded_size

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_PLAIN_KINDS = "biuf"


@contextmanager
def open_hdf5(path: Path) -> Iterator[Any]:
    """Open for reading; close at the end of the block.

    Raises:
        MissingExtraError: h5py is not installed.
        OSError: the file is no HDF5 file, or is truncated: call it inside ``reading``.
    """
    try:
        import h5py
    except ImportError as error:
        raise MissingExtraError(
            f"{path.name} is an HDF5 file and needs h5py; install it with: pip install 'facewright[import]'"
        ) from error
    with h5py.File(path, "r") as file:
        yield file


def child_of(group: Any, name: str) -> Any:
    """A group's child, or None; links that lead out of the file are not followed.

    Raises:
        ValueError: such a link.
    """
    import h5py

    if not isinstance(group, h5py.Group):
        raise ValueError(f"{name!r} is looked for in what is no group")
    if isinstance(group.get(name, getlink=True), h5py.ExternalLink):
        raise ValueError(f"{name!r} is a link to another file")
    return group.get(name)


def numbers_of(dataset: Any, allowance: int, *, columns: int | None = None) -> np.ndarray:
    """A dataset of numbers, in native byte order.

    Args:
        dataset: of an open file.
        allowance: bytes that it may take (``memory_allowance``).
        columns: how many of its first columns to read; all if None.

    Raises:
        ValueError: no dataset of numbers, kept in other files, or declared larger than it may be.
    """
    require_dataset(dataset, allowance, _PLAIN_KINDS)
    array = np.asarray(dataset[()] if columns is None else dataset[:, :columns])
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def text_of(dataset: Any, most: int) -> str:
    """The one text of a dataset.

    Raises:
        ValueError: no dataset of one text of at most ``most`` bytes.
    """
    require_dataset(dataset, most, "SUO")
    if dataset.size != 1:
        raise ValueError(f"{dataset.size} texts where there should be one")
    stored = np.asarray(dataset[()]).ravel()[0]
    text = stored.decode() if isinstance(stored, bytes) else str(stored)
    if len(text) > most:
        raise ValueError(f"a text of {len(text)} letters")
    return text


def require_dataset(dataset: Any, allowance: int, kinds: str) -> None:
    """Make sure that reading a dataset is safe.

    Raises:
        ValueError: it is not.
    """
    import h5py

    if not isinstance(dataset, h5py.Dataset) or dataset.shape is None:
        raise ValueError("a dataset is wanted, not a group")
    if dataset.dtype.kind not in kinds:
        raise ValueError(f"{dataset.name}: a dataset of {dataset.dtype}")
    if dataset.is_virtual or dataset.external:
        raise ValueError(f"{dataset.name} is kept in other files")
    require_within(unfolded_size(dataset.shape, dataset.dtype.itemsize), allowance)
    require_within(unfolded_size(dataset.chunks or (), dataset.dtype.itemsize), allowance)
