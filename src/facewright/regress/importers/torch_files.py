"""Tensors of PyTorch and safetensors files by dotted name, without running anything that the files hold."""

import os
import pickle
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from facewright.errors import WeightsError
from facewright.regress.importers.lazy import TensorFile
from facewright.untrusted import is_zip

MOST_ENTRIES, DEEPEST = 100_000, 32
"""Of a file's dictionaries: many times what training programs write."""
_COUNTERS = "num_batches_tracked"
_SAVE_ALONE = "save the network's state dict alone with torch.save and import that"

_DAMAGED = (
    *(RuntimeError, EOFError, OSError, ValueError, LookupError, TypeError, AttributeError, AssertionError),
    *(MemoryError, OverflowError, NotImplementedError),
    zipfile.BadZipFile,
)
"""What torch's restricted unpickler raises on damaged files."""


def read_pickled(path: str | os.PathLike[str]) -> TensorFile[Tensor]:
    """All tensors of a ``torch.save`` file; nested dictionaries become dotted names.

    Raises:
        WeightsError: truncated, not a PyTorch file, or it asks for code to be run (the message names what).
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickle protocols that it may not read: it says so again if it fails
            loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip(path) or None)
    except pickle.UnpicklingError as error:
        wanted = re.search(r"GLOBAL (\S+)", str(error))
        asks = (
            f"asks for {wanted[1]} to be run" if wanted else "holds more than tensors and plain values, or is damaged"
        )
        # torch's own message is left out: it suggests loading the file unsafely.
        raise WeightsError(
            f"{path} {asks}, and was refused; expected a checkpoint of tensors and plain values: where you trust it, "
            "save its state dict alone with torch.save and import that"
        ) from error
    except _DAMAGED as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise WeightsError(f"{path} is truncated or not a PyTorch file ({reason}); fetch it again") from error
    tensors = dict(_flatten(os.fspath(path), loaded))
    return TensorFile(os.fspath(path), tensors, lambda name: _floats(path, name, tensors[name]))


def _flatten(path: str, loaded: Any) -> Iterator[tuple[str, Tensor]]:
    """Tensors by dotted name. Dictionaries may hold themselves, or each other over and over: visits are counted."""
    waiting: list[tuple[str, int, Any]] = [("", 0, loaded)]
    for _ in range(MOST_ENTRIES):
        if not waiting:
            return
        prefix, depth, value = waiting.pop()
        if isinstance(value, Tensor):
            yield prefix, value.detach()
        elif isinstance(value, Mapping):
            if depth == DEEPEST:
                raise WeightsError(f"{path}: {prefix[:80]}... lies in more than {DEEPEST} dictionaries; {_SAVE_ALONE}")
            within = f"{prefix}." if depth else ""
            waiting += [(f"{within}{key}", depth + 1, entry) for key, entry in reversed(list(value.items()))]
    if waiting:
        raise WeightsError(f"{path}: expected at most {MOST_ENTRIES} entries, received more; {_SAVE_ALONE}")


def _floats(path: str | os.PathLike[str], name: str, value: Tensor) -> Tensor:
    """A tensor to compute with, or a counter of batches.

    Raises:
        WeightsError: integers, complex numbers, or no numbers at all (sparse, quantized, on the meta device).
    """
    dense = value.layout == torch.strided and not value.is_quantized and value.device.type != "meta"
    counter = name.endswith(_COUNTERS) and value.dtype in (torch.int32, torch.int64)
    if dense and (counter or value.is_floating_point()):
        return value.long() if counter else value
    raise WeightsError(
        f"{path}: expected {name} to hold plain floating-point numbers, received {value.dtype} ({value.layout}, "
        f"on {value.device}); {_SAVE_ALONE}"
    )


def read_safetensors(path: str | os.PathLike[str]) -> TensorFile[Tensor]:
    """Tensors of a safetensors file, read when asked for.

    Raises:
        WeightsError: truncated or malformed.
    """
    try:
        file = safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is not a whole safetensors file ({error}); fetch it again") from error
    return TensorFile(os.fspath(path), file.keys(), lambda name: _floats(path, name, file.get_tensor(name)))
