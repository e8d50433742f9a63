"""Pickles of arrays from strangers: plain arrays come out, and nothing is ever called or imported.

A pickle is a program for a stack machine that names functions and calls them. ``pickle_machine`` runs it with
everything that could act taken out: a name stays a name, a call stays a note of what would be called. Here the notes
that stand for numpy arrays, scipy's sparse matrices and chumpy's arrays are turned into arrays, after their sizes,
types and indices have been checked.
"""

import io
import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from facewright.errors import FaceModelError
from facewright.morphable.readers.pickle_machine import Call, Name, run_pickle
from facewright.untrusted import memory_allowance, reading
from facewright.untrusted.npz import read_npy_header
from facewright.untrusted.reading import require_within, unfolded_size

_DTYPE = re.compile(r"[|<>=]?(b1|[iu][1248]|f[248]|S\d{1,4}|U\d{1,4})")
"""Plain kinds: booleans, whole and real numbers, short texts."""

_OBJECT = re.compile(r"\|?O[48]?")
_MOST_VALUES = 5_000_000
"""Entries of all lists and dictionaries together, each as often as it is reached."""

_MOST_LEVELS = 32
_MOST_SIZE = 1 << 40


def load_arrays(path: Path) -> dict[str, Any]:
    """The dictionary of arrays in a ``.pkl``, or in a ``.npy`` that holds a pickled dictionary.

    Sparse matrices come out full; lists of equal numbers as arrays; what is none of this (objects of torch) as None.

    Raises:
        FaceModelError: the pickle wants to call something else, is damaged, or holds no dictionary.
    """
    with reading(path.name, FaceModelError, "a whole pickle of arrays", "download it again"):
        allowance = memory_allowance(path)
        content = path.read_bytes()
        start = _after_npy_header(content) if content.startswith(np.lib.format.MAGIC_PREFIX) else 0
        loaded = _Plain(allowance).value(
            run_pickle(memoryview(content)[start:], lambda name: _require_known(name, path))
        )
    if isinstance(loaded, list) and start and len(loaded) == 1:
        loaded = loaded[0]
    if not isinstance(loaded, dict):
        raise FaceModelError(f"{path.name}: expected a dictionary of arrays, received {type(loaded).__name__}")
    return loaded


def _after_npy_header(content: bytes) -> int:
    stream = io.BytesIO(content)
    _, dtype = read_npy_header(stream)
    if not dtype.hasobject:
        raise ValueError("a plain array, not a dictionary")
    return stream.tell()


_NUMPY = {"_reconstruct", "_frombuffer", "scalar", "ndarray", "dtype"}
_PYTHON = {
    ("_codecs", "encode"),
    ("copy_reg", "_reconstructor"),
    ("copyreg", "_reconstructor"),
    ("collections", "OrderedDict"),
    *((module, name) for module in ("builtins", "__builtin__") for name in ("object", "bytes")),
}
_SPARSE = {"csc_matrix", "csr_matrix"}


def _require_known(name: Name, path: Path) -> None:
    """Names that stand for arrays and their parts, and no other.

    Nothing would be called in any case; but a file that wants more is not what it was taken for.
    """
    root = name.module.split(".")[0]
    known = (
        (name.module, name.name) in _PYTHON
        or (root == "numpy" and name.name in _NUMPY)
        or (root == "scipy" and name.name in _SPARSE)
        or (root in ("chumpy", "torch") and name.name.isidentifier())
    )
    if not known:
        raise FaceModelError(
            f"{path.name}: expected a pickle of arrays, received one that would call {name.module}.{name.name}; it was "
            "stopped. Take the file from its authors' own page"
        )


