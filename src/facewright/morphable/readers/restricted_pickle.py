"""Pickles of arrays from strangers: arrays come out, nothing else is ever called.

A pickle names functions to call. Here a fixed few names are known, each standing for a harmless function of ours:
numpy arrays and numbers, scipy sparse matrices, plain containers. Objects of chumpy and torch become inert boxes. Any
other name stops the reading before anything is called.
"""

import io
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import coo_matrix, csc_matrix, csr_matrix

from facewright.errors import FaceModelError

_SPARSE = {"csc_matrix": csc_matrix, "csr_matrix": csr_matrix}
_UNREADABLE = (pickle.UnpicklingError, EOFError, ValueError, TypeError, LookupError, AttributeError, MemoryError)


def load_arrays(path: Path) -> dict[str, Any]:
    """The dictionary of arrays in a ``.pkl``, or in a ``.npy`` that holds a pickled dictionary.

    Raises:
        FaceModelError: the pickle wants to call something else, is damaged, or holds no dictionary.
    """
    with path.open("rb") as file:
        content = file.read()
    stream = io.BytesIO(content)
    try:
        if content.startswith(np.lib.format.MAGIC_PREFIX):
            _skip_npy_header(stream)
        loaded = _ArrayUnpickler(stream, path.name).load()
    except _UNREADABLE as error:
        raise FaceModelError(
            f"{path.name}: expected a whole pickle of arrays, received one that cannot be read "
            f"({type(error).__name__}: {error}); download it again"
        ) from error
    if isinstance(loaded, np.ndarray) and loaded.shape == () and loaded.dtype == object:
        loaded = loaded.item()
    if not isinstance(loaded, dict):
        raise FaceModelError(f"{path.name}: expected a dictionary of arrays, received {type(loaded).__name__}")
    return {str(key): _plain(value) for key, value in loaded.items()}


def _skip_npy_header(stream: io.BytesIO) -> None:
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    _, _, dtype = read(stream)
    if not dtype.hasobject:
        raise ValueError("a plain array, not a dictionary")


class _Box:
    """Stands for an object whose class is not wanted: keeps what it was made of, does nothing."""

    def __init__(self, *parts: Any) -> None:
        self.parts = parts
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _ArrayUnpickler(pickle.Unpickler):
    """Knows the names in ``_known_names`` and no other."""

    def __init__(self, stream: io.BytesIO, file: str) -> None:
        super().__init__(stream, encoding="latin1")  # Python 2 wrote the older files
        self._file = file
        self._known = _known_names()

    def find_class(self, module: str, name: str) -> Any:
        """The harmless function that a name stands for."""
        root = module.split(".")[0]
        if root in ("chumpy", "torch") and "." not in name:
            return type("Box", (_Box,), {})  # a new class each time: a pickle may write on classes
        if root == "scipy" and name in _SPARSE:
            return type(name, (_Box,), {"sparse": name})
        if root in ("numpy", "copy_reg", "copyreg", "__builtin__", "builtins", "_codecs", "collections"):
            known = self._known.get(name)
            if known is not None:
                return known
        raise FaceModelError(
            f"{self._file}: expected a pickle of arrays, received one that would call {module}.{name}; it was stopped. "
            "Take the file from its authors' own page"
        )


def _known_names() -> dict[str, Any]:
    def array(*_: Any) -> np.ndarray:
        return np.array([], np.int8)  # filled by the array's own state

    def array_from_bytes(buffer: Any, dtype: Any, shape: Any, order: str = "C", *_: Any) -> np.ndarray:
        return np.frombuffer(buffer, np.dtype(dtype)).reshape(shape, order="F" if order == "F" else "C")

    def scalar(dtype: Any, content: Any = b"\0" * 8) -> Any:
        raw = content.encode("latin1") if isinstance(content, str) else content
        return np.frombuffer(raw, np.dtype(dtype))[0]

    def new_object(kind: Any, *_: Any) -> Any:
        return kind() if isinstance(kind, type) and issubclass(kind, _Box) else _Box()

    def text_bytes(text: str, *_: Any) -> bytes:
        return text.encode("latin1")

    return {
        "_reconstruct": array,
        "_frombuffer": array_from_bytes,
        "scalar": scalar,
        "ndarray": "ndarray",  # named by arrays, called by none
        "dtype": np.dtype,
        "_reconstructor": new_object,
        "object": "object",
        "encode": text_bytes,
        "OrderedDict": OrderedDict,
    }


def _plain(value: Any) -> Any:
    """Arrays out of boxes; sparse matrices stay sparse; anything else as it is."""
    if not isinstance(value, _Box):
        return value
    state = value.state if isinstance(value.state, dict) else {}
    kind = _SPARSE.get(str(getattr(value, "sparse", "")))
    if kind is not None:
        try:
            shape = state.get("_shape", state.get("shape"))
            return coo_matrix(kind((state["data"], state["indices"], state["indptr"]), shape=shape))
        except (KeyError, ValueError, TypeError) as error:
            raise FaceModelError(
                f"expected a sparse matrix, received a damaged one ({error}); download it again"
            ) from error
    return state.get("x")  # where chumpy keeps the numbers
