"""Folders of photographs to learn from: plain ones, and those that the official repositories prepared.

Official layouts (docs/training-data.md): beside the pictures ``detections/<name>.txt`` (five points, y down),
``landmarks/<name>.txt`` (iBUG-68, y **up**; the TensorFlow program, whose pictures are crops, writes ``lm/<name>.txt``)
and ``mask/<file name>`` (skin), all in the picture's own pixels; and lists
``datalist/{train,val}/{images,landmarks,masks}.txt`` of the files to use, a path per line.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import torch
from jaxtyping import Float
from torch import Tensor

from facewright.detect.landmark_files import read_points
from facewright.errors import LandmarksError, PhotoError, TrainingDataError
from facewright.export.png import is_own_picture
from facewright.files import natural_order
from facewright.geometry.five_points import five_from_68
from facewright.photo import read_photo
from facewright.pipeline.batch import PHOTO_SUFFIXES
from facewright.records import Photo

DETECTIONS, LANDMARKS, MASKS = "detections", "landmarks", "mask"
CROP_LANDMARKS = "lm"
_POINTS = (DETECTIONS, LANDMARKS, CROP_LANDMARKS, "lm_bin")
_MADE_BY_PREPARATION = {*_POINTS, MASKS, "vis", "remove"}
IMAGE_LIST, LANDMARK_LIST, MASK_LIST = "images.txt", "landmarks.txt", "masks.txt"


@dataclass(frozen=True)
class GivenFace:
    """What another program says about the one face of a photo.

    Attributes:
        five: photo px, y down.
        landmarks: iBUG-68, photo px, y down; None where only five points are known.
    """

    five: Float[Tensor, "5 2"]
    landmarks: Float[Tensor, "68 2"] | None = None


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


def open_photo_folders(paths: Sequence[Path]) -> PhotoFolder:
    """Find the photos of one or more folders, as ``open_photo_folder``; names of several begin at the folder above all.

    Raises:
        TrainingDataError: as ``open_photo_folder``; no folder; folders that have none above them in common.
    """
    folders = [open_photo_folder(path) for path in paths]
    if len(folders) == 1:
        return folders[0]
    try:
        root = Path(os.path.commonpath([folder.root.absolute() for folder in folders]))
    except ValueError as error:
        raise TrainingDataError(f"expected folders of one disk, received {[str(path) for path in paths]}") from error
    names = [(folder.root.absolute() / name).relative_to(root) for folder in folders for name in folder.names]
    return PhotoFolder(root, tuple(name.as_posix() for name in names))


def open_photo_folder(path: Path) -> PhotoFolder:
    """Find the photos of a folder and its subfolders, or those that official lists name.

    Masks and other pictures that official programs made beside photos are none, nor are pictures that we have drawn.

    Args:
        path: a folder of photos; or ``datalist/train`` or ``datalist/val`` of an official checkout (or ``images.txt``
            or ``masks.txt`` in one), whose paths are relative to that checkout.

    Raises:
        TrainingDataError: no photos, or lists that disagree.
    """
    folder = path.parent if path.name in (IMAGE_LIST, MASK_LIST) else path
    if (folder / IMAGE_LIST).is_file() or (folder / MASK_LIST).is_file():
        return _listed(folder)
    files = [file for file in natural_order(folder.rglob("*")) if _is_picture(file, folder)]
    of_photos = {(file.parent, file.stem) for file in files if file.parent.name not in _MADE_BY_PREPARATION}
    photos = [file for file in files if not _is_byproduct(file, of_photos)]
    if not photos:
        masks = f"; {len(files)} are masks, or other pictures that were made of photos" if files else ""
        raise TrainingDataError(
            f"expected photographs ({', '.join(sorted(PHOTO_SUFFIXES))}) in {folder} or its subfolders, found none"
            f"{masks}"
        )
    return PhotoFolder(folder, tuple(file.relative_to(folder).as_posix() for file in photos))


def read_given_face(photo: Photo) -> GivenFace | None:
    """What the official layouts say about the face of a photo; None where no points lie beside it.

    Raises:
        LandmarksError: a file of points is malformed, or its points lie outside of the photo.
    """
    path = Path(photo.path)
    places = [path.parent / folder / f"{path.stem}.txt" for folder in (LANDMARKS, CROP_LANDMARKS)]
    landmarks = next((place for place in places if place.is_file()), None)
    if landmarks is not None:
        y_up = _points(landmarks, 68, photo)
        marks = torch.stack([y_up[:, 0], photo.height - 1 - y_up[:, 1]], -1)
        return GivenFace(five_from_68(marks), marks)
    five = path.parent / DETECTIONS / f"{path.stem}.txt"
    return GivenFace(_points(five, 5, photo)) if five.is_file() else None


def read_skin_mask(photo: Photo) -> Float[Tensor, "H W"] | None:
    """Skin attention 0..1 that lies beside a photo in ``mask/``, its first channel; None where there is none.

    Raises:
        PhotoError: it cannot be read, or has another size than the photo.
    """
    path = Path(photo.path)
    return _read_mask(path.parent / MASKS / path.name, photo)


def _is_picture(file: Path, root: Path) -> bool:
    """Whether a file could be a photo, by its name and place, and was not drawn by us."""
    if file.suffix.lower() not in PHOTO_SUFFIXES or any(p.startswith(".") for p in file.relative_to(root).parts):
        return False
    return file.is_file() and not is_own_picture(file)


def _is_byproduct(file: Path, of_photos: set[tuple[Path, str]]) -> bool:
    """Whether a preparation made a file of a photo: its folder is named so, and points or the photo lie above it."""
    folder, above = file.parent, file.parent.parent
    if folder.name not in _MADE_BY_PREPARATION:
        return False
    return (above, file.stem) in of_photos or any((above / points).is_dir() for points in _POINTS)


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
