"""CED and AUC: by hand, and as the limit of a fine sum."""

import numpy as np
import pytest

from facewright.evaluate.curves import area_under_ced, cumulative_errors, failure_rate

ERRORS = np.array([0.02, 0.04, 0.04, 0.08, np.inf])


def test_curve_by_hand():
    curve = cumulative_errors(ERRORS, limit=0.1, steps=5)
    np.testing.assert_allclose(curve.thresholds, [0, 0.02, 0.04, 0.06, 0.08, 0.1])
    np.testing.assert_allclose(curve.shares, [0, 0.2, 0.6, 0.6, 0.8, 0.8])


def test_area_is_the_sum_under_a_fine_curve():
    curve = cumulative_errors(ERRORS, limit=0.1, steps=200_000)
    assert area_under_ced(ERRORS, 0.1) == pytest.approx(curve.shares.mean(), abs=1e-4)
    assert area_under_ced(ERRORS, 0.1) == pytest.approx((0.8 + 0.6 + 0.6 + 0.2 + 0) / 5)


def test_ends():
    assert area_under_ced(np.zeros(4), 0.1) == 1
    assert area_under_ced(np.full(4, 0.1), 0.1) == 0
    assert failure_rate(ERRORS, 0.04) == pytest.approx(0.4)
    assert failure_rate(ERRORS, 0.08) == pytest.approx(0.2)
