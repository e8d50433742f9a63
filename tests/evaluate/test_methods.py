"""What is measured: methods by name, and the mean head as a baseline that finds nothing but the pose."""

from pathlib import Path

import pytest
import torch

from facewright.detect import load_face_detector
from facewright.errors import SettingsError
from facewright.evaluate.methods import FlowMethod, baseline_of, load_method
from facewright.geometry.frames import crop_camera, pose_points, project_points
from facewright.geometry.ibug68 import MESH_TO_IBUG68
from facewright.morphable.container import save_face_model
from facewright.morphable.linear import FaceModel
from facewright.morphable.toy import toy_face_model
from facewright.records import FaceDetection, Photo
from tests.pipeline.flows import fit_flow

ANGLES = torch.tensor([[0.1, -0.3, 0.05]])


def seen_face(model: FaceModel, size: float) -> tuple[Photo, FaceDetection]:
    """A picture's points of a person with an expression (each coefficient is ``size``), or of the mean head."""
    zeros = model.layout.zeros()
    vertices = model.shape(torch.full_like(zeros.id, size), torch.full_like(zeros.exp, size))
    pixels = project_points(pose_points(vertices, ANGLES, zeros.translation), crop_camera())[0]
    assert model.annotations.ibug68 is not None
    marks = pixels[model.annotations.ibug68]
    mesh = pixels.mean(0).expand(468, 3).clone()
    mesh[MESH_TO_IBUG68] = torch.cat([marks[:, :2], torch.zeros(68, 1)], -1)
    five = torch.stack([marks[[36, 39], :2].mean(0), marks[[42, 45], :2].mean(0), *marks[[30, 48, 54], :2]])
    box = torch.cat([marks[:, :2].amin(0), marks[:, :2].amax(0)])
    return Photo(torch.full((3, 224, 224), 128, dtype=torch.uint8)), FaceDetection(box, 1.0, five, mesh, 1.0)


@pytest.mark.parametrize("prior", ["normal", "box"])
def test_the_baseline_is_the_mean_head_whatever_the_prior(prior: str) -> None:
    model = toy_face_model(exp_prior=prior)  # pyright: ignore[reportArgumentType] - of the two literals
    baseline = baseline_of(FlowMethod("fit", fit_flow(model, load_face_detector())))
    for size, error in ((0.0, 0.02), (0.7, 0.3)):
        found = baseline.estimate(*seen_face(model, size)).coefficients
        for name in ("id", "exp", "tex", "sh"):
            assert not getattr(found, name).any(), name
        torch.testing.assert_close(found.angles, ANGLES, atol=error, rtol=0)


def test_methods_use_the_weights_that_are_given_and_say_what_they_are() -> None:
    given = load_method("auto", weights="fast")
    assert (given.name, given.weights) == ("rnet", "fast")
    assert load_method("auto").weights == "open"
    for name in ("fit", "mean"):
        with pytest.raises(SettingsError, match="expected no weights"):
            load_method(name, weights="fast")


def test_without_weights_for_the_face_model_auto_asks_the_open_heads_network(tmp_path: Path) -> None:
    save_face_model(toy_face_model(), tmp_path / "toy.npz")
    assert load_method("auto", face_model=str(tmp_path / "toy.npz")).name == "guided"
