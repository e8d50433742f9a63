"""The smoother against a dense Gaussian process, its lag, gaps, and what it does to noise."""

import math

import numpy as np
import pytest
import torch

from facewright.fit import smoothing
from facewright.fit.smoothing import smooth


def times(count: int, rng: torch.Generator) -> torch.Tensor:
    """Of varying rate, with a gap in the middle."""
    steps = 0.01 + 0.05 * torch.rand(count, generator=rng, dtype=torch.float64)
    steps[count // 2] = 0.7
    return steps.cumsum(0)


def test_the_smoother_is_the_posterior_mean_of_the_whole(rng: torch.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Written out as one dense least-squares problem over all values and velocities: the oracle."""
    monkeypatch.setattr(smoothing, "RATES", np.array([30.0]))
    t, count, rate = times(12, rng), 12, 30.0
    y = torch.randn(count, 2, generator=rng, dtype=torch.float64)
    w = 0.5 + torch.rand(count, 2, generator=rng, dtype=torch.float64)
    found = smooth(t, y, w)
    for column in range(2):
        scaled = (w[:, column] / w[:, column].mean()).numpy()
        hessian, right = np.zeros((2 * count, 2 * count)), np.zeros(2 * count)
        hessian[1, 1] += 1.0 / (scaled[0] * (rate + 100.0))
        for k in range(count):
            hessian[2 * k, 2 * k] += 1.0 / scaled[k]
            right[2 * k] += float(y[k, column]) / scaled[k]
        hessian[0, 0] += 1e-12
        first = 1.0 / scaled[0]  # the first state is the first answer, with its own error: it counts once
        assert hessian[0, 0] == pytest.approx(first)
        for k in range(count - 1):
            dt = float(t[k + 1] - t[k])
            noise = rate * np.array([[dt**3 / 3, dt**2 / 2], [dt**2 / 2, dt]])
            step = np.array([[-1.0, -dt, 1.0, 0.0], [0.0, -1.0, 0.0, 1.0]])
            hessian[2 * k : 2 * k + 4, 2 * k : 2 * k + 4] += step.T @ np.linalg.inv(noise) @ step
        expected = np.linalg.solve(hessian, right)[::2]
        np.testing.assert_allclose(found[:, column].numpy(), expected, atol=1e-7)


@pytest.mark.parametrize("late", [None, 1, 0])
def test_noise_goes_and_movement_stays(late: int | None, rng: torch.Generator) -> None:
    t = torch.arange(240, dtype=torch.float64) / 30.0
    truth = torch.stack([torch.sin(3.0 * t), 0.5 * torch.cos(2.0 * t), 0.3 * t], 1)
    y = truth + 0.05 * torch.randn(240, 3, generator=rng, dtype=torch.float64)
    found = smooth(t, y, torch.ones_like(y), groups=[slice(0, 2)], late=late)
    before, after = (y - truth).square().mean(0).sqrt(), (found - truth).square().mean(0).sqrt()
    assert bool((after < {None: 0.6, 1: 0.75, 0: 0.9}[late] * before).all()), after / before


def test_what_runs_straight_is_not_late(rng: torch.Generator) -> None:
    t = times(80, rng)
    truth = torch.stack([2.0 * t, -0.5 * t], 1)
    for late in (None, 1, 0):
        torch.testing.assert_close(
            smooth(t, truth, torch.ones_like(truth), late=late)[8:], truth[8:], atol=5e-3, rtol=0
        )


def test_live_frames_know_of_the_next_one_alone(rng: torch.Generator) -> None:
    t = times(40, rng)
    y = torch.randn(40, 2, generator=rng, dtype=torch.float64)
    other = y.clone()
    other[21:] += 5.0
    found, changed = (smooth(t, values, torch.ones_like(y), late=1) for values in (y, other))
    assert torch.equal(found[:20], changed[:20])
    assert not torch.allclose(found[20], changed[20])
    alone = smooth(t[:1], y[:1], torch.ones_like(y[:1]))
    assert torch.equal(alone, y[:1])
    assert math.isfinite(float(smooth(t[:2], y[:2], torch.ones_like(y[:2])).sum()))
