"""What the processes of a batch do: read photos, skip what is known, reconstruct the rest together, make rows."""

import hashlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

from facewright.errors import FacewrightError
from facewright.export.formats import FormatName
from facewright.photo import read_photo
from facewright.pipeline.fingerprint import fingerprint
from facewright.pipeline.flow import FacesChoice, Failure, Reconstructor, load_reconstructor
from facewright.pipeline.outputs import OutputOptions, write_outputs
from facewright.pipeline.reconstruction import Reconstruction
from facewright.pipeline.together import Found, found_in_each
from facewright.records import Photo
from facewright.scale.jobs import PhotoJob
from facewright.scale.rows import packed, table_of, why_not
from facewright.scale.sources import EntryReader
from facewright.workers import Head

PIXELS_TOGETHER = 50_000_000
"""Pixels after which photos that go through the networks together take no more."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PhotoWork:
    """The loaded flow, and what it does with jobs.

    Attributes:
        flow: loaded once.
        faces: all faces or the largest of each photo.
        most_pixels: of a photo.
        folder: of files that are wanted beside the rows; None: there are none.
        options: which files, and how.
        version: of all that decides rows and files.
    """

    flow: Reconstructor
    faces: FacesChoice
    most_pixels: int
    folder: Path | None
    options: OutputOptions
    version: str
    reader: EntryReader = field(default_factory=EntryReader)

    @property
    def facts(self) -> Head:
        """Version, and how many photos profit from each other."""
        estimator = self.flow.estimator
        return {
            "version": self.version,
            "together": estimator.photos_together,
            "method": estimator.method,
            "weights": estimator.weights,
        }

    def __call__(self, jobs: Sequence[PhotoJob]) -> Iterator[tuple[int, Head, bytes]]:
        """Rows of each photo, packed; none of those whose bytes are known."""
        read: dict[int, tuple[PhotoJob, str, Photo]] = {}
        for number, job in enumerate(jobs):
            sha256 = ""
            try:
                content = self.reader.read(job.entry)
                sha256 = hashlib.sha256(content).hexdigest()
                if sha256 == job.known:
                    yield number, {"kept": True}, b""
                    continue
                photo = read_photo(BytesIO(content), max_pixels=self.most_pixels, max_side=self.most_pixels)
                read[number] = job, sha256, Photo(photo.pixels, path=job.entry.name)
            except Exception as error:  # noqa: BLE001 - in the row of this photo, and nobody else's fault
                yield number, *self._answer([self._failed(job, sha256, "read", error)])
            if sum(photo.width * photo.height for _, _, photo in read.values()) > PIXELS_TOGETHER:
                yield from self._answers(read)
                read = {}
        yield from self._answers(read)

    def _answers(self, read: dict[int, tuple[PhotoJob, str, Photo]]) -> Iterator[tuple[int, Head, bytes]]:
        each = found_in_each(self.flow, [photo for _, _, photo in read.values()], faces=self.faces)
        for (number, (job, sha256, _)), found in zip(read.items(), each if read else (), strict=True):
            try:
                rows = self._rows(job, sha256, found)
            except Exception as error:  # noqa: BLE001 - as above
                rows = [self._failed(job, sha256, "write", error)]
            yield number, *self._answer(rows)

    def _rows(self, job: PhotoJob, sha256: str, results: Found | Exception) -> list[dict[str, Any]]:
        if isinstance(results, Exception):
            return [self._failed(job, sha256, "estimate", results)]
        found = [result for result in results if isinstance(result, Reconstruction)]
        files = self._written(job, sha256, found) if found and self.folder is not None else []
        common = {"input": job.entry.name, "sha256": sha256, "version": self.version, "status": "done"}
        rows = [common | {"files": files} | face_row(face) for face in found]
        return rows + [
            self._failed(job, sha256, one.stage, one.error) | {"face": one.face}
            for one in results
            if isinstance(one, Failure)
        ]

    def _written(self, job: PhotoJob, sha256: str, found: list[Reconstruction]) -> list[str]:
        """By the photo's bytes and name: the same photo is the same file, whoever writes it and how often."""
        assert self.folder is not None
        name = hashlib.sha256(job.entry.name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
        written = write_outputs(found, self.folder / sha256[:2], f"{sha256[:16]}-{name}", self.options)
        return [f"{self.folder.name}/{path.parent.name}/{path.name}" for path in written]

    def _failed(self, job: PhotoJob, sha256: str, stage: str, error: Exception) -> dict[str, Any]:
        text = f"{type(error).__name__}: {error}"
        if not isinstance(error, FacewrightError):
            log.error("%s: unexpected failure", job.entry.name, exc_info=error)
            text = f"unexpected {text}"
        return why_not(job.entry.name, sha256, self.version, "failed", stage, text)

    def _answer(self, rows: list[dict[str, Any]]) -> tuple[Head, bytes]:
        return {"faces": sum(row["status"] == "done" for row in rows)}, packed(table_of(rows))


def load_photo_work(
    *,
    faces: FacesChoice,
    most_pixels: int,
    folder: str,
    formats: tuple[FormatName, ...],
    texture_px: int,
    **settings: Any,
) -> PhotoWork:
    """Load the flow.

    Args:
        faces: all faces or the largest of each photo.
        most_pixels: of a photo; larger ones are refused before they are decoded.
        folder: of the files.
        formats: of the files; none: rows alone.
        texture_px: side of textures.
        settings: of ``load_reconstructor``.

    Raises:
        FacewrightError: as ``load_reconstructor``.
    """
    flow = load_reconstructor(**settings)
    of_files = {"formats": formats, "texture_px": texture_px} if formats else {}
    version = fingerprint(flow, faces=faces, most_pixels=most_pixels, **of_files)
    options = OutputOptions(formats, texture_px)
    return PhotoWork(flow, faces, most_pixels, Path(folder) if formats else None, options, version)


def face_row(face: Reconstruction) -> dict[str, Any]:
    """The columns of one face."""
    camera, pose = face.camera, face.pose.document()
    row: dict[str, Any] = {
        "face": face.face,
        "width": face.photo.width,
        "height": face.photo.height,
        "score": face.detection.score,
        "box": face.detection.box.tolist(),
        "landmarks_68": face.landmarks.flatten().tolist(),
        "landmarks_68_3d": face.landmarks_3d.flatten().tolist(),
        **pose,
        "focal_px": float(camera.focal_px[0]),
        "cx": float(camera.cx[0]),
        "cy": float(camera.cy[0]),
        "distance_dm": camera.distance_dm,
        "method": face.method,
        "weights": face.weights,
    }
    if face.morphable is not None:
        c = face.coefficients
        row |= {name: getattr(c, name)[0].flatten().tolist() for name in ("id", "exp", "tex", "sh")}
        row["face_model"] = face.face_model.name
    return row
