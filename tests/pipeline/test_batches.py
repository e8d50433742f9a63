"""Photos that go through the networks together: the same answers as alone, and nobody pays for another's fault."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from facewright.detect import load_face_detector
from facewright.errors import NoFaceFoundError, ReconstructionError
from facewright.morphable.linear import FaceModel
from facewright.photo import photo_from_array, read_photo
from facewright.pipeline import batch as batch_module
from facewright.pipeline.batch import reconstruct_files
from facewright.pipeline.flow import Failure, Reconstructor
from facewright.pipeline.outputs import OutputOptions
from facewright.pipeline.reconstruction import Reconstruction
from facewright.records import FaceDetection, Photo
from facewright.regress.rnet import RNet
from tests.pipeline.flows import rnet_flow, rnet_of

PORTRAITS = Path(__file__).resolve().parents[2] / "src" / "facewright" / "assets" / "photos"
FIVE = torch.tensor([[80.0, 90.0], [122.0, 88.0], [100.0, 115.0], [85.0, 135.0], [118.0, 134.0]])


@pytest.fixture(scope="module")
def reconstructor(toy_model: FaceModel) -> Reconstructor:
    torch.manual_seed(0)
    rnet = RNet(toy_model.layout, architecture="resnet18", width=0.125, crop_size=64)
    for head in rnet.heads.values():
        torch.nn.init.normal_(head.get_parameter("weight"), std=0.05)
    return rnet_flow(toy_model, load_face_detector(), rnet.eval(), weights="toy.safetensors")


@pytest.fixture(scope="module")
def photos() -> list[Photo]:
    grey = photo_from_array(torch.full((120, 200, 3), 0.5), path="grey.png")
    return [read_photo(PORTRAITS / "grace_hopper.jpg"), grey, read_photo(PORTRAITS / "astronaut.jpg")]


def of_photo(results: list[Reconstruction | Failure], number: int) -> list[Any]:
    return [result for result in results if result.input == number]


def test_photos_together_answer_as_alone(reconstructor: Reconstructor, photos: list[Photo]) -> None:
    together = reconstructor.faces_in_batch(photos)
    (missing,) = of_photo(together, 1)
    assert (missing.face, missing.stage) == (None, "detect")
    assert isinstance(missing.error, NoFaceFoundError)
    assert "grey.png" in str(missing.error)
    with pytest.raises(NoFaceFoundError):
        reconstructor.faces_in(photos[1])
    for k in (0, 2):
        alone, found = reconstructor.faces_in(photos[k]), of_photo(together, k)
        assert len(found) == len(alone) >= 1
        for a, b in zip(alone, found, strict=True):
            torch.testing.assert_close(a.landmarks, b.landmarks, atol=0.05, rtol=0)
            for name in ("id", "exp", "tex", "angles", "sh", "translation"):
                torch.testing.assert_close(
                    getattr(a.coefficients, name), getattr(b.coefficients, name), atol=2e-3, rtol=1e-3
                )
    assert reconstructor.faces_in_batch([]) == []


def test_known_faces_are_not_searched_for(reconstructor: Reconstructor) -> None:
    noise = photo_from_array(torch.rand(200, 220, 3), path="noise.png")
    face = FaceDetection(torch.tensor([70.0, 70, 130, 150]), 1.0, FIVE)
    flat = FaceDetection(face.box, 1.0, torch.ones(5, 2))
    found = reconstructor.faces_in_batch([noise, noise, noise], detections=[[face, face], [flat], []])
    assert [(result.input, result.face) for result in found] == [(0, 0), (0, 1), (1, 0), (2, None)]
    assert all(isinstance(result, Reconstruction) for result in found[:2])
    assert isinstance(found[2], Failure)
    assert isinstance(found[2].error, ReconstructionError)
    assert isinstance(found[3], Failure)
    assert isinstance(found[3].error, NoFaceFoundError)
    assert len(reconstructor.faces_in_batch([noise], detections=[[face, face]], faces="largest")) == 1


def test_one_bad_face_costs_its_photo_nothing(
    reconstructor: Reconstructor, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is named; the others are written; the photo is neither done nor failed."""
    picture = tmp_path / "two.png"
    noise = photo_from_array(torch.rand(200, 220, 3), path=str(picture))
    good = FaceDetection(torch.tensor([70.0, 70, 130, 150]), 1.0, FIVE)
    flat = FaceDetection(good.box, 1.0, torch.ones(5, 2))
    (kept,) = reconstructor.faces_in(noise, detections=[flat, good])
    assert kept.face == 1
    assert "face 0: expected five points" in caplog.text
    with pytest.raises(ReconstructionError, match="five points"):
        reconstructor.faces_in(noise, detections=[flat, flat])


