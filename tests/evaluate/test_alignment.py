"""Similarity transforms and their fits: round trips, scipy's rotations, stationarity of fixed-scale fits."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.spatial.transform import Rotation

from facewright.evaluate.alignment import Similarity, global_scale, l1_similarity, procrustes


def cloud(count: int = 7, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 3)) * 40


def test_inverse_and_composition(motion):
    points = cloud(20)
    np.testing.assert_allclose(motion.inverse().apply(motion.apply(points)), points, atol=1e-12)
    other = Similarity(0.5, Rotation.from_rotvec([1, 0, 2]).as_matrix(), np.array([1.0, 2, 3]))
    np.testing.assert_allclose(other.after(motion).apply(points), other.apply(motion.apply(points)), atol=1e-12)
    np.testing.assert_array_equal(Similarity.identity().apply(points), points)


@pytest.mark.parametrize("reflection", [False, True])
def test_exact_pairs_are_recovered(motion, reflection):
    fitted = procrustes(cloud(), motion.apply(cloud()), reflection=reflection)
    assert fitted.scale == pytest.approx(1.07)
    np.testing.assert_allclose(fitted.rotation, motion.rotation, atol=1e-12)
    np.testing.assert_allclose(fitted.translation_mm, motion.translation_mm, atol=1e-10)


def test_rotation_of_a_rigid_fit_is_scipy_s(motion):
    source, target = cloud(), motion.apply(cloud()) + np.random.default_rng(1).normal(size=(7, 3))
    fitted = procrustes(source, target, scale=1.0)
    expected = Rotation.align_vectors(target - target.mean(0), source - source.mean(0))[0].as_matrix()
    np.testing.assert_allclose(fitted.rotation, expected, atol=1e-10)
    assert fitted.scale == 1.0


@pytest.mark.parametrize("scale", [None, 1.0, 1.3])
def test_no_neighbour_fits_better(motion, scale):
    """A numerical minimiser from the fit finds nothing below it, weights and fixed scales included."""
    rng = np.random.default_rng(2)
    source, target, weights = cloud(), motion.apply(cloud()) + rng.normal(size=(7, 3)) * 3, rng.uniform(0.1, 2, 7)

    def cost(p: np.ndarray) -> float:
        turn = Rotation.from_rotvec(p[:3]).as_matrix()
        size = p[6] if scale is None else scale
        return float(weights @ np.square(size * source @ turn.T + p[3:6] - target).sum(1))

    fitted = procrustes(source, target, scale=scale, weights=weights)
    packed = np.append(Rotation.from_matrix(fitted.rotation).as_rotvec(), [*fitted.translation_mm, fitted.scale])
    assert cost(packed) <= minimize(cost, packed, method="Nelder-Mead").fun * (1 + 1e-9)


def test_a_mirrored_fit_is_taken_only_where_allowed():
    source = cloud()
    target = source * [-1, 1, 1]
    assert np.abs(procrustes(source, target).apply(source) - target).max() > 1
    mirrored = procrustes(source, target, reflection=True)
    np.testing.assert_allclose(mirrored.apply(source), target, atol=1e-10)
    assert np.linalg.det(mirrored.rotation) == pytest.approx(-1)


def test_flat_sets_keep_a_rotation(motion):
    """Points of a plane fit their mirror image equally well."""
    flat = cloud() * [1, 1, 0]
    assert np.linalg.det(procrustes(flat, motion.apply(flat), reflection=True).rotation) == pytest.approx(1)


def test_l1_scale_is_a_ratio_of_absolute_sums(motion):
    exact = l1_similarity(cloud(), motion.apply(cloud()))
    assert exact.scale == pytest.approx(1.07)
    np.testing.assert_allclose(exact.translation_mm, motion.translation_mm, atol=1e-9)
    noisy = motion.apply(cloud()) + np.random.default_rng(1).normal(size=(7, 3)) * 8
    fitted, least_squares = l1_similarity(cloud(), noisy), procrustes(cloud(), noisy)
    turned = (cloud() - cloud().mean(0)) @ fitted.rotation.T
    assert fitted.scale == pytest.approx(np.abs(noisy - noisy.mean(0)).sum() / np.abs(turned).sum())
    assert fitted.scale != pytest.approx(least_squares.scale, rel=1e-4)


def test_one_scale_for_all(motion):
    """Exact sets of one scale return it; the scale of many noisy sets minimises their summed residual."""
    sets = [(cloud(9, seed), motion.apply(cloud(9, seed))) for seed in range(4)]
    assert global_scale(sets) == pytest.approx(1.07)
    rng = np.random.default_rng(0)
    noisy = [(a, b + rng.normal(size=b.shape) * 3) for a, b in sets]
    best = global_scale(noisy)

    def cost(scale: float) -> float:
        return sum(np.square(procrustes(a, b, scale=scale).apply(a) - b).sum() for a, b in noisy)

    assert cost(best) < min(cost(best * 1.001), cost(best * 0.999))
