"""Tensors of PyTorch and safetensors files by dotted name, without running anything that the files hold."""

import os
import pickle
import re
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from facewright.errors import WeightsError


def read_pickled(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """All tensors of a ``torch.save`` file; nested dictionaries become dotted names.

    Raises:
        WeightsError: truncated, not a PyTorch file, or it asks for code to be run (the message names what).
    """
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path) or None)
    except pickle.UnpicklingError as error:
        wanted = re.search(r"GLOBAL (\S+) was not an allowed global", str(error))
        if wanted is None:
            raise WeightsError(
                f"{path} is not a readable PyTorch file ({_first_line(error)}); fetch it again"
            ) from error
        raise WeightsError(
            f"{path} wants to run {wanted[1]} while being read, and was refused; expected a checkpoint of tensors and "
            "plain values: where you trust it, save its state dict alone with torch.save and import that"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise WeightsError(
            f"{path} is truncated or not a PyTorch file ({_first_line(error)}); fetch it again"
        ) from error
    return dict(_flatten(loaded))


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def _flatten(value: Any, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield prefix, value.detach()
    elif isinstance(value, Mapping):
        for key, entry in value.items():
            yield from _flatten(entry, f"{prefix}.{key}" if prefix else str(key))


class SafeTensors(Mapping[str, Tensor]):
    """Tensors of a safetensors file, read when asked for.

    Raises:
        WeightsError: truncated or malformed.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = path
        try:
            with safe_open(path, framework="pt") as file:
                self._names = list(file.keys())
        except (SafetensorError, OSError) as error:
            raise WeightsError(f"{path} is not a whole safetensors file ({error}); fetch it again") from error

    def __getitem__(self, name: str) -> Tensor:
        with safe_open(self._path, framework="pt") as file:
            return file.get_tensor(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