def test_landmarks_are_those_of_the_whole_mesh(reconstructor: Reconstructor, photos: list[Photo]) -> None:
    face = reconstructor.faces_in(photos[2])[0]
    ids = face.face_model.annotations.ibug68
    assert ids is not None
    c, camera = face.mesh_world.vertices[0, ids], face.camera
    scale = camera.focal_px / (camera.distance_dm - c[:, 2])
    expected = torch.stack([camera.cx + scale * c[:, 0], camera.cy - scale * c[:, 1]], 1)
    torch.testing.assert_close(face.landmarks, expected, atol=1e-3, rtol=0)


def test_a_fault_that_nobody_foresaw_costs_one_photo(
    reconstructor: Reconstructor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    inside = Reconstructor.faces_in_batch

    def broken(self: Reconstructor, photos: list[Photo], **options: Any) -> Any:
        if any(photo.path.endswith("astronaut.jpg") for photo in photos):
            raise RuntimeError("a bug")
        return inside(self, photos, **options)

    monkeypatch.setattr(Reconstructor, "faces_in_batch", broken)
    (tmp_path / "text.jpg").write_text("not a picture")
    inputs = [PORTRAITS / "grace_hopper.jpg", tmp_path / "text.jpg", PORTRAITS / "astronaut.jpg"]
    done: list[str] = []
    reports = reconstruct_files(
        inputs,
        tmp_path / "out",
        reconstructor,
        options=OutputOptions(("json",)),
        on_done=lambda r: done.append(r.status),
    )
    assert done == ["done", "failed", "failed"]
    assert [str(report.error).split(":")[0] for report in reports] == ["None", "PhotoError", "unexpected RuntimeError"]
    assert json.loads((tmp_path / "out" / "report.json").read_text())["failed"] == 2
    assert "a bug" in caplog.text


def test_batches_are_bounded(reconstructor: Reconstructor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sizes: list[int] = []
    inside = Reconstructor.faces_in_batch

    def counted(self: Reconstructor, photos: list[Photo], **options: Any) -> Any:
        sizes.append(len(photos))
        return inside(self, photos, **options)

    monkeypatch.setattr(Reconstructor, "faces_in_batch", counted)
    inputs = [tmp_path / f"folder-{k}" / "astronaut.jpg" for k in range(5)]
    for path in inputs:
        path.parent.mkdir()
        shutil.copy(PORTRAITS / "astronaut.jpg", path)
    options = OutputOptions(("json",))
    pairs = replace(reconstructor, estimator=replace(rnet_of(reconstructor), photos_together=2))
    reconstruct_files(inputs, tmp_path / "a", pairs, options=options)
    monkeypatch.setattr(batch_module, "BATCH_PIXELS", 1000)
    reconstruct_files(inputs, tmp_path / "b", pairs, options=options)
    assert sizes == [2, 2, 1, 1, 1, 1, 1, 1]
    names = sorted(path.name for path in (tmp_path / "b").iterdir())
    assert names == [
        "astronaut-2.json",
        "astronaut-3.json",
        "astronaut-4.json",
        "astronaut-jpg.json",
        "astronaut.json",
        "report.html",
        "report.json",
    ]
