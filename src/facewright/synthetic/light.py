"""Light of synthetic scenes: sky, ground and one sun, and the nine coefficients that a face model sees it as."""

from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from facewright.render.lighting import SH_DC_OFFSET, sh_basis

LightKind = Literal["even", "side", "coloured", "dark"]
LIGHT_KINDS: dict[LightKind, float] = {"even": 0.45, "side": 0.30, "coloured": 0.12, "dark": 0.13}
"""Kinds of light and how often they are drawn."""


@dataclass(frozen=True)
class Light:
    """Irradiance on a matte surface: a sky over a ground, and a sun. World frame, linear RGB.

    Attributes:
        kind: what it was drawn as.
        sky: from above, on a surface that faces up.
        ground: from below.
        sun: on a surface that faces the sun.
        sun_direction: unit, toward the sun.
        gloss: share of the sun's light that skin mirrors at its brightest spot.
    """

    kind: LightKind
    sky: Float[ndarray, "3"]
    ground: Float[ndarray, "3"]
    sun: Float[ndarray, "3"]
    sun_direction: Float[ndarray, "3"]
    gloss: float

    def irradiance(self, normals: Float[ndarray, "N 3"]) -> Float[ndarray, "N 3"]:
        """Light on surfaces that see everything."""
        up = 0.5 + 0.5 * normals[:, 1:2]
        facing = (normals @ self.sun_direction).clip(0.0)[:, None]
        return up * self.sky + (1.0 - up) * self.ground + facing * self.sun

    def scaled(self, factor: float | Float[ndarray, "3"]) -> "Light":
        """The same light, brighter or tinted."""
        scale = np.broadcast_to(np.asarray(factor, np.float64), (3,))
        return Light(self.kind, self.sky * scale, self.ground * scale, self.sun * scale, self.sun_direction, self.gloss)

    def sh(self, world_from_view: Float[ndarray, "3 3"] | None = None) -> Float[Tensor, "1 9 3"]:
        """Least-squares spherical harmonics of the irradiance over the sphere, in the renderer's convention.

        Args:
            world_from_view: rotation of the frame that they are for; None: the world.
        """
        normals, inverse = _sphere()
        coefficients = inverse @ self.irradiance(normals if world_from_view is None else normals @ world_from_view.T)
        coefficients[0] -= SH_DC_OFFSET
        return torch.from_numpy(coefficients).float()[None]


@cache
def _sphere(count: int = 600) -> tuple[ndarray, ndarray]:
    """Even directions (a Fibonacci spiral) and the pseudo-inverse of the basis at them."""
    k = np.arange(count) + 0.5
    z, turn = 1.0 - 2.0 * k / count, np.pi * (1.0 + 5.0**0.5) * k
    ring = np.sqrt(1.0 - z**2)
    normals = np.stack([ring * np.cos(turn), ring * np.sin(turn), z], -1)
    return normals, np.linalg.pinv(sh_basis(torch.from_numpy(normals)).numpy())


def draw_light(rng: np.random.Generator, kind: LightKind, skin_luminance: float) -> Light:
    """A light of a kind, exposed for a face as cameras do it: partly for the skin, partly for the world.

    Args:
        rng: random state; it advances.
        kind: ``even`` (sky and ground), ``side`` (a strong sun from any side), ``coloured`` (tinted sun and sky),
            ``dark`` (any of those, under-exposed).
        skin_luminance: linear luminance of the face's albedo.
    """
    hard = {"even": 0.15, "side": 0.75, "coloured": 0.5, "dark": 0.5}[kind]
    share = float(np.clip(hard + 0.12 * rng.standard_normal(), 0.0, 0.9))
    spread = 0.35 if kind == "coloured" else 0.05
    sky, ground, sun = (np.exp(spread * rng.standard_normal(3)) for _ in range(3))
    light = Light(
        kind,
        (1.0 - share) * sky,
        (1.0 - share) * ground * rng.uniform(0.2, 0.8),
        2.0 * share * sun,
        _sun_direction(rng, sideways=kind == "side"),
        gloss=float(rng.uniform(0.02, 0.25)),
    )
    front = light.irradiance(np.array([[0.0, 0.2, 0.98], [0.5, 0.2, 0.84], [-0.5, 0.2, 0.84]])).mean()
    wanted = 0.85 * np.exp(0.2 * rng.standard_normal()) * (0.235 / max(skin_luminance, 0.02)) ** 0.4
    return light.scaled(wanted / front * (rng.uniform(0.12, 0.35) if kind == "dark" else 1.0))


def _sun_direction(rng: np.random.Generator, *, sideways: bool) -> Float[ndarray, "3"]:
    azimuth = rng.choice([-1.0, 1.0]) * rng.uniform(0.7, 1.9) if sideways else rng.normal(0.0, 0.7)
    height = rng.uniform(-0.1, 1.0)
    return np.array([np.sin(azimuth) * np.cos(height), np.sin(height), np.cos(azimuth) * np.cos(height)])
