"""Light of synthetic scenes: a place around, and one sun or lamp; and the nine coefficients a face model sees it as."""

from dataclasses import dataclass, field, replace
from functools import cache
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from facewright.render.lighting import SH_DC_OFFSET, sh_basis
from facewright.synthetic.dice import picked, sign
from facewright.synthetic.surroundings import Place, draw_surroundings, even_directions, harmonics_of

LightKind = Literal["even", "side", "coloured", "dark"]
LIGHT_KINDS: dict[LightKind, float] = {"even": 0.48, "side": 0.32, "coloured": 0.12, "dark": 0.08}
"""Kinds of light and how often they are drawn."""
SURROUNDINGS: dict[LightKind, dict[Place, float]] = {
    "even": {"sky": 0.3, "shade": 0.15, "room": 0.3, "studio": 0.25},
    "side": {"sky": 0.3, "shade": 0.1, "room": 0.15, "window": 0.25, "studio": 0.1, "hall": 0.1},
    "coloured": {"dusk": 0.4, "neon": 0.3, "hall": 0.3},
    "dark": {"room": 0.3, "window": 0.2, "hall": 0.3, "dusk": 0.2},
}
"""Where people are by kind of light, and how often."""
MEAN_SKIN, MEAN_FACE = 0.28, 0.37
"""Luminance of a middling skin, and of its picture (linear) where nothing is in the light's way.

Hollows and tone curves take from it: cheeks come out at 56 % of full scale in sRGB, where cameras put faces."""
SKIN_EXPONENT = 0.55
"""How much of a skin's lightness its picture keeps: cameras expose partly for the face, partly for the world."""
BALANCED = 0.6
"""Share of a light's tint that cameras take back."""
EXPOSURE_SPREAD = 0.3
"""Deviation of the logarithm of a face's luminance about that."""


@dataclass(frozen=True)
class Light:
    """Irradiance on a matte surface: a sky over a ground, or a room; and a sun. World frame, linear RGB.

    Attributes:
        kind: what it was drawn as.
        sky: from above, on a surface that faces up.
        ground: from below.
        sun: on a surface that faces the sun.
        sun_direction: unit, toward the sun.
        gloss: share of the sun's light that skin mirrors at its brightest spot.
        room: harmonics of everything else around, without the renderer's offset.
    """

    kind: LightKind
    sky: Float[ndarray, "3"]
    ground: Float[ndarray, "3"]
    sun: Float[ndarray, "3"]
    sun_direction: Float[ndarray, "3"]
    gloss: float
    room: Float[ndarray, "9 3"] = field(default_factory=lambda: np.zeros((9, 3)))

    def irradiance(self, normals: Float[ndarray, "N 3"]) -> Float[ndarray, "N 3"]:
        """Light on surfaces that see everything."""
        return self._at(normals, sh_basis(torch.from_numpy(normals)).numpy())

    def _at(self, normals: Float[ndarray, "N 3"], basis: Float[ndarray, "N 9"]) -> Float[ndarray, "N 3"]:
        up = 0.5 + 0.5 * normals[:, 1:2]
        facing = (normals @ self.sun_direction).clip(0.0)[:, None]
        return up * self.sky + (1.0 - up) * self.ground + basis @ self.room + facing * self.sun

    def on_face(self) -> Float[ndarray, "3"]:
        """Light on a face that looks into the camera, on average."""
        return self._at(*_front()).mean(0)

    def scaled(self, factor: float | Float[ndarray, "3"]) -> "Light":
        """The same light, brighter or tinted."""
        scale = np.broadcast_to(np.asarray(factor, np.float64), (3,))
        lit = dict(sky=self.sky * scale, ground=self.ground * scale, sun=self.sun * scale, room=self.room * scale)
        return replace(self, **lit)


