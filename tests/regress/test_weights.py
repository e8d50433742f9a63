import json
import struct
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from facewright.errors import AssetNotFoundError, ExportError, WeightsError
from facewright.records import CoefficientLayout
from facewright.regress.rnet import RNet
from facewright.regress.weights import (
    FORMAT,
    WeightsCard,
    describe_weights,
    load_weights,
    read_card,
    save_weights,
)

LAYOUT = CoefficientLayout(5, 4, 3)
CARD = WeightsCard(face_model="toy", recipe="none", seed=3, figures={"nme": 0.05}, licence="CC0-1.0")


@pytest.fixture
def net() -> RNet:
    net = RNet(LAYOUT, architecture="resnet18", width=0.125, crop_size=32, input_coding="bgr_0_255")
    for parameter in net.heads.parameters():
        torch.nn.init.normal_(parameter)
    net(torch.rand(4, 3, 32, 32))  # moves the batch statistics
    return net.eval()


@pytest.fixture
def saved(net, tmp_path):
    path = tmp_path / "net.safetensors"
    save_weights(net, CARD, path)
    return path


def rewrite(path, *, card=None, state=None):
    """The same file with other entries in its card or other tensors."""
    described = describe_weights(path) | (card or {})
    save_file(state or load_file(path), path, metadata={"format": FORMAT, "card": json.dumps(described)})


def test_round_trip_gives_the_same_answers_and_leaves_the_dice_alone(net, saved):
    crops = torch.rand(2, 3, 32, 32)
    torch.manual_seed(7)
    expected_draw = torch.rand(3)
    torch.manual_seed(7)
    loaded = load_weights(saved, layout=LAYOUT, face_model="toy")
    torch.testing.assert_close(torch.rand(3), expected_draw, rtol=0, atol=0)
    assert not loaded.training
    assert (loaded.layout, loaded.crop_size, loaded.input_coding) == (LAYOUT, 32, "bgr_0_255")
    torch.testing.assert_close(loaded.state_dict(), net.state_dict(), rtol=0, atol=0)
    with torch.no_grad():  # the order of sums may differ
        torch.testing.assert_close(loaded.forward_vector(crops), net.forward_vector(crops), rtol=1e-5, atol=1e-4)


def test_half_precision_files_are_half_as_large_and_nearly_as_good(net, saved, tmp_path):
    half = tmp_path / "half.safetensors"
    save_weights(net, CARD, half, half=True)
    assert half.stat().st_size < 0.6 * saved.stat().st_size
    loaded = load_weights(half)
    assert all(p.dtype == torch.float32 for p in loaded.parameters())
    crops = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        difference = loaded.forward_vector(crops) - net.forward_vector(crops)
        assert 0 < difference.norm() / net.forward_vector(crops).norm() < 5e-3


def test_the_card_travels(saved):
    assert read_card(saved) == CARD
    described = describe_weights(saved)
    assert described["kind"] == "rnet"
    assert described["layout"] == {"id": 5, "exp": 4, "tex": 3}
    assert described["architecture"] == "resnet18"


@pytest.mark.parametrize("name", ["toy", "toy-front"])
def test_a_crop_of_the_named_face_model_fits(saved, name):
    assert load_weights(saved, face_model=name).layout == LAYOUT


@pytest.mark.parametrize(
    ("layout", "name", "message"),
    [
        (LAYOUT, "bfm2009", "made for face model 'toy'.*'bfm2009'.*--face-model"),
        (LAYOUT, "toys", "made for face model 'toy'"),
        (CoefficientLayout(80, 64, 80), "toy", "'id': 5.*'id': 80"),
    ],
)
def test_weights_for_another_face_model_are_refused_by_name(saved, layout, name, message):
    with pytest.raises(WeightsError, match=message):
        load_weights(saved, layout=layout, face_model=name)


