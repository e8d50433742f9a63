"""Skin attention: which pixels of a photo the photometric loss listens to (Deng et al. 2019, section 4.1.1).

A naive Bayes classifier of colours: two mixtures of four Gaussians in YCbCr, of skin and of everything else, fitted by
the authors to the skin data of Jones and Rehg. Constants and known answers: docs/deep3d.md, section 6.3. It knows
colours only: a wooden door is skin, and grey pictures have none.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

SKIN_PRIOR = 0.8


@dataclass(frozen=True)
class _Mixture:
    """Gaussians in (Y, Cb, Cr); of each inverse covariance the upper triangle xx, xy, xz, yy, yz, zz."""

    weights: tuple[float, ...]
    means: tuple[tuple[float, float, float], ...]
    determinants: tuple[float, ...]
    inverse_covariances: tuple[tuple[float, float, float, float, float, float], ...]


_SKIN = _Mixture(
    weights=(0.24063933, 0.16365987, 0.26034665, 0.33535415),
    means=(
        (113.71862, 103.39613, 164.08226),
        (150.19858, 105.18467, 155.51428),
        (183.92976, 107.62468, 152.71820),
        (114.90524, 113.59782, 151.38217),
    ),
    determinants=(5692842.5, 5851930.5, 2329131.0, 1585971.0),
    inverse_covariances=(
        (0.0019472069, 0.0020450759, -0.00060243998, 0.017700525, 0.0051420014, 0.0081308950),
        (0.0027110141, 0.0011036990, 0.0023122299, 0.010707724, 0.010742856, 0.017481629),
        (0.0048026871, 0.00022935172, 0.0077668377, 0.011729696, 0.0081661865, 0.025374353),
        (0.0011989699, 0.0022453172, -0.0010748957, 0.047758564, 0.020332102, 0.024502251),
    ),
)
_OTHER = _Mixture(
    weights=(0.12791070, 0.31130761, 0.34245777, 0.21832393),
    means=(
        (99.200851, 112.07533, 140.20602),
        (110.91392, 125.52969, 130.19237),
        (129.75864, 129.96107, 126.96808),
        (112.29587, 128.85121, 129.05431),
    ),
    determinants=(458703648.0, 6466488.0, 90611376.0, 133097.63),
    inverse_covariances=(
        (0.00085371657, 0.00071197288, 0.00023958916, 0.0025935620, 0.00076557708, 0.0015042332),
        (0.00024650150, 0.00045542428, 0.00015019422, 0.026412144, 0.018419769, 0.037497383),
        (0.00037054974, 0.00038146760, 0.00040408765, 0.0085505722, 0.0079136286, 0.010982352),
        (0.00013709733, 0.00051228428, 0.00012777430, 0.28237113, 0.10528370, 0.23468947),
    ),
)

# Rows give Y, Cb, Cr of R, G, B in 0..1, with studio offsets (ITU-R BT.601).
_YCBCR = ((65.481, 128.553, 24.966), (-37.797, -74.203, 112.0), (112.0, -93.786, -18.214))
_YCBCR_OFFSET = (16.0, 128.0, 128.0)


def skin_posterior(photo_srgb: Float[Tensor, "*B 3 H W"]) -> Float[Tensor, "*B H W"]:
    """Probability 0..1 that a pixel's colour is skin, with a prior of 0.8.

    Computed in logarithms: no colour underflows.

    Args:
        photo_srgb: sRGB-coded, 0..1.
    """
    rgb = photo_srgb.movedim(-3, -1)
    ycbcr = rgb @ rgb.new_tensor(_YCBCR).T + rgb.new_tensor(_YCBCR_OFFSET)
    odds = _log_density(ycbcr, _SKIN) - _log_density(ycbcr, _OTHER) + math.log(SKIN_PRIOR / (1.0 - SKIN_PRIOR))
    return torch.sigmoid(odds)


def skin_attention(photo_srgb: Float[Tensor, "*B 3 H W"], thresholded: bool = True) -> Float[Tensor, "*B H W"]:
    """Weights 0..1 of the photometric loss.

    Args:
        photo_srgb: sRGB-coded, 0..1.
        thresholded: 1 where the posterior is above one half, else the posterior, as in the paper; False: the posterior
            itself, as in both published programs (which round it to 1/255 besides).
    """
    posterior = skin_posterior(photo_srgb)
    return torch.where(posterior > 0.5, torch.ones_like(posterior), posterior) if thresholded else posterior


def _log_density(colors: Float[Tensor, "*B 3"], mixture: _Mixture) -> Float[Tensor, "*B"]:
    """Logarithm of a mixture's density, without the factor (2π)^(-3/2) that both mixtures share."""
    components = []
    for weight, mean, determinant, (xx, xy, xz, yy, yz, zz) in zip(
        mixture.weights, mixture.means, mixture.determinants, mixture.inverse_covariances, strict=True
    ):
        y, b, r = (colors - colors.new_tensor(mean)).unbind(-1)
        distance = xx * y * y + yy * b * b + zz * r * r + 2.0 * (xy * y * b + xz * y * r + yz * b * r)
        components.append(math.log(weight) - 0.5 * math.log(determinant) - 0.5 * distance)
    return torch.logsumexp(torch.stack(components), 0)
