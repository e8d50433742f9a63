"""What the processes of the service do, here in this one: with a toy method, and with the open head's coefficients."""

import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from facewright.assets import embedded_path
from facewright.detect import load_face_detector
from facewright.morphable.container import load_face_model
from facewright.photo import read_photo
from facewright.pipeline.flow import Reconstructor
from facewright.serve.described import FACE_EXAMPLE
from facewright.serve.face_work import FaceWork
from facewright.serve.jobs import EditJob, EditWish, FacesJob
from tests.toy_method import ToyEstimator, toy_mesh

PORTRAIT = embedded_path("photos/grace_hopper.jpg")


@pytest.fixture(scope="module")
def work() -> FaceWork:
    return FaceWork(Reconstructor(load_face_detector(), ToyEstimator(*toy_mesh()), check=None), most_pixels=400_000)


def answers(work: FaceWork, *jobs: Any) -> list[tuple[dict[str, Any], bytes]]:
    found = {number: (head, body) for number, head, body in work(jobs)}
    assert sorted(found) == list(range(len(jobs)))
    return [found[number] for number in range(len(jobs))]


def test_pictures_that_come_together_are_answered_each_as_it_was_asked(
    work: FaceWork, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture, together = PORTRAIT.read_bytes(), []
    found = Reconstructor.faces_in_batch

    def noted(self: Reconstructor, photos: Any, **options: Any) -> Any:
        together.append((len(photos), options["faces"]))
        return found(self, photos, **options)

    monkeypatch.setattr(Reconstructor, "faces_in_batch", noted)
    large = io.BytesIO()
    replaced = read_photo(PORTRAIT).pixels.permute(1, 2, 0).numpy().repeat(2, 0)
    from PIL import Image

    Image.fromarray(replaced).save(large, "PNG")
    document, broken, bomb, mesh, files, outside = answers(
        work,
        FacesJob(picture),
        FacesJob(picture[:2000]),
        FacesJob(large.getvalue()),
        FacesJob(picture, "glb", texture_px=16),
        FacesJob(picture, "zip", files=("ply", "json"), texture_px=16),
        FacesJob(picture, "glb", "largest", face=1, texture_px=16),
    )
    assert together == [(3, "all"), (1, "largest")]
    content = json.loads(document[1])
    (face,) = work.flow.faces_in(read_photo(PORTRAIT))
    assert content["failures"] == []
    assert content["photo"]["path"] == ""
    assert content["faces"][0]["landmarks_68"][0] == pytest.approx(face.landmarks[0].tolist(), abs=1e-3)
    assert document[0] == {"status": 200, "media": "application/json", "faces": 1}
    assert (broken[0]["status"], broken[0]["error"]) == (422, "PhotoError")
    assert (bomb[0]["status"], bomb[0]["error"]) == (422, "PhotoError")
    assert "at most 400000 pixels" in bomb[0]["message"]
    assert mesh[1].startswith(b"glTF")
    with zipfile.ZipFile(io.BytesIO(files[1])) as archive:
        assert archive.namelist() == ["face.ply", "face.json"]
    assert (outside[0]["status"], outside[0]["error"]) == (422, "SettingsError")


def test_a_fault_of_ours_is_told_without_details_and_costs_one_picture(
    work: FaceWork, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def shaky(self: Reconstructor, photos: Any, **options: Any) -> Any:
        if any(photo.width == 8 for photo in photos):
            raise RuntimeError("a secret")
        return found(self, photos, **options)

    found = Reconstructor.faces_in_batch
    monkeypatch.setattr(Reconstructor, "faces_in_batch", shaky)
    small = b"P6 8 8 255\n" + bytes(192)
    good, bad = answers(work, FacesJob(PORTRAIT.read_bytes()), FacesJob(small))
    assert good[0]["status"] == 200
    assert bad[0] == {"status": 500, "error": "UnexpectedError", "message": "the service failed on this request"}
    assert "a secret" in caplog.text


def test_a_face_is_edited_as_the_command_edits_it(work: FaceWork, tmp_path: Path) -> None:
    from facewright.apps.edit import frontalise
    from facewright.pipeline.coefficient_files import read_coefficients

    (tmp_path / "face.json").write_text(json.dumps({"faces": [FACE_EXAMPLE]}))
    model = load_face_model()
    example = read_coefficients(tmp_path / "face.json", model)
    able = replace(work, flow=replace(work.flow, estimator=_WithModel(work.flow.estimator, model)))
    wish = EditWish(FACE_EXAMPLE, frontal=True, light_from=(-1.0, 0.5, 0.5))
    edited, drawn, other, refused = answers(
        able,
        EditJob(wish),
        EditJob(wish, "png", 64),
        EditJob(EditWish(FACE_EXAMPLE | {"face_model": "flame"})),
        EditJob(EditWish({"coefficients": [1]})),
    )
    (face,) = json.loads(edited[1])["faces"]
    assert face["coefficients"]["id"][:2] == [1.0, -0.5]
    assert face["pose"]["yaw_deg"] == frontalise(example).angles[0, 1] == 0.0
    assert face["coefficients"]["sh"][0][0] != 0.0
    assert drawn[1].startswith(b"\x89PNG")
    assert (other[0]["status"], other[0]["error"]) == (422, "CoefficientsError")
    assert (refused[0]["status"], refused[0]["error"]) == (422, "CoefficientsError")
    (unable,) = answers(work, EditJob(wish))
    assert (unable[0]["status"], unable[0]["error"]) == (422, "SettingsError")


class _WithModel:
    """An estimator that has a face model besides."""

    def __init__(self, estimator: Any, face_model: Any) -> None:
        self.estimator, self.face_model = estimator, face_model

    def __getattr__(self, name: str) -> Any:
        return getattr(self.estimator, name)
