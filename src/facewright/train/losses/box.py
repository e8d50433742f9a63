"""Blendshape weights stay between none and all: for face models whose expressions are not normally distributed."""

from jaxtyping import Float
from torch import Tensor


def box_loss(exp: Float[Tensor, "B Kexp"]) -> Float[Tensor, ""]:
    """Squared distance of expression weights from the box 0..1, sum over weights, mean over the batch.

    Photographs alone let eyes roll and lips turn inside out: landmarks do not see what a weight of -0.5 does.

    Args:
        exp: blendshape weights (``FaceModel.exp_is_box``).
    """
    return (exp - exp.clamp(0.0, 1.0)).square().sum(-1).mean()
