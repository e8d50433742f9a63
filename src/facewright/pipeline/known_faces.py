"""Faces that somebody else than the detector has found: by points, by boxes, or as pictures that are crops already."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from facewright.align.square import face_in_square, square_of_box, whole_square
from facewright.detect import landmarks_of
from facewright.detect.landmark_files import read_boxes
from facewright.errors import LandmarksError, ReconstructionError, SettingsError
from facewright.pipeline.coefficient_files import read_known_face
from facewright.pipeline.estimator import Estimator
from facewright.records import FaceDetection, Photo


@dataclass(frozen=True)
class KnownFaces:
    """Where faces are said to be; at most one of these is given, and without any the detector finds them.

    Attributes:
        landmarks: folder of files with 5 or 68 points each (``detect.landmarks_of``), a face a photo.
        boxes: folder of files with a box a line, a face each.
        cropped: the whole photo is the crop of a face.
    """

    landmarks: Path | None = None
    boxes: Path | None = None
    cropped: bool = False

    def __post_init__(self) -> None:
        """Raises SettingsError where more than one is given."""
        if (self.landmarks is not None) + (self.boxes is not None) + self.cropped > 1:
            raise SettingsError(
                f"expected faces to be known in one way, received landmarks={self.landmarks}, boxes={self.boxes}, "
                f"cropped={self.cropped}; give one of them"
            )

    @property
    def folder(self) -> Path | None:
        """That holds a file a photo."""
        return self.landmarks or self.boxes

    @property
    def some(self) -> bool:
        """Whether anything is known."""
        return self.folder is not None or self.cropped

    def check(self, estimator: Estimator) -> None:
        """Refuse what a method cannot use.

        Raises:
            SettingsError: it does not find faces in boxes.
        """
        if (self.cropped or self.boxes is not None) and estimator.landmarks_dm is None:
            raise SettingsError(
                f"expected a method that finds faces in boxes (prnet), received {estimator.method!r}, which needs "
                "their points; give these (--landmarks), or PRNet's weights (--weights)"
            )

    def of(self, path: Path, photo: Photo, estimator: Estimator) -> list[FaceDetection]:
        """The faces of a photo, the largest first; none where nothing is known.

        A box becomes the square of PRNet (1.6 times its mean side), and a square the five points of the method's mean
        face in it, seen from the front: the crop of any method follows from those.

        Raises:
            LandmarksError: there is no file for the photo, or a malformed one; a box is none, or lies outside.
            CoefficientsError: a ``.mat`` without points.
            SettingsError: the method does not say how a face lies in a box.
        """
        if self.landmarks is not None:
            return [read_known_face(landmarks_of(path, self.landmarks))]
        if not self.some:
            return []
        self.check(estimator)
        mean = estimator.landmarks_dm
        assert mean is not None
        if self.boxes is None:
            return [face_in_square(whole_square(photo), mean)]
        file, faces = landmarks_of(path, self.boxes), []
        limit = torch.tensor([photo.width, photo.height])
        for number, box in enumerate(read_boxes(file), start=1):
            try:
                square = square_of_box(box)
            except ReconstructionError as error:
                raise LandmarksError(f"{file}, box {number}: {error}") from error
            if bool((box[2:] <= 0).any() or (box[:2] >= limit).any()):
                raise LandmarksError(
                    f"{file}: expected boxes in a photo of {photo.width} x {photo.height} px, received box {number} "
                    f"outside of it, {box.tolist()}; check that the file belongs to this photo"
                )
            faces.append(face_in_square(square, mean))
        return sorted(faces, key=lambda face: -float((face.box[2:] - face.box[:2]).prod()))

    def of_several(self, paths: Iterable[Path]) -> dict[Path, list[Path]]:
        """Files that more than one photo is told by, with these photos."""
        told: dict[Path, list[Path]] = {}
        folder = self.folder
        if folder is None:
            return told
        for path in dict.fromkeys(paths):
            with suppress(LandmarksError):  # said when its turn comes
                told.setdefault(landmarks_of(path, folder), []).append(path)
        return {file: photos for file, photos in told.items() if len(photos) > 1}