def test_weights_for_another_edition_of_the_face_model_are_refused(net, saved, tmp_path):
    with pytest.raises(
        WeightsError, match=r"for edition 1 of face model 'toy', and edition 2 .* give weights made for"
    ):
        load_weights(saved, face_model="toy", edition=2)
    assert load_weights(saved, face_model="toy", edition=1).layout == LAYOUT
    newer = tmp_path / "newer.safetensors"
    save_weights(net, replace(CARD, face_model_edition=2), newer)
    assert read_card(newer).face_model_edition == 2
    assert load_weights(newer, face_model="toy", edition=2).layout == LAYOUT
    with pytest.raises(WeightsError, match="for edition 2 of face model 'toy', and edition 1"):
        load_weights(newer, face_model="toy", edition=1)


def test_a_card_that_names_no_edition_is_of_the_first(saved):
    card = describe_weights(saved)
    del card["face_model_edition"]
    save_file(load_file(saved), saved, metadata={"format": FORMAT, "card": json.dumps(card)})
    assert load_weights(saved, edition=1).layout == LAYOUT
    with pytest.raises(WeightsError, match="edition 1 of face model"):
        load_weights(saved, edition=2)


def test_a_missing_file_names_the_command(tmp_path):
    with pytest.raises(AssetNotFoundError, match="weights import"):
        load_weights(tmp_path / "none.safetensors")


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.99])
def test_truncated_files_are_refused(saved, share):
    whole = saved.read_bytes()
    saved.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(WeightsError, match="not a whole safetensors file"):
        load_weights(saved)


def test_a_header_that_claims_too_much_is_refused(saved):
    saved.write_bytes(struct.pack("<Q", 1 << 60) + saved.read_bytes()[8:])
    with pytest.raises(WeightsError, match="not a whole safetensors file"):
        load_weights(saved)


def test_foreign_safetensors_are_sent_to_the_importer(saved):
    save_file({"a": torch.zeros(1)}, saved)
    with pytest.raises(WeightsError, match="weights import"):
        load_weights(saved)


@pytest.mark.parametrize(
    ("card", "message"),
    [
        ({"kind": "dnet"}, "expected kind to be one of rnet, .*received 'dnet'"),
        ({"kind": ["rnet"]}, r"kind .* received \['rnet'\]"),
        ({"architecture": "vgg"}, "describes no R-Net: expected architecture .* received 'vgg'"),
        ({"layout": {"id": 5}}, "describes no R-Net: expected layout"),
        ({"layout": {"id": 10**12, "exp": 4, "tex": 3}}, "layout .* 1 to 100000 together, received .*1000000000000"),
        ({"layout": {"id": 5.0, "exp": 4, "tex": 3}}, "layout"),
        ({"layout": {"id": -5, "exp": 14, "tex": 3}}, "layout"),
        ({"input_coding": "hsv"}, "input_coding .* received 'hsv'"),
        ({"width": "wide"}, "width to be a number above 0, at most 8, received 'wide'"),
        ({"width": 1e6}, "width .* received 1000000.0"),
        ({"width": 10**400}, "width .* received 1000.*401 characters"),
        ({"width": float("inf")}, "width .* received inf"),
        ({"width": float("nan")}, "width .* received nan"),
        ({"width": True}, "width .* received True"),
        *(
            ({"crop_size": size}, "crop_size to be a whole number, 16 to 4096, received")
            for size in (-1, 0, 15, "64", float("nan"), 64.0, 10**9, None, True)
        ),
        ({"template": "other"}, "template to be one of deep3d-five-102, received 'other'"),
        ({"landmark_head": 1}, "landmark_head to be true or false"),
        *(
            ({"points": count}, "points to be 0, or a whole number of 68 to 20000, received")
            for count in (-1, 1, 67, 10**9, 80.0, True, "80")
        ),
        ({"points": 80}, r"missing doubt_head\.bias, doubt_head\.weight"),
        ({"face_model": ""}, "face_model"),
        ({"face_model_edition": "2"}, "face_model_edition"),
        ({"face_model_edition": 0}, "face_model_edition"),
        ({"light": "blue"}, "light to be one of color, white"),
        ({"seed": "3"}, "seed"),
        ({"figures": {"nme": float("nan")}}, "figures"),
        ({"recipe": 7}, "recipe to be text"),
        ({"architecture": "resnet34"}, r"missing backbone\.layer1\.2\.bn1\.bias"),
        ({"width": 0.25}, r"expected backbone\.\S+ of shape"),
    ],
)
def test_cards_that_do_not_match_their_tensors_are_refused(saved, card, message):
    rewrite(saved, card=card)
    with pytest.raises(WeightsError, match=message):
        load_weights(saved)


