"""A clip as an album: a few frames that differ, sharp ones; kept as pictures until the album is written.

The clip is decoded twice: once to look at small pictures of all frames, once to keep the chosen ones, so that the
memory does not grow with its length.
"""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from facewright.errors import ClipError, ExportError
from facewright.export.png import write_png
from facewright.files import natural_order
from facewright.photo.frames import MAX_FRAME_PIXELS, clip_facts, is_clip, read_frames
from facewright.pipeline.report import input_sha256
from facewright.records import Photo

CANDIDATES = 4
"""Stretches of time in a clip for each frame that is taken: of each the sharpest frame is a candidate."""
USUAL_SECONDS = 10.0
"""Length of a clip that does not say how long it is."""
SMALL_PX, SHARP_PX = 32, 256
"""Sides of the pictures by which frames are compared, and by which their sharpness is measured."""


@dataclass(frozen=True)
class ClipFrames:
    """What was taken of a clip.

    Attributes:
        paths: pictures of the frames, in the order of time.
        names: what they are called: the clip and the time.
        error: why the rest of the clip, or all of it, cannot be read; empty: nothing is wrong.
    """

    paths: tuple[Path, ...]
    names: tuple[str, ...]
    error: str = ""


@dataclass(frozen=True)
class AlbumPhotos:
    """Photos of an album, frames of its clips among them.

    Attributes:
        photos: files of both.
        names: what frames are called, by the file that is kept of them for a while.
        failures: clips of which something cannot be read, and why.
    """

    photos: list[Path]
    names: dict[str, str]
    failures: list[tuple[Path, str]]

    def spelled(self, words: str) -> str:
        """Words with frames by their names."""
        for picture, name in self.names.items():
            words = words.replace(picture, name)
        return words


def opened(paths: Sequence[Path], store: Path, count: int, max_pixels: int | None) -> AlbumPhotos:
    """Photos as they are, and of each clip the frames that are taken.

    Args:
        paths: photos and clips.
        store: folder, for pictures of frames; made where there are clips.
        count: most frames of a clip.
        max_pixels: as of ``clip_frames``.

    Raises:
        MissingExtraError, ExportError: as ``clip_frames``.
    """
    found = AlbumPhotos([], {}, [])
    for path in paths:
        if not is_clip(path):
            found.photos.append(path)
            continue
        taken = clip_frames(path, store / f"clip-{input_sha256(path) or 'gone'}-{count}", count, max_pixels)
        found.photos.extend(taken.paths)
        found.names.update({str(picture): name for picture, name in zip(taken.paths, taken.names, strict=True)})
        if taken.error:
            found.failures.append((path, taken.error))
    return found


def clip_frames(clip: Path, folder: Path, count: int, max_pixels: int | None = None) -> ClipFrames:
    """Frames of a clip as pictures in a folder; what is there already, whole, is used.

    Args:
        clip: the file.
        folder: of the pictures; made, and renamed into place when all are written.
        count: how many frames to take, at most.
        max_pixels: refuse clips of larger frames; the clip reader's own limit if None.

    Raises:
        MissingExtraError: PyAV is not installed.
        ExportError: the pictures cannot be written.
    """
    limit = MAX_FRAME_PIXELS if max_pixels is None else min(max_pixels, MAX_FRAME_PIXELS)
    if not folder.is_dir():
        try:
            _sample(clip, folder, count, limit)
        except OSError as error:
            raise ExportError(f"expected to write frames of {clip} to {folder}: {error}; free the disk") from error
    error = folder / "error.txt"
    paths = tuple(natural_order(folder.glob("*.png")))
    names = tuple(f"{clip}@{path.stem.removeprefix('frame_')}" for path in paths)
    return ClipFrames(paths, names, error.read_text(encoding="utf-8") if error.is_file() else "")


def _sample(clip: Path, folder: Path, count: int, max_pixels: int) -> None:
    """Write the chosen frames, and what went wrong."""
    building = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    chosen, problem = chosen_frames(clip, count, max_pixels)
    try:
        for frame in read_frames(clip, max_pixels=max_pixels) if chosen else ():
            if frame.number in chosen:
                write_png(building / f"frame_{frame.time_s:09.3f}s.png", frame.photo.srgb)
            if frame.number >= max(chosen):
                break
    except ClipError as error:
        problem = problem or str(error)
    if problem:
        (building / "error.txt").write_text(problem, encoding="utf-8")
    os.replace(building, folder)


def chosen_frames(clip: Path, count: int, max_pixels: int = MAX_FRAME_PIXELS) -> tuple[set[int], str]:
    """Numbers of the frames to take, and what is wrong with the clip.

    The sharpest of each stretch of time are candidates. The sharpest of all is taken, then again and again the one that
    differs most from all taken ones.

    Args:
        clip: the file.
        count: most frames.
        max_pixels: of a frame.

    Raises:
        MissingExtraError: PyAV is not installed.
    """
    best: dict[int, tuple[float, int, Tensor]] = {}
    problem = ""
    try:
        seconds = clip_facts(clip, max_pixels=max_pixels).seconds or USUAL_SECONDS
        stretch = max(seconds, 1e-3) / (CANDIDATES * count)
        for frame in read_frames(clip, max_pixels=max_pixels):
            sharp, small = _small(frame.photo)
            place = int(frame.time_s / stretch)
            if place not in best or sharp > best[place][0]:
                best[place] = (sharp, frame.number, small)
    except ClipError as error:
        problem = str(error)
    if not best:
        return set(), problem
    candidates = list(best.values())
    pictures = torch.stack([small for _, _, small in candidates])
    taken = [max(range(len(candidates)), key=lambda k: candidates[k][0])]
    nearest = (pictures - pictures[taken[0]]).square().mean(1)
    while len(taken) < min(count, len(candidates)):
        taken.append(int(nearest.argmax()))
        nearest = torch.minimum(nearest, (pictures - pictures[taken[-1]]).square().mean(1))
    return {candidates[k][1] for k in taken}, problem


def _small(photo: Photo) -> tuple[float, Float[Tensor, " P"]]:
    """Sharpness of a frame, and its brightness in small."""
    grey = photo.pixels[None].float().mean(1, keepdim=True) / 255.0
    shown = torch.nn.functional.interpolate(grey, size=(SHARP_PX, SHARP_PX), mode="area")
    edges = (4.0 * shown[..., 1:-1, 1:-1] - shown[..., :-2, 1:-1] - shown[..., 2:, 1:-1]) - (
        shown[..., 1:-1, :-2] + shown[..., 1:-1, 2:]
    )
    small = torch.nn.functional.interpolate(shown, size=(SMALL_PX, SMALL_PX), mode="area").flatten()
    return float(edges.std()), small - small.mean()
