"""What a process of the service does: pictures that came together go through the flow together."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any, cast

import torch

from facewright.apps.edit import frontalise, light_from_direction, neutralise, relight, transfer_expression
from facewright.apps.edited_files import edited_content
from facewright.errors import CoefficientsError, FacewrightError, SettingsError
from facewright.export.formats import FORMATS, FormatName
from facewright.export.json import json_bytes
from facewright.files import zipped
from facewright.photo import read_photo
from facewright.pipeline.coefficient_files import coefficients_of_document
from facewright.pipeline.flow import Failure, Reconstructor, load_reconstructor
from facewright.pipeline.outputs import FaceFiles, OutputOptions, document, encoded_outputs
from facewright.pipeline.reconstruction import Reconstruction
from facewright.pipeline.together import Found, found_in_each
from facewright.records import FaceCoefficients, Photo
from facewright.serve.jobs import MEDIA, EditJob, FacesJob
from facewright.workers import Head

PIXELS_TOGETHER = 50_000_000
"""Pixels after which pictures that go through the networks together take no more."""

STEM = "face"
"""What names of files in an answer begin with: the sender's names are not kept."""

log = logging.getLogger(__name__)

Answer = tuple[Head, bytes]


@dataclass(frozen=True)
class FaceWork:
    """The loaded flow, and what it does with jobs.

    Attributes:
        flow: loaded once.
        most_pixels: of a picture; larger ones are refused before they are decoded.
    """

    flow: Reconstructor
    most_pixels: int

    @property
    def facts(self) -> Head:
        """Method, weights and face model."""
        model = self.flow.face_model
        return {
            "method": self.flow.method,
            "weights": self.flow.weights,
            "face_model": "" if model is None else model.name,
        }

    def __call__(self, jobs: Sequence[FacesJob | EditJob]) -> Iterator[tuple[int, Head, bytes]]:
        """Answers, as they are ready."""
        read: dict[int, tuple[FacesJob, Photo]] = {}
        for number, job in enumerate(jobs):
            if isinstance(job, EditJob):
                yield number, *_told(lambda job=job: self._edited(job))
                continue
            try:
                read[number] = job, read_photo(BytesIO(job.picture), max_pixels=self.most_pixels)
            except Exception as error:  # noqa: BLE001 - told to the client, and nobody else's fault
                yield number, *_refused(error)
            if sum(photo.width * photo.height for _, photo in read.values()) > PIXELS_TOGETHER:
                yield from self._answers(read)
                read = {}
        yield from self._answers(read)

    def _answers(self, read: dict[int, tuple[FacesJob, Photo]]) -> Iterator[tuple[int, Head, bytes]]:
        for choice in ("all", "largest"):
            some = {number: photo for number, (job, photo) in read.items() if job.faces == choice}
            each = found_in_each(self.flow, list(some.values()), faces=choice)
            for number, found in zip(some, each, strict=True):
                job = read[number][0]
                yield number, *_told(lambda found=found, job=job: _answer(found, job))

    def _edited(self, job: EditJob) -> Answer:
        model, wish = self.flow.face_model, job.wish
        if model is None:
            raise SettingsError(
                f"expected a method that knows coefficients, this service's {self.flow.method} does not"
            )

        def coefficients(name: str, face: dict[str, Any]) -> FaceCoefficients:
            return coefficients_of_document({"faces": [face]}, model, name=name)

        face = coefficients("face", wish.face)
        if wish.neutral:
            face = neutralise(face)
        if wish.expression_of is not None:
            other = coefficients("expression_of", wish.expression_of)
            face = transfer_expression(face, other, with_pose=wish.with_pose)
        if wish.frontal:
            face = frontalise(face)
        if wish.light_of is not None:
            face = relight(face, coefficients("light_of", wish.light_of).sh)
        if wish.light_from is not None:
            face = relight(face, light_from_direction(torch.tensor([wish.light_from])))
        chosen = FORMATS[job.answer]
        content = edited_content(chosen.content, model, face, name=STEM, size_px=job.size_px)
        (blob,) = chosen.encode(content, f"{STEM}{chosen.suffix}").values()
        return {"status": 200, "media": MEDIA[job.answer], "faces": 1}, blob


def load_face_work(*, most_pixels: int, **settings: Any) -> FaceWork:
    """Load the flow.

    Args:
        most_pixels: see ``FaceWork``.
        settings: of ``load_reconstructor``.

    Raises:
        FacewrightError: as ``load_reconstructor``.
    """
    return FaceWork(load_reconstructor(**settings), most_pixels)


def _answer(results: Found | Exception, job: FacesJob) -> Answer:
    if isinstance(results, Exception):
        raise results
    found = [result for result in results if isinstance(result, Reconstruction)]
    failures = [result for result in results if isinstance(result, Failure)]
    if not found:
        raise failures[0].error
    head = {"status": 200, "media": MEDIA[job.answer], "faces": len(found)}
    told = {"failures": [{"face": one.face, "stage": one.stage, "error": _text(one.error)} for one in failures]}
    if job.answer == "json":
        return head, json_bytes(document(found) | told)
    if job.answer == "glb":
        if job.face >= len(found):
            raise SettingsError(f"expected face to be below {len(found)}, as many as were found; received {job.face}")
        asset = FaceFiles(found[job.face], texture_px=job.texture_px).asset
        (blob,) = FORMATS["glb"].encode(asset, STEM).values()
        return head, blob
    files = dict(encoded_outputs(found, STEM, OutputOptions(cast(tuple[FormatName, ...], job.files), job.texture_px)))
    return head, zipped(files | ({"failures.txt": _listed(failures)} if failures else {}))


def _listed(failures: list[Failure]) -> bytes:
    return "".join(f"face {one.face}, {one.stage}: {_text(one.error)}\n" for one in failures).encode()


def _told(step: Callable[[], Answer]) -> Answer:
    try:
        return step()
    except Exception as error:  # noqa: BLE001 - told to the client, and nobody else's fault
        return _refused(error)


def _refused(error: Exception) -> Answer:
    """What a client is told: its own mistakes in full, ours not at all."""
    if isinstance(error, CoefficientsError | FacewrightError):
        return {"status": 422, "error": type(error).__name__, "message": str(error)}, b""
    log.error("unexpected failure", exc_info=error)
    return {"status": 500, "error": "UnexpectedError", "message": "the service failed on this request"}, b""


def _text(error: FacewrightError) -> str:
    return f"{type(error).__name__}: {error}"
