"""A digest of all that decides what the flow answers: by the numbers themselves, not by their files' names."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

from torch import Tensor, nn

from facewright.export.json import plain
from facewright.pipeline.flow import Reconstructor
from facewright.provenance import VERSION


def fingerprint(reconstructor: Reconstructor, **more: Any) -> str:
    """SHA-256, hexadecimal, of the program's version, method, settings, weights and face model.

    Args:
        reconstructor: the loaded flow.
        more: what else decides results, JSON-able.
    """
    estimator = reconstructor.estimator
    facts = {
        "facewright": VERSION,
        "method": estimator.method,
        "weights": estimator.weights,
        "settings": estimator.settings,
        "checked": reconstructor.check is not None,
        **more,
    }
    digest = hashlib.sha256(json.dumps(plain(facts), sort_keys=True).encode())
    seen = set[int]()
    for tensor in _tensors([reconstructor.detector, estimator, reconstructor.fallback], seen):
        array = tensor.detach().cpu().contiguous().numpy()
        digest.update(f"{array.dtype} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _tensors(value: Any, seen: set[int]) -> Iterator[Tensor]:
    """All in a value, however deep; what is there twice once."""
    if id(value) in seen:
        return
    if isinstance(value, Tensor):
        seen.add(id(value))
        yield value
    elif isinstance(value, nn.Module):
        seen.add(id(value))
        yield from (tensor for tensor in (*value.parameters(), *value.buffers()) if tensor.numel())
    elif is_dataclass(value) and not isinstance(value, type):
        seen.add(id(value))
        for entry in fields(value):
            yield from _tensors(getattr(value, entry.name), seen)
    elif isinstance(value, dict):
        for entry in value.values():
            yield from _tensors(entry, seen)
    elif isinstance(value, list | tuple):
        for entry in value:
            yield from _tensors(entry, seen)
