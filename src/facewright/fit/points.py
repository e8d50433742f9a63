"""The point terms of a fit: how far posed model points fall from where they were seen."""

from collections.abc import Sequence

import torch

from facewright.fit.evidence import PointEvidence
from facewright.fit.motion import moved_by, projected
from facewright.fit.parameters import Unknowns
from facewright.fit.solver import LinearTerm
from facewright.geometry.rotations import rotation_from_angles
from facewright.records import Camera, FaceCoefficients


def point_term(seen: PointEvidence, coefficients: FaceCoefficients, camera: Camera, unknowns: Unknowns) -> LinearTerm:
    """Robust reprojection error: Geman-McClure of the pixel distance with the evidence's own scale s.

    rho(d) = d^2 / (1 + d^2 / s^2), whose IRLS weight is 1 / (1 + d^2 / s^2)^2: a point far off is a wrong point.
    """
    rotation = rotation_from_angles(coefficients.angles[0])
    turned = seen.points.of(coefficients) @ rotation.T
    pixels, by_world = projected(turned + coefficients.translation[0], camera)
    residual = pixels - seen.pixels
    if seen.across is not None:
        residual = (seen.across * residual).sum(-1, keepdim=True)
        by_world = (seen.across[..., None] * by_world).sum(1, keepdim=True)
    jacobian = moved_by(seen.points, turned, rotation, by_world)
    spread = 1.0 + residual.square().sum(-1) / seen.wrong_px**2
    weight = (seen.precision / spread.square())[:, None].expand_as(residual)
    cost = (seen.precision * residual.square().sum(-1) / spread).sum()
    return LinearTerm(
        seen.name, jacobian.flatten(0, 1), residual.flatten(), weight.flatten(), unknowns.geometry, float(cost)
    )


def depth_term(
    seen: PointEvidence, coefficients: FaceCoefficients, camera: Camera, unknowns: Unknowns
) -> LinearTerm | None:
    """Robust error of depths behind the head's origin, as ``point_term``; None where none has a precision.

    ``d = -f (R p)_z / (D - t_z)``: pixels of the size that things have at the origin.
    """
    if seen.depth is None or seen.depth_precision is None:
        return None
    rotation = rotation_from_angles(coefficients.angles[0])
    turned = seen.points.of(coefficients) @ rotation.T
    near = camera.distance_dm - coefficients.translation[0, 2]
    scale = camera.focal_px[0] / near
    behind = -turned[:, 2]
    toward = torch.stack([torch.zeros_like(scale), torch.zeros_like(scale), -scale]).expand(len(turned), 1, 3)
    jacobian = moved_by(seen.points, turned, rotation, toward)[:, 0]
    jacobian[:, unknowns.move] = 0.0
    jacobian[:, unknowns.move.stop - 1] = scale * behind / near
    residual = scale * behind - seen.depth
    spread = 1.0 + residual.square() / seen.wrong_px**2
    weight = seen.depth_precision / spread.square()
    cost = (seen.depth_precision * residual.square() / spread).sum()
    return LinearTerm(f"{seen.name}_depth", jacobian, residual, weight, unknowns.geometry, float(cost))


def point_terms(
    points: Sequence[PointEvidence], camera: Camera, unknowns: Unknowns, coefficients: FaceCoefficients
) -> list[LinearTerm]:
    """The terms of all points at given coefficients."""
    deep = [depth_term(seen, coefficients, camera, unknowns) for seen in points]
    flat = [point_term(seen, coefficients, camera, unknowns) for seen in points]
    return flat + [term for term in deep if term is not None]
