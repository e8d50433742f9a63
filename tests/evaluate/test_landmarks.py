"""NME: hand-built cases, normalisers, bins, and what must not move the figure."""

import numpy as np
import pytest

from facewright.evaluate.landmarks import (
    aflw21_from_ibug68,
    binned_mean,
    box_size,
    eye_distance,
    nme,
    nme_68,
    yaw_bins,
)
from facewright.geometry.ibug68 import INNER_51

FIVE = np.array([[[0.0, 0.0], [8.0, 0.0], [4.0, 3.0], [1.0, 18.0], [7.0, 10.0]]])  # a box of 8 x 18: size 12


@pytest.fixture
def faces() -> np.ndarray:
    return np.random.default_rng(0).uniform(50, 400, size=(6, 68, 3))


def test_five_points_by_hand():
    """Offsets 0, 3-4-5 triangle, 12, 5-12-13 triangle, 6: sum 36, mean 7.2, over sqrt(8 * 18) = 12."""
    predicted = FIVE + np.array([[0, 0], [3, 4], [0, 12], [5, 12], [-6, 0]])
    assert box_size(FIVE) == pytest.approx(12)
    assert nme(predicted, FIVE, box_size(FIVE)) == pytest.approx(0.6)
    seen = np.array([[True, True, False, False, True]])
    assert nme(predicted, FIVE, box_size(FIVE), valid=seen) == pytest.approx((0 + 5 + 6) / 3 / 12)


@pytest.mark.parametrize("normalizer", ["box", "outer_eyes", "pupils"])
@pytest.mark.parametrize("columns", [2, 3])
def test_moving_and_scaling_both_changes_nothing(faces, normalizer, columns):
    truth = faces[..., :columns]
    predicted = truth + np.random.default_rng(1).normal(size=truth.shape)
    plain = nme_68(predicted, truth, normalizer=normalizer)
    again = nme_68(3.5 * predicted + 20, 3.5 * truth + 20, normalizer=normalizer)
    np.testing.assert_allclose(again, plain)
    assert plain.shape == (6,)


def test_normalisers_are_lengths_of_the_truth(faces):
    truth = faces[..., :2]
    assert eye_distance(truth, "outer_eyes")[0] == pytest.approx(np.hypot(*(truth[0, 36] - truth[0, 45])))
    right, left = truth[0, 36:42].mean(0), truth[0, 42:48].mean(0)
    assert eye_distance(truth, "pupils")[0] == pytest.approx(np.hypot(*(right - left)))
    width, height = np.ptp(truth[0, :, 0]), np.ptp(truth[0, :, 1])
    assert box_size(truth)[0] == pytest.approx(np.sqrt(width * height))
    assert box_size(faces)[0] == pytest.approx(box_size(truth)[0])  # depth is no part of the box


def test_inner_points_leave_the_jaw_out(faces):
    truth = faces[..., :2]
    predicted = truth.copy()
    predicted[:, :17] += 100
    assert nme_68(predicted, truth, points=INNER_51).max() == 0
    assert nme_68(predicted, truth).min() > 0
    shifted = truth + np.array([3.0, 4.0])
    np.testing.assert_allclose(nme_68(shifted, truth, points=INNER_51), 5 / box_size(truth))


def test_depth_is_counted_from_where_it_is_said(faces):
    """A shift in depth costs its length, or nothing; the least depth is another origin than the mean."""
    predicted = faces + np.array([0.0, 0.0, 7.0])
    assert nme_68(predicted, faces) == pytest.approx(7 / box_size(faces))
    for zero in ("mean", "min"):
        assert nme_68(predicted, faces, depth_zero=zero) == pytest.approx(0, abs=1e-12)
    predicted[:, 0, 2] -= 500  # one point falls behind: the least depth moves by all of it, the mean by a 68th
    assert (nme_68(predicted, faces, depth_zero="min") > nme_68(predicted, faces, depth_zero="mean") * 10).all()
    with pytest.raises(ValueError, match="3D points"):
        nme_68(predicted[..., :2], faces[..., :2], depth_zero="mean")


def test_faces_without_size_or_points_are_refused():
    with pytest.raises(ValueError, match="degenerate"):
        nme(FIVE, FIVE * [1, 0], box_size(FIVE * [1, 0]))
    with pytest.raises(ValueError, match="valid point"):
        nme(FIVE, FIVE, np.array([12.0]), valid=np.zeros((1, 5), bool))


def test_aflw21_points_are_where_they_should_be(toy_model):
    """On a symmetric face the 21 points mirror onto one another; eye and mouth centres lie between their corners."""
    face = toy_model.mean_shape.double().numpy()[toy_model.annotations.ibug68.numpy()]
    points = aflw21_from_ibug68(face[None])[0]
    partner = [5, 4, 3, 2, 1, 0, 11, 10, 9, 8, 7, 6, 16, 15, 14, 13, 12, 19, 18, 17, 20]
    np.testing.assert_allclose(points[partner] * [-1, 1, 1], points, atol=1e-6)
    for corner, centre, other in ((6, 7, 8), (9, 10, 11), (17, 18, 19)):
        assert points[corner, 0] < points[centre, 0] < points[other, 0]
    assert points[14, 2] == points[:, 2].max()  # the nose tip
    assert points[20, 1] == points[:, 1].min()  # the chin


def test_yaw_bins_are_closed_above():
    yaw = np.array([0.0, 30.0, 30.1, -30.0, -45.0, 60.0, 60.01, -90.0, 97.0])
    assert yaw_bins(yaw).tolist() == [0, 0, 1, 0, 1, 1, 2, 2, 2]


def test_balanced_mean_weighs_bins_alike():
    row = binned_mean(np.array([1.0, 3.0, 4.0, 10.0]), np.array([0, 0, 1, 2]))
    assert row.means == (2.0, 4.0, 10.0)
    assert row.counts == (2, 1, 1)
    assert row.mean == pytest.approx(16 / 3)
    assert row.std == pytest.approx(np.std([2, 4, 10]))
    assert row.mean_over_faces == pytest.approx(4.5)


def test_empty_bins_are_left_out():
    row = binned_mean(np.array([1.0, 3.0]), np.array([0, 2]))
    assert np.isnan(row.means[1])
    assert (row.counts, row.mean) == ((1, 0, 1), 2.0)
    assert np.isnan(binned_mean(np.zeros(0), np.zeros(0, int)).mean)
