"""Numbers out of MATLAB files, version 5 (``-v6`` and ``-v7``) and 7.3, without unpacking what is not asked for.

Version 5 is read here (MathWorks, "MAT-File Level 5 File Format"): scipy takes the sizes that a file declares at their
word, so that four megabytes of zeros, compressed, fill four gigabytes.
"""

import struct
import zlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path

import numpy as np

from facewright.untrusted.hdf5 import HDF5_SIGNATURE, child_of, numbers_of, open_hdf5
from facewright.untrusted.reading import memory_allowance, require_within, unfolded_size

Read = Callable[[int], bytes]
"""Gives exactly so many bytes, the next ones."""

_HEADER_BYTES = 128
_MATRIX, _COMPRESSED = 14, 15
_CELL, _STRUCTURE, _NUMERIC = 1, 2, range(6, 16)
_COMPLEX = 0x0800
_DTYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
"""Number of a data type -> numpy. MATLAB keeps whole numbers in the smallest type that holds them."""

_MOST_NAME, _MOST_AXES, _MOST_CELLS = 255, 8, 1000
_MOST_MEMBERS = 200
_PIECE = 1 << 20


@dataclass(frozen=True)
class MatContents:
    """What was found.

    Attributes:
        arrays: the variables that were asked for, as far as there are any; cells as object arrays of arrays, of a
            structure its members, each by the names of both with a dot between.
        names: of all variables.
    """

    arrays: dict[str, np.ndarray]
    names: tuple[str, ...]


def read_mat(path: Path, names: Collection[str] | None = None) -> dict[str, np.ndarray]:
    """The named variables, as far as the file has them; all if None. See ``mat_contents``."""
    return mat_contents(path, names).arrays


def mat_contents(path: Path, names: Collection[str] | None = None) -> MatContents:
    """The named variables, and the names of all.

    Args:
        path: the file.
        names: those that are wanted; the others are passed over. All if None.

    Raises:
        MissingExtraError: version 7.3, and h5py is not installed.
        ValueError: no such file, a wanted variable is not of real numbers, or it declares more than it may. On damaged
            bytes also whatever zlib, struct and h5py raise: call it inside ``reading``.
    """
    allowance = memory_allowance(path)
    with path.open("rb") as file:
        head = file.read(_HEADER_BYTES)
        if head.startswith(HDF5_SIGNATURE):
            raise ValueError("a bare HDF5 file")
        if head.startswith(b"MATLAB 7.3"):
            return _read_hdf5(path, names, allowance)
        if len(head) < _HEADER_BYTES or head[124:] not in (b"\x00\x01IM", b"\x01\x00MI"):
            raise ValueError("it does not begin as MATLAB files of version 5 do; save it again with -v7")
        return _read_variables(file, "<" if head[126:] == b"IM" else ">", names, allowance)


def _read_hdf5(path: Path, names: Collection[str] | None, allowance: int) -> MatContents:
    with open_hdf5(path) as file:
        arrays = {}
        for name in file if names is None else names:
            if name in file:
                array = numbers_of(child_of(file, name), allowance)
                allowance -= array.nbytes
                arrays[name] = array.T  # HDF5 keeps MATLAB's column-major arrays with their axes in reverse
        return MatContents(arrays, tuple(map(str, file)))


def _read_variables(file: BufferedIOBase, order: str, names: Collection[str] | None, allowance: int) -> MatContents:
    arrays: dict[str, np.ndarray] = {}
    found: list[str] = []
    for kind, size in _elements(file, order):
        if kind == _COMPRESSED:
            inflating = _Inflating(file, size)
            inner, _, _ = _tag(inflating.read, order)
            read: Read = inflating.read
        else:
            inner, read = kind, _exactly(file)
            inflating = None
        if inner != _MATRIX:
            raise ValueError(f"an element of type {inner} where a variable should be")
        matrix = _Matrix(read, order, allowance)
        found.append(matrix.name)
        if names is None or matrix.name in names:
            if matrix.is_structure:
                arrays |= {f"{matrix.name}.{member}": array for member, array in matrix.members().items()}
            else:
                arrays[matrix.name] = matrix.numbers()
            allowance = matrix.allowance
            if inflating is not None:
                inflating.finish()
    return MatContents(arrays, tuple(found))


def _elements(file: BufferedIOBase, order: str) -> Iterator[tuple[int, int]]:
    """Type and size of each element of the file; the file stands at its content."""
    end = file.seek(0, 2)
    position = _HEADER_BYTES
    while position < end:
        file.seek(position)
        kind, size = struct.unpack(order + "II", _exactly(file)(8))
        if kind not in (_MATRIX, _COMPRESSED) or position + 8 + size > end:
            raise ValueError(f"an element of type {kind} and {size} bytes at byte {position} of {end}")
        yield kind, size
        position += 8 + size


def _exactly(file: BufferedIOBase) -> Read:
    def read(count: int) -> bytes:
        content = file.read(count)
        if len(content) < count:
            raise ValueError("it is truncated")
        return content

    return read


