"""Spherical-harmonic light (Ramamoorthi & Hanrahan 2001), signs and factors of Deep3D (docs/deep3d.md section 3)."""

import math
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from facewright.compiled import can_compile, compiled

SH_DC_OFFSET = 0.8
"""Added to the constant band of every channel: coefficients of zero are a plain, even light."""

# Clamped-cosine kernel (a) times the normalisation of the basis (c), for bands 0, 1 and 2.
_BAND_0 = math.pi / math.sqrt(4 * math.pi)
_BAND_1 = (2 * math.pi / math.sqrt(3)) * math.sqrt(3) / math.sqrt(4 * math.pi)
_BAND_2 = (2 * math.pi / math.sqrt(8)) * 3 * math.sqrt(5) / math.sqrt(12 * math.pi)

_ROOT_3 = math.sqrt(3)

PLAIN_SHADING = SH_DC_OFFSET * _BAND_0
"""Shading of every surface where all coefficients are zero: 0.70898. Albedo divided by it is shown as it was."""


def sh_basis(normals: Float[Tensor, "*B 3"]) -> Float[Tensor, "*B 9"]:
    """The nine basis functions, convolved with the cosine of a matte surface, at unit normals (world frame)."""
    x, y, z = normals.unbind(-1)
    terms = [
        torch.full_like(x, _BAND_0),
        -_BAND_1 * y,
        _BAND_1 * z,
        -_BAND_1 * x,
        _BAND_2 * x * y,
        -_BAND_2 * y * z,
        _BAND_2 / (2 * math.sqrt(3)) * (3 * z * z - 1),
        -_BAND_2 * x * z,
        _BAND_2 / 2 * (x * x - y * y),
    ]
    return torch.stack(terms, -1)


def sh_basis_gradient(normals: Float[Tensor, "*B 3"]) -> Float[Tensor, "*B 9 3"]:
    """Derivative of ``sh_basis`` by the normal's components, taken as free (not held to the unit sphere)."""
    x, y, z = normals.unbind(-1)
    zero, one = torch.zeros_like(x), torch.ones_like(x)
    rows = [
        (zero, zero, zero),
        (zero, -_BAND_1 * one, zero),
        (zero, zero, _BAND_1 * one),
        (-_BAND_1 * one, zero, zero),
        (_BAND_2 * y, _BAND_2 * x, zero),
        (zero, -_BAND_2 * z, -_BAND_2 * y),
        (zero, zero, _BAND_2 * math.sqrt(3) * z),
        (-_BAND_2 * z, zero, -_BAND_2 * x),
        (_BAND_2 * x, -_BAND_2 * y, zero),
    ]
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


def sh_with_offset(sh: Float[Tensor, "*B 9 3"]) -> Float[Tensor, "*B 9 3"]:
    """Coefficients with the default light added: ``SH_DC_OFFSET`` on the constant band of every channel."""
    offset = torch.zeros_like(sh)
    offset[..., 0, :] = SH_DC_OFFSET
    return sh + offset


def sh_shading(normals: Float[Tensor, "B N 3"], sh: Float[Tensor, "B 9 3"]) -> Float[Tensor, "B N 3"]:
    """Light that leaves a white matte surface, per RGB channel; not clamped.

    Zero coefficients give ``PLAIN_SHADING`` everywhere. Where a gradient is asked for on the CPU, compiled loops go
    both ways in a pass each (extra ``fast``).

    Args:
        normals: unit normals, world frame.
        sh: coefficients, without the offset of the constant band.
    """
    differentiated = torch.is_grad_enabled() and (normals.requires_grad or sh.requires_grad)
    if differentiated and normals.device.type == "cpu" and can_compile():
        shading: Any = _Shading.apply(normals, sh_with_offset(sh).to(normals))
        return shading
    return sh_shading_by_tensors(normals, sh)


def sh_shading_by_tensors(normals: Float[Tensor, "B N 3"], sh: Float[Tensor, "B 9 3"]) -> Float[Tensor, "B N 3"]:
    """``sh_shading`` in tensor operations, on any device."""
    return sh_basis(normals) @ sh_with_offset(sh)


