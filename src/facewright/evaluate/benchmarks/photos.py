"""Photos of benchmark folders: found, listed, loaded when they are needed; frames of videos too."""

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

from facewright.errors import BenchmarkError
from facewright.evaluate.predictions import PhotoOfFace
from facewright.files import natural_order
from facewright.photo import photo_from_array, read_photo
from facewright.pipeline.batch import PHOTO_SUFFIXES
from facewright.records import Photo

VIDEO_SUFFIXES = (".mjpg", ".mjpeg", ".avi", ".mp4", ".mov", ".mkv")


def first_folder(data: Path, *choices: str) -> Path | None:
    """The first of some relative folders that exists."""
    return next((data / choice for choice in choices if (data / choice).is_dir()), None)


def photo_at(path: Path) -> PhotoOfFace:
    """A photo file, loaded on demand; no place of the face is known."""
    return (lambda: read_photo(path)), None


def photo_named(folder: Path, stem: str) -> Path | None:
    """The picture of a stem, whatever its suffix."""
    choices = (folder / f"{stem}{suffix}" for suffix in sorted(PHOTO_SUFFIXES))
    return next((choice for choice in choices if choice.is_file()), None)


def pictures_in(folder: Path) -> list[Path]:
    """Pictures directly in a folder, in natural order: frame 2 before frame 10."""
    return natural_order(path for path in folder.iterdir() if path.suffix.lower() in PHOTO_SUFFIXES and path.is_file())


def chosen_evenly(count: int, wanted: int) -> list[int]:
    """Numbers of so many items, evenly spread; all if ``wanted`` is 0 or as many."""
    if wanted <= 0 or wanted >= count:
        return list(range(count))
    return np.linspace(0, count - 1, wanted).round().astype(int).tolist()


def frames_of(video: Path, wanted: int) -> list[PhotoOfFace]:
    """Frames of a folder of pictures or of a video file, evenly spread, loaded one at a time.

    Args:
        video: folder or file.
        wanted: how many; 0 for all.

    Raises:
        BenchmarkError: there is no frame.
    """
    if video.is_dir():
        pictures = pictures_in(video)
        if not pictures:
            raise BenchmarkError(f"expected pictures in {video}, found none")
        return [photo_at(pictures[k]) for k in chosen_evenly(len(pictures), wanted)]
    count = sum(1 for _ in _decoded(video, set()))
    if not count:
        raise BenchmarkError(f"expected a video that can be decoded, found no frame in {video.name}")
    return [(_frame_loader(video, k), None) for k in chosen_evenly(count, wanted)]


def _frame_loader(video: Path, number: int) -> Callable[[], Photo]:
    def load() -> Photo:
        frame = next(frame for frame in _decoded(video, {number}) if frame is not None)
        return photo_from_array(np.ascontiguousarray(frame[..., ::-1]), path=f"{video.name}#{number}")

    return load


def _decoded(video: Path, wanted: set[int]) -> Iterator[np.ndarray | None]:
    """Frames in turn, BGR; only the wanted ones are decoded, the others come as None."""
    capture = cv2.VideoCapture(str(video))
    try:
        number = 0
        while capture.grab():
            yield capture.retrieve()[1] if number in wanted else None
            number += 1
    finally:
        capture.release()
