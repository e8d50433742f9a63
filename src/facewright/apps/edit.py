"""Editing a reconstructed face by its coefficients: expression, pose and light. Pure functions of records.

Everything not named is kept. Where two records meet, one of them may hold a single face for many of the other.
"""

import math
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from facewright.errors import CoefficientsError
from facewright.records import FaceCoefficients
from facewright.render.lighting import SH_DC_OFFSET, sh_basis


def transfer_expression(
    target: FaceCoefficients, source: FaceCoefficients, *, with_pose: bool = False
) -> FaceCoefficients:
    """The target person making the source's face.

    Args:
        target: gives identity, albedo, light, place, and pose unless ``with_pose``.
        source: gives the expression; of the same face model.
        with_pose: take the source's rotation too.

    Raises:
        CoefficientsError: different numbers of expression coefficients, or of faces.
    """
    if source.exp.shape[-1] != target.exp.shape[-1]:
        raise CoefficientsError(
            f"expected {target.exp.shape[-1]} expression coefficients, received {source.exp.shape[-1]}; "
            "reconstruct both faces with one face model"
        )
    batch = _common_batch(len(target.exp), len(source.exp))
    target, source = _repeated(target, batch), _repeated(source, batch)
    return replace(target, exp=source.exp, angles=source.angles if with_pose else target.angles)


def neutralise(coefficients: FaceCoefficients) -> FaceCoefficients:
    """The same person at rest: no expression."""
    return replace(coefficients, exp=torch.zeros_like(coefficients.exp))


def frontalise(coefficients: FaceCoefficients) -> FaceCoefficients:
    """The same face turned to the camera, about the model's origin; it stays where it is."""
    return replace(coefficients, angles=torch.zeros_like(coefficients.angles))


def relight(coefficients: FaceCoefficients, sh: Float[Tensor, "N 9 3"]) -> FaceCoefficients:
    """The same face in another light.

    Args:
        coefficients: the face.
        sh: light as ``FaceCoefficients.sh`` holds it: another face's, ``light_from_direction``, or zeros (plain light).

    Raises:
        CoefficientsError: different numbers of faces and lights.
    """
    batch = _common_batch(len(coefficients.sh), len(sh))
    return replace(_repeated(coefficients, batch), sh=sh.to(coefficients.sh).expand(batch, -1, -1))


def light_from_direction(
    direction_world: Float[Tensor, "N 3"], *, strength: float = 0.8, ambient: float = 0.2
) -> Float[Tensor, "N 9 3"]:
    """White light from far away in one direction, plus an even rest (Ramamoorthi & Hanrahan 2001, section 3).

    Surfaces with normal n are shaded by ``ambient + strength max(0, n . d)``, up to the 9 % of ``strength`` that nine
    basis functions cannot follow.

    Args:
        direction_world: towards the light: +x image right, +y up, +z the camera; of any length but zero.
        strength: shading of a surface that faces the light.
        ambient: shading of a surface in the shadow.
    """
    # Basis functions carry Deep3D's own factors a = pi, 2 pi / sqrt 3, 2 pi / sqrt 8 per band; a cosine lobe has
    # A = pi, 2 pi / 3, pi / 4. Coefficients are A / a^2 times the basis at the light's direction.
    bands = direction_world.new_tensor([1 / math.pi] + [1 / (2 * math.pi)] * 8)
    basis = sh_basis(torch.nn.functional.normalize(direction_world, dim=-1))
    light = strength * bands * basis
    light[:, 0] += ambient / basis[:, 0] - SH_DC_OFFSET
    return light[:, :, None].expand(-1, -1, 3).contiguous()


def _common_batch(first: int, second: int) -> int:
    if first != second and 1 not in (first, second):
        raise CoefficientsError(f"expected one face or as many as the other's {first}, received {second}")
    return max(first, second)


def _repeated(c: FaceCoefficients, batch: int) -> FaceCoefficients:
    parts = (c.id, c.exp, c.tex, c.angles, c.sh, c.translation)
    return FaceCoefficients(*(part.expand(batch, *part.shape[1:]) for part in parts))
