"""Doubts that are the errors: whatever a net states, one factor per head puts it right."""

import copy
from dataclasses import replace

import pytest
import torch

from facewright.errors import TrainingError
from facewright.morphable.linear import FaceModel
from facewright.regress.rnet import RNet
from facewright.train.calibration import HEADS, calibrated, measure_doubts, scale_doubts
from facewright.train.seen_points import seen_points
from tests.train.pictures import draw_batch, some_faces

SIZE = 40


@pytest.fixture(scope="module")
def net(toy_model: FaceModel) -> RNet:
    torch.manual_seed(0)
    points = seen_points(toy_model)
    net = RNet(toy_model.layout, architecture="resnet18", width=0.0625, crop_size=SIZE, points=points).eval()
    for name, parameter in net.named_parameters():
        if not name.startswith("backbone."):
            torch.nn.init.normal_(parameter, std=0.02)
    return net


def test_one_factor_a_head_makes_doubts_the_errors(net: RNet, toy_model: FaceModel) -> None:
    net = copy.deepcopy(net)
    batches = [
        draw_batch(toy_model, some_faces(toy_model, 6, seed), SIZE, torch.ones(6, dtype=torch.bool)) for seed in (1, 2)
    ]
    before = measure_doubts(net, toy_model, batches)
    points = net.predict(batches[0].crops)
    scales = calibrated(net, toy_model, batches)
    after = measure_doubts(net, toy_model, batches)
    assert set(scales) == set(HEADS) == set(after)
    for name in HEADS:
        assert after[name].ratio == pytest.approx(1.0, abs=0.05), name
        assert abs(before[name].ratio - 1.0) > 0.1 or abs(scales[name] - 1.0) < 0.2, name
        assert after[name].error == pytest.approx(before[name].error), name  # only doubts are touched
    moved = net.predict(batches[0].crops)
    torch.testing.assert_close(moved.points_px, points.points_px)
    torch.testing.assert_close(moved.coefficients.id, points.coefficients.id)
    assert moved.id_sigma is not None
    assert points.id_sigma is not None
    expected = (points.id_sigma - 0.02) * scales["id"] + 0.02
    torch.testing.assert_close(moved.id_sigma, expected, rtol=1e-4, atol=1e-5)


def test_a_net_that_is_too_sure_is_seen_to_be(net: RNet, toy_model: FaceModel) -> None:
    batch = draw_batch(toy_model, some_faces(toy_model, 6, 3), SIZE, torch.ones(6, dtype=torch.bool))
    sure = copy.deepcopy(net)
    scale_doubts(sure, dict.fromkeys(HEADS, 0.5))
    before, after = (measure_doubts(n, toy_model, [batch]) for n in (net, sure))
    assert all(after[name].ratio > before[name].ratio for name in HEADS)
    assert all(after[name].stated < before[name].stated for name in HEADS)
    unknown = replace(batch, truth_known=torch.zeros(6, dtype=torch.bool))
    with pytest.raises(TrainingError, match="expected pictures with truth"):
        measure_doubts(net, toy_model, [unknown])
    blind = RNet(toy_model.layout, architecture="resnet18", width=0.0625, crop_size=SIZE)
    with pytest.raises(TrainingError, match="--dense-points"):
        measure_doubts(blind, toy_model, [batch])
    with pytest.raises(TrainingError, match="expected positive factors"):
        scale_doubts(net, dict.fromkeys(HEADS, 0.0))
