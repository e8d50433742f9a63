"""Likeness tests on recoveries whose faults are known."""

import numpy as np
import pytest

from facewright.evaluate.landmarks import box_size
from facewright.evaluate.sameness import (
    coefficient_jitter,
    identity_spread,
    identity_wander,
    landmark_jitter,
    leakage,
    mirror_consistency,
    pose_drift,
    separation,
)
from facewright.geometry.ibug68 import MIRROR_68

PEOPLE, PHOTOS, SIZE = 60, 5, 20


@pytest.fixture
def people() -> np.ndarray:
    """True identity of each photo."""
    return np.repeat(np.random.default_rng(0).normal(size=(PEOPLE, SIZE)), PHOTOS, axis=0)


SUBJECTS = np.repeat(np.arange(PEOPLE), PHOTOS)


def noise(seed: int, width: int = SIZE) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(PEOPLE * PHOTOS, width))


def test_spread_of_perfect_shrunken_and_constant_recovery(people):
    perfect = identity_spread(people, people)
    assert (perfect.slope, perfect.correlation, perfect.energy_ratio, perfect.gain) == pytest.approx((1, 1, 1, 1))
    assert perfect.explained == 1
    half = identity_spread(0.5 * people, people)
    assert (half.slope, half.correlation, half.energy_ratio, half.gain) == pytest.approx((0.25, 1, 0.25, 0.5))
    everyone = identity_spread(np.tile(people[:1], (len(people), 1)), people)
    assert (everyone.slope, everyone.correlation) == pytest.approx((0, 0), abs=1e-12)
    mean_head = identity_spread(np.zeros_like(people), people)
    assert mean_head.energy_ratio == 0
    assert mean_head.explained == pytest.approx(0, abs=0.02)


def test_spread_sees_that_another_person_came_back(people):
    """The right amount of identity, of somebody else: energies agree on average, nothing is explained."""
    wrong = identity_spread(np.roll(people, PHOTOS, axis=0), people)
    assert wrong.energy_ratio == pytest.approx(1)
    assert abs(wrong.correlation) < 0.3
    assert wrong.explained < -0.5


def test_separation_of_clear_blind_and_known_recovery(people):
    clear = separation(people + 0.01 * noise(1), SUBJECTS)
    assert clear.auc == 1
    assert clear.within < 0.1 < clear.between
    blind = separation(noise(2), SUBJECTS)
    assert blind.auc == pytest.approx(0.5, abs=0.05)
    assert abs(blind.d_prime) < 0.3
    noisy = separation(people + noise(3), SUBJECTS)
    # Squared distances: 2 K within, 4 K between.
    assert noisy.between / noisy.within == pytest.approx(np.sqrt(2), abs=0.03)
    assert 0.9 < noisy.auc < 1


def test_mirrored_photo_of_a_consistent_method_scores_zero():
    partner, width = MIRROR_68, 640
    points = np.random.default_rng(0).uniform(0, width, size=(3, 68, 2))
    mirrored = points[:, partner] * [-1, 1] + [width - 1, 0]
    np.testing.assert_allclose(mirror_consistency(points, mirrored, partner, width - 1.0), 0, atol=1e-12)
    off_centre = mirrored + np.array([2.0, 0.0])
    np.testing.assert_allclose(mirror_consistency(points, off_centre, partner, width - 1.0), 2.0)


def test_no_leakage_of_an_independent_cause(people):
    """Noise that has nothing to do with the cause is no leakage, whatever its variance."""
    result = leakage(people + noise(1), noise(2, 6), SUBJECTS)
    assert result.r2 == pytest.approx(0, abs=0.02)
    # The means of five photos differ by the persons' variance and a fifth of the noise's.
    assert result.variance_ratio == pytest.approx(1 / 1.2, rel=0.15)


def test_leakage_is_measured(people):
    """One part caused, one part noise: half of the variance within persons is explained."""
    cause = noise(2, 6)
    mixing = np.linalg.qr(np.random.default_rng(3).normal(size=(SIZE, 6)))[0].T * np.sqrt(SIZE / 6)
    result = leakage(people + cause @ mixing + noise(4), cause, SUBJECTS)
    assert result.r2 == pytest.approx(0.5, abs=0.06)
    assert leakage(people + cause @ mixing, cause, SUBJECTS).r2 == pytest.approx(1, abs=0.01)
    still = leakage(people, cause, SUBJECTS)
    assert (still.variance_ratio, still.r2) == pytest.approx((0, 0), abs=1e-12)


def test_leakage_needs_persons_seen_twice(people):
    with pytest.raises(ValueError, match="two or more persons"):
        leakage(people, noise(0), np.arange(len(people)))


def test_pose_drift_is_in_units_of_another_person(people):
    yaw = np.tile([0.0, 20.0, 45.0, -70.0, 50.0], PEOPLE)
    np.testing.assert_allclose(pose_drift(people, yaw, SUBJECTS), 0, atol=1e-12)
    strangers = people.copy()
    strangers[np.abs(yaw) > 60] = noise(1)[np.abs(yaw) > 60]
    drift = pose_drift(strangers, yaw, SUBJECTS)
    np.testing.assert_allclose(drift[:2], 0, atol=1e-12)
    assert drift[2] == pytest.approx(1, abs=0.1)
    frontal_only = np.abs(yaw) < 40
    assert np.isnan(pose_drift(people[frontal_only], yaw[frontal_only], SUBJECTS[frontal_only])[1:]).all()


def test_jitter_of_white_noise_is_known():
    """Second differences of noise of deviation s have the deviation sqrt(6) s per coordinate."""
    rng = np.random.default_rng(0)
    still = np.tile(rng.uniform(0, 100, size=(1, 68, 2)), (400, 1, 1))
    size = box_size(still[:1])[0]
    noisy = still + 0.5 * rng.normal(size=still.shape)
    assert landmark_jitter(still) == 0
    assert landmark_jitter(noisy, still) == pytest.approx(np.sqrt(12) * 0.5 / size, rel=0.02)
    coefficients = 0.3 * rng.normal(size=(2000, 10))
    assert coefficient_jitter(coefficients) == pytest.approx(np.sqrt(6) * 0.3, rel=0.03)


def test_steady_motion_is_no_jitter_and_true_motion_is_taken_off():
    time = np.arange(50.0)[:, None, None]
    start = np.random.default_rng(0).uniform(0, 100, size=(1, 68, 2))
    assert landmark_jitter(start + time * [1.5, -0.5]) == pytest.approx(0, abs=1e-12)
    nodding = start + np.sin(time) * [0.0, 5.0]
    assert landmark_jitter(nodding) > 0.01
    assert landmark_jitter(nodding, nodding) == 0
    curve = np.sin(time[:, :, 0] * np.ones((1, 4)))
    assert coefficient_jitter(curve, curve) == 0
    with pytest.raises(ValueError, match="three frames"):
        landmark_jitter(nodding[:2])


def test_identity_wanders_by_its_own_deviation():
    clip = np.random.default_rng(0).normal(size=(3000, 5)) * 0.2 + [1, 2, 3, 4, 5]
    assert identity_wander(clip) == pytest.approx(0.2, rel=0.03)
    assert identity_wander(np.ones((4, 5))) == 0
