"""sRGB coding: the standard's numbers, round trips, gradients."""

import re
from pathlib import Path
from typing import get_args

import pytest
import torch

import facewright
from facewright.geometry.color import albedo_from_display, display_from_albedo, linear_from_srgb, srgb_from_linear
from facewright.records import AlbedoSpace

# IEC 61966-2-1: 0.5 decodes to 0.21404, 18 % grey encodes to 0.46136; both branches meet at the knee.
KNOWN = {0.0: 0.0, 0.04045: 0.0031308, 0.02: 0.02 / 12.92, 0.5: 0.214041, 0.461356: 0.18, 1.0: 1.0}


@pytest.mark.parametrize(("srgb", "linear"), KNOWN.items())
def test_known_values(srgb: float, linear: float) -> None:
    assert float(linear_from_srgb(torch.tensor(srgb))) == pytest.approx(linear, abs=1e-6)
    assert float(srgb_from_linear(torch.tensor(linear))) == pytest.approx(srgb, abs=1e-5)


def test_round_trip_and_oddness() -> None:
    values = torch.linspace(-2, 2, 4001, dtype=torch.float64)
    # The published constants do not quite meet at the knee: 3e-8 apart in linear values.
    torch.testing.assert_close(linear_from_srgb(srgb_from_linear(values)), values, rtol=0, atol=5e-7)
    torch.testing.assert_close(srgb_from_linear(-values), -srgb_from_linear(values), rtol=0, atol=0)
    assert bool((srgb_from_linear(values).diff() > 0).all())


def test_gradients_are_finite_everywhere() -> None:
    values = torch.tensor([-1.5, -0.02, 0.0, 1e-9, 0.001, 0.5, 3.0], requires_grad=True)
    (srgb_from_linear(values) + linear_from_srgb(values)).sum().backward()
    assert values.grad is not None
    assert bool(values.grad.isfinite().all())
    smooth = torch.tensor([-1.5, -0.02, 0.001, 0.3], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(srgb_from_linear, smooth)
    assert torch.autograd.gradcheck(linear_from_srgb, smooth)


def test_albedo_is_shown_by_its_own_coding_and_back() -> None:
    color = torch.tensor([-0.1, 0.18, 0.5, 1.2])
    assert torch.equal(display_from_albedo(color, "display"), color)
    assert torch.equal(display_from_albedo(color, "linear"), srgb_from_linear(color))
    for space in get_args(AlbedoSpace):
        torch.testing.assert_close(albedo_from_display(display_from_albedo(color, space), space), color)


def test_nobody_else_asks_how_an_albedo_is_coded() -> None:
    """But the photometric fit, which wants the slope of the coding with it. Nor writes the plain light as a number."""
    allowed = {"geometry/color.py", "render/lighting.py", "fit/photometric.py"}
    source = Path(facewright.__file__).parent
    asking = {
        str(path.relative_to(source))
        for path in source.rglob("*.py")
        if re.search(r"albedo_space == .* else|0\.7089", path.read_text(encoding="utf-8"))
    }
    assert asking <= allowed
