"""The point terms of a fit: how far posed model points fall from where they were seen."""

from collections.abc import Sequence

from facewright.fit.evidence import PointEvidence
from facewright.fit.motion import pixel_motion, world_motion
from facewright.fit.parameters import Unknowns
from facewright.fit.solver import LinearTerm
from facewright.records import Camera, FaceCoefficients


def point_term(
    seen: PointEvidence, coefficients: FaceCoefficients, camera: Camera, unknowns: Unknowns, *, scale_px: float = 6.0
) -> LinearTerm:
    """Robust reprojection error: Geman-McClure of the pixel distance with the given scale.

    rho(d) = d^2 / (1 + d^2 / s^2), whose IRLS weight is 1 / (1 + d^2 / s^2)^2: a point far off is a wrong point.
    """
    pixels = pixel_motion(world_motion(seen.points, coefficients), camera)
    residual, jacobian = pixels.value - seen.pixels, pixels.jacobian
    if seen.across is not None:
        residual = (seen.across * residual).sum(-1, keepdim=True)
        jacobian = (seen.across[..., None] * jacobian).sum(1, keepdim=True)
    spread = 1.0 + residual.square().sum(-1) / scale_px**2
    weight = (seen.precision / spread.square())[:, None].expand_as(residual)
    cost = (seen.precision * residual.square().sum(-1) / spread).sum()
    return LinearTerm(
        seen.name, jacobian.flatten(0, 1), residual.flatten(), weight.flatten(), unknowns.geometry, float(cost)
    )


def point_terms(
    points: Sequence[PointEvidence], camera: Camera, unknowns: Unknowns, coefficients: FaceCoefficients
) -> list[LinearTerm]:
    """The terms of all points at given coefficients."""
    return [point_term(seen, coefficients, camera, unknowns) for seen in points]
