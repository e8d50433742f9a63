"""Spherical-harmonic light (Ramamoorthi & Hanrahan 2001), signs and factors of Deep3D (docs/deep3d.md section 3)."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

SH_DC_OFFSET = 0.8
"""Added to the constant band of every channel: coefficients of zero are a plain, even light."""

# Clamped-cosine kernel (a) times the normalisation of the basis (c), for bands 0, 1 and 2.
_BAND_0 = math.pi / math.sqrt(4 * math.pi)
_BAND_1 = (2 * math.pi / math.sqrt(3)) * math.sqrt(3) / math.sqrt(4 * math.pi)
_BAND_2 = (2 * math.pi / math.sqrt(8)) * 3 * math.sqrt(5) / math.sqrt(12 * math.pi)

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

    Zero coefficients give ``PLAIN_SHADING`` everywhere.

    Args:
        normals: unit normals, world frame.
        sh: coefficients, without the offset of the constant band.
    """
    return sh_basis(normals) @ sh_with_offset(sh)
