"""JSON that people can read: UTF-8, keys in the order given, finite numbers of seven digits, short rows on one line."""

import json
import math
from dataclasses import fields, is_dataclass
from pathlib import PurePath
from typing import Any

import numpy as np
from torch import Tensor

from facewright.errors import ExportError
from facewright.files import Destination, put

LINE_LENGTH = 120
SIGNIFICANT_DIGITS = 7


def write_json(destination: Destination, content: dict[str, Any]) -> None:
    """Write ``json_bytes``.

    Raises:
        ExportError: as ``json_bytes``; or the file cannot be written.
    """
    put(destination, json_bytes(content))


def json_bytes(content: dict[str, Any]) -> bytes:
    """A dictionary; tensors, arrays, paths and dataclasses inside become lists, numbers and strings.

    Raises:
        ExportError: a number is not finite or a value has no JSON form; the message names its key.
    """
    # Paths need not be UTF-8; their odd bytes become JSON's own escapes (\udcff), which read back as they were.
    return (format_json(content) + "\n").encode("utf-8", "backslashreplace")


def plain(value: Any, key: str = "$") -> Any:
    """JSON's own types for a value: dict, list, str, int, float (seven significant digits), bool, None.

    Args:
        value: anything made of those, tensors, numpy arrays and scalars, paths, tuples and dataclasses.
        key: where the value stands, for the error's text.

    Raises:
        ExportError: as ``json_bytes``.
    """
    if isinstance(value, Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return _rounded(value, key)
    if isinstance(value, PurePath):
        return str(value)
    if is_dataclass(value) and not isinstance(value, type):
        value = {entry.name: getattr(value, entry.name) for entry in fields(value)}
    if isinstance(value, dict):
        return {str(name): plain(entry, f"{key}.{name}") for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry, f"{key}[{index}]") for index, entry in enumerate(value)]
    raise ExportError(f"{key}: expected numbers, text, lists or dictionaries, received {type(value).__name__}")


def _rounded(value: float, key: str) -> float:
    if not math.isfinite(value):
        raise ExportError(f"{key}: expected a finite number, received {value}; nothing was written")
    return float(f"{value:.{SIGNIFICANT_DIGITS}g}") + 0.0


def format_json(content: Any) -> str:
    """Indented JSON text in which whatever fits a line stays on one."""
    return _format(plain(content), "")


def _format(value: Any, indent: str) -> str:
    flat = json.dumps(value, ensure_ascii=False, allow_nan=False)
    if not isinstance(value, dict | list) or not value or len(indent) + len(flat) <= LINE_LENGTH - 20:
        return flat
    deeper = indent + "  "
    if isinstance(value, dict):
        rows = [f"{json.dumps(name, ensure_ascii=False)}: {_format(entry, deeper)}" for name, entry in value.items()]
        return "{\n" + deeper + f",\n{deeper}".join(rows) + f"\n{indent}}}"
    if all(isinstance(entry, int | float) for entry in value):
        return "[\n" + deeper + _wrapped(value, deeper) + f"\n{indent}]"
    return "[\n" + deeper + f",\n{deeper}".join(_format(entry, deeper) for entry in value) + f"\n{indent}]"


def _wrapped(numbers: list[int | float], indent: str) -> str:
    lines, line = [], ""
    for number in map(json.dumps, numbers):
        if line and len(indent) + len(line) + len(number) + 2 > LINE_LENGTH:
            lines.append(line)
            line = ""
        line += (", " if line else "") + number
    return f",\n{indent}".join([*lines, line])
