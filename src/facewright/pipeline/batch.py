"""Many photos: each is tried, failures are named and cost the others nothing, everything is reported."""

import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from facewright import __version__
from facewright.detect import landmarks_of, read_landmarks
from facewright.errors import FacewrightError, PhotoError
from facewright.export.json import write_json
from facewright.photo import read_photo
from facewright.pipeline.flow import FacesChoice, Reconstructor
from facewright.pipeline.outputs import OutputOptions, write_outputs

PHOTO_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"})
"""What a folder is searched for; files that are named one by one may be called anything."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class InputReport:
    """What became of one input.

    Attributes:
        input: path as given.
        status: "done" or "failed".
        error: class and message of what went wrong; None if nothing did.
        faces: reconstructed faces.
        outputs: file names, relative to the output folder.
        seconds: per stage, summed over faces.
    """

    input: str
    status: Literal["done", "failed"]
    error: str | None = None
    faces: int = 0
    outputs: tuple[str, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)


def photo_paths(inputs: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """Files as given; folders replaced by the pictures in them (not in their subfolders), sorted by name.

    Raises:
        PhotoError: a folder holds no picture.
    """
    paths: list[Path] = []
    for entry in map(Path, inputs):
        if not entry.is_dir():
            paths.append(entry)
            continue
        inside = sorted(file for file in entry.iterdir() if file.suffix.lower() in PHOTO_SUFFIXES and file.is_file())
        if not inside:
            raise PhotoError(
                f"expected pictures ({', '.join(sorted(PHOTO_SUFFIXES))}) in the folder {entry}, found none"
            )
        paths.extend(inside)
    return paths


def output_stems(paths: list[Path]) -> list[str]:
    """A name per photo for its files: its stem, with the suffix or a number where stems would collide."""
    taken: set[str] = set()
    stems: list[str] = []
    for path in paths:
        candidates = _names_for(path)
        stem = next(name for name in candidates if name.casefold() not in taken)
        taken.add(stem.casefold())
        stems.append(stem)
    return stems


def _names_for(path: Path) -> Iterator[str]:
    stem = path.stem or "photo"
    yield stem
    yield f"{stem}-{path.suffix.lstrip('.')}" if path.suffix else f"{stem}-2"
    number = 2
    while True:
        yield f"{stem}-{number}"
        number += 1


def reconstruct_files(
    inputs: Iterable[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    reconstructor: Reconstructor,
    *,
    faces: FacesChoice = "all",
    options: OutputOptions | None = None,
    landmarks: Path | None = None,
    max_pixels: int | None = None,
    on_done: Callable[[InputReport], None] | None = None,
) -> list[InputReport]:
    """Reconstruct photos into a folder and write its ``report.json``; never stops at a photo that fails.

    Args:
        inputs: files and folders.
        out: folder of the results; made if absent.
        reconstructor: the loaded flow.
        faces: all faces or the largest of each photo.
        options: which files to write, and how.
        landmarks: folder of ``<name>.txt`` with 5 or 68 points each, instead of the detector.
        max_pixels: refuse larger photos before decoding them; the photo door's own limit if None.
        on_done: called after each input.

    Raises:
        ExportError: the report cannot be written.
        PhotoError: a folder holds no picture.
    """
    out, options = Path(out), options or OutputOptions()
    paths = photo_paths(inputs)
    reports: list[InputReport] = []
    try:
        for path, stem in zip(paths, output_stems(paths), strict=True):
            reports.append(_guarded(path, stem, out, reconstructor, faces, options, landmarks, max_pixels))
            if on_done is not None:
                on_done(reports[-1])
    finally:  # an interrupt keeps the report of what was done
        write_json(out / "report.json", report_document(reports, reconstructor))
    return reports


def report_document(reports: list[InputReport], reconstructor: Reconstructor) -> dict[str, Any]:
    """Content of ``report.json``."""
    failed = sum(report.status == "failed" for report in reports)
    return {
        "facewright": __version__,
        "method": reconstructor.method,
        "face_model": reconstructor.face_model.name,
        "inputs": len(reports),
        "done": len(reports) - failed,
        "failed": failed,
        "results": [asdict(report) for report in reports],
    }


def _guarded(
    path: Path,
    stem: str,
    out: Path,
    reconstructor: Reconstructor,
    faces: FacesChoice,
    options: OutputOptions,
    landmarks: Path | None,
    max_pixels: int | None,
) -> InputReport:
    seconds: dict[str, float] = {}
    try:
        return _one(path, stem, out, reconstructor, faces, options, landmarks, max_pixels, seconds)
    except FacewrightError as error:
        return InputReport(str(path), "failed", f"{type(error).__name__}: {error}", seconds=seconds)
    except Exception as error:
        log.exception("unexpected failure on %s", path)
        return InputReport(str(path), "failed", f"unexpected {type(error).__name__}: {error}", seconds=seconds)


def _one(
    path: Path,
    stem: str,
    out: Path,
    reconstructor: Reconstructor,
    faces: FacesChoice,
    options: OutputOptions,
    landmarks: Path | None,
    max_pixels: int | None,
    seconds: dict[str, float],
) -> InputReport:
    start = time.perf_counter()
    photo = read_photo(path) if max_pixels is None else read_photo(path, max_pixels=max_pixels)
    seconds["read"] = time.perf_counter() - start
    detections = None if landmarks is None else [read_landmarks(landmarks_of(path, landmarks))]
    found = reconstructor.faces_in(photo, faces=faces, detections=detections)
    for stage in found[0].seconds:
        # Every face carries the photo's detection time; stages of its own add up.
        parts = [face.seconds.get(stage, 0.0) for face in found]
        seconds[stage] = parts[0] if stage == "detect" else sum(parts)
    start = time.perf_counter()
    files = write_outputs(found, out, stem, options)
    seconds["write"] = time.perf_counter() - start
    return InputReport(str(path), "done", None, len(found), tuple(file.name for file in files), seconds)
