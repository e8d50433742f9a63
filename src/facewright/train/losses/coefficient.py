"""Coefficient regularisation: equation 5 of Deng et al. 2019."""

from jaxtyping import Float
from torch import Tensor

from facewright.records import FaceCoefficients


def coefficient_loss(
    coefficients: FaceCoefficients, id_weight: float, exp_weight: float, tex_weight: float
) -> Float[Tensor, ""]:
    """Pull towards the mean face: ``ω_α ‖α‖² + ω_β ‖β‖² + ω_δ ‖δ‖²``, mean over the batch.

    Sums, not means, over coefficients: each is a standard deviation of its mode, whatever their number.
    """
    per_face = (
        id_weight * coefficients.id.square().sum(-1)
        + exp_weight * coefficients.exp.square().sum(-1)
        + tex_weight * coefficients.tex.square().sum(-1)
    )
    return per_face.mean()
