"""Whiteness of light: in the published programs, not in the paper, whose light is white (docs/deep3d.md, 6.2)."""

from jaxtyping import Float
from torch import Tensor


def gamma_loss(sh: Float[Tensor, "B 9 3"]) -> Float[Tensor, ""]:
    """Mean squared deviation of each channel's light from the mean of the three channels.

    Keeps the colour of skin out of the light; the light's strength and direction are free.

    Args:
        sh: spherical-harmonic coefficients per channel, before 0.8 is added to the constant band (the same for all
            channels: adding it changes nothing here).
    """
    return (sh - sh.mean(-1, keepdim=True)).square().mean()
