"""Faces that another program has found: text files of 5 or 68 points, as Deep3D keeps them in ``detections/``."""

from os import PathLike
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from facewright.errors import LandmarksError
from facewright.records import FaceDetection

# iBUG-68: the lids (36-41 right, 42-47 left), the nose tip, the outer mouth corners
RIGHT_LIDS, LEFT_LIDS, NOSE_TIP, RIGHT_MOUTH_CORNER, LEFT_MOUTH_CORNER = slice(36, 42), slice(42, 48), 30, 48, 54
MAX_BYTES = 100_000


def read_landmarks(path: str | PathLike[str]) -> FaceDetection:
    """Read one face from a text file of 5 or 68 lines, each ``x y`` in photo pixels (y down, separated by white space).

    Five points are: right eye centre (image left), left eye centre, nose tip, right and left mouth corner, as in the
    official Deep3D ``detections`` folders. 68 points are iBUG's; the five are taken from them.

    Returns:
        A detection without a mesh, score 1. Its box bounds the points (five points span less than the face).

    Raises:
        LandmarksError: the file is missing, too large, not numbers, or holds another number of points.
    """
    points = torch.from_numpy(_numbers(Path(path)))
    five = points if len(points) == 5 else five_from_ibug68(points)
    return FaceDetection(torch.cat([points.amin(0), points.amax(0)]), 1.0, five)


def landmarks_beside(photo_path: str | PathLike[str]) -> Path | None:
    """The landmarks file of a photo: ``detections/<name>.txt`` beside it (the official layout), else ``<name>.txt``."""
    photo_path = Path(photo_path)
    name = photo_path.with_suffix(".txt").name
    choices = [photo_path.parent / "detections" / name, photo_path.parent / name]
    return next((path for path in choices if path.is_file()), None)


def five_from_ibug68(points: Float[Tensor, "68 2"]) -> Float[Tensor, "5 2"]:
    """Eye centres (mean of the lids), nose tip and outer mouth corners of iBUG-68 landmarks."""
    eyes = [points[RIGHT_LIDS].mean(0), points[LEFT_LIDS].mean(0)]
    return torch.stack([*eyes, points[NOSE_TIP], points[RIGHT_MOUTH_CORNER], points[LEFT_MOUTH_CORNER]])


def _numbers(path: Path) -> np.ndarray:
    expected = "5 or 68 lines of two numbers (x y, photo pixels)"
    try:
        if path.stat().st_size > MAX_BYTES:
            raise LandmarksError(f"expected {expected} in {path}, received {path.stat().st_size} bytes: not landmarks")
        values = np.array([line.split() for line in path.read_text().splitlines() if line.strip()], np.float32)
    except OSError as error:
        raise LandmarksError(f"cannot read landmarks from {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise LandmarksError(f"expected {expected} in {path}: {error}") from error
    if values.shape not in ((5, 2), (68, 2)) or not np.isfinite(values).all():
        raise LandmarksError(f"expected {expected}, finite, in {path}, received an array of shape {values.shape}")
    return values
