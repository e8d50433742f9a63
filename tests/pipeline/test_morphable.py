"""Method ``3dmm-cnn``: shape and albedo that the fit does not touch, the same in a mirror; weights of other trunks."""

import dataclasses
from typing import Any

import pytest
import torch

from facewright import load_reconstructor, read_photo
from facewright.assets import embedded_path
from facewright.cli import main
from facewright.errors import WeightsError
from facewright.export.formats import FORMATS
from facewright.morphable.container import save_face_model
from facewright.morphable.mirror import MirrorMap
from facewright.records import Photo
from facewright.regress.morphable_cnn import MorphableCNN
from facewright.regress.weights import WeightsCard, load_weights, save_weights

PHOTO = embedded_path("photos/astronaut.jpg")


@pytest.fixture(scope="module")
def flow():
    return load_reconstructor(method="3dmm-cnn")


@pytest.fixture(scope="module")
def face(flow):
    return flow.faces_in(read_photo(PHOTO))[0]


def test_shape_and_albedo_are_the_networks_and_the_rest_is_fitted(face):
    assert (face.method, face.weights) == ("3dmm-cnn", "3dmm-cnn")
    torch.testing.assert_close(face.coefficients.id, face.start.id)
    torch.testing.assert_close(face.coefficients.tex, face.start.tex)
    assert 0.1 < float(face.coefficients.id.square().mean().sqrt()) < 3.0
    assert not torch.equal(face.coefficients.exp, face.start.exp)
    landmarks, five = face.five_points, face.detection.five
    assert (landmarks - five).norm(dim=-1).mean() < 0.1 * (five[1] - five[0]).norm()


def test_a_mirrored_photo_gets_the_mirrored_face(flow, face):
    photo = face.photo
    other = flow.faces_in(Photo(photo.pixels.flip(-1)), faces="largest")[0]
    mirror = MirrorMap.of(face.face_model)
    assert mirror is not None
    assert other.coefficients is not None
    back = other.coefficients.id @ mirror.id.T
    moved = (back - face.coefficients.id).norm()
    assert moved < 0.25 * face.coefficients.id.norm()


def test_neutral_files_hold_shape_and_albedo_alone(face, tmp_path):
    import trimesh

    from facewright.pipeline.outputs import neutral_asset

    asset = neutral_asset(face)
    for name in ("neutral", "neutral-ascii"):
        FORMATS[name].write(asset, tmp_path / f"me{FORMATS[name].suffix}")
    rest = dataclasses.replace(face.coefficients, exp=torch.zeros_like(face.coefficients.exp))
    expected = 100.0 * face.face_model.decode(rest).vertices[0]
    for name in ("me_neutral.ply", "me_neutral_ascii.ply"):
        mesh: Any = trimesh.load(tmp_path / name, process=False)
        torch.testing.assert_close(torch.from_numpy(mesh.vertices.copy()).float(), expected, atol=1e-3, rtol=0)
        assert mesh.visual.vertex_colors[:, :3].std() > 1
    assert (tmp_path / "me_neutral_ascii.ply").read_bytes().startswith(b"ply\nformat ascii")


def test_weights_with_a_trunk_of_their_own_serve_any_face_model(toy_model, tmp_path):
    """Crops by landmarks, codes of the first modes alone, pose and expression by the fit."""
    save_face_model(toy_model, tmp_path / "toy.npz")
    torch.manual_seed(0)
    net = MorphableCNN(2, 1, architecture="resnet18", width=0.05, crop_size=64, input_coding="bgr_less_mean").eval()
    torch.nn.init.normal_(net.codes.bias)
    for template in ("tran-landmarks", "tran-box"):
        path = tmp_path / f"{template}.safetensors"
        save_weights(net, WeightsCard("toy", template=template), path)
        flow = load_reconstructor(weights=path, face_model=tmp_path / "toy.npz")
        assert flow.estimator.method == "3dmm-cnn"
        (found,) = flow.faces_in(read_photo(PHOTO), faces="largest")
        assert found.method == "3dmm-cnn"
        torch.testing.assert_close(found.coefficients.id[0, :2], net.codes.bias[:2].detach())
        assert not found.coefficients.id[0, 2:].any()
    wide = MorphableCNN(200, 1, architecture="resnet18", width=0.05, crop_size=64)
    save_weights(wide, WeightsCard("toy"), tmp_path / "wide.safetensors")
    with pytest.raises(WeightsError, match="200 shape and 1 albedo codes"):
        load_reconstructor(weights=tmp_path / "wide.safetensors", face_model=tmp_path / "toy.npz")


def test_weights_that_read_another_trunk_are_refused(tmp_path):
    net = load_weights("3dmm-cnn")
    net.trunks["open"] = "another"
    save_weights(net, WeightsCard("open", face_model_edition=3), tmp_path / "net.safetensors")
    with pytest.raises(WeightsError, match="reads the features of 'open' with trunk another"):
        load_reconstructor(weights=tmp_path / "net.safetensors")


def test_people_are_enrolled_verified_and_searched_by_the_command_line(tmp_path, capsys):
    people = tmp_path / "people"
    for name, photo in (("ann", "astronaut.jpg"), ("grace", "grace_hopper.jpg")):
        (people / name).mkdir(parents=True)
        (people / name / photo).write_bytes(embedded_path(f"photos/{photo}").read_bytes())
    (people / "nobody").mkdir()
    (people / "nobody" / "broken.jpg").write_bytes(b"no picture")
    file = tmp_path / "people.safetensors"
    assert main(["recognise", "enrol", str(people), "--out", str(file)]) == 1
    said = capsys.readouterr()
    assert "enrolled ann (1 photo)" in said.out
    assert "nobody: no usable photo among 1" in said.err
    assert main(["recognise", "search", str(people / "ann/astronaut.jpg"), "--gallery", str(file)]) == 0
    said = capsys.readouterr().out
    assert "face 0: ann 1.000" in said
    assert "pairs of two people" in said
    file.write_bytes(file.read_bytes()[:-100])
    assert main(["recognise", "enrol", str(people / "ann"), "--out", str(file)]) == 2
    assert "people.safetensors" in capsys.readouterr().err
