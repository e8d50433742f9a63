"""Albums of toy people whose faces nobody had to find: a flow that knows them by the names of their files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from facewright.align import five_from_68
from facewright.detect import load_face_detector
from facewright.errors import NoFaceFoundError
from facewright.export.asset import to_uint8
from facewright.fit import FitPlan, FitSettings
from facewright.geometry.frames import crop_camera, pose_points, project_points
from facewright.geometry.pose import posed_mesh
from facewright.morphable.linear import FaceModel
from facewright.pipeline.estimator import estimate_of
from facewright.pipeline.face import FaceInPhoto
from facewright.pipeline.fit_estimator import FitEstimator
from facewright.pipeline.flow import Failure, Reconstructor
from facewright.pipeline.reconstruction import Reconstruction, reconstruction_of
from facewright.pipeline.views import display_picture
from facewright.records import AlignedFace, FaceCoefficients, FaceDetection, Photo
from facewright.render.renderer import render


@dataclass(frozen=True)
class KnownFlow(Reconstructor):
    """Gives the faces that are in ``known``, by the ends of paths; notes which photos it was asked for."""

    known: Mapping[str, Sequence[FaceCoefficients]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    def faces_in_batch(self, photos: Sequence[Photo], **_: Any) -> list[Reconstruction | Failure]:
        results: list[Reconstruction | Failure] = []
        for number, photo in enumerate(photos):
            self.asked.append(Path(photo.path).name)
            found = self._of(photo)
            if not found:
                results.append(Failure(number, None, "detect", NoFaceFoundError(f"no face in {photo.path}")))
            for k, face in enumerate(found):
                results.append(replace(self._face(photo, face), input=number, face=k))
        return results

    def find_faces(self, photos: Sequence[Photo]) -> list[list[FaceDetection]]:
        return [[self._face(photo, face).detection for face in self._of(photo)] for photo in photos]

    def _of(self, photo: Photo) -> Sequence[FaceCoefficients]:
        """Of the entry in ``known`` that the photo's path ends in."""
        return next((faces for name, faces in self.known.items() if photo.path.endswith(name)), ())

    def _face(self, photo: Photo, face: FaceCoefficients) -> Reconstruction:
        model = self.estimator.face_model
        assert model is not None
        camera = crop_camera()
        marks = model.annotations.ibug68
        assert marks is not None
        world = pose_points(model.shape(face.id, face.exp), face.angles, face.translation)
        points = project_points(world[:, marks], camera)[0, :, :2]
        five = five_from_68(points)
        detection = FaceDetection(torch.cat([points.amin(0), points.amax(0)]), 1.0, five)
        aligned = AlignedFace(photo.srgb, torch.eye(3), torch.zeros(5, dtype=torch.float64), camera, camera, five)
        answer = replace(estimate_of(model, face, aligned), start=face)
        return reconstruction_of(photo, detection, answer, method="known", weights="")


def known_flow(model: FaceModel, known: Mapping[str, Sequence[FaceCoefficients]]) -> KnownFlow:
    estimator = FitEstimator(model, FitPlan.of(model), FitSettings(photometric_observations=0.0))
    return KnownFlow(load_face_detector(), estimator, known=known)


def recognised(faces: Sequence[FaceInPhoto], /) -> torch.Tensor:
    """Descriptors of toy people, whom no network knows: directions of their identities, as far apart as people are."""
    found = [torch.nn.functional.normalize(face.coefficients.id[0], dim=-1) for face in faces]
    return 0.6 * torch.stack(found) if found else torch.zeros(0, 1)


def photos_of(
    model: FaceModel, yaws: Sequence[float], *, sign: float = 1.0, seed: int = 0, error: float = 0.3
) -> list[FaceCoefficients]:
    """One person, turned and in other light; each photo's identity is off by something of its own."""
    dice = torch.Generator().manual_seed(seed)
    identity = sign * torch.ones(1, model.layout.id)
    found = []
    for yaw in yaws:
        face = replace(
            model.layout.zeros(),
            id=identity + error * torch.randn(1, model.layout.id, generator=dice),
            exp=0.2 * torch.rand(1, model.layout.exp, generator=dice),
            angles=torch.deg2rad(torch.tensor([[0.0, yaw, 0.0]])),
            sh=0.1 * torch.randn(1, 9, 1, generator=dice).expand(1, 9, 3).clone(),
        )
        found.append(face)
    return found


def draw(model: FaceModel, face: FaceCoefficients, path: Path, *, noise: float = 0.02) -> Path:
    """The face before a grey wall, as the crop's camera sees it."""
    mesh = posed_mesh(model.decode(face), face.pose)
    drawn = render(mesh, crop_camera(), face.sh, antialias=False)
    dice = torch.Generator().manual_seed(len(path.name) + ord(path.stem[-1]))
    wall = 0.5 + noise * torch.randn(3, 224, 224, generator=dice)
    shown = to_uint8(torch.where(drawn.mask[0] > 0, display_picture(drawn, mesh), wall).clamp(0.0, 1.0))
    cv2.imwrite(str(path), np.ascontiguousarray(shown.transpose(1, 2, 0)[..., ::-1]))  # not marked as a picture of ours
    return path
