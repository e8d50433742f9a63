"""Verification against scikit-learn, identification by hand."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score
from sklearn.metrics.pairwise import cosine_similarity as sklearn_cosine

from facewright.evaluate.verification import (
    best_threshold,
    cosine_similarity,
    fold_accuracy,
    identification_ranks,
    rank_k_rate,
    roc_curve,
)


@pytest.fixture(params=["smooth", "with ties", "perfect", "inverted"])
def pairs(request) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    same = rng.random(600) < 0.4
    shift = {"smooth": 1.0, "with ties": 1.0, "perfect": 20.0, "inverted": -1.0}[request.param]
    scores = rng.normal(size=600) + shift * same
    return (np.round(scores * 4) / 4 if request.param == "with ties" else scores), same


def test_roc_is_what_a_count_says(pairs):
    scores, same = pairs
    curve = roc_curve(scores, same)
    assert curve.thresholds[1:].tolist() == sorted(set(scores), reverse=True)
    accepted = scores[None] >= curve.thresholds[:, None]
    np.testing.assert_allclose(curve.false_accept_rates, accepted[:, ~same].mean(1))
    np.testing.assert_allclose(curve.true_accept_rates, accepted[:, same].mean(1))
    above = np.sign(scores[same][:, None] - scores[~same][None])
    assert curve.auc == pytest.approx(0.5 + 0.5 * above.mean())


def test_equal_error_rate_is_where_the_curve_crosses(pairs):
    """Left of it fewer same pairs are accepted than different ones are rejected; right of it more."""
    curve = roc_curve(*pairs)
    left, right = curve.false_accept_rates < curve.eer, curve.false_accept_rates > curve.eer
    assert curve.true_accept_rates[left].max(initial=0) <= 1 - curve.eer + 1e-12
    assert curve.true_accept_rates[right].min(initial=1) >= 1 - curve.eer - 1e-12


def test_equal_error_rate_by_hand():
    """Same: 4 3 1, different: 2 0 -1. At threshold 2 one third of each is wrong."""
    scores, same = np.array([4.0, 3, 1, 2, 0, -1]), np.array([True] * 3 + [False] * 3)
    curve = roc_curve(scores, same)
    assert curve.eer == pytest.approx(1 / 3)
    assert curve.tar_at_far(0.0) == pytest.approx(2 / 3)
    assert curve.tar_at_far(0.32) == pytest.approx(2 / 3)
    assert curve.tar_at_far(1 / 3) == 1


def test_tar_at_far_is_what_a_count_says(pairs):
    scores, same = pairs
    curve = roc_curve(scores, same)
    for far in (0.01, 0.1, 0.5):
        allowed = [t for t in scores if np.mean(scores[~same] >= t) <= far]
        expected = max((np.mean(scores[same] >= t) for t in allowed), default=0.0)
        assert curve.tar_at_far(far) == pytest.approx(expected)


def test_one_kind_of_pairs_is_refused():
    with pytest.raises(ValueError, match="same and different"):
        roc_curve(np.zeros(3), np.ones(3, bool))


def test_best_threshold_is_the_best_of_all(pairs):
    scores, same = pairs
    found = accuracy_score(same, scores >= best_threshold(scores, same))
    candidates = np.concatenate([scores, [scores.max() + 1]])
    assert found == pytest.approx(max(accuracy_score(same, scores >= t) for t in candidates))


def test_threshold_comes_from_the_other_folds():
    """A fold whose scores are shifted is judged by the threshold of the rest, and fails."""
    rng = np.random.default_rng(0)
    same = np.tile([True, False], 300)
    folds = np.repeat(np.arange(10), 60)
    scores = np.where(same, 1.0, -1.0) + 0.1 * rng.normal(size=600)
    assert fold_accuracy(scores, same, folds).mean == 1
    shifted = scores + 10.0 * (folds == 3)
    result = fold_accuracy(shifted, same, folds)
    assert result.accuracies[3] == pytest.approx(0.5)
    assert np.delete(result.accuracies, 3).min() == 1
    assert result.mean == pytest.approx(0.95)
    assert result.std == pytest.approx(np.std(result.accuracies, ddof=1))
    assert result.standard_error == pytest.approx(result.std / np.sqrt(10))
    with pytest.raises(ValueError, match="two folds"):
        fold_accuracy(scores, same, np.zeros(600, int))


def test_ranks_by_hand():
    similarities = np.array([[0.9, 0.5, 0.1], [0.2, 0.4, 0.8], [0.7, 0.7, 0.1]])
    ranks = identification_ranks(similarities, np.array([1, 2, 2]), np.array([1, 2, 3]))
    assert ranks.tolist() == [1, 2, 2]  # a tie counts against the probe
    assert [rank_k_rate(ranks, k) for k in (1, 2)] == pytest.approx([1 / 3, 1])
    with pytest.raises(ValueError, match="gallery"):
        identification_ranks(similarities, np.array([1, 2, 4]), np.array([1, 2, 3]))


def test_several_gallery_entries_of_a_subject_do_not_push_one_another_down():
    similarities = np.array([[0.9, 0.8, 0.7, 0.1]])
    assert identification_ranks(similarities, np.array([1]), np.array([2, 1, 1, 3])).tolist() == [2]
    assert identification_ranks(similarities, np.array([2]), np.array([1, 1, 2, 3])).tolist() == [3]


def test_cosine_is_scikit_learn_s():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(20, 9)), rng.normal(size=(20, 9))
    np.testing.assert_allclose(cosine_similarity(a, b), sklearn_cosine(a, b).diagonal())
    assert cosine_similarity(np.zeros((1, 9)), b[:1]) == 0
