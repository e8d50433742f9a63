"""Frechet distance: closed forms, scipy's matrix root, invariances."""

import numpy as np
import pytest
from scipy.linalg import sqrtm
from scipy.stats import ortho_group

from facewright.evaluate.frechet import expression_fid, expression_fid_per_clip, frechet_distance


def sample(count: int, width: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, width)) @ rng.normal(size=(width, width)) + rng.normal(size=width)


def test_is_the_published_formula():
    a, b = sample(300, 5, 0), sample(200, 5, 1)
    c1, c2 = np.cov(a.T), np.cov(b.T)
    expected = np.square(a.mean(0) - b.mean(0)).sum() + np.trace(c1 + c2 - 2 * np.real(sqrtm(c1 @ c2)))
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)


def test_one_dimension_by_hand():
    """(m1 - m2)^2 + (s1 - s2)^2."""
    a, b = np.array([[-1.0], [1.0], [-1.0], [1.0]]), np.array([[5.0], [11.0], [5.0], [11.0]])
    s = np.sqrt(4 / 3)
    assert frechet_distance(a, b) == pytest.approx(64 + (3 * s - s) ** 2)


def test_invariances():
    a, b = sample(300, 6, 0), sample(250, 6, 1)
    turn = ortho_group.rvs(6, random_state=0)
    plain = frechet_distance(a, b)
    assert frechet_distance(b, a) == pytest.approx(plain)
    assert frechet_distance(a @ turn + 3, b @ turn + 3) == pytest.approx(plain)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(2 * a, 2 * b) == pytest.approx(4 * plain)


def test_fewer_frames_than_coefficients_are_defined():
    assert np.isfinite(frechet_distance(sample(10, 64, 0), sample(12, 64, 1)))


def test_pooled_and_per_clip_differ():
    """Clips that swap their expressions are equal as a pool, and far apart clip by clip."""
    a, b = sample(200, 4, 0), sample(200, 4, 1)
    assert expression_fid(np.concatenate([a, b]), np.concatenate([b, a])) == pytest.approx(0, abs=1e-9)
    assert expression_fid_per_clip([(a, b), (b, a)]) == pytest.approx(frechet_distance(a, b))


def test_unfit_sets_are_refused():
    with pytest.raises((ValueError, TypeError)):  # the tests' shape checks speak first
        frechet_distance(np.zeros((5, 3)), np.zeros((5, 4)))
    with pytest.raises(ValueError, match="at least 2"):
        frechet_distance(np.zeros((1, 3)), np.zeros((5, 3)))
