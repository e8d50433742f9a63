"""Coefficient, flattening and gamma losses against loops, with gradients and invariances."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from facewright.records import CoefficientLayout, FaceCoefficients
from facewright.train.losses.box import box_loss
from facewright.train.losses.coefficient import coefficient_loss
from facewright.train.losses.flattening import flattening_loss
from facewright.train.losses.gamma import gamma_loss

LAYOUT = CoefficientLayout(id=4, exp=3, tex=2)


def faces(rng: torch.Generator, count: int = 3) -> FaceCoefficients:
    return LAYOUT.unpack(torch.randn(count, LAYOUT.size, generator=rng, dtype=torch.float64))


# ------------------------------------------------------------------------------------------------- coefficients


def test_coefficient_loss_is_the_loop(rng: torch.Generator) -> None:
    batch = faces(rng)
    total = 0.0
    for b in range(3):
        for weight, part in ((1.0, batch.id), (0.8, batch.exp), (1.7e-2, batch.tex)):
            total += weight * sum(float(value) ** 2 for value in part[b])
    assert float(coefficient_loss(batch, 1.0, 0.8, 1.7e-2)) == pytest.approx(total / 3, rel=1e-12)


def test_coefficient_loss_leaves_pose_and_light_free(rng: torch.Generator) -> None:
    batch = faces(rng)
    moved = replace(batch, angles=batch.angles + 1, translation=batch.translation - 2, sh=3 * batch.sh)
    assert torch.equal(coefficient_loss(batch, 1.0, 0.8, 0.1), coefficient_loss(moved, 1.0, 0.8, 0.1))


def test_coefficient_gradients(rng: torch.Generator) -> None:
    vector = torch.randn(2, LAYOUT.size, generator=rng, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: coefficient_loss(LAYOUT.unpack(x), 1.0, 0.8, 0.1), (vector,))


# ---------------------------------------------------------------------------------------------------------- box


def test_box_loss_is_the_loop_and_free_inside(rng: torch.Generator) -> None:
    exp = torch.randn(3, 5, generator=rng, dtype=torch.float64)
    outside = [max(-value, 0.0, value - 1.0) for value in exp.flatten().tolist()]
    assert float(box_loss(exp)) == pytest.approx(sum(value**2 for value in outside) / 3, rel=1e-12)
    assert float(box_loss(torch.rand(3, 5, generator=rng))) == 0.0


def test_box_gradients(rng: torch.Generator) -> None:
    exp = torch.randn(2, 5, generator=rng, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(box_loss, (exp,))


# --------------------------------------------------------------------------------------------------- flattening


def test_flattening_is_numpys_variance_over_the_region(rng: torch.Generator) -> None:
    albedo = torch.rand(2, 9, 3, generator=rng, dtype=torch.float64)
    region = torch.zeros(9, dtype=torch.float64)
    inside = [1, 3, 4, 8]
    region[inside] = 1
    expected = np.mean([np.var(albedo[b, inside].numpy(), axis=0).sum() for b in range(2)])
    assert float(flattening_loss(albedo, region)) == pytest.approx(float(expected), rel=1e-12)


def test_half_a_vertex_counts_half(rng: torch.Generator) -> None:
    albedo = torch.rand(1, 5, 3, generator=rng, dtype=torch.float64)
    region = torch.tensor([1.0, 0.5, 0.0, 1.0, 0.5], dtype=torch.float64)
    repeated = torch.cat([albedo[:, [0, 0, 1, 3, 3, 4]]], 1)
    torch.testing.assert_close(
        flattening_loss(albedo, region), flattening_loss(repeated, torch.ones_like(repeated[0, :, 0]))
    )


def test_flattening_is_blind_to_skin_colour_and_to_what_lies_outside(rng: torch.Generator) -> None:
    albedo = torch.rand(2, 6, 3, generator=rng, dtype=torch.float64)
    region = torch.tensor([1.0, 1.0, 1.0, 1.0, 0.0, 0.0], dtype=torch.float64)
    other = albedo + albedo.new_tensor([0.3, -0.1, 0.2])
    other[:, 4:] = 5
    torch.testing.assert_close(flattening_loss(albedo, region), flattening_loss(other, region))
    assert float(flattening_loss(torch.full_like(albedo, 0.3), region)) == pytest.approx(0, abs=1e-30)


def test_flattening_gradients(rng: torch.Generator) -> None:
    albedo = torch.rand(2, 4, 3, generator=rng, dtype=torch.float64, requires_grad=True)
    region = torch.tensor([1.0, 0.5, 0.0, 1.0], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: flattening_loss(x, region), (albedo,))


def test_an_empty_region_is_refused() -> None:
    with pytest.raises(ValueError, match="received none; take a face model"):
        flattening_loss(torch.rand(1, 4, 3), torch.zeros(4))


# --------------------------------------------------------------------------------------------------------- gamma


def test_gamma_is_the_loop(rng: torch.Generator) -> None:
    sh = faces(rng).sh
    total = 0.0
    for b in range(3):
        for band in range(9):
            mean = sum(float(sh[b, band, c]) for c in range(3)) / 3
            total += sum((float(sh[b, band, c]) - mean) ** 2 for c in range(3))
    assert float(gamma_loss(sh)) == pytest.approx(total / (3 * 9 * 3), rel=1e-12)


def test_white_light_is_free_and_constants_do_not_matter(rng: torch.Generator) -> None:
    sh = faces(rng).sh
    white = sh[..., :1].expand(-1, -1, 3)
    assert float(gamma_loss(white)) == pytest.approx(0, abs=1e-30)
    torch.testing.assert_close(gamma_loss(sh + white), gamma_loss(sh))


def test_gamma_gradients(rng: torch.Generator) -> None:
    assert torch.autograd.gradcheck(gamma_loss, (faces(rng, 2).sh.clone().requires_grad_(),))