@pytest.mark.parametrize("architecture", ["resnet18", "resnet101"])
def test_shapes_are_compared_before_anything_is_allocated(saved, monkeypatch, architecture):
    """90,000 coefficients of the widest ResNet-101 would take 7 GB."""
    rewrite(saved, card={"layout": {"id": 90_000, "exp": 4, "tex": 3}, "width": 8.0, "architecture": architecture})
    devices = set()
    register = torch.nn.Module.register_parameter

    def noted(module, name, parameter):
        devices.update([] if parameter is None else [parameter.device.type])
        register(module, name, parameter)

    monkeypatch.setattr(torch.nn.Module, "register_parameter", noted)
    with pytest.raises(WeightsError, match=r"of shape|missing"):
        load_weights(saved)
    assert devices == {"meta"}


@pytest.mark.parametrize("name", ["face_model", "architecture", "width", "crop_size", "input_coding", "layout", "kind"])
def test_entries_that_are_missing_are_named(saved, name):
    card = {key: value for key, value in describe_weights(saved).items() if key != name}
    save_file(load_file(saved), saved, metadata={"format": FORMAT, "card": json.dumps(card)})
    for read in (load_weights, describe_weights, read_card):
        with pytest.raises(WeightsError, match=f"expected {name}, .*received none"):
            read(saved)


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.uint8])
def test_numbers_of_another_kind_are_refused(saved, dtype):
    state = load_file(saved)
    state["heads.id.bias"] = state["heads.id.bias"].to(dtype)
    rewrite(saved, state=state)
    with pytest.raises(WeightsError, match=r"heads\.id\.bias to hold floating-point numbers, received torch\."):
        load_weights(saved)


def test_another_kind_than_was_asked_for_is_refused(saved):
    assert isinstance(load_weights(saved, kind="rnet"), RNet)
    with pytest.raises(WeightsError, match="expected weights of C-Net, received 'rnet'"):
        load_weights(saved, kind="cnet")


def test_what_could_not_be_loaded_again_is_not_saved(tmp_path):
    with pytest.raises(WeightsError, match="crop_size"):
        save_weights(RNet(LAYOUT, architecture="resnet18", width=0.125, crop_size=8), CARD, tmp_path / "a.safetensors")
    with pytest.raises(WeightsError, match=r"expected a network of R-Net, .*received Linear"):
        save_weights(torch.nn.Linear(2, 2), CARD, tmp_path / "a.safetensors")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["{", "[1]", '"card"', "[" * 100_000])
def test_cards_that_are_not_cards_are_refused(saved, text):
    save_file(load_file(saved), saved, metadata={"format": FORMAT, "card": text})
    with pytest.raises(WeightsError, match="card"):
        load_weights(saved)


def test_tensors_with_nan_are_refused(saved):
    state = load_file(saved)
    state["heads.id.bias"][0] = float("nan")
    rewrite(saved, state=state)
    with pytest.raises(WeightsError, match=r"heads\.id\.bias holds NaN"):
        load_weights(saved)


def test_an_unwritable_folder_leaves_nothing_behind(net, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ExportError):
        save_weights(net, CARD, tmp_path / "file" / "net.safetensors")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_points_and_their_numbers_travel_with_the_weights(tmp_path):
    """Which vertices a net sees is in its file: the same numbers are other places on another head."""
    points = torch.randperm(5000)[:120]
    net = RNet(CoefficientLayout(5, 4, 3), architecture="resnet18", width=0.125, crop_size=64, points=points).eval()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    path = tmp_path / "dense.safetensors"
    save_weights(net, WeightsCard("toy"), path)
    assert describe_weights(path)["points"] == 120
    again = load_weights(path)
    torch.testing.assert_close(again.point_ids, points)
    crops = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        first, second = net.predict(crops), again.predict(crops)
    torch.testing.assert_close(second.depth_px, first.depth_px)
    torch.testing.assert_close(second.exp_sigma, first.exp_sigma)
