"""sRGB coding. Everything is linear inside; only the photo's door and export speak sRGB.

The albedo of some face models is the exception: it is display-coded, and so is what it looks like in a light. The two
functions at the end are the one place where that is asked.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from facewright.records import AlbedoSpace


def linear_from_srgb(srgb: Float[Tensor, "*B"]) -> Float[Tensor, "*B"]:
    """Decode sRGB (IEC 61966-2-1). Odd outside of 0..1: negative values mirror, so that gradients live everywhere."""
    magnitude = srgb.abs()
    curve = ((magnitude.clamp_min(0.04045) + 0.055) / 1.055) ** 2.4
    return srgb.sign() * torch.where(magnitude <= 0.04045, magnitude / 12.92, curve)


def srgb_from_linear(linear: Float[Tensor, "*B"]) -> Float[Tensor, "*B"]:
    """Encode to sRGB; the inverse of ``linear_from_srgb``."""
    magnitude = linear.abs()
    curve = 1.055 * magnitude.clamp_min(0.0031308) ** (1.0 / 2.4) - 0.055
    return linear.sign() * torch.where(magnitude <= 0.0031308, magnitude * 12.92, curve)


def display_from_albedo(color: Float[Tensor, "*B"], space: AlbedoSpace) -> Float[Tensor, "*B"]:
    """Albedo, or albedo in some light, as a screen shows it: sRGB-coded, not clamped.

    Args:
        color: coded as ``space`` says.
        space: coding of the albedo, of which colours in a light have it.
    """
    return color if space == "display" else srgb_from_linear(color)


def albedo_from_display(srgb: Float[Tensor, "*B"], space: AlbedoSpace) -> Float[Tensor, "*B"]:
    """The inverse of ``display_from_albedo``."""
    return srgb if space == "display" else linear_from_srgb(srgb)
