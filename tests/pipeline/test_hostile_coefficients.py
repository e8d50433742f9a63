"""Coefficient files from strangers: the product's own errors, whatever they hold."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io

from facewright.errors import CoefficientsError
from facewright.files import write_arrays
from facewright.morphable.linear import FaceModel
from facewright.pipeline.coefficient_files import read_camera, read_coefficients, read_known_face, read_trans_params


def document(model: FaceModel) -> dict[str, Any]:
    layout = model.layout
    coefficients = {"id": [0.1] * layout.id, "exp": [0.2] * layout.exp, "tex": [0.3] * layout.tex}
    face = {
        "coefficients": coefficients | {"sh": [[0.1] * 3] * 9},
        "pose": {"pitch_deg": 1.0, "yaw_deg": 2.0, "roll_deg": 3.0, "translation_dm": [0.0, 0.1, 0.2]},
        "camera": {"focal_px": 1015.0, "cx": 112.0, "cy": 111.0},
        "trans_params": [640.0, 480.0, 0.5, 300.0, 200.0],
    }
    return {"photo": {"width": 640, "height": 480}, "faces": [face]}


def read_all(path: Path, model: FaceModel) -> None:
    read_coefficients(path, model)
    read_trans_params(path)
    read_camera(path)


def test_the_whole_document_is_read(toy_model: FaceModel, tmp_path: Path) -> None:
    (tmp_path / "me.json").write_text(json.dumps(document(toy_model)))
    read_all(tmp_path / "me.json", toy_model)
    camera = read_camera(tmp_path / "me.json")
    assert camera is not None
    assert (camera.width, camera.height) == (640, 480)


def test_coefficients_of_another_edition_of_the_model_are_refused(toy_model: FaceModel, tmp_path: Path) -> None:
    path, content = tmp_path / "me.json", document(toy_model)
    for said, fits in (({}, True), ({"face_model_edition": 1}, True), ({"face_model_edition": 2}, False)):
        content["faces"][0] |= {"face_model": toy_model.name} | said
        path.write_text(json.dumps(content))
        if fits:
            read_coefficients(path, toy_model)
        else:
            with pytest.raises(CoefficientsError, match="edition 1 of face model 'toy', received those of edition 2"):
                read_coefficients(path, toy_model)


def face_set(*keys: str, to: Any) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        holder = content["faces"][0]
        for key in keys[:-1]:
            holder = holder[key]
        holder[keys[-1]] = to

    return change


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c.update(faces=[[1, 2]]),
        lambda c: c.update(faces=[None]),
        lambda c: c.update(faces={"0": {}}),
        lambda c: c.update(faces=7),
        lambda c: c.pop("photo"),
        lambda c: c["photo"].update(width=-5),
        lambda c: c["photo"].update(width=1e400),
        lambda c: c["photo"].update(width=10**12),
        lambda c: c["photo"].update(height="480"),
        face_set("coefficients", to=[1]),
        face_set("coefficients", "id", to=10**400),
        face_set("coefficients", "id", to=[10**400]),
        face_set("coefficients", "id", to=["1"]),
        face_set("coefficients", "id", to=[[1], [2, 3]]),
        face_set("coefficients", "id", to=None),
        face_set("coefficients", "sh", to={}),
        face_set("coefficients", "tex", to=[1e30]),
        face_set("pose", to=[1, 2]),
        face_set("pose", "yaw_deg", to="left"),
        face_set("pose", "yaw_deg", to=10**400),
        face_set("camera", to=5),
        face_set("camera", "focal_px", to=-1015.0),
        face_set("camera", "focal_px", to=0),
        face_set("camera", "cx", to=1e300),
        face_set("camera", "distance_dm", to=0),
        face_set("camera", "distance_dm", to="far"),
        face_set("camera", "cy", to=10**400),
        face_set("trans_params", to=[[[1]]]),
        face_set("trans_params", to=[640, 480, -1, 0, 0]),
        face_set("trans_params", to=[10**400] * 5),
    ],
)
def test_spoilt_documents(change: Callable[[dict[str, Any]], Any], toy_model: FaceModel, tmp_path: Path) -> None:
    content = document(toy_model)
    change(content)
    (tmp_path / "me.json").write_text(json.dumps(content))
    with pytest.raises(CoefficientsError, match="expected"):
        read_all(tmp_path / "me.json", toy_model)


@pytest.mark.parametrize(
    "text",
    ["", "[", "[" * 100_000, '{"faces":' * 100_000, '{"faces": [NaN]}', "[" + "9" * 5000 + "]", "\0", "null", "[]"],
)
def test_texts_that_are_no_documents(text: str, toy_model: FaceModel, tmp_path: Path) -> None:
    (tmp_path / "me.json").write_text(text)
    with pytest.raises(CoefficientsError, match="expected"):
        read_coefficients(tmp_path / "me.json", toy_model)


def arrays(model: FaceModel) -> dict[str, np.ndarray]:
    layout = model.layout
    return {"id": np.zeros((1, layout.id)), "exp": np.zeros((1, layout.exp)), "tex": np.zeros((1, layout.tex))}


@pytest.mark.parametrize("suffix", [".npz", ".mat"])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("id", 1j),
        ("id", np.nan),
        ("id", np.inf),
        ("id", 1e30),
        ("id", "text"),
        ("coeff", np.zeros((1, 3))),
        ("coeff", np.full((1, 257), 1j)),
    ],
)
def test_spoilt_arrays(suffix: str, name: str, value: Any, toy_model: FaceModel, tmp_path: Path) -> None:
    path, content = tmp_path / f"me{suffix}", arrays(toy_model)
    write = write_arrays if suffix == ".npz" else scipy.io.savemat
    write(path, content)
    read_coefficients(path, toy_model)
    if name == "coeff":
        content = {"coeff": value}
    else:
        content["id"] = np.full(content["id"].shape, value)
    write(path, content)
    with pytest.raises(CoefficientsError, match="expected"):
        read_coefficients(path, toy_model)


@pytest.mark.parametrize(
    "change",
    [
        {"lm68": np.full((1, 68, 2), np.nan)},
        {"lm68": np.full((1, 68, 2), 1e30)},
        {"lm68": np.zeros((1, 67, 2))},
        {"lm68": np.zeros((1, 67, 3))},
        {"trans_params": np.array([640.0, 480.0, 1e300, 0.0, 0.0])},
        {"trans_params": np.array([640.0, 480.0, 0.0, 0.0, 0.0])},
        {"trans_params": np.zeros((2, 2, 2))},
    ],
)
def test_spoilt_points_in_a_result(change: dict[str, Any], tmp_path: Path) -> None:
    content: dict[str, Any] = {"trans_params": np.array([640.0, 480.0, 0.5, 300.0, 200.0])}
    content |= {"lm68": np.random.default_rng(1).uniform(0, 224, (1, 68, 2))}
    scipy.io.savemat(tmp_path / "me.mat", content)
    assert read_known_face(tmp_path / "me.mat").score == 1.0
    scipy.io.savemat(tmp_path / "me.mat", content | change)
    with pytest.raises(CoefficientsError, match="expected"):
        read_known_face(tmp_path / "me.mat")
