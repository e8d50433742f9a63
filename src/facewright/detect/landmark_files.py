"""Faces that another program has found: text files of 5 or 68 points, as Deep3D keeps them in ``detections/``."""

from os import PathLike
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from facewright.errors import LandmarksError
from facewright.geometry.five_points import five_from_68
from facewright.records import FaceDetection
from facewright.untrusted import read_text, reading

MAX_BYTES = 100_000

_LARGEST = 1e6
"""No photo has a side of so many pixels."""


def read_landmarks(path: str | PathLike[str]) -> FaceDetection:
    """Read one face from a text file of 5 or 68 lines, each ``x y`` in photo pixels (y down, separated by white space).

    Five points are: right eye centre (image left), left eye centre, nose tip, right and left mouth corner, as in the
    official Deep3D ``detections`` folders. 68 points are iBUG's; the five are taken from them as alignment does.

    Returns:
        A detection without a mesh, score 1. Its box bounds the points (five points span less than the face).

    Raises:
        LandmarksError: the file is missing, too large, not numbers, or holds another number of points.
    """
    return detection_from_points(read_points(path))


def read_points(path: str | PathLike[str]) -> Float[Tensor, "N 2"]:
    """The 5 or 68 points of a text file as they stand there; see ``read_landmarks``."""
    return torch.from_numpy(_numbers(Path(path)))


def detection_from_points(points: Float[Tensor, "N 2"]) -> FaceDetection:
    """A face of which 5 or 68 points are known, photo pixels; see ``read_landmarks``."""
    five = points if len(points) == 5 else five_from_68(points)
    return FaceDetection(torch.cat([points.amin(0), points.amax(0)]), 1.0, five)


def landmarks_of(photo_path: str | PathLike[str], folder: Path) -> Path:
    """The file in a folder that marks a photo's face.

    It is ``<name>.txt``; or ``detections/<name>.txt`` (the official layout, so the folder of an official checkout's
    photos will do as well as the ``detections`` in it); or a result, ``<name>.mat``.

    Raises:
        LandmarksError: none of them is there.
    """
    stem = Path(photo_path).stem
    choices = [folder / f"{stem}.txt", folder / "detections" / f"{stem}.txt", folder / f"{stem}.mat"]
    found = next((path for path in choices if path.is_file()), None)
    if found is None:
        raise LandmarksError(
            f"expected the points of {Path(photo_path).name} at {' or '.join(map(str, choices))}, found none; "
            "mark the face there, or leave out --landmarks to have it detected"
        )
    return found


def _numbers(path: Path) -> np.ndarray:
    expected = "5 or 68 lines of two numbers (x y, photo pixels)"
    with reading(path, LandmarksError, expected, "mark the face again"):
        lines = read_text(path, most=MAX_BYTES).splitlines()
        values = np.array([line.split() for line in lines if line.strip()], np.float64)
    if values.shape not in ((5, 2), (68, 2)) or not (np.abs(values) < _LARGEST).all():
        raise LandmarksError(f"{path}: expected {expected}, in the photo, received an array of shape {values.shape}")
    return values.astype(np.float32)