class _Plain:
    """Turns what the machine left into plain values, within a budget.

    Args:
        allowance: bytes that all arrays may take together.
    """

    def __init__(self, allowance: int) -> None:
        self._allowance = allowance
        self._values_left = _MOST_VALUES
        self._level = 0
        self._known: dict[int, tuple[Any, Call]] = {}  # the call is kept, so that its id is not given to another

    def value(self, found: Any) -> Any:
        """The plain value of anything on the machine's stack; a box that may hold itself ends at the budget."""
        self._values_left -= 1
        self._level += 1
        if self._values_left < 0 or self._level > _MOST_LEVELS:
            raise ValueError("it holds too many values, or itself")
        try:
            if isinstance(found, Call):
                if id(found) not in self._known:
                    self._known[id(found)] = (self._made(found), found)
                return self._known[id(found)][0]
            if isinstance(found, dict):
                return {str(key): self.value(entry) for key, entry in found.items()}
            if isinstance(found, (list, tuple)):
                return self._array_if_regular([self.value(entry) for entry in found])
            return None if isinstance(found, Name) else found
        finally:
            self._level -= 1

    def _made(self, call: Call) -> Any:
        """The value that a call would have made, had it been called."""
        name = call.name.name
        if name in _SPARSE:
            return self._sparse(call)
        if call.name.module.split(".")[0] == "numpy":
            made = {"_reconstruct": self._array, "_frombuffer": self._array_from_bytes, "scalar": self._scalar}
            return made[name](call) if name in made else None
        if name == "encode":
            self._charge((len(call.arguments[0]),), 1)
            return _raw(call.arguments[0])
        if name == "bytes":
            return b""
        if name == "OrderedDict":
            return self.value(call.entries)
        if name == "_reconstructor" and isinstance(call.arguments[0], Name):
            return self._made(Call(call.arguments[0], (), call.state, call.entries))
        state = call.state if isinstance(call.state, dict) else {}
        return self.value(state.get("x"))  # where chumpy keeps the numbers

    def _array(self, call: Call) -> Any:
        _, shape, stored_dtype, is_fortran, content = call.state[-5:] if len(call.state) == 5 else (0, *call.state)
        dtype = _dtype(stored_dtype)
        if dtype is None and isinstance(content, list):
            return self.value(content)
        return self._shaped_bytes(_raw(content), dtype, shape, "F" if is_fortran else "C")

    def _array_from_bytes(self, call: Call) -> np.ndarray:
        content, stored_dtype, shape, *order = call.arguments
        dtype = _dtype(stored_dtype)
        return self._shaped_bytes(_raw(content), dtype, shape, "F" if order == ["F"] else "C")

    def _scalar(self, call: Call) -> Any:
        stored_dtype, content = call.arguments
        dtype = _dtype(stored_dtype)
        return None if dtype is None else self._shaped_bytes(_raw(content), dtype, (), "C")[()]

    def _sparse(self, call: Call) -> np.ndarray:
        """A matrix in full: its indices are checked here, for scipy writes where they say."""
        state = call.state if isinstance(call.state, dict) else {}
        shape = tuple(self.value(entry) for entry in state.get("_shape", state.get("shape")) or ())
        data, indices, starts = (self.value(state.get(name)) for name in ("data", "indices", "indptr"))
        are_arrays = all(isinstance(part, np.ndarray) and part.ndim == 1 for part in (data, indices, starts))
        if not are_arrays or len(shape) != 2 or not all(_is_size(size) for size in shape):
            raise FaceModelError(
                "expected a sparse matrix, received a damaged one (parts are missing); download it again"
            )
        is_by_column = call.name.name == "csc_matrix"
        return self._full(data, indices, starts, (int(shape[0]), int(shape[1])), is_by_column)

    def _full(
        self, data: np.ndarray, indices: np.ndarray, starts: np.ndarray, shape: tuple[int, int], is_by_column: bool
    ) -> np.ndarray:
        self._charge(shape, 8)
        major, minor = shape[::-1] if is_by_column else shape
        are_ids = indices.dtype.kind in "iu" and starts.dtype.kind in "iu" and data.dtype.kind in "iuf"
        ends_right = are_ids and len(starts) == major + 1 and starts[0] == 0 and starts[-1] == len(indices)
        grows = ends_right and bool((starts[1:] >= starts[:-1]).all())
        inside = not len(indices) or (indices.min() >= 0 and indices.max() < minor)
        if not (grows and inside and len(indices) == len(data)):
            raise FaceModelError(
                f"expected a sparse matrix of {shape}, received a damaged one (its indices point outside); download it "
                "again"
            )
        full = np.zeros((major, minor), np.float64)
        rows = np.repeat(np.arange(major), np.diff(starts.astype(np.int64)))
        np.add.at(full, (rows, indices.astype(np.int64)), data)
        return full.T if is_by_column else full

    def _shaped_bytes(self, content: Any, dtype: np.dtype | None, shape: Any, order: Any) -> np.ndarray:
        sizes = shape if isinstance(shape, tuple) else (shape,)
        if dtype is None or len(sizes) > 8 or not all(_is_size(size) for size in sizes):
            raise ValueError("an array of objects, or of sizes that are none")
        self._charge(sizes, dtype.itemsize)
        if dtype.itemsize * math.prod(sizes) != len(content):
            raise ValueError(f"an array of shape {sizes} with {len(content)} bytes of {dtype}")
        array = np.frombuffer(content, dtype).reshape(sizes, order=order) if len(content) else np.zeros(sizes, dtype)
        return array.astype(dtype.newbyteorder("="), copy=False)

    def _array_if_regular(self, values: list[Any]) -> Any:
        """A list of numbers, or of equal rows of numbers, as an array; any other as it is."""
        if not values:
            return values
        is_table = all(isinstance(value, np.ndarray) and value.dtype.kind in "iuf" for value in values)
        if is_table and len({value.shape for value in values}) == 1:
            self._charge((len(values), *values[0].shape), 8)
            return np.array(values)
        return np.array(values) if all(type(value) in (int, float) for value in values) else values

    def _charge(self, shape: tuple[int, ...], itemsize: int) -> None:
        size = unfolded_size(shape, itemsize)
        require_within(size, self._allowance)
        self._allowance -= size


def _dtype(call: Any) -> np.dtype | None:
    """A plain type in the file's byte order; None for objects.

    Raises:
        ValueError: any other type. What a pickle says of a type beyond its name and byte order is never applied.
    """
    if not isinstance(call, Call) or call.name.name != "dtype" or call.name.module.split(".")[0] != "numpy":
        raise ValueError("an array without a type")
    text = call.arguments[0] if call.arguments else ""
    text = text.decode("latin1") if isinstance(text, bytes) else text
    if not isinstance(text, str):
        raise ValueError(f"a type named by {type(text).__name__}")
    state = call.state if isinstance(call.state, tuple) else (3, "|", None, None, None)
    order = state[1] if len(state) > 1 else "|"
    order = order.decode("latin1") if isinstance(order, bytes) else order
    if _OBJECT.fullmatch(text):
        return None
    if not _DTYPE.fullmatch(text) or order not in ("<", ">", "=", "|") or any(p is not None for p in state[2:5]):
        raise ValueError(f"an array of type {text[:40]!r}, which is not plain")
    return np.dtype(text if order == "|" else order + text.lstrip("|<>="))


def _raw(content: Any) -> bytes | bytearray | memoryview:
    """Bytes; Python 2 wrote them as text."""
    if isinstance(content, str):
        return content.encode("latin1")
    if isinstance(content, Call) and content.name.name in ("encode", "bytes"):
        return _raw(content.arguments[0]) if content.arguments else b""
    if not isinstance(content, (bytes, bytearray, memoryview)):
        raise ValueError(f"an array's numbers are {type(content).__name__}")
    return content


def _is_size(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and bool(0 <= value < _MOST_SIZE)
