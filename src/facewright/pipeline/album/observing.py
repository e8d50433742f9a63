"""From the photos of an album to what each says: kept on disk, so that nothing is looked at twice."""

import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from facewright.errors import ExportError, FacewrightError, ReconstructionError
from facewright.export.json import plain
from facewright.photo import read_photo
from facewright.pipeline.album.observations import (
    Observation,
    observe,
    read_observations,
    without_crop,
    write_observations,
)
from facewright.pipeline.album.weighing import Weighing
from facewright.pipeline.attempts import attempt
from facewright.pipeline.batch import BATCH_PIXELS
from facewright.pipeline.flow import Failure, Reconstructor
from facewright.pipeline.identity import Recogniser, identity_descriptors
from facewright.pipeline.reconstruction import Reconstruction
from facewright.pipeline.report import input_sha256
from facewright.provenance import VERSION
from facewright.records import Photo

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Observed:
    """What the photos of an album say.

    Attributes:
        faces: of all photos, in their order.
        copies: photos that are the very same file as an earlier one.
        failures: photos without a face, and why.
    """

    faces: list[Observation]
    copies: list[tuple[Path, Path]]
    failures: list[tuple[Path, str]]


def digest_of(
    reconstructor: Reconstructor,
    weighing: Weighing,
    max_pixels: int | None,
    recognise: Recogniser = identity_descriptors,
) -> str:
    """Of all but the photo that decides what is said about it."""
    estimator, model = reconstructor.estimator, reconstructor.face_model
    facts = {
        "version": VERSION,
        "method": estimator.method,
        "weights": estimator.weights,
        "settings": estimator.settings,
        "face_model": None if model is None else [model.name, model.metadata.get("sha256", ""), model.edition],
        "weighing": [weighing.name, weighing.weights],
        "max_pixels": max_pixels,
        "recognise": getattr(recognise, "__qualname__", repr(recognise)),
    }
    return hashlib.sha256(json.dumps(plain(facts), sort_keys=True).encode()).hexdigest()


def observed(
    paths: Sequence[Path],
    store: Path,
    reconstructor: Reconstructor,
    weighing: Weighing,
    *,
    settings: str = "",
    max_pixels: int | None = None,
    resume: bool = False,
    recognise: Recogniser = identity_descriptors,
    on_photo: Callable[[Path], None] | None = None,
) -> Observed:
    """Look at all photos, a few at a time.

    Args:
        paths: of the photos.
        store: folder of what is known of each, by the hash of its bytes.
        reconstructor: the loaded flow.
        weighing: of the photos.
        settings: what is stored by other settings is made again.
        max_pixels: refuse larger photos; the photo door's own limits if None.
        resume: use what is stored; else it is removed first.
        recognise: says who is seen.
        on_photo: called after each photo.

    Raises:
        ExportError: the store cannot be written.
    """
    if not resume:
        shutil.rmtree(store, ignore_errors=True)
    tell = on_photo or (lambda path: None)
    ready, copies = _places(paths, store)
    todo: list[tuple[Path, Path]] = []
    for path, file in ready.items():
        kept = read_observations(file)
        if kept is None or kept[1].get("settings") != settings:
            todo.append((path, file))
    for path in paths:
        if path not in dict(todo):
            tell(path)
    for group in _in_groups(todo, max_pixels, reconstructor.estimator.photos_together):
        for path, found, error in _looked(group, reconstructor, weighing, recognise):
            write_observations(ready[path], found, {"settings": settings, "error": error})
            tell(path)
    faces, failures = list[Observation](), list[tuple[Path, str]]()
    for path, file in ready.items():
        kept = read_observations(file)
        if kept is None:
            raise ExportError(f"expected what was said of {path} in {file}, which is gone; give the command again")
        found = (without_crop(one, file, place) for place, one in enumerate(kept[0]))
        faces += [replace(one, photo=str(path)) for one in found]
        if not kept[0]:
            failures.append((path, str(kept[1].get("error", ""))))
    return Observed(faces, copies, failures)


def read_within(path: Path, max_pixels: int | None) -> Photo:
    """A photo that is not larger than that.

    Raises:
        PhotoError: it is, or is no photo that can be read.
    """
    return read_photo(path) if max_pixels is None else read_photo(path, max_pixels=max_pixels, max_side=max_pixels)


def _places(paths: Sequence[Path], store: Path) -> tuple[dict[Path, Path], list[tuple[Path, Path]]]:
    """The file of each photo in the store; and the photos that are an earlier one's copy, byte by byte."""
    first_of: dict[str, Path] = {}
    ready: dict[Path, Path] = {}
    copies: list[tuple[Path, Path]] = []
    for path in paths:
        sha = input_sha256(path) or hashlib.sha256(str(path).encode()).hexdigest()
        if sha in first_of:
            copies.append((path, first_of[sha]))
        else:
            first_of[sha], ready[path] = path, store / f"{sha}.safetensors"
    return ready, copies


_Opened = tuple[Path, Photo | FacewrightError]


def _in_groups(todo: list[tuple[Path, Path]], max_pixels: int | None, most: int) -> Iterator[list[_Opened]]:
    """Neighbours together, as many as memory allows."""
    group: list[_Opened] = []
    for path, _ in todo:
        group.append((path, attempt(read_within, path, max_pixels)))
        pixels = sum(photo.width * photo.height for _, photo in group if isinstance(photo, Photo))
        if len(group) >= most or pixels > BATCH_PIXELS:
            yield group
            group = []
    if group:
        yield group


def _looked(
    group: list[_Opened], reconstructor: Reconstructor, weighing: Weighing, recognise: Recogniser
) -> Iterator[tuple[Path, list[Observation], str]]:
    """Faces of some photos; and why there are none, or not all."""
    results = iter(_faces([photo for _, photo in group if isinstance(photo, Photo)], reconstructor))
    for path, photo in group:
        if isinstance(photo, FacewrightError):
            yield path, [], f"{type(photo).__name__}: {photo}"
            continue
        of_photo = next(results)
        faces = [result for result in of_photo if isinstance(result, Reconstruction)]
        errors = [result.error for result in of_photo if isinstance(result, Failure)]
        weighed = weighing.weighed(faces)
        said = zip(faces, weighed, recognise(faces), strict=True)
        found = [observe(face, one, who).to("cpu") for face, one, who in said]
        yield path, found, f"{type(errors[0]).__name__}: {errors[0]}" if errors else ""


def _faces(photos: list[Photo], reconstructor: Reconstructor) -> list[list[Reconstruction | Failure]]:
    try:
        results = reconstructor.faces_in_batch(photos)
    except Exception as error:  # nobody foresaw that: one by one, so that it stays one photo's fault
        if len(photos) > 1:
            return [_faces([photo], reconstructor)[0] for photo in photos]
        log.exception("unexpected failure on %s", photos[0].path)
        unexpected = ReconstructionError(f"unexpected {type(error).__name__}: {error}")
        return [[Failure(0, None, "estimate", unexpected)]]
    return [[result for result in results if result.input == number] for number in range(len(photos))]
