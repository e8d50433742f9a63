"""What every face model must be, whichever file it came from: checked once, on its arrays, before it is one."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy import ndarray

from facewright.errors import FaceModelError

_LARGEST = {"mean_shape": 1e3, "id_basis": 1e3, "exp_basis": 1e3, "albedo_basis": 1e2, "uv": 1e3}
"""Greatest absolute value: dm, dm per unit, albedo per unit. No head comes near; far beyond, float32 overflows."""

_SMALLEST_HEAD_DM = 0.1
_ALBEDO_ROUNDING = 0.02
_WEIGHT_ROUNDING = 1e-2


def require_sound(
    arrays: Mapping[str, ndarray], exp_names: Sequence[str], metadata: Mapping[str, Any], file: str
) -> None:
    """Make sure that arrays can be a face model.

    Args:
        arrays: ``mean_shape``, bases, ``mean_albedo`` and ``faces`` by name, dm; annotations as far as there are any,
            masks as ``region/<name>``. Shapes and ids have been checked.
        exp_names: of the expression modes; empty strings where they have none.
        metadata: of the model; its ``source_frame`` is checked if it has one.
        file: name of the file, for errors.

    Raises:
        FaceModelError: the first thing that is wrong; what was expected, what was received, what to do.
    """
    _check_numbers(arrays, file)
    _check_colours(arrays["mean_albedo"], file)
    _check_triangles(arrays["faces"], file)
    if "mirror" in arrays:
        _check_mirror(arrays["mirror"], file)
    _check_annotations(arrays, file)
    _check_names(exp_names, file)
    _check_frame(metadata.get("source_frame"), file)


def _check_numbers(arrays: Mapping[str, ndarray], file: str) -> None:
    """Finite, real, and of a size that a head can have."""
    for name, array in arrays.items():
        if array.dtype.kind not in "biuf":
            raise FaceModelError(f"{file}: {name}: expected real numbers, received {array.dtype}; convert it again")
        if array.dtype.kind != "f" or not array.size:
            continue
        low, high = float(array.min()), float(array.max())
        largest = _LARGEST.get(name, np.inf)
        if not (np.isfinite(low) and np.isfinite(high)):
            raise FaceModelError(f"{file}: {name}: expected finite numbers, received NaN or infinity; convert it again")
        if max(-low, high) > largest:
            raise FaceModelError(
                f"{file}: {name}: expected values of at most {largest:g}, received {low:.3g} to {high:.3g}; "
                "check the unit that the file is in"
            )
    size = float(np.linalg.norm(np.ptp(arrays["mean_shape"].astype(np.float64), axis=0)))
    if size < _SMALLEST_HEAD_DM:
        raise FaceModelError(
            f"{file}: mean_shape: expected a head of about 2 dm, received one of {size:.3g} dm; check the unit that "
            "the file is in"
        )


def _check_colours(albedo: ndarray, file: str) -> None:
    low, high = float(albedo.min(initial=0.0)), float(albedo.max(initial=0.0))
    if low < -_ALBEDO_ROUNDING or high > 1.0 + _ALBEDO_ROUNDING:
        remedy = "divide it by 255" if low >= 0.0 and 2.0 < high <= 255.0 else "scale it to that range"
        raise FaceModelError(f"{file}: mean_albedo: expected colours 0..1, received {low:.3g} to {high:.3g}; {remedy}")


def _check_triangles(faces: ndarray, file: str) -> None:
    if not len(faces):
        raise FaceModelError(f"{file}: expected triangles, received none; the file is no mesh, or damaged")
    twice = (faces == np.roll(faces, 1, axis=1)).any(1)
    if twice.any():
        first = int(twice.argmax())
        raise FaceModelError(
            f"{file}: faces: expected triangles of three different vertices, received {int(twice.sum())} others, the "
            f"first of them face {first} with vertices {faces[first].tolist()}; leave them out"
        )


def _check_mirror(mirror: ndarray, file: str) -> None:
    lost = np.flatnonzero(mirror[mirror] != np.arange(len(mirror)))
    if lost.size:
        vertex = int(lost[0])
        raise FaceModelError(
            f"{file}: mirror: expected each vertex to be the partner of its partner, received {lost.size} that are "
            f"not: {vertex} -> {int(mirror[vertex])} -> {int(mirror[mirror[vertex]])}; leave the mirror out, or mend it"
        )


def _check_annotations(arrays: Mapping[str, ndarray], file: str) -> None:
    for name, array in arrays.items():
        if name.startswith("region/") or name == "mesh468_trust":
            low, high = float(array.min(initial=0.0)), float(array.max(initial=0.0))
            if low < 0.0 or high > 1.0:
                raise FaceModelError(
                    f"{file}: {name}: expected weights 0..1, received {low:.3g} to {high:.3g}; scale them to that range"
                )
    if "five" in arrays and (arrays["five"] < 0).all(1).any():
        raise FaceModelError(f"{file}: five: expected a vertex for each of the five points, received none for one")
    if "mesh468_weights" in arrays:
        sums = arrays["mesh468_weights"].sum(1)
        if np.abs(sums - 1.0).max() > _WEIGHT_ROUNDING:
            raise FaceModelError(
                f"{file}: mesh468_weights: expected barycentric weights that sum to 1, received sums {sums.min():.3g} "
                f"to {sums.max():.3g}; convert the model again"
            )


def _check_names(exp_names: Sequence[str], file: str) -> None:
    double = sorted(name for name, count in Counter(exp_names).items() if name and count > 1)
    if double:
        raise FaceModelError(
            f"{file}: exp_names: expected different names, received more than one of {', '.join(double)[:200]}; rename "
            "them, or leave them empty"
        )


def _check_frame(frame: Any, file: str) -> None:
    """Where an imported model says how to come back to the frame of its source."""
    if frame is None:
        return
    parts = {"scale": (), "rotation": (3, 3), "translation": (3,)}
    try:
        values = {name: np.asarray(frame[name]) for name in parts}
        is_right = all(
            values[name].shape == shape and values[name].dtype.kind in "iuf" and np.isfinite(values[name]).all()
            for name, shape in parts.items()
        )
    except (KeyError, TypeError, ValueError, OverflowError):
        values, is_right = {}, False
    if not is_right or not values["scale"] > 0:
        raise FaceModelError(
            f"{file}: metadata 'source_frame': expected scale > 0, rotation (3,3) and translation (3), received "
            f"{frame!r:.80}; import the model again"
        )
