"""Colours as people tell them apart: CIELAB (D65), and the difference of two by CIE76 and CIEDE2000."""

import torch
from jaxtyping import Float
from torch import Tensor

_XYZ_FROM_RGB = (
    (0.4124564, 0.3575761, 0.1804375),
    (0.2126729, 0.7151522, 0.0721750),
    (0.0193339, 0.1191920, 0.9503041),
)
_WHITE = (0.95047, 1.0, 1.08883)
_KNEE = 6.0 / 29.0


def lab_from_linear(rgb: Float[Tensor, "*B 3"]) -> Float[Tensor, "*B 3"]:
    """Linear RGB (sRGB's primaries; 1 is white) to L*, a*, b*. What is below zero goes on straight, with its slope."""
    xyz = rgb @ rgb.new_tensor(_XYZ_FROM_RGB).T / rgb.new_tensor(_WHITE)
    curve = xyz.clamp_min(_KNEE**3) ** (1.0 / 3.0)
    x, y, z = torch.where(xyz > _KNEE**3, curve, xyz / (3.0 * _KNEE**2) + 4.0 / 29.0).unbind(-1)
    return torch.stack([116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)], -1)


def color_difference(first: Float[Tensor, "*B 3"], second: Float[Tensor, "*B 3"]) -> Float[Tensor, "*B"]:
    """CIE76: the distance in CIELAB; about 2.3 can just be seen. Rounded at zero, so that it has a slope there."""
    return ((first - second).square().sum(-1) + 1e-4).sqrt()


def ciede2000(first: Float[Tensor, "*B 3"], second: Float[Tensor, "*B 3"]) -> Float[Tensor, "*B"]:
    """CIEDE2000 of colours in CIELAB (Sharma, Wu & Dalal 2005), all weights 1. For measuring, not for gradients."""
    (l1, a1, b1), (l2, a2, b2) = first.double().unbind(-1), second.double().unbind(-1)
    mean_chroma = (torch.hypot(a1, b1) + torch.hypot(a2, b2)) / 2.0
    stretch = 1.5 - 0.5 * (mean_chroma**7 / (mean_chroma**7 + 25.0**7)).sqrt()
    a1, a2 = a1 * stretch, a2 * stretch
    c1, c2 = torch.hypot(a1, b1), torch.hypot(a2, b2)
    h1, h2 = (torch.rad2deg(torch.atan2(b, a)) % 360.0 for a, b in ((a1, b1), (a2, b2)))
    grey = c1 * c2 == 0
    turn = torch.where(grey, 0.0, (h2 - h1 + 180.0) % 360.0 - 180.0)
    d_l, d_c = l2 - l1, c2 - c1
    d_h = 2.0 * (c1 * c2).sqrt() * torch.sin(torch.deg2rad(turn) / 2.0)
    lightness, c = (l1 + l2) / 2.0, (c1 + c2) / 2.0
    half = (h1 + h2) / 2.0
    half = torch.where((h1 - h2).abs() > 180.0, torch.where(h1 + h2 < 360.0, half + 180.0, half - 180.0), half)
    h = torch.where(grey, h1 + h2, half)

    def cosine(factor: float, offset: float) -> Tensor:
        return torch.cos(torch.deg2rad(factor * h + offset))

    t = 1.0 - 0.17 * cosine(1.0, -30.0) + 0.24 * cosine(2.0, 0.0) + 0.32 * cosine(3.0, 6.0) - 0.20 * cosine(4.0, -63.0)
    from_middle = (lightness - 50.0) ** 2
    s_l = 1.0 + 0.015 * from_middle / (20.0 + from_middle).sqrt()
    s_c, s_h = 1.0 + 0.045 * c, 1.0 + 0.015 * c * t
    bend = 60.0 * torch.exp(-(((h - 275.0) / 25.0) ** 2))
    r_t = -torch.sin(torch.deg2rad(bend)) * 2.0 * (c**7 / (c**7 + 25.0**7)).sqrt()
    parts = d_l / s_l, d_c / s_c, d_h / s_h
    squared = parts[0] ** 2 + parts[1] ** 2 + parts[2] ** 2 + r_t * parts[1] * parts[2]
    return squared.clamp_min(0.0).sqrt().to(first)
