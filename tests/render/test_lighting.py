"""Spherical-harmonic light against the published numbers and a float64 loop."""

import math

import numpy as np
import pytest
import torch

from facewright.compiled import can_compile
from facewright.render.lighting import (
    PLAIN_SHADING,
    SH_DC_OFFSET,
    sh_basis,
    sh_basis_gradient,
    sh_shading,
    sh_shading_by_tensors,
)

# docs/deep3d.md section 3: factor of each basis function, and the polynomial it multiplies.
PUBLISHED = [
    (0.886227, lambda x, y, z: 1.0),
    (-1.772454, lambda x, y, z: y),
    (1.772454, lambda x, y, z: z),
    (-1.772454, lambda x, y, z: x),
    (2.427032, lambda x, y, z: x * y),
    (-2.427032, lambda x, y, z: y * z),
    (0.700624, lambda x, y, z: 3 * z * z - 1),
    (-2.427032, lambda x, y, z: x * z),
    (1.213516, lambda x, y, z: x * x - y * y),
]


def unit_normals(rng: torch.Generator, *shape: int) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(*shape, 3, generator=rng, dtype=torch.float64), dim=-1)


def test_basis_is_the_published_table(rng: torch.Generator) -> None:
    normals = unit_normals(rng, 50)
    basis = sh_basis(normals)
    for normal, values in zip(normals.tolist(), basis.tolist(), strict=True):
        expected = [factor * term(*normal) for factor, term in PUBLISHED]
        np.testing.assert_allclose(values, expected, atol=2e-6)  # the table has seven digits


def test_basis_functions_are_orthogonal() -> None:
    # Gauss-Legendre in height, even steps around: exact for the products of two functions of band 2.
    heights, weights = np.polynomial.legendre.leggauss(8)
    around = torch.arange(16, dtype=torch.float64) * (2 * math.pi / 16)
    z = torch.tensor(heights)[:, None].expand(8, 16)
    radius = (1 - z * z).sqrt()
    basis = sh_basis(torch.stack([radius * around.cos(), radius * around.sin(), z], -1))
    area = torch.tensor(weights)[:, None, None] * (2 * math.pi / 16)
    gram = torch.einsum("ijs,ijt->st", basis * area, basis)
    band_factors = [math.pi] + [2 * math.pi / math.sqrt(3)] * 3 + [2 * math.pi / math.sqrt(8)] * 5
    torch.testing.assert_close(gram, torch.diag(torch.tensor(band_factors, dtype=torch.float64) ** 2))


def test_no_coefficients_are_an_even_light(rng: torch.Generator) -> None:
    shading = sh_shading(unit_normals(rng, 2, 30), torch.zeros(2, 9, 3, dtype=torch.float64))
    assert float(shading.min()) == pytest.approx(0.70898, abs=5e-6)
    assert float(shading.min()) == pytest.approx(PLAIN_SHADING, rel=1e-6)
    torch.testing.assert_close(shading, torch.full_like(shading, float(shading.max())))
    assert pytest.approx(0.8) == SH_DC_OFFSET


def test_shading_is_the_float64_loop(rng: torch.Generator) -> None:
    normals, sh = unit_normals(rng, 2, 7), torch.randn(2, 9, 3, generator=rng, dtype=torch.float64)
    shading, basis = sh_shading(normals, sh), sh_basis(normals)
    for batch in range(2):
        for point in range(7):
            for channel in range(3):
                total = sum(
                    (sh[batch, k, channel].item() + (0.8 if k == 0 else 0.0)) * basis[batch, point, k].item()
                    for k in range(9)
                )
                assert shading[batch, point, channel].item() == pytest.approx(total, rel=1e-12, abs=1e-12)


def test_light_from_the_left_lights_the_left() -> None:
    sh = torch.zeros(1, 9, 3)
    sh[0, 3] = 0.3  # the third function is -x
    left, right = sh_shading(torch.tensor([[[-1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]]), sh)[0]
    assert bool((left > right).all())


def test_gradients(rng: torch.Generator) -> None:
    normals = unit_normals(rng, 2, 4).requires_grad_()
    sh = torch.randn(2, 9, 3, generator=rng, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(sh_shading, (normals, sh))
    rows = [torch.autograd.grad(sh_basis(normals)[..., k].sum(), normals)[0] for k in range(1, 9)]
    torch.testing.assert_close(sh_basis_gradient(normals.detach())[..., 1:, :], torch.stack(rows, -2))


@pytest.mark.skipif(not can_compile(), reason="numba is not installed")
def test_compiled_light_and_its_gradients_are_those_of_tensors(rng: torch.Generator) -> None:
    normals, sh = unit_normals(rng, 2, 20), torch.randn(2, 9, 3, generator=rng, dtype=torch.float64)
    asked = torch.randn(2, 20, 3, generator=rng, dtype=torch.float64)
    asked[:, ::3] = 0.0  # hidden normals: nothing asks for them
    found = []
    for shade in (sh_shading, sh_shading_by_tensors):
        leaves = [value.clone().requires_grad_() for value in (normals, sh)]
        light = shade(*leaves)
        (light * asked).sum().backward()
        found.append([light.detach(), *(leaf.grad for leaf in leaves)])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