class _Shading(torch.autograd.Function):
    """The compiled twin of ``sh_shading_by_tensors``; takes the coefficients with their offset."""

    @staticmethod
    def forward(ctx: Any, normals: Tensor, light: Tensor) -> Tensor:
        normals, light = normals.contiguous(), light.contiguous()
        ctx.save_for_backward(normals, light)
        shading = torch.zeros_like(normals)
        compiled(_shade)(normals.numpy(), light.numpy(), shading.numpy())
        return shading

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        normals, light = ctx.saved_tensors
        by_normals, by_light = torch.zeros_like(normals), torch.zeros_like(light)
        arrays = (gradients[0].contiguous(), normals, light, by_normals, by_light)
        compiled(_shade_back)(*(array.numpy() for array in arrays))
        return by_normals, by_light


def _shade(normals, light, shading):
    """``sh_basis`` times the coefficients, normal by normal. For numba."""
    for i in range(normals.shape[0]):
        for n in range(normals.shape[1]):
            x, y, z = normals[i, n, 0], normals[i, n, 1], normals[i, n, 2]
            first = (_BAND_0, -_BAND_1 * y, _BAND_1 * z, -_BAND_1 * x)
            xy, yz, xz = _BAND_2 * x * y, -_BAND_2 * y * z, -_BAND_2 * x * z
            zz, xx = _BAND_2 / (2 * _ROOT_3) * (3 * z * z - 1), _BAND_2 / 2 * (x * x - y * y)
            for c in range(3):
                value = first[0] * light[i, 0, c] + first[1] * light[i, 1, c] + first[2] * light[i, 2, c]
                value += first[3] * light[i, 3, c] + xy * light[i, 4, c] + yz * light[i, 5, c]
                shading[i, n, c] = value + zz * light[i, 6, c] + xz * light[i, 7, c] + xx * light[i, 8, c]


def _shade_back(gradient, normals, light, by_normals, by_light):
    """Derivatives of ``_shade``. Most normals of a head are hidden: nothing asks for them. For numba."""
    basis, by_basis, by_one = np.zeros(9), np.zeros(9), np.zeros((9, 3))
    basis[0] = _BAND_0
    for i in range(normals.shape[0]):
        by_one[:] = 0.0
        for n in range(normals.shape[1]):
            red, green, blue = gradient[i, n, 0], gradient[i, n, 1], gradient[i, n, 2]
            if red == 0 and green == 0 and blue == 0:
                continue
            x, y, z = normals[i, n, 0], normals[i, n, 1], normals[i, n, 2]
            basis[1], basis[2], basis[3] = -_BAND_1 * y, _BAND_1 * z, -_BAND_1 * x
            basis[4], basis[5], basis[7] = _BAND_2 * x * y, -_BAND_2 * y * z, -_BAND_2 * x * z
            basis[6], basis[8] = _BAND_2 / (2 * _ROOT_3) * (3 * z * z - 1), _BAND_2 / 2 * (x * x - y * y)
            for k in range(9):
                by_basis[k] = red * light[i, k, 0] + green * light[i, k, 1] + blue * light[i, k, 2]
                by_one[k, 0] += basis[k] * red
                by_one[k, 1] += basis[k] * green
                by_one[k, 2] += basis[k] * blue
            by_x = _BAND_2 * (y * by_basis[4] - z * by_basis[7] + x * by_basis[8])
            by_y = _BAND_2 * (x * by_basis[4] - z * by_basis[5] - y * by_basis[8])
            by_z = _BAND_2 * (_ROOT_3 * z * by_basis[6] - y * by_basis[5] - x * by_basis[7])
            by_normals[i, n, 0] = by_x - _BAND_1 * by_basis[3]
            by_normals[i, n, 1] = by_y - _BAND_1 * by_basis[1]
            by_normals[i, n, 2] = by_z + _BAND_1 * by_basis[2]
        by_light[i] = by_one
