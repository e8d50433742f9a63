"""Many photos: each is tried, failures are named and cost the others nothing, everything is reported."""

import hashlib
import json
import logging
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from facewright.errors import ExportError, FacewrightError, LandmarksError, PhotoError
from facewright.export.json import plain
from facewright.export.png import is_own_picture
from facewright.files import natural_order, remove_leftovers
from facewright.photo import read_photo
from facewright.pipeline.attempts import Result
from facewright.pipeline.flow import FacesChoice, Failure, Reconstructor
from facewright.pipeline.known_faces import KnownFaces
from facewright.pipeline.outputs import OutputOptions, write_outputs
from facewright.pipeline.reconstruction import Reconstruction
from facewright.pipeline.report import FaceFailure, InputReport, ReportFolder, input_sha256
from facewright.pipeline.report_page import write_report_page
from facewright.records import FaceDetection, Photo

PHOTO_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".jp2", ".avif", ".heic", ".heif"}
)
"""What a folder is searched for (HEIC to be named as a failure); files named one by one may be called anything."""

BATCH_PIXELS = 50_000_000
"""Pixels after which photos that go through the networks together take no more."""

LONGEST_STEM = 200
"""Bytes of an output's name without what formats add; longer names of photos are cut."""

log = logging.getLogger(__name__)


def photo_paths(inputs: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """Files as given; folders replaced by the pictures in them (not in their subfolders), in natural order.

    Pictures that this product has drawn are none. A folder without any stays as it is, to be named as a failure. What
    is named twice is done once, and a warning says so.
    """
    once: dict[str, Path] = {}
    for path in (path for entry in map(Path, inputs) for path in _pictures_in(entry) or [entry]):
        before = once.setdefault(os.path.abspath(path), path)
        if before is not path:
            log.warning("%s is named more than once (as %s before); it is done once", path, before)
    return list(once.values())


def _pictures_in(entry: Path) -> list[Path]:
    """Hidden ones are left out: copies from a Mac bring ``._photo.jpg``, which is no picture."""
    try:
        inside = natural_order(entry.iterdir())
    except OSError:  # a file, or nothing, or a folder that we may not search
        return []
    pictures = (file for file in inside if file.suffix.lower() in PHOTO_SUFFIXES and not file.name.startswith("."))
    return [file for file in pictures if file.is_file() and not is_own_picture(file)]


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
    stem = os.fsdecode(os.fsencode(path.stem)[:LONGEST_STEM]) or "photo"
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
    known: KnownFaces | None = None,
    max_pixels: int | None = None,
    resume: bool = False,
    on_done: Callable[[InputReport], None] | None = None,
) -> list[InputReport]:
    """Reconstruct photos into a folder and keep its ``report.json``; never stops at a photo that fails.

    No file is replaced that this product has not written, no input above all.

    Args:
        inputs: files and folders.
        out: folder of the results; made if absent.
        reconstructor: the loaded flow. With a network, several photos go through it together.
        faces: all faces or the largest of each photo.
        options: which files to write, and how.
        known: where faces are, instead of the detector.
        max_pixels: refuse larger photos before decoding them; the photo door's own limits if None.
        resume: keep what a run before has done with the same settings and the same bytes of an input.
        on_done: called after each input.

    Raises:
        ExportError: the report cannot be written; found out before the first photo is opened.
        SettingsError: the method cannot use what is known of the faces.
    """
    options, folder, known = options or OutputOptions(), Path(out), known or KnownFaces()
    known.check(reconstructor.estimator)
    report = ReportFolder(folder)
    remove_leftovers(folder)
    model = reconstructor.face_model
    report.begin(method=reconstructor.method, face_model="" if model is None else model.name)
    paths = photo_paths(inputs)
    work = _Work(
        folder,
        reconstructor,
        faces,
        options,
        known,
        max_pixels,
        _digest(reconstructor, faces, options, known, max_pixels),
        frozenset(path.absolute() for path in paths),
        _sharing_points(paths, known),
        report,
        report.outputs,
        report.interrupted,
    )
    done_before = report.entries if resume else {}
    reports: dict[int, InputReport] = {}

    def finished(place: int, entry: InputReport) -> None:
        reports[place] = entry
        if on_done is not None:
            on_done(entry)

    todo: list[tuple[int, Path, str]] = []
    for place, (path, stem) in enumerate(zip(paths, output_stems(paths), strict=True)):
        before = done_before.get(str(path))
        if before is not None and work.is_done(path, before):
            finished(place, before)
        else:
            todo.append((place, path, stem))
    opened = (work.opened(place, path, stem) for place, path, stem in todo)
    try:
        for batch in _in_batches(opened, most=reconstructor.estimator.photos_together):
            for place, entry in work.reports(batch):
                report.add(entry)
                finished(place, entry)
    finally:  # an interrupt keeps the report of what was done
        report.fold()
        write_report_page(folder, list(report.entries.values()))
    return [reports[place] for place in sorted(reports)]


