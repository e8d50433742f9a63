"""Pose conventions against written-out matrices, and errors that know that 359 degrees is beside 1."""

import numpy as np
import pytest
import torch

from facewright.evaluate.pose import AFLW2000, CONVENTIONS, FACEWRIGHT, PoseConvention, pose_errors
from facewright.geometry.rotations import rotation_from_angles


@pytest.fixture
def angles() -> np.ndarray:
    return np.random.default_rng(0).uniform(-80, 80, size=(50, 3))


@pytest.mark.parametrize("name", CONVENTIONS)
def test_angles_come_back(angles, name):
    convention = CONVENTIONS[name]
    np.testing.assert_allclose(convention.angles_deg(convention.rotation(angles)), angles, atol=1e-9)


def test_own_convention_is_the_geometry_room_s(angles):
    expected = rotation_from_angles(torch.from_numpy(np.radians(angles))).numpy()
    np.testing.assert_allclose(FACEWRIGHT.rotation(angles), expected, atol=1e-12)


def test_aflw2000_is_the_product_of_its_published_factors():
    pitch, yaw, roll = np.radians([12.0, -35.0, 8.0])
    x = np.array([[1, 0, 0], [0, np.cos(pitch), np.sin(pitch)], [0, -np.sin(pitch), np.cos(pitch)]])
    y = np.array([[np.cos(yaw), 0, -np.sin(yaw)], [0, 1, 0], [np.sin(yaw), 0, np.cos(yaw)]])
    z = np.array([[np.cos(roll), np.sin(roll), 0], [-np.sin(roll), np.cos(roll), 0], [0, 0, 1]])
    np.testing.assert_allclose(AFLW2000.rotation(np.array([12.0, -35.0, 8.0])), x @ y @ z, atol=1e-12)


def test_one_pose_has_other_angles_in_another_convention(angles):
    converted = AFLW2000.angles_deg(FACEWRIGHT.rotation(angles))
    assert np.abs(converted - angles).max() > 20
    np.testing.assert_allclose(AFLW2000.rotation(converted), FACEWRIGHT.rotation(angles), atol=1e-9)
    for axis in range(3):  # turning about one axis is the same in all orders, up to the sign
        single = np.zeros((1, 3))
        single[0, axis] = 25
        np.testing.assert_allclose(AFLW2000.angles_deg(FACEWRIGHT.rotation(single)), -single, atol=1e-9)


@pytest.mark.parametrize("name", CONVENTIONS)
def test_profiles_at_90_degrees_are_read_without_a_warning(name):
    locked = CONVENTIONS[name].rotation(np.array([[20.0, 90.0, 10.0], [0.0, -90.0, 0.0]]))
    again = CONVENTIONS[name].angles_deg(locked)
    np.testing.assert_allclose(np.abs(again[:, 1]), 90, atol=1e-5)
    np.testing.assert_allclose(CONVENTIONS[name].rotation(again), locked, atol=1e-6)


def test_errors_by_hand():
    truth = np.array([[0.0, 179.0, 0.0], [10.0, -20.0, 5.0], [0.0, 0.0, 0.0]])
    predicted = np.array([[0.0, -179.0, 0.0], [13.0, -26.0, 5.0], [0.0, 30.0, 0.0]])
    every = pose_errors(predicted, truth, FACEWRIGHT, exclude_above_deg=None)
    np.testing.assert_allclose(every.pitch_yaw_roll_deg, [[0, 2, 0], [3, 6, 0], [0, 30, 0]], atol=1e-9)
    assert every.geodesic_deg[[0, 2]] == pytest.approx([2, 30])
    np.testing.assert_allclose(every.mae_deg, [1, 38 / 3, 0], atol=1e-9)
    kept = pose_errors(predicted, truth, FACEWRIGHT)  # the 99-degree rule leaves the first out
    assert kept.kept.tolist() == [False, True, True]
    np.testing.assert_allclose(kept.mae_deg, [1.5, 18, 0], atol=1e-9)
    assert kept.mae_mean_deg == pytest.approx(6.5)


def test_geodesic_error_does_not_depend_on_the_convention(angles):
    """Also not on one that nobody uses, and it is at most the sum of the three angle errors."""
    rng = np.random.default_rng(1)
    wrong = angles + rng.normal(size=angles.shape) * 5
    here = pose_errors(wrong, angles, FACEWRIGHT)
    for other in (AFLW2000, PoseConvention("odd", "YXZ", (1.0, -1.0, 1.0))):
        there = pose_errors(
            other.angles_deg(FACEWRIGHT.rotation(wrong)), other.angles_deg(FACEWRIGHT.rotation(angles)), other
        )
        np.testing.assert_allclose(there.geodesic_deg, here.geodesic_deg, atol=1e-6)
    assert (here.geodesic_deg <= here.pitch_yaw_roll_deg.sum(1) + 1e-9).all()
