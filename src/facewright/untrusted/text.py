"""Text files and JSON of bounded size."""

import json
from pathlib import Path
from typing import Any, NoReturn

from facewright.untrusted.reading import regular_size

MOST_BYTES = 32 << 20
"""Of a text: parsed, it takes up to thirty times that in memory."""


def read_text(path: Path, *, most: int = MOST_BYTES) -> str:
    """A UTF-8 text, with or without a byte-order mark.

    Raises:
        OSError: there is no such file.
        ValueError: too large, no regular file, or not UTF-8.
    """
    return read_bytes(path, most=most).decode("utf-8-sig")


def read_bytes(path: Path, *, most: int = MOST_BYTES) -> bytes:
    """A file's bytes.

    Raises:
        OSError: there is no such file.
        ValueError: too large, or no regular file.
    """
    regular_size(path, most)
    with path.open("rb") as file:
        return file.read(most + 1)


def read_json(path: Path, *, most: int = MOST_BYTES // 4) -> Any:
    """What a JSON file holds; see ``parse_json``."""
    return parse_json(read_text(path, most=most))


def parse_json(text: str) -> Any:
    """What a JSON text holds; NaN and infinities, which JSON does not know, are refused.

    Raises:
        ValueError: not JSON. Nested too deeply, it raises RecursionError: call it inside ``reading``.
    """
    return json.loads(text, parse_constant=_no_number)


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a finite number")
