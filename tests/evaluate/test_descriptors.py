"""Tran's descriptors: scikit-learn's PCA, the gain from pooling sets that the protocol is about."""

import numpy as np
import pytest
from sklearn.decomposition import PCA

from facewright.evaluate.descriptors import SignedRootPca, pool_sets
from facewright.evaluate.verification import cosine_similarity, roc_curve


def test_projection_is_scikit_learn_s():
    rng = np.random.default_rng(0)
    training, tested = rng.normal(size=(80, 12)) * np.arange(1, 13), rng.normal(size=(9, 12))
    described = SignedRootPca.fit(training, 5).describe(tested)
    projected = PCA(5).fit(training).transform(tested)
    np.testing.assert_allclose(described**2, np.abs(projected), atol=1e-9)
    signs = np.sign(described) * np.sign(projected)
    assert (np.abs(signs.sum(0)) == 9).all()  # each direction may point either way, for all alike


def test_directions_without_variance_are_dropped():
    training = np.random.default_rng(0).normal(size=(30, 3)) @ np.random.default_rng(1).normal(size=(3, 10))
    assert SignedRootPca.fit(training).directions.shape == (3, 10)
    assert SignedRootPca.fit(training, 2).directions.shape == (2, 10)


def test_sets_are_means_of_their_frames():
    coefficients = np.array([[1.0, 0], [3, 2], [10, 10], [0, 1]])
    pooled, numbers = pool_sets(coefficients, np.array([7, 7, 2, 7]), np.array([1.0, 1.0, 5.0, 2.0]))
    assert numbers.tolist() == [2, 7]
    np.testing.assert_allclose(pooled, [[10, 10], [1, 1]])
    with pytest.raises(ValueError, match="set 2"):
        pool_sets(coefficients, np.array([7, 7, 2, 7]), np.array([1.0, 1.0, 0.0, 2.0]))


def test_pooling_frames_raises_recognition():
    """Noisy coefficients of 40 people: the AUC of single photos, and of the means of eight, both far above chance."""
    rng = np.random.default_rng(0)
    people, photos = rng.normal(size=(40, 30)), 16
    single = np.repeat(people, photos, axis=0) + 2.5 * rng.normal(size=(40 * photos, 30))
    sets = np.arange(40 * photos) // 8
    pooled, numbers = pool_sets(single, sets)

    def auc(coefficients: np.ndarray, owners: np.ndarray) -> float:
        described = SignedRootPca.fit(coefficients[::2]).describe(coefficients)
        first, second = np.triu_indices(len(owners), 1)
        return roc_curve(cosine_similarity(described[first], described[second]), owners[first] == owners[second]).auc

    alone, together = auc(single, np.repeat(np.arange(40), photos)), auc(pooled, numbers // 2)
    assert 0.55 < alone < 0.8
    assert together > 0.9
