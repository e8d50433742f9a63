"""Many photos: each is tried, failures are named and cost the others nothing, everything is reported."""

import logging
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

from facewright import __version__
from facewright.detect import landmarks_of
from facewright.errors import ExportError, FacewrightError, PhotoError
from facewright.export.json import write_json
from facewright.photo import read_photo
from facewright.pipeline.coefficient_files import read_known_face
from facewright.pipeline.flow import FacesChoice, Reconstruction, Reconstructor
from facewright.pipeline.outputs import OutputOptions, write_outputs
from facewright.records import FaceDetection, Photo

PHOTO_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".jp2", ".avif", ".heic", ".heif"}
)
"""What a folder is searched for (HEIC to be named as a failure); files named one by one may be called anything."""

BATCH_PHOTOS, BATCH_PIXELS = 16, 50_000_000
"""Most photos that go through the networks together, and the pixels after which a batch takes no more."""

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

    A folder without any stays as it is, to be named as a failure.
    """
    return [path for entry in map(Path, inputs) for path in _pictures_in(entry) or [entry]]


def _pictures_in(entry: Path) -> list[Path]:
    """Hidden ones are left out: copies from a Mac bring ``._photo.jpg``, which is no picture."""
    try:
        inside = sorted(entry.iterdir())
    except OSError:  # a file, or nothing, or a folder that we may not search
        return []
    pictures = (file for file in inside if file.suffix.lower() in PHOTO_SUFFIXES and not file.name.startswith("."))
    return [file for file in pictures if file.is_file()]


def output_stems(paths: list[Path]) -> list[str]:
    """A name per photo for its files: its stem, with the suffix or a number where files would collide.

    They would with equal stems, with ``report.json``, and where ``me_0`` meets the first of the faces in ``me``.
    """
    taken, of_faces = {"report"}, set[str]()
    stems: list[str] = []
    for path in paths:
        for stem in _names_for(path):
            name = stem.casefold()
            of_face = re.sub(r"_\d+$", "", name)
            if name not in taken | of_faces and (of_face == name or of_face not in taken):
                break
        taken.add(name)
        of_faces |= {of_face} - {name}
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
        reconstructor: the loaded flow. With a network, several photos go through it together.
        faces: all faces or the largest of each photo.
        options: which files to write, and how.
        landmarks: folder of files with 5 or 68 points each (``detect.landmarks_of``), instead of the detector.
        max_pixels: refuse larger photos before decoding them; the photo door's own limits if None.
        on_done: called after each input.

    Raises:
        ExportError: the report cannot be written; found out before the first photo is opened.
    """
    work = _Work(Path(out), reconstructor, faces, options or OutputOptions(), landmarks, max_pixels)
    work.write_report([])
    paths = photo_paths(inputs)
    opened = (work.opened(path, stem) for path, stem in zip(paths, output_stems(paths), strict=True))
    reports: list[InputReport] = []
    try:
        for batch in _in_batches(opened, most=1 if reconstructor.rnet is None else BATCH_PHOTOS):
            for report in work.reports(batch):
                reports.append(report)
                if on_done is not None:
                    on_done(report)
    finally:  # an interrupt keeps the report of what was done
        work.write_report(reports)
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


@dataclass(frozen=True)
class _Input:
    """One photo on its way; ``content`` is what went wrong where it could not be opened."""

    path: Path
    stem: str
    content: tuple[Photo, list[FaceDetection]] | Exception
    seconds: float

    @property
    def pixels(self) -> int:
        return 0 if isinstance(self.content, Exception) else self.content[0].width * self.content[0].height


@dataclass(frozen=True)
class _Work:
    """What is done to every input; see ``reconstruct_files``."""

    out: Path
    reconstructor: Reconstructor
    faces: FacesChoice
    options: OutputOptions
    landmarks: Path | None
    max_pixels: int | None

    def write_report(self, reports: list[InputReport]) -> None:
        write_json(self.out / "report.json", report_document(reports, self.reconstructor))

    def opened(self, path: Path, stem: str) -> _Input:
        start = time.perf_counter()
        content = _attempt(path, partial(self._read, path))
        return _Input(path, stem, content, time.perf_counter() - start)

    def _read(self, path: Path) -> tuple[Photo, list[FaceDetection]]:
        if os.path.isdir(path):
            known = ", ".join(sorted(PHOTO_SUFFIXES))
            raise PhotoError(f"expected pictures ({known}) in the folder {str(path)!r}, found none that may be read")
        most = self.max_pixels
        photo = read_photo(path) if most is None else read_photo(path, max_pixels=most, max_side=most)
        return photo, [] if self.landmarks is None else [read_known_face(landmarks_of(path, self.landmarks))]

    def reports(self, batch: list[_Input]) -> Iterator[InputReport]:
        """Reconstruct the photos together, then write the files of each."""
        contents = [entry.content for entry in batch if not isinstance(entry.content, Exception)]
        found = _attempt("a batch", partial(self._found, contents))
        if isinstance(found, Exception):  # nobody foresaw that: one by one, so that it stays one photo's fault
            found = [_attempt(one[0].path, lambda one=one: self._found([one])[0]) for one in contents]
        answers = iter(found)
        for entry in batch:
            yield self._written(entry, entry.content if isinstance(entry.content, Exception) else next(answers))

    def _found(self, contents: list[tuple[Photo, list[FaceDetection]]]) -> list[list[Reconstruction] | FacewrightError]:
        photos, given = [photo for photo, _ in contents], [detections for _, detections in contents]
        detections = None if self.landmarks is None else given
        return self.reconstructor.faces_in_batch(photos, faces=self.faces, detections=detections)

    def _written(self, entry: _Input, found: list[Reconstruction] | Exception) -> InputReport:
        seconds = {"read": entry.seconds}
        if isinstance(found, list):
            for stage in found[0].seconds:
                # Every face carries what its photo cost; only the fit is its own.
                parts = [face.seconds.get(stage, 0.0) for face in found]
                seconds[stage] = sum(parts) if stage == "fit" else parts[0]
            start = time.perf_counter()
            files = _attempt(entry.path, partial(write_outputs, found, self.out, entry.stem, self.options))
            seconds["write"] = time.perf_counter() - start
            if isinstance(files, list):
                names = tuple(file.name for file in files)
                return InputReport(str(entry.path), "done", None, len(found), names, seconds)
            found = files
        kind = type(found).__name__
        text = f"{kind}: {found}" if isinstance(found, FacewrightError) else f"unexpected {kind}: {found}"
        standing = tuple(file.name for file in found.written) if isinstance(found, ExportError) else ()
        return InputReport(str(entry.path), "failed", text, outputs=standing, seconds=seconds)


Result = TypeVar("Result")


def _attempt(what: Path | str, step: Callable[[], Result]) -> Result | Exception:
    """What a step gives, or what it raises; what nobody foresaw goes to the log with its trace."""
    try:
        return step()
    except FacewrightError as error:
        return error
    except Exception as error:
        log.exception("unexpected failure on %s", what)
        return error


def _in_batches(inputs: Iterable[_Input], *, most: int) -> Iterator[list[_Input]]:
    """Neighbours together, as many as memory allows."""
    batch: list[_Input] = []
    for entry in inputs:
        batch.append(entry)
        if len(batch) == most or sum(some.pixels for some in batch) > BATCH_PIXELS:
            yield batch
            batch = []
    if batch:
        yield batch
