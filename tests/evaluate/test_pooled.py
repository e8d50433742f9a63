"""Pooled statistics: numpy on all distances at once, constant memory, and the difference from a mean of scans."""

import numpy as np
import pytest

from facewright.evaluate.bootstrap import bootstrap_interval
from facewright.evaluate.pooled import PooledDistances


def scans(count: int, seed: int = 0) -> list[np.ndarray]:
    """Scans of unequal size and quality."""
    rng = np.random.default_rng(seed)
    return [np.abs(rng.normal(size=rng.integers(200, 900))) * rng.uniform(0.5, 1.5) for _ in range(count)]


def gathered(parts: list[np.ndarray], seed: int = 0) -> PooledDistances:
    pooled = PooledDistances(seed)
    for part in parts:
        pooled.add(part)
    return pooled


def test_statistics_are_those_of_everything_at_once():
    parts = scans(30)
    together = np.concatenate(parts)
    statistics = gathered(parts).statistics()
    assert statistics.median_mm.value == pytest.approx(np.median(together), abs=0.001)
    assert statistics.mean_mm.value == pytest.approx(together.mean())
    assert statistics.std_mm == pytest.approx(together.std())
    assert (statistics.count, statistics.scans) == (len(together), 30)


def test_dense_scans_weigh_more():
    """1,000 vertices at 1 mm and 10 at 3 mm: pooled mean near 1, mean over scans 2."""
    statistics = gathered([np.full(1000, 1.0), np.full(10, 3.0)]).statistics()
    assert statistics.mean_mm.value == pytest.approx((1000 + 30) / 1010)
    assert statistics.median_mm.value == pytest.approx(1.0, abs=0.001)


def test_intervals_are_those_of_drawing_scans():
    parts = scans(60)
    statistics = gathered(parts).statistics()
    index = np.arange(60)

    def pooled_mean(rows: np.ndarray) -> float:
        return float(np.concatenate([parts[i] for i in rows]).mean())

    expected = bootstrap_interval(index, pooled_mean, num_resamples=500)
    width = expected.high - expected.low
    assert statistics.mean_mm.low == pytest.approx(expected.low, abs=0.2 * width)
    assert statistics.mean_mm.high == pytest.approx(expected.high, abs=0.2 * width)
    assert statistics.median_mm.low < statistics.median_mm.value < statistics.median_mm.high


def test_photos_of_one_person_are_not_independent():
    """Each person's scan ten times over: by person the interval stays as wide, by photo it pretends to be narrow."""
    once, by_person, by_photo = PooledDistances(), PooledDistances(), PooledDistances()
    for number, part in enumerate(scans(40)):
        once.add(part, number)
        for _ in range(10):
            by_person.add(part, number)
            by_photo.add(part)
    widths = [p.statistics().mean_mm.high - p.statistics().mean_mm.low for p in (once, by_person, by_photo)]
    assert widths[1] == pytest.approx(widths[0])
    assert widths[2] < widths[0] / 2
    assert by_person.statistics().mean_mm.n == 40
    assert by_photo.statistics().mean_mm.n == 400


def test_same_seed_same_intervals():
    assert gathered(scans(8)).statistics() == gathered(scans(8)).statistics()
    assert gathered(scans(8), seed=1).statistics().mean_mm.low != gathered(scans(8)).statistics().mean_mm.low


def test_curve_is_the_share_up_to_each_threshold():
    parts = scans(10)
    together, thresholds = np.concatenate(parts), np.linspace(0, 4, 41)
    expected = (together[:, None] <= thresholds).mean(0)
    np.testing.assert_allclose(gathered(parts).shares(thresholds), expected, atol=2e-3)


def test_far_points_and_bad_ones():
    statistics = gathered([np.array([0.5, 250.0, 0.7])]).statistics()
    assert statistics.mean_mm.value == pytest.approx(251.2 / 3)
    assert statistics.median_mm.value == pytest.approx(0.7, abs=0.001)
    for bad in ([np.nan], [-1.0], [np.inf]):
        with pytest.raises(ValueError, match="finite distances"):
            PooledDistances().add(np.array(bad))
    with pytest.raises(ValueError, match="at least one distance"):
        PooledDistances().statistics()
