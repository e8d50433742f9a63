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

_DAMAGED = (
    *(RuntimeError, EOFError, OSError, ValueError, LookupError, TypeError, AttributeError, AssertionError),
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
            loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path) or None)
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
    tensors = dict(_flatten(loaded))
    return TensorFile(os.fspath(path), tensors, tensors.__getitem__)


def _flatten(value: Any, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield prefix, value.detach()
    elif isinstance(value, Mapping):
        for key, entry in value.items():
            yield from _flatten(entry, f"{prefix}.{key}" if prefix else str(key))


def read_safetensors(path: str | os.PathLike[str]) -> TensorFile[Tensor]:
    """Tensors of a safetensors file, read when asked for.

    Raises:
        WeightsError: truncated or malformed.
    """
    try:
        file = safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is not a whole safetensors file ({error}); fetch it again") from error
    return TensorFile(os.fspath(path), file.keys(), file.get_tensor)