def _sharing_points(paths: list[Path], known: KnownFaces) -> dict[Path, LandmarksError]:
    """Photos of one name in different folders that one file of points is found for: whose it is nobody can tell.

    Of one folder (``me.jpg`` and ``me.png``) they are taken for one picture, and a warning says so.
    """
    wrong: dict[Path, LandmarksError] = {}
    for points, photos in known.of_several(paths).items():
        names = ", ".join(map(str, photos))
        if len({path.absolute().parent for path in photos}) > 1:
            message = (
                f"expected points of its own for each photo, received {points} for {names}; put them into folders that "
                "are named as the photos' are"
            )
            wrong |= dict.fromkeys(photos, LandmarksError(message))
        else:
            log.warning("%s: the same points are taken for %s", points, names)
    return wrong


def _digest(
    reconstructor: Reconstructor,
    faces: FacesChoice,
    options: OutputOptions,
    known: KnownFaces,
    max_pixels: int | None,
) -> str:
    """Of everything but the input that decides what is written."""
    estimator, model = reconstructor.estimator, reconstructor.face_model
    facts = {
        "method": estimator.method,
        "weights": estimator.weights,
        "settings": estimator.settings,
        "face_model": "" if model is None else [model.name, model.metadata.get("sha256", ""), len(model.mean_shape)],
        "faces": faces,
        "options": asdict(options),
        "known": asdict(known),
        "max_pixels": max_pixels,
    }
    return hashlib.sha256(json.dumps(plain(facts), sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class _Input:
    """One photo on its way; ``content`` is what went wrong where it could not be opened."""

    place: int
    path: Path
    stem: str
    content: tuple[Photo, list[FaceDetection]] | Exception
    sha256: str
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
    known: KnownFaces
    max_pixels: int | None
    settings: str
    inputs: frozenset[Path]
    sharing: dict[Path, LandmarksError]
    report: ReportFolder
    own: set[str]
    interrupted: set[str]

    def is_done(self, path: Path, before: InputReport) -> bool:
        """Whether a run before has made of an input all that this one would."""
        same = before.status == "done" and before.settings == self.settings and before.sha256 == input_sha256(path)
        return same and all((self.out / name).is_file() for name in before.outputs)

    def opened(self, place: int, path: Path, stem: str) -> _Input:
        start = time.perf_counter()
        content = _attempt(path, partial(self._read, path))
        return _Input(place, path, stem, content, input_sha256(path), time.perf_counter() - start)

    def _read(self, path: Path) -> tuple[Photo, list[FaceDetection]]:
        if os.path.isdir(path):
            known = ", ".join(sorted(PHOTO_SUFFIXES))
            raise PhotoError(f"expected pictures ({known}) in the folder {str(path)!r}, found none that may be read")
        if path in self.sharing:
            raise self.sharing[path]
        most = self.max_pixels
        photo = read_photo(path) if most is None else read_photo(path, max_pixels=most, max_side=most)
        return photo, self.known.of(path, photo, self.reconstructor.estimator)

    def reports(self, batch: list[_Input]) -> Iterator[tuple[int, InputReport]]:
        """Reconstruct the photos together, then write the files of each."""
        contents = [entry.content for entry in batch if not isinstance(entry.content, Exception)]
        found = _attempt("a batch", partial(self._found, contents))
        if isinstance(found, Exception):  # nobody foresaw that: one by one, so that it stays one photo's fault
            found = [_attempt(one[0].path, lambda one=one: self._found([one])[0]) for one in contents]
        answers = iter(found)
        for entry in batch:
            result = entry.content if isinstance(entry.content, Exception) else next(answers)
            report = _failed("read", result) if isinstance(result, Exception) else self._written(entry, result)
            seconds = {"read": entry.seconds} | report.seconds
            yield (
                entry.place,
                replace(
                    report,
                    input=str(entry.path),
                    stem=entry.stem,
                    seconds=seconds,
                    sha256=entry.sha256,
                    settings=self.settings,
                ),
            )

    def _found(self, contents: list[tuple[Photo, list[FaceDetection]]]) -> list[list[Reconstruction | Failure]]:
        photos, given = [photo for photo, _ in contents], [detections for _, detections in contents]
        detections = given if self.known.some else None
        results = self.reconstructor.faces_in_batch(photos, faces=self.faces, detections=detections)
        return [[result for result in results if result.input == number] for number in range(len(photos))]

    def _written(self, entry: _Input, results: list[Reconstruction | Failure]) -> InputReport:
        found = [result for result in results if isinstance(result, Reconstruction)]
        failures = [
            FaceFailure(result.face, result.stage, _text(result.error))
            for result in results
            if isinstance(result, Failure)
        ]
        if not found:
            return InputReport("", "", "failed", failures[0].error, failures=tuple(failures))
        seconds: dict[str, float] = {}
        for stage in {stage for face in found for stage in face.seconds}:
            # Every face carries what its photo cost; only the fit is its own.
            parts = [face.seconds.get(stage, 0.0) for face in found]
            seconds[stage] = sum(parts) if stage == "fit" else parts[0]
        start = time.perf_counter()
        files = _attempt(entry.path, partial(self._write, found, entry.stem))
        seconds["write"] = time.perf_counter() - start
        if isinstance(files, Exception):
            report = _failed("write", files)
            return replace(report, failures=(*failures, *report.failures), seconds=seconds)
        names = tuple(file.name for file in files)
        status = "partial" if failures else "done"
        error = failures[0].error if failures else None
        return InputReport("", "", status, error, len(found), tuple(failures), names, seconds)

    def _write(self, found: list[Reconstruction], stem: str) -> list[Path]:
        self.report.writing(stem)
        written = write_outputs(found, self.out, stem, self.options, may_replace=self._is_ours)
        self.own.update(path.name for path in written)
        return written

    def _is_ours(self, path: Path) -> bool:
        """Whether a file that is there may be replaced: a run has written it, and it is no input now."""
        if path.absolute() in self.inputs:
            return False
        stem = re.sub(r"(_\d+)?(_overlay|_mesh)?\.\w+$", "", path.name)
        return path.name in self.own or stem in self.interrupted or is_own_picture(path)


def _failed(stage: str, error: Exception) -> InputReport:
    standing = tuple(file.name for file in error.written) if isinstance(error, ExportError) else ()
    failure = FaceFailure(None, stage, _text(error))
    return InputReport("", "", "failed", failure.error, failures=(failure,), outputs=standing)


def _text(error: Exception) -> str:
    kind = type(error).__name__
    return f"{kind}: {error}" if isinstance(error, FacewrightError) else f"unexpected {kind}: {error}"


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
