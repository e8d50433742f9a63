"""Checks of arrays from other people's files: each failure says what was expected, what came, and the remedy."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from facewright.errors import AssetNotFoundError, FaceModelError
from facewright.files import file_sha256
from facewright.morphable.readers.report import MissingPart


def require_files(wanted: Iterable[tuple[Path, MissingPart]]) -> None:
    """Make sure that every file is there, and name all that are not at once.

    Raises:
        AssetNotFoundError: at least one is missing (or is a folder).
    """
    absent: dict[MissingPart, list[str]] = {}
    for path, part in wanted:
        if not path.is_file():
            absent.setdefault(part, []).append(f"  {path}")
    if absent:
        listed = "\n".join("\n".join([*paths, f"    {part.line()}"]) for part, paths in absent.items())
        raise AssetNotFoundError(
            f"expected these files, found none of them:\n{listed}\nobtain them and give their paths"
        )


def pick(arrays: Mapping[str, Any], key: str, file: str) -> Any:
    """``arrays[key]``, or an error that lists the keys there are."""
    if key not in arrays:
        present = ", ".join(sorted(map(str, arrays))) or "nothing"
        raise FaceModelError(f"{file}: expected an array {key!r}, found {present}; is it the right file, and whole?")
    return arrays[key]


def numbers(value: Any, what: str) -> np.ndarray:
    """Real numbers, finite, out of an array or a list.

    Raises:
        FaceModelError: the value is text, complex, ragged or of other things, or holds NaN or infinity.
    """
    array = _array(value, what)
    if array.dtype.kind not in "biuf":
        meant = "real numbers" if array.dtype.kind == "c" else "numbers"
        raise FaceModelError(f"{what}: expected {meant}, received {array.dtype}; is it the right file?")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise FaceModelError(f"{what}: expected finite numbers, received NaN or infinity; the file is damaged")
    return array


def _array(value: Any, what: str) -> np.ndarray:
    try:
        return np.asarray(value)
    except (ValueError, TypeError, OverflowError) as error:
        raise FaceModelError(f"{what}: expected numbers, received a list of other things ({error})") from error


def deviations(value: Any, size: int | None, what: str) -> Float[np.ndarray, " K"]:
    """Standard deviations (or variances) of modes.

    Raises:
        FaceModelError: one is negative.
    """
    array = vector(value, size, what).astype(np.float64)
    if array.min(initial=0.0) < 0:
        raise FaceModelError(f"{what}: expected values from 0 up, received {array.min():.3g}; the file is damaged")
    return array


def shaped(array: Any, shape: tuple[int | None, ...], what: str) -> np.ndarray:
    """The array, once its shape is right (None: any length) and its numbers are real and finite."""
    array = _array(array, what)
    wanted = "(" + ", ".join("any" if size is None else str(size) for size in shape) + ")"
    fits = array.ndim == len(shape) and all(e is None or e == r for e, r in zip(shape, array.shape, strict=True))
    if not fits:
        turned = array.ndim == 2 and all(e is None or e == r for e, r in zip(shape[::-1], array.shape, strict=False))
        hint = "it looks transposed" if turned and len(shape) == 2 else "is it the right file?"
        raise FaceModelError(f"{what}: expected shape {wanted}, received {array.shape}; {hint}")
    return numbers(array, what)


def vector(array: Any, size: int | None, what: str) -> np.ndarray:
    """A row or column as one axis (MATLAB knows no vectors)."""
    array = _array(array, what)
    return shaped(array.ravel() if array.ndim == 2 and 1 in array.shape else array, (size,), what)


def ids_from_zero(ids: Any, count: int, what: str) -> Int[np.ndarray, "..."]:
    """Indices that start at 0, checked against the number of things they point at."""
    return _ids(ids, 0, count, what)


def ids_from_one(ids: Any, count: int, what: str) -> Int[np.ndarray, "..."]:
    """Indices that start at 1 (MATLAB), checked, and brought to start at 0."""
    return _ids(ids, 1, count, what) - 1


def _ids(ids: Any, first: int, count: int, what: str) -> Int[np.ndarray, "..."]:
    ids = numbers(ids, what)
    last = count - 1 + first
    if ids.size == 0 or ids.dtype == bool or (ids.dtype.kind == "f" and not np.array_equal(ids, np.rint(ids))):
        raise FaceModelError(f"{what}: expected whole numbers {first}..{last}, received {ids.dtype} {ids.shape}")
    whole = ids.clip(-(2**53), 2**53).astype(np.int64) if ids.dtype.kind == "f" else ids
    if whole.min() < first or whole.max() > last:
        base = "; the file counts from 0 where 1 was expected" if first == 1 and whole.min() == 0 else ""
        raise FaceModelError(
            f"{what}: expected ids {first}..{last}, received {whole.min()}..{whole.max()}{base}; "
            "is it the file that belongs to this model?"
        )
    return whole.astype(np.int64)


def first_modes(count: int, available: int, what: str) -> int:
    """The number of modes to keep, checked: 0 keeps all."""
    if count < 0 or count > available:
        raise FaceModelError(f"{what}: expected 0 (all) to {available} modes, received {count}")
    return count or available


def file_digests(paths: Iterable[Path]) -> dict[str, str]:
    """File name -> SHA-256, so that a model knows what it was made of."""
    return {path.name: file_sha256(path) for path in paths}


def interleaved(columns: Float[np.ndarray, "N K"]) -> Float[np.ndarray, "V 3 K"]:
    """Rows x0 y0 z0 x1 y1 z1 ... as vertices and axes."""
    return columns.reshape(-1, 3, columns.shape[1])