def harmonics_of_lights(
    lights: list[Light], world_from_view: Float[ndarray, "B 3 3"] | None = None
) -> Float[Tensor, "B 9 3"]:
    """Spherical harmonics of irradiances, in the renderer's convention; of a sun's, the first nine.

    Args:
        lights: of a batch of scenes.
        world_from_view: rotations of the frames that they are for; None: the world.
    """
    sky, ground, sun, toward, room = (
        np.stack([getattr(light, name) for light in lights])
        for name in ("sky", "ground", "sun", "sun_direction", "room")
    )
    normals, inverse, basis = _probes()
    at = np.broadcast_to(normals, (len(lights), *normals.shape))
    if world_from_view is not None:
        at = normals @ world_from_view.transpose(0, 2, 1)
        basis = sh_basis(torch.from_numpy(at)).numpy()
    up, along = 0.5 + 0.5 * at[..., 1:2], at @ toward[..., None]
    # A clamped cosine's first three bands (Ramamoorthi & Hanrahan 2001).
    facing = 0.25 + 0.5 * along + (5.0 / 32.0) * (3.0 * along**2 - 1.0)
    seen = up * sky[:, None] + (1.0 - up) * ground[:, None] + facing * sun[:, None]
    around = room if world_from_view is None else inverse @ (basis @ room)
    coefficients = inverse @ seen + around
    coefficients[:, 0] -= SH_DC_OFFSET
    return torch.from_numpy(coefficients).float()


@cache
def _probes() -> tuple[Float[ndarray, "N 3"], Float[ndarray, "9 N"], Float[ndarray, "N 9"]]:
    """Some directions; the pseudo-inverse of the nine functions there, exact for what they span; and the functions."""
    normals = even_directions()[::25]
    basis = sh_basis(torch.from_numpy(normals)).numpy()
    return normals, np.linalg.pinv(basis), basis


@cache
def _front() -> tuple[Float[ndarray, "3 3"], Float[ndarray, "3 9"]]:
    """Normals of a face that looks into the camera, and the nine functions there."""
    normals = np.array([[0.0, 0.2, 0.98], [0.5, 0.2, 0.84], [-0.5, 0.2, 0.84]])
    return normals, sh_basis(torch.from_numpy(normals)).numpy()


def draw_light(rng: np.random.Generator, kind: LightKind, skin_luminance: float, *, plain: bool = False) -> Light:
    """A light of a kind, exposed for a face as cameras do it: partly for the skin, partly for the world.

    Args:
        rng: random state; it advances.
        kind: ``even`` (a place around), ``side`` (a strong sun or lamp from any side), ``coloured`` (tinted),
            ``dark`` (any of those, under-exposed).
        skin_luminance: linear luminance of the face's albedo.
        plain: a sky over a ground instead of a place.
    """
    hard = {"even": 0.15, "side": 0.7, "coloured": 0.45, "dark": 0.5}[kind]
    share = float(np.clip(hard + 0.12 * rng.standard_normal(), 0.0, 0.9))
    spread = 0.3 if kind == "coloured" else 0.05
    sky, ground, sun = (np.exp(spread * rng.standard_normal(3)) for _ in range(3))
    light = Light(
        kind,
        (1.0 - share) * sky,
        (1.0 - share) * ground * rng.uniform(0.2, 0.8),
        2.0 * share * sun,
        _sun_direction(rng, sideways=kind == "side"),
        gloss=float(rng.uniform(0.03, 0.2)),
    )
    if not plain:
        around = harmonics_of(draw_surroundings(rng, picked(rng, SURROUNDINGS[kind])))
        light = replace(light, sky=np.zeros(3), ground=np.zeros(3), room=(1.0 - share) * around)
    on_face = light.on_face()
    front = max(float(on_face.mean()), 0.1)
    balanced = (front / on_face.clip(0.05)) ** BALANCED
    face = MEAN_FACE * (max(skin_luminance, 0.02) / MEAN_SKIN) ** SKIN_EXPONENT
    wanted = face * np.exp(EXPOSURE_SPREAD * rng.standard_normal()) / max(skin_luminance, 0.02)
    return light.scaled(balanced * wanted / front * (rng.uniform(0.15, 0.4) if kind == "dark" else 1.0))


def _sun_direction(rng: np.random.Generator, *, sideways: bool) -> Float[ndarray, "3"]:
    azimuth = sign(rng) * rng.uniform(0.7, 1.9) if sideways else rng.normal(0.0, 0.7)
    height = rng.uniform(-0.1, 1.0)
    return np.array([np.sin(azimuth) * np.cos(height), np.sin(height), np.cos(azimuth) * np.cos(height)])