class _Inflating:
    """A compressed element, unpacked only as far as it is read."""

    def __init__(self, file: BufferedIOBase, size: int) -> None:
        self._file, self._left = file, size
        self._stream = zlib.decompressobj()

    def read(self, count: int) -> bytes:
        """Exactly ``count`` bytes."""
        content = bytearray()
        while len(content) < count:
            piece = self._piece(count - len(content))
            if not piece and (self._stream.eof or not self._left):
                raise ValueError("a compressed variable ends early")
            content += piece
        return bytes(content)

    def finish(self) -> None:
        """To the end, where the checksum is; up to seven bytes of padding come before it."""
        left_over = 0
        while not self._stream.eof and (self._left or self._stream.unconsumed_tail):
            left_over += len(self._piece(64))
            if left_over > 7:
                raise ValueError("a compressed variable goes on after its end")

    def _piece(self, most: int) -> bytes:
        packed = self._stream.unconsumed_tail
        if not packed and self._left:
            packed = self._file.read(min(_PIECE, self._left))
            self._left = self._left - len(packed) if packed else 0
        return self._stream.decompress(packed, most)


def _tag(read: Read, order: str) -> tuple[int, int, bytes]:
    """Type, size and, of small elements, content (up to 4 bytes, in the tag itself)."""
    first, second = read(4), read(4)
    (word,) = struct.unpack(order + "I", first)
    if word >> 16:
        return word & 0xFFFF, word >> 16, second
    return word, struct.unpack(order + "I", second)[0], b""


class _Matrix:
    """A variable whose header has been read.

    Args:
        read: stands behind the variable's tag.
        order: byte order of the file.
        allowance: bytes that may still be taken.
        is_cell: inside another one, where cells are not allowed again.
    """

    def __init__(self, read: Read, order: str, allowance: int, *, is_cell: bool = False) -> None:
        self._read, self._order, self._is_cell = read, order, is_cell
        self.allowance = allowance
        flags = self._content(6, most=8)
        (self._flags,) = struct.unpack(order + "I", flags[:4])
        dims = self._content(5, most=4 * _MOST_AXES)
        self.shape = struct.unpack(f"{order}{len(dims) // 4}i", dims)
        self.name = self._content(1, most=_MOST_NAME).decode("latin1")

    @property
    def is_structure(self) -> bool:
        """Whether it has members instead of numbers."""
        return self._flags & 0xFF == _STRUCTURE and not self._is_cell

    def members(self) -> dict[str, np.ndarray]:
        """The data of a single structure of numbers."""
        (length,) = struct.unpack(self._order + "i", self._content(5, most=4))
        names = self._content(1, most=_MOST_NAME * _MOST_MEMBERS)
        if self.shape != (1, 1) or not 0 < length <= _MOST_NAME or len(names) % length:
            raise ValueError(f"variable {self.name!r} is an array of structures of shape {self.shape}; one is wanted")
        found = {}
        for start in range(0, len(names), length):
            name = names[start : start + length].split(b"\0")[0].decode("latin1")
            found[name] = self._inner("a member", name)
        return found

    def numbers(self) -> np.ndarray:
        """The data."""
        kind = self._flags & 0xFF
        count = unfolded_size(self.shape, 4) // 4
        if kind == _CELL and not self._is_cell:
            return self._cells(count)
        if kind not in _NUMERIC or self._flags & _COMPLEX:
            what = "complex numbers" if self._flags & _COMPLEX else f"class {kind}"
            raise ValueError(f"variable {self.name!r} is of {what}; plain numbers are wanted")
        require_within(unfolded_size(self.shape, 8), self.allowance)
        data_kind, size, small = _tag(self._read, self._order)
        dtype = np.dtype(self._order + _DTYPES.get(data_kind, "V1"))
        if dtype.kind == "V" or size != count * dtype.itemsize:
            raise ValueError(
                f"variable {self.name!r} of shape {self.shape} has {size} bytes of type {data_kind} as its numbers"
            )
        self.allowance -= unfolded_size(self.shape, dtype.itemsize)
        content = small[:size] if small else self._read(size)
        if not small:
            self._read(-size % 8 if self._is_cell else 0)
        array = np.frombuffer(content, dtype).reshape(self.shape, order="F")
        return array.astype(dtype.newbyteorder("="), copy=False)

    def _cells(self, count: int) -> np.ndarray:
        if count > _MOST_CELLS:
            raise ValueError(f"variable {self.name!r} has {count} cells")
        cells = np.full(count, None, object)
        for i in range(count):
            cells[i] = self._inner("a cell", str(i))
        return cells.reshape(self.shape, order="F")

    def _inner(self, what: str, name: str) -> np.ndarray:
        kind, size, _ = _tag(self._read, self._order)
        if kind != _MATRIX or not size:
            raise ValueError(f"variable {self.name!r} holds {what} {name} of type {kind} and {size} bytes")
        inner = _Matrix(self._read, self._order, self.allowance, is_cell=True)
        numbers = inner.numbers()
        self.allowance = inner.allowance
        return numbers

    def _content(self, wanted: int, most: int) -> bytes:
        kind, size, small = _tag(self._read, self._order)
        if kind != wanted or size > most or (wanted == 5 and size % 4) or (wanted == 6 and size != 8):
            raise ValueError(f"a variable's header holds {size} bytes of type {kind}")
        if small:
            if size > 4:
                raise ValueError(f"a variable's header holds {size} bytes in 4")
            return small[:size]
        return self._read(size + -size % 8)[:size]
