"""People of the open head, as truth and as predictions, for folders in the official layouts."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor

from facewright.errors import NoFaceFoundError
from facewright.evaluate.methods import MeasuredFace
from facewright.evaluate.predictions import outer_surface
from facewright.evaluate.results import Case, Result
from facewright.geometry.frames import crop_camera
from facewright.morphable.linear import FaceModel
from facewright.morphable.sample import sample_coefficients
from facewright.records import Camera, FaceCoefficients, FaceDetection, Photo


def person(model: FaceModel, seed: int, *, expressions: bool = False) -> FaceCoefficients:
    return sample_coefficients(model, torch.Generator().manual_seed(seed), expressions=expressions)


def estimate_of(model: FaceModel, who: FaceCoefficients, camera: Camera | None = None) -> MeasuredFace:
    return MeasuredFace.of_coefficients(model, who, camera or crop_camera())


def vertices_of(model: FaceModel, who: FaceCoefficients, *, expression: bool = False) -> ndarray:
    return estimate_of(model, who).vertices_mm(expression=expression)


def front_of(model: FaceModel) -> tuple[ndarray, ndarray]:
    """The visible front of the head as a scanner sees it: vertex ids and faces among them."""
    outside, faces = outer_surface(model.topology, 100.0 * model.mean_shape.double().numpy())
    mean = model.mean_shape.numpy()[outside]
    kept = (mean[:, 2] > -0.7) & (mean[:, 1] > -1.0)
    ids, flat = np.unique(faces[kept[faces].all(1)], return_inverse=True)
    return outside[ids], flat.reshape(-1, 3)


def write_obj(path: Path, vertices: ndarray, faces: ndarray, *, uv: ndarray | None = None, material: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"mtllib {material}"] if material else []
    lines += ["v {:.9g} {:.9g} {:.9g}".format(*row) for row in vertices.tolist()]
    if uv is not None:
        lines += ["vt {:.9g} {:.9g}".format(*row) for row in uv.tolist()]
        lines += ["f " + " ".join(f"{i}/{i}" for i in row) for row in (faces + 1).tolist()]
    else:
        lines += ["f {} {} {}".format(*row) for row in (faces + 1).tolist()]
    path.write_text("\n".join(lines) + "\n")


def write_picked_points(path: Path, points: ndarray) -> None:
    """MeshLab's file, attributes in MeshLab's odd order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [f' <point y="{y:.6f}" z="{z:.6f}" active="1" name="p" x="{x:.6f}"/>' for x, y, z in points]
    head = ["<!DOCTYPE PickedPoints>", "<PickedPoints>", " <DocumentData>", '  <DataFileName name="scan.obj"/>']
    path.write_text("\n".join([*head, ' <templateName name=""/>', " </DocumentData>", *rows, "</PickedPoints>"]))


def blank_photo(path: Path) -> None:
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (32, 32), (128, 120, 110)).save(path)


@dataclass(frozen=True)
class KnownMethod:
    """A method that knows the answer by the photo's path; what it does not know has no face."""

    face_model: FaceModel
    answers: Mapping[str, tuple[FaceCoefficients, Camera]]
    name: str = "known"
    weights: str = ""

    @property
    def settings(self) -> dict[str, Any]:
        return {}

    def find(self, photo: Photo, near: Tensor | None = None) -> FaceDetection:
        if self._key(photo) is None:
            raise NoFaceFoundError(f"no face in {photo.path}")
        return FaceDetection(torch.tensor([0.0, 0, 1, 1]), 1.0, torch.zeros(5, 2))

    def estimate(self, photo: Photo, detection: FaceDetection) -> MeasuredFace:
        return MeasuredFace.of_coefficients(self.face_model, *self.answers[self._key(photo) or ""])

    def _key(self, photo: Photo) -> str | None:
        return next((key for key in self.answers if photo.path.endswith(key)), None)


def values(result: Result) -> dict[str, dict[str, float]]:
    return {case.name: case.values for case in result.cases if case.values}


def case(result: Result, name: str) -> Case:
    return next(case for case in result.cases if case.name == name)


def assert_others_unchanged(intact: Result, broken: Result, named: str) -> None:
    """One case is named as broken; all the others measure what they measured before."""
    assert any(named in problem for problem in broken.problems), broken.problems
    left = values(broken)
    assert named not in left
    assert left == {name: row for name, row in values(intact).items() if name != named}


def value(result: Result, name: str, *, baseline: bool = False) -> float:
    found = (result.baseline if baseline else result.figures)[name].value
    assert found is not None
    return found
