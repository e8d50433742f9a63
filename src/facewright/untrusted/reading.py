"""The one place where whatever a parsing library throws becomes an error of the product."""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from facewright.errors import FacewrightError

LEAST_ALLOWANCE = 256 << 20
"""Bytes that any file may unfold to."""

_UNFOLDING = 8
"""How many times its own size a file may unfold to. Arrays of faces shrink by 1.1 to 5 when they are compressed."""

_REASON_LETTERS = 300


@contextmanager
def reading(path: str | os.PathLike[str], error: type[FacewrightError], expected: str, remedy: str) -> Iterator[None]:
    """Read a stranger's file in the block: everything that goes wrong there is an error of the product.

    Nobody can list what zip, zlib, json, numpy, HDF5 and the rest raise on damaged bytes; so nothing is listed. Errors
    of the product pass as they are. Keep the block to the reading: a fault of ours would be blamed on the file.

    Args:
        path: the file, for the message.
        error: what to raise.
        expected: what the file should have been ("a whole .npz of plain arrays").
        remedy: what the user can do ("download it again").

    Raises:
        FacewrightError: ``error``, from whatever was raised in the block.
    """
    try:
        yield
    except FacewrightError:
        raise
    except Exception as problem:
        raise error(
            f"{os.fspath(path)}: expected {expected}, received one that cannot be read ({_reason(problem)}); {remedy}"
        ) from problem


def _reason(problem: Exception) -> str:
    """One line that says what was wrong, as far as the library knows."""
    text = (problem.strerror if isinstance(problem, OSError) else None) or str(problem)
    line = " ".join(text.split()).encode("ascii", "backslashreplace").decode()
    plain = "".join(letter if letter.isprintable() else "?" for letter in line)  # a terminal obeys the others
    if type(problem) is ValueError and plain:
        return plain[:_REASON_LETTERS]
    return f"{type(problem).__name__}: {plain}"[:_REASON_LETTERS]


def regular_size(path: Path, most: int | None = None) -> int:
    """Bytes of a file; a device or a pipe, which may never end, is refused.

    Raises:
        OSError: there is no such file.
        ValueError: it is no regular file, or larger than ``most`` bytes.
    """
    size = path.stat().st_size
    if not path.is_file():
        raise ValueError("it is no regular file")
    if most is not None and size > most:
        raise ValueError(f"it has {size} bytes, more than the {most} that such files have")
    return size


def memory_allowance(path: Path) -> int:
    """Bytes that a file may unfold to in memory: 256 MiB, or eight times its size.

    Raises:
        OSError: there is no such file.
        ValueError: it is no regular file.
    """
    return max(LEAST_ALLOWANCE, _UNFOLDING * regular_size(path))


def unfolded_size(shape: tuple[int, ...], itemsize: int) -> int:
    """Bytes of an array once it is computed with: small numbers become float32.

    Raises:
        ValueError: a size is negative, or there are more axes than arrays of faces have.
    """
    if len(shape) > 8 or any(size < 0 for size in shape):
        raise ValueError(f"an array of shape {shape}")
    return math.prod(shape) * max(4, itemsize)


def require_within(declared: int, allowance: int) -> None:
    """Stop before the memory is taken.

    Raises:
        ValueError: a file declares more than it may.
    """
    if declared > allowance:
        raise ValueError(
            f"it declares {declared} bytes of arrays, more than the {allowance} that a file of its size may unfold to"
        )
