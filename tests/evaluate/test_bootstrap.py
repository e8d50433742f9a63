"""Intervals: the textbook standard error, coverage, seeds, groups, and pairs."""

import numpy as np
import pytest

from facewright.evaluate.bootstrap import bootstrap_interval, paired_difference


@pytest.fixture
def sample() -> np.ndarray:
    return np.random.default_rng(0).normal(3.0, 2.0, size=400)


def test_interval_of_a_mean_is_the_textbook_s(sample):
    interval = bootstrap_interval(sample)
    error = sample.std() / np.sqrt(len(sample))
    assert interval.value == pytest.approx(sample.mean())
    assert interval.low == pytest.approx(sample.mean() - 1.96 * error, abs=0.15 * error)
    assert interval.high == pytest.approx(sample.mean() + 1.96 * error, abs=0.15 * error)
    assert interval.n == 400


def test_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(1)
    hits = 0
    for i in range(150):
        drawn = bootstrap_interval(rng.normal(size=40), num_resamples=300, seed=i)
        hits += drawn.low <= 0 <= drawn.high
    assert 0.87 <= hits / 150 <= 0.99


def test_seed_decides_the_draws(sample):
    first, again = bootstrap_interval(sample, np.median, seed=3), bootstrap_interval(sample, np.median, seed=3)
    assert first == again
    assert bootstrap_interval(sample, np.median, seed=4).low != first.low


def test_groups_are_drawn_whole(sample):
    """Ten copies of each case, grouped, say no more than the cases themselves; ungrouped they pretend to."""
    copies, groups = np.repeat(sample, 10), np.repeat(np.arange(400), 10)
    grouped = bootstrap_interval(copies, groups=groups)
    single, pretended = bootstrap_interval(sample), bootstrap_interval(copies)
    assert (grouped.low, grouped.high) == pytest.approx((single.low, single.high))
    assert grouped.n == 400
    assert pretended.high - pretended.low < 0.4 * (grouped.high - grouped.low)


def test_pairs_see_small_differences(sample):
    """A gain of 0.1 drowns between two separate samples, and is certain case by case."""
    better = sample - 0.1 + np.random.default_rng(2).normal(size=400) * 0.05
    paired = paired_difference(sample, better)
    assert paired.value == pytest.approx(better.mean() - sample.mean())
    assert paired.excludes_zero
    assert paired.high < 0
    apart = bootstrap_interval(better)
    assert apart.high > sample.mean()  # unpaired intervals overlap
    assert not paired_difference(sample, np.random.default_rng(3).permutation(sample)).excludes_zero


def test_statistics_of_several_columns():
    """Rows of any width go to the statistic."""
    rows = np.random.default_rng(0).normal([0, 5, 0], size=(200, 3))
    interval = bootstrap_interval(rows, lambda chosen: float(chosen[:, 1].mean()), num_resamples=200)
    assert interval.low < 5.1
    assert interval.high > 4.9


def test_no_case_no_figure():
    with pytest.raises(ValueError, match="at least one case"):
        bootstrap_interval(np.zeros(0))
