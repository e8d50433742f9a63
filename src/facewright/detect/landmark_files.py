"""Faces that another program has found: text files of 5 or 68 points, as in Deep3D's ``detections/``, and ``.pts``.

One reader knows what programs write: a byte-order mark, commas, ``#`` lines and a line of names, a column of scores.
"""

import codecs
import re
from os import PathLike
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from facewright.errors import LandmarksError
from facewright.geometry.five_points import deep3d_template, facing_of_five, five_from_68
from facewright.records import FaceDetection
from facewright.untrusted import reading
from facewright.untrusted.reading import regular_size

MAX_BYTES = 100_000
MOST_AWAY = 0.3
"""How far points may show a face from behind (``facing_of_five`` below zero): past the profile, and with errors."""
_SUFFIXES = (".txt", ".pts")
_FOLDERS_TRIED = 4  # of a photo's path, innermost last
_NUMBER = re.compile(r"[-+.\d]")

_LARGEST = 1e6
"""No photo has a side of so many pixels."""


def read_landmarks(path: str | PathLike[str]) -> FaceDetection:
    """Read one face from a text file of 5 or 68 lines, each ``x y`` in photo pixels (y down; blanks, tabs or commas).

    Five points are: right eye centre (image left), left eye centre, nose tip, right and left mouth corner, as in the
    official Deep3D ``detections`` folders. 68 points are iBUG's; the five are taken from them as alignment does. A
    third column holds scores, 0..1, and is left out; so are lines that begin with ``#`` and a first line of names. In a
    ``.pts`` file (``version``, ``n_points``, points in braces) the first pixel is (1, 1), as iBUG counts: 1 is taken
    off.

    Returns:
        A detection without a mesh, score 1. Its box bounds the points (five points span less than the face).

    Raises:
        LandmarksError: the file is missing, too large, not numbers, holds another number of points, or points that show
            no face from the front: left and right, x and y, or up and down exchanged.
    """
    points = read_points(path)
    facing = facing_of_five(points if len(points) == 5 else five_from_68(points), deep3d_template())
    if facing < -MOST_AWAY:
        raise LandmarksError(
            f"expected the points of a face in {path}, received a mirrored one; check that x comes first, that y grows "
            "downward, and that the person's right side (image left) comes before the left"
        )
    return detection_from_points(points)


def read_points(path: str | PathLike[str]) -> Float[Tensor, "N 2"]:
    """The 5 or 68 points of a text file as they stand there; see ``read_landmarks``."""
    return torch.from_numpy(_numbers(Path(path)))


def read_boxes(path: str | PathLike[str]) -> Float[Tensor, "N 4"]:
    """Boxes of faces, a line each: ``x0 y0 x1 y1``, photo pixels, y down; a fifth number is a score and left out.

    Raises:
        LandmarksError: the file is missing, too large, not numbers, or holds another number of them in a line.
    """
    expected = "lines of four numbers (x0 y0 x1 y1, photo pixels), a face each"
    with reading(path, LandmarksError, expected, "write the boxes again"):
        regular_size(Path(path), most=MAX_BYTES)
        values = np.array(
            [line.split() for line in _lines(_decoded(Path(path).read_bytes()), is_pts=False)], np.float64
        )
    if values.ndim == 2 and values.shape[1] == 5:
        values = values[:, :4]
    if values.ndim != 2 or values.shape[1] != 4 or not (np.abs(values) < _LARGEST).all():
        raise LandmarksError(f"{path}: expected {expected}, received an array of shape {values.shape}")
    return torch.from_numpy(values.astype(np.float32))


def detection_from_points(points: Float[Tensor, "N 2"]) -> FaceDetection:
    """A face of which 5 or 68 points are known, photo pixels; see ``read_landmarks``."""
    five = points if len(points) == 5 else five_from_68(points)
    return FaceDetection(torch.cat([points.amin(0), points.amax(0)]), 1.0, five)


def landmarks_of(photo_path: str | PathLike[str], folder: Path) -> Path:
    """The file in a folder that marks a photo's face.

    It is ``<name>.txt`` or ``.pts``; or one of these in ``detections/`` (the official layout, so the folder of an
    official checkout's photos will do as well as the ``detections`` in it); or a result, ``<name>.mat``. Where photos
    lie in folders of their own, a file in the same folders below ``folder`` comes first: of ``anna/1.jpg`` and
    ``bert/1.jpg`` those are ``anna/1.txt`` and ``bert/1.txt``.

    Raises:
        LandmarksError: none of them is there.
    """
    photo = Path(photo_path)
    within = photo.absolute().parts[1:-1][-_FOLDERS_TRIED:]
    places = [folder.joinpath(*within[k:]) for k in range(len(within) + 1)]
    choices = [
        file
        for place in places
        for file in (
            *(place / f"{photo.stem}{suffix}" for suffix in _SUFFIXES),
            *(place / "detections" / f"{photo.stem}{suffix}" for suffix in _SUFFIXES),
            place / f"{photo.stem}.mat",
        )
    ]
    found = next((path for path in choices if path.is_file()), None)
    if found is None:
        plain = choices[-2 * len(_SUFFIXES) - 1 :]
        raise LandmarksError(
            f"expected where the face of {photo.name} is at {' or '.join(map(str, plain))}, found none; "
            "mark the face there, or leave out the folder to have it detected"
        )
    return found


def _numbers(path: Path) -> np.ndarray:
    expected = "5 or 68 lines of two numbers (x y, photo pixels)"
    is_pts = path.suffix.lower() == ".pts"
    with reading(path, LandmarksError, expected, "mark the face again"):
        regular_size(Path(path), most=MAX_BYTES)
        lines = _lines(_decoded(path.read_bytes()), is_pts=is_pts)
        values = np.array([line.split() for line in lines], np.float64)
    if values.shape in ((5, 3), (68, 3)) and ((values[:, 2] >= 0) & (values[:, 2] <= 1)).all():
        values = values[:, :2]
    if values.shape not in ((5, 2), (68, 2)) or not (np.abs(values) < _LARGEST).all():
        raise LandmarksError(
            f"{path}: expected {expected}, in the photo, or with a third column of scores 0..1, received an array of "
            f"shape {values.shape}"
        )
    return (values - 1.0 if is_pts else values).astype(np.float32)


def _decoded(content: bytes) -> str:
    """Text, whichever mark of byte order it begins with."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16")
    return content.decode("utf-8-sig")


def _lines(text: str, *, is_pts: bool) -> list[str]:
    """The lines that hold points, separated by blanks."""
    if is_pts:
        if text.count("{") != 1 or text.count("}") != 1 or text.index("{") > text.index("}"):
            raise ValueError("a .pts file has its points in one pair of braces")
        head, _, text = text.partition("{")
        text = text.partition("}")[0]
        stated = re.search(r"n_points\s*:\s*(\d+)", head)
        count = sum(bool(line.strip()) for line in text.splitlines())
        if stated and int(stated.group(1)) != count:
            raise ValueError(f"it says {stated.group(1)} points and holds {count}")
    lines = [re.sub(r"[,;]", " ", line).strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith(("#", "//"))]
    is_header = bool(lines) and not any(_NUMBER.match(word) for word in lines[0].split())
    return lines[1:] if is_header else lines
