"""Colours as people tell them apart, against published numbers."""

import pytest
import torch

from facewright.geometry.lab import ciede2000, color_difference, lab_from_linear

# Pairs of the supplement of Sharma, Wu & Dalal 2005, with their difference.
PAIRS = (
    ((50.0, 2.6772, -79.7751), (50.0, 0.0, -82.7485), 2.0425),
    ((50.0, -1.3802, -84.2814), (50.0, 0.0, -82.7485), 1.0000),
    ((50.0, 0.0, 0.0), (50.0, -1.0, 2.0), 2.3669),
    ((50.0, 2.49, -0.001), (50.0, -2.49, 0.0009), 7.1792),
    ((50.0, 2.5, 0.0), (73.0, 25.0, -18.0), 27.1492),
    ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
    ((22.7233, 20.0904, -46.6940), (23.0331, 14.9730, -42.5619), 2.0373),
    ((2.0776, 0.0795, -1.1350), (0.9033, -0.0636, -0.5514), 0.9082),
)


def test_differences_are_the_published_ones() -> None:
    first, second = (torch.tensor([pair[k] for pair in PAIRS], dtype=torch.float64) for k in (0, 1))
    expected = torch.tensor([pair[2] for pair in PAIRS], dtype=torch.float64)
    torch.testing.assert_close(ciede2000(first, second), expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(ciede2000(second, first), expected, atol=1e-4, rtol=0)


def test_white_grey_and_red_lie_where_they_should() -> None:
    colors = torch.tensor([[1.0, 1.0, 1.0], [0.184187, 0.184187, 0.184187], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    expected = torch.tensor([[100.0, 0.0, 0.0], [50.0, 0.0, 0.0], [53.24, 80.09, 67.20], [0.0, 0.0, 0.0]])
    torch.testing.assert_close(lab_from_linear(colors), expected, atol=0.02, rtol=0)


def test_gradients_live_everywhere() -> None:
    dark = torch.tensor([[-0.01, 0.0, 0.001], [0.5, 0.5, 0.5]], requires_grad=True)
    difference = color_difference(lab_from_linear(dark), lab_from_linear(dark.detach()))
    assert float(difference.detach().max()) == pytest.approx(0.01, abs=1e-4)
    (color_difference(lab_from_linear(dark), torch.zeros(2, 3)).sum() + difference.sum()).backward()
    assert dark.grad is not None
    assert bool(dark.grad.isfinite().all())
    assert float(dark.grad.abs().min()) > 0
