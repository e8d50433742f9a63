"""NumPy arrays and archives of plain ones: what the headers declare is checked before any data is read."""

import sys
import zipfile
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path
from typing import IO

import numpy as np

from facewright.untrusted.reading import memory_allowance, regular_size, require_within, unfolded_size

_PLAIN_KINDS = "biufSU"
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_SUFFIX = ".npy"


@dataclass(frozen=True)
class NpyHeader:
    """What an array of an archive says of itself.

    Attributes:
        dtype: plain numbers, booleans or text.
        shape: as declared; the data have exactly its size.
    """

    dtype: np.dtype
    shape: tuple[int, ...]

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]


def read_npz(
    path: Path,
    names: Collection[str] | None = None,
    *,
    skip: tuple[str, ...] = (),
    check: Callable[[Mapping[str, NpyHeader]], None] | None = None,
) -> dict[str, np.ndarray]:
    """The arrays of an ``.npz``, in native byte order.

    Args:
        path: the archive.
        names: read only those of these that it has; all if None.
        skip: names of arrays that are not wanted.
        check: called with all headers before any data is read; what it raises stops the reading.

    Raises:
        ValueError: not an archive of plain arrays, or one that declares more than it may. On damaged bytes whatever
            zipfile, zlib and numpy raise: call it inside ``reading``.
    """
    allowance = memory_allowance(path)
    with path.open("rb") as file:
        if file.read(len(np.lib.format.MAGIC_PREFIX)) == np.lib.format.MAGIC_PREFIX:
            raise ValueError("a single array")
        with zipfile.ZipFile(file) as archive:
            members = {entry.filename.removesuffix(_SUFFIX): entry for entry in archive.infolist()}
            if len(members) < len(archive.infolist()):
                raise ValueError("two arrays of one name")
            wanted = members.keys() - set(skip) if names is None else set(names)
            members = {name: entry for name, entry in members.items() if name in wanted}
            headers = {name: _header(archive, entry) for name, entry in members.items()}
            declared = sum(unfolded_size(header.shape, header.dtype.itemsize) for header in headers.values())
            require_within(declared, allowance)
            if check is not None:
                check(headers)
            return {name: _data(archive, entry) for name, entry in members.items()}


def _header(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> NpyHeader:
    """Of one member, checked against the size that the archive declares for it."""
    if not entry.filename.endswith(_SUFFIX) or entry.compress_type not in _METHODS:
        raise ValueError(f"its member {entry.filename!r} is no array that numpy.savez wrote")
    with archive.open(entry) as member:
        shape, dtype = read_npy_header(member)
        start = member.tell()
    if dtype.hasobject:
        raise ValueError(f"{entry.filename!r}: Object arrays cannot be loaded, they hold code")
    if dtype.kind not in _PLAIN_KINDS:
        raise ValueError(f"{entry.filename!r}: plain numbers are wanted, not {dtype}")
    size = unfolded_size(shape, 4) // 4 * dtype.itemsize
    if start + size != entry.file_size:
        raise ValueError(f"{entry.filename!r} declares {size} bytes in {entry.file_size - start}")
    return NpyHeader(dtype, shape)


def read_npy_header(member: IO[bytes] | BufferedIOBase) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and type that an array of NumPy's own format declares; its data come next in the stream.

    Raises:
        ValueError: a version that ``numpy.save`` does not write, or no header; also whatever ``ast`` and ``tokenize``
            raise: call it inside ``reading``.
    """
    version = np.lib.format.read_magic(member)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
    if read is None:
        raise ValueError(f"an array in version {version} of numpy's format")
    shape, _, dtype = read(member)
    return shape, dtype


def read_npy(path: Path) -> np.ndarray:
    """The single array of an ``.npy``, in native byte order.

    Args:
        path: the file.

    Raises:
        ValueError: not an array of plain numbers, or one that declares another size than the file has. On damaged
            bytes whatever numpy raises: call it inside ``reading``.
    """
    size = regular_size(path)
    with path.open("rb") as file:
        shape, dtype = read_npy_header(file)
        if dtype.hasobject or dtype.kind not in _PLAIN_KINDS:
            raise ValueError(f"plain numbers are wanted, not {dtype}")
        declared = unfolded_size(shape, 4) // 4 * dtype.itemsize
        if file.tell() + declared != size:
            raise ValueError(f"it declares {declared} bytes in {size - file.tell()}")
        file.seek(0)
        array = np.asarray(np.lib.format.read_array(file, allow_pickle=False))
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _data(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(entry) as member:
        array = np.asarray(np.lib.format.read_array(member, allow_pickle=False))
        if member.read(1):  # reaching the end is what makes zipfile compare the checksum
            raise ValueError(f"{entry.filename!r} goes on after its end")
    native = array.astype(array.dtype.newbyteorder("="), copy=False)
    if native.dtype.kind == "U" and native.size and native.reshape(-1).view(np.uint32).max() > sys.maxunicode:
        raise ValueError(f"{entry.filename!r} holds letters that are none")
    return native
