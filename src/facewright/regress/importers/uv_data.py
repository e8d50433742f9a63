"""The tables beside PRNet's published weights (``Data/uv-data``): which pixels of a map are face, and what they are.

``face_ind.txt`` (flat indices), ``uv_kpt_ind.txt`` (columns, then rows, of the 68 landmarks) and
``canonical_vertices.npy`` (the mean face's points; its unit is 1/120 dm, x right, y down from 255).
"""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from facewright.errors import AssetNotFoundError, WeightsError
from facewright.geometry.five_points import deep3d_template, five_from_68
from facewright.untrusted import read_npy, read_text, reading

FACE_PIXELS, LANDMARK_PIXELS, MEAN_POINTS = "face_ind.txt", "uv_kpt_ind.txt", "canonical_vertices.npy"
UNITS_PER_DM = 120.0
MIDDLE_ROW = 255.0
"""The y that canonical vertices have at the model's origin."""
_REMEDY = "bring the folder Data/uv-data of the PRNet repository whole"


@dataclass(frozen=True)
class PositionTables:
    """Tables of a network's maps, as ``regress.prnet.PRNet`` holds them.

    Attributes:
        mask: pixels that are face.
        landmarks: row and column of the iBUG-68.
        canonical_dm: the mean face, model frame, y up; zero outside of the mask.
        window: texture coordinates of the outermost pixels' middles.
    """

    mask: Bool[Tensor, "N N"]
    landmarks: Int[Tensor, "68 2"]
    canonical_dm: Float[Tensor, "3 N N"]
    window: Float[Tensor, "4"]


def find_uv_data(checkpoint: str | os.PathLike[str]) -> Path:
    """Where the tables of a checkpoint lie in a copy of the repository: ``uv-data`` beside its folder, or in it.

    Raises:
        AssetNotFoundError: nowhere there.
    """
    folder = Path(checkpoint).absolute().parent
    for place in (folder.parent / "uv-data", folder / "uv-data", folder):
        if (place / FACE_PIXELS).is_file():
            return place
    raise AssetNotFoundError(
        f"expected the tables of PRNet's maps ({FACE_PIXELS}, {LANDMARK_PIXELS}, {MEAN_POINTS}) in a folder uv-data "
        f"beside {folder}, found none; name it: --uv-data Data/uv-data of the PRNet repository"
    )


def read_uv_data(folder: str | os.PathLike[str], size: int) -> PositionTables:
    """Read the tables.

    Args:
        folder: holds the three files.
        size: side of the maps.

    Raises:
        AssetNotFoundError: one of them is missing.
        WeightsError: one is malformed, or of maps of another size.
    """
    place = Path(folder)
    for name in (FACE_PIXELS, LANDMARK_PIXELS, MEAN_POINTS):
        if not (place / name).is_file():
            raise AssetNotFoundError(f"expected {name} in {place}, found none; {_REMEDY}")
    face = _whole_numbers(place / FACE_PIXELS, size * size).flatten()
    columns_rows = _whole_numbers(place / LANDMARK_PIXELS, size)
    if columns_rows.shape != (2, 68) or len(face) == 0 or (np.diff(face) <= 0).any():
        raise WeightsError(
            f"{place}: expected ascending indices in {FACE_PIXELS} and 2 rows of 68 in {LANDMARK_PIXELS}, received "
            f"{len(face)} and {columns_rows.shape}; {_REMEDY}"
        )
    points = _mean_points(place / MEAN_POINTS, len(face))
    mask = np.zeros(size * size, bool)
    mask[face] = True
    upright = (points - [0.0, MIDDLE_ROW, 0.0]) * [1.0, -1.0, 1.0] / UNITS_PER_DM
    canonical = np.zeros((size * size, 3))
    canonical[face] = upright
    landmarks = columns_rows[::-1].T.copy()
    if not mask.reshape(size, size)[tuple(landmarks.T)].all():
        raise WeightsError(f"{place}: expected all landmarks on pixels of the face; {_REMEDY}")
    # into the frame of all other faces: where the five points are
    seen = five_from_68(torch.from_numpy(canonical.reshape(size, size, 3)[tuple(landmarks.T)]))
    canonical[face] += (deep3d_template() - seen).mean(0).numpy()
    return PositionTables(
        torch.from_numpy(mask.reshape(size, size)),
        torch.from_numpy(landmarks),
        torch.from_numpy(canonical.T.reshape(3, size, size).astype(np.float32)),
        torch.tensor([0.0, 0.0, 1.0, 1.0]),
    )


def _whole_numbers(path: Path, end: int) -> np.ndarray:
    """Indices below ``end``, which the files write as floats."""
    with reading(path, WeightsError, "a table of whole numbers", _REMEDY):
        rows = [[float(word) for word in line.split()] for line in read_text(path).splitlines() if line.strip()]
        values = np.array(rows, np.float64)
        if not (np.isfinite(values).all() and (values == np.round(values)).all()):
            raise ValueError("numbers that are not whole")
        if values.size and not (values.min() >= 0 and values.max() < end):
            raise ValueError(f"numbers outside of 0..{end - 1}")
        return values.astype(np.int64)


def _mean_points(path: Path, count: int) -> np.ndarray:
    with reading(path, WeightsError, f"an array of {count} x 3 finite numbers", _REMEDY):
        points = read_npy(path)
        if points.shape != (count, 3) or points.dtype.kind != "f" or not np.isfinite(points).all():
            raise ValueError(f"{points.dtype} of shape {points.shape}")
        return points.astype(np.float64)
