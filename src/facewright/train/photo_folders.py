"""Folders of photographs to learn from: plain ones, and those that the official repositories prepared.

Official layout (docs/training-data.md): beside the photos ``detections/<name>.txt`` (five points, y down),
``landmarks/<name>.txt`` (iBUG-68, y **up**) and ``mask/<file name>`` (skin), all in photo pixels; and lists
``datalist/{train,val}/{images,landmarks,masks}.txt`` of the files to use, a path per line.
"""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import torch
from jaxtyping import Float
from torch import Tensor

from facewright.detect.landmark_files import read_points
from facewright.errors import LandmarksError, PhotoError, TrainingDataError
from facewright.files import natural_order
from facewright.geometry.five_points import five_from_68
from facewright.photo import read_photo
from facewright.pipeline.batch import PHOTO_SUFFIXES
from facewright.records import Photo

DETECTIONS, LANDMARKS, MASKS = "detections", "landmarks", "mask"
_MADE_BY_PREPARATION = {DETECTIONS, LANDMARKS, MASKS, "vis", "remove"}
IMAGE_LIST, LANDMARK_LIST, MASK_LIST = "images.txt", "landmarks.txt", "masks.txt"


@dataclass(frozen=True)
class GivenFace:
    """What another program says about the one face of a photo.

    Attributes:
        five: photo px, y down.
        landmarks: iBUG-68, photo px, y down; None where only five points are known.
        skin: skin attention of the photo, 0..1; None where unknown.
    """

    five: Float[Tensor, "5 2"]
    landmarks: Float[Tensor, "68 2"] | None = None
    skin: Float[Tensor, "H W"] | None = None


@dataclass(frozen=True)
class PhotoFolder:
    """Photographs by name.

    Attributes:
        root: what names are relative to.
        names: with forward slashes, in natural order or in that of a list.
    """

    root: Path
    names: tuple[str, ...]

    def path(self, name: str) -> Path:
        """Where a photo lies."""
        return self.root / name


def open_photo_folder(path: Path) -> PhotoFolder:
    """Find the photos of a folder and its subfolders, or those that official lists name.

    Args:
        path: a folder of photos; or ``datalist/train`` or ``datalist/val`` of an official checkout (or ``images.txt``
            or ``masks.txt`` in one), whose paths are relative to that checkout.

    Raises:
        TrainingDataError: no photos, or lists that disagree.
    """
    folder = path.parent if path.name in (IMAGE_LIST, MASK_LIST) else path
    if (folder / IMAGE_LIST).is_file() or (folder / MASK_LIST).is_file():
        return _listed(folder)
    photos = natural_order(file for file in folder.rglob("*") if _is_photo(file, folder))
    names = [file.relative_to(folder).as_posix() for file in photos]
    if not names:
        raise TrainingDataError(
            f"expected photographs ({', '.join(sorted(PHOTO_SUFFIXES))}) in {folder} or its subfolders, found none"
        )
    return PhotoFolder(folder, tuple(names))


def read_given_face(photo: Photo) -> GivenFace | None:
    """What the official layout says about a photo; None where nothing lies beside it.

    Raises:
        LandmarksError: a file of points is malformed, or its points lie outside of the photo.
        PhotoError: the skin mask cannot be read or has another size than the photo.
    """
    path = Path(photo.path)
    five = path.parent / DETECTIONS / f"{path.stem}.txt"
    landmarks = path.parent / LANDMARKS / f"{path.stem}.txt"
    if not five.is_file() and not landmarks.is_file():
        return None
    marks = None
    if landmarks.is_file():
        y_up = _points(landmarks, 68, photo)
        marks = torch.stack([y_up[:, 0], photo.height - 1 - y_up[:, 1]], -1)
    given = five_from_68(marks) if marks is not None else _points(five, 5, photo)
    return GivenFace(given, marks, _read_mask(path.parent / MASKS / path.name, photo))


def _is_photo(file: Path, root: Path) -> bool:
    if file.suffix.lower() not in PHOTO_SUFFIXES or any(p.startswith(".") for p in file.relative_to(root).parts):
        return False
    made = file.parent.name in _MADE_BY_PREPARATION and (file.parent.parent / DETECTIONS).is_dir()
    return file.is_file() and not made


def _listed(folder: Path) -> PhotoFolder:
    """Photos of official lists; the other files are found beside them, where the official preparation puts them."""
    images, masks, landmarks = (_lines(folder / name) for name in (IMAGE_LIST, MASK_LIST, LANDMARK_LIST))
    images = images or [str(PurePosixPath(mask).parent.parent / PurePosixPath(mask).name) for mask in masks]
    for others, place in ((masks, MASKS), (landmarks, LANDMARKS)):
        expected = [(PurePosixPath(name).parent / place / PurePosixPath(name).stem).as_posix() for name in images]
        received = [PurePosixPath(other).with_suffix("").as_posix() for other in others]
        if others and received != expected:
            line = next((i for i, pair in enumerate(zip(expected, received, strict=False)) if pair[0] != pair[1]), -1)
            raise TrainingDataError(
                f"expected the lists in {folder} to name the same {len(images)} photos in the same order, with {place}/"
                f" beside each, received {len(others)}, different from line {line + 1}; write the lists again"
            )
    root = folder.parent.parent if folder.parent.name == "datalist" else folder
    if not images:
        raise TrainingDataError(f"expected paths of photos in {folder / IMAGE_LIST}, received an empty list")
    return PhotoFolder(root, tuple(images))


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
    except (OSError, UnicodeDecodeError) as error:
        raise TrainingDataError(f"expected a list of paths in {path}, received {error}") from error
    return [line.strip().replace("\\", "/") for line in text.splitlines() if line.strip()]


def _points(path: Path, number: int, photo: Photo) -> Float[Tensor, "N 2"]:
    points = read_points(path)
    if len(points) != number:
        raise LandmarksError(
            f"expected {number} points in {path}, received {len(points)}; detect or mark the face again"
        )
    middle, size = points.mean(0), points.new_tensor([photo.width, photo.height])
    if bool((middle < 0).any() or (middle >= size).any()):
        raise LandmarksError(
            f"expected points inside the {photo.width} x {photo.height} photo in {path}, received some around "
            f"{middle.tolist()}; they belong to another photo, or to one that was turned or resized"
        )
    return points


def _read_mask(path: Path, photo: Photo) -> Float[Tensor, "H W"] | None:
    if not path.is_file():
        return None
    mask = read_photo(path)
    if (mask.width, mask.height) != (photo.width, photo.height):
        raise PhotoError(
            f"expected a skin mask of {photo.width} x {photo.height} px in {path}, received {mask.width} x "
            f"{mask.height}; make it again, or remove it to have it computed"
        )
    return mask.srgb[0]
