"""Environment maps by recipe: radiance from every direction of a room, a street, a studio or a sky, and its reduction.

A map is sampled at the directions of ``even_directions``; a matte surface sees it through nine spherical harmonics. The
brightest compact source of a place (sun, lamp, flash) is not in the map: it casts shadows and gloss, and stays apart.
World frame: y up, the camera looks along -z, so that +z is behind the camera. numpy, linear RGB.
"""

from collections.abc import Callable
from functools import cache
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from facewright.render.lighting import sh_basis
from facewright.synthetic.dice import sign

DIRECTIONS = 600
Radiance = Float[ndarray, "N 3"]
Place = Literal["sky", "shade", "room", "window", "studio", "hall", "dusk", "neon"]

DAYLIGHT, TUNGSTEN = np.array([0.93, 1.0, 1.09]), np.array([1.22, 0.98, 0.68])
"""Chromaticities of sources as a camera that balances for between them sees them."""


def draw_surroundings(rng: np.random.Generator, place: Place) -> Radiance:
    """A place's radiance at ``even_directions``, mean 1 over all directions and colours.

    Args:
        rng: random state; it advances.
        place: which recipe.
    """
    radiance = PLACES[place](rng, even_directions())
    return radiance / radiance.mean()


def harmonics_of(radiance: Radiance) -> Float[ndarray, "9 3"]:
    """Coefficients (without the renderer's offset) of what a matte white surface reflects of a map.

    Reflected is the integral of radiance and cosine over the hemisphere, divided by pi: 1 in a map of ones.
    """
    return _reduction() @ radiance


@cache
def even_directions() -> Float[ndarray, "N 3"]:
    """Unit vectors spread evenly over the sphere (a Fibonacci spiral)."""
    k = np.arange(DIRECTIONS) + 0.5
    z, turn = 1.0 - 2.0 * k / DIRECTIONS, np.pi * (1.0 + 5.0**0.5) * k
    ring = np.sqrt(1.0 - z**2)
    return np.stack([ring * np.cos(turn), ring * np.sin(turn), z], -1)


@cache
def _even_angles() -> tuple[Float[ndarray, " N"], Float[ndarray, " N"]]:
    """Azimuth from +z and height of ``even_directions``, radians."""
    at = even_directions()
    return np.arctan2(at[:, 0], at[:, 2]), np.arcsin(at[:, 1].clip(-1.0, 1.0))


def patch(azimuth: float, height: float, wide: float, tall: float) -> Float[ndarray, " N"]:
    """A soft rectangle on the sphere at ``even_directions``, 0..1: a window, a lamp, a softbox. Radians."""
    azimuths, heights = _even_angles()
    around = np.abs((azimuths - azimuth + np.pi) % (2.0 * np.pi) - np.pi)
    above = np.abs(heights - height)
    soft = 0.12  # about the distance of the directions
    return ((wide - around) / soft).clip(0.0, 1.0) * ((tall - above) / soft).clip(0.0, 1.0)


def _tint(rng: np.random.Generator, spread: float) -> ndarray:
    return np.exp(spread * rng.standard_normal(3))


def _ground(rng: np.random.Generator) -> ndarray:
    """What lies below reflects: sand and snow much, lawns and asphalt little."""
    return rng.uniform(0.1, 0.7) * np.array([1.05, 1.0, 0.92]) * _tint(rng, 0.06)


def _sky(rng: np.random.Generator, at: ndarray) -> Radiance:
    """Open sky, clear or overcast, over a ground."""
    up = at[:, 1:2]
    clear = rng.random() < 0.5
    zenith = np.array([0.75, 0.95, 1.25]) if clear else np.array([1.0, 1.0, 1.02])
    bright = (1.0 - 0.4 * up) if clear else (0.45 + 0.55 * up)  # clear skies are brighter low, overcast ones high
    above = zenith * bright * _tint(rng, 0.04)
    return np.where(up > 0.0, above, 0.6 * _ground(rng))


def _shade(rng: np.random.Generator, at: ndarray) -> Radiance:
    """Under trees or beside a house: half of the sky is missing, and what hides it is coloured."""
    light = _sky(rng, at)
    azimuth = rng.uniform(-np.pi, np.pi)
    hidden = patch(azimuth, rng.uniform(0.0, 0.9), rng.uniform(0.8, 1.6), rng.uniform(0.5, 1.2))[:, None]
    wall = rng.uniform(0.08, 0.5) * (np.array([0.75, 1.0, 0.5]) if rng.random() < 0.4 else _tint(rng, 0.15))
    return light * (1.0 - hidden) + wall * hidden


def _room(rng: np.random.Generator, at: ndarray) -> Radiance:
    """Walls, a darker floor, lamps at the ceiling, perhaps a window."""
    lamp = (DAYLIGHT, TUNGSTEN, 0.5 * (DAYLIGHT + TUNGSTEN))[int(rng.integers(3))]
    walls = 0.35 * _tint(rng, 0.08) * lamp
    up = at[:, 1:2]
    light = walls * (1.0 + 0.4 * up) * np.where(up < -0.5, rng.uniform(0.3, 0.9), 1.0)
    for _ in range(int(rng.integers(1, 5))):
        place = (rng.uniform(-np.pi, np.pi), rng.uniform(0.5, 1.4), rng.uniform(0.15, 0.5), rng.uniform(0.1, 0.3))
        light = light + patch(*place)[:, None] * lamp * rng.uniform(2.0, 8.0)
    return light + (_window(rng, at) if rng.random() < 0.4 else 0.0)


def _window(rng: np.random.Generator, at: ndarray) -> Radiance:
    """Little but one or two windows."""
    light = 0.18 * _tint(rng, 0.08) + np.zeros_like(at)
    azimuth = rng.uniform(-2.2, 2.2)
    for k in range(int(rng.integers(1, 3))):
        place = (azimuth + 0.9 * k, rng.uniform(0.0, 0.4), rng.uniform(0.25, 0.7), rng.uniform(0.3, 0.7))
        light = light + patch(*place)[:, None] * DAYLIGHT * rng.uniform(3.0, 8.0)
    return light


def _studio(rng: np.random.Generator, at: ndarray) -> Radiance:
    """Softboxes: a key, a fill, perhaps a rim light and a reflector from below; or a ring about the camera."""
    light = rng.uniform(0.03, 0.35) + np.zeros_like(at)
    side = sign(rng)
    boxes = [
        (side * rng.uniform(0.2, 1.1), rng.uniform(0.1, 0.9), rng.uniform(0.2, 0.6), rng.uniform(0.2, 0.6), 6.0),
        (-side * rng.uniform(0.3, 1.4), rng.uniform(-0.1, 0.6), 0.5, 0.5, rng.uniform(0.0, 3.0)),
    ]
    if rng.random() < 0.4:
        boxes.append((-side * rng.uniform(2.0, 2.9), rng.uniform(0.0, 0.9), 0.25, 0.5, rng.uniform(3.0, 12.0)))
    if rng.random() < 0.25:
        boxes.append((0.0, -0.9, 0.8, 0.3, rng.uniform(1.0, 3.0)))
    for azimuth, height, wide, tall, power in boxes:
        light = light + power * patch(azimuth, height, wide, tall)[:, None]
    return light * _tint(rng, 0.03)


def _hall(rng: np.random.Generator, at: ndarray) -> Radiance:
    """A stage or a hall: dark, lit from above by a few lamps of different colours."""
    light = 0.05 * _tint(rng, 0.3) + np.zeros_like(at)
    for _ in range(int(rng.integers(2, 6))):
        place = (rng.uniform(-np.pi, np.pi), rng.uniform(0.2, 1.2), 0.2, 0.2)
        light = light + patch(*place)[:, None] * TUNGSTEN * _tint(rng, 0.15) * rng.uniform(2.0, 10.0)
    return light


def _dusk(rng: np.random.Generator, at: ndarray) -> Radiance:
    """The sun is down or nearly: warm along one side of the horizon, blue above."""
    up, azimuth = at[:, 1:2], rng.uniform(-np.pi, np.pi)
    warm = patch(azimuth, 0.1, 1.2, 0.35)[:, None] * np.array([1.8, 0.9, 0.4]) * rng.uniform(1.0, 4.0)
    above = np.where(up > 0.0, np.array([0.55, 0.75, 1.2]) * (0.3 + 0.4 * up), 0.12 * np.array([1.1, 1.0, 0.9]))
    return above * rng.uniform(0.4, 1.2) + warm


def _neon(rng: np.random.Generator, at: ndarray) -> Radiance:
    """Coloured lamps from two or three sides: signs, screens, shows."""
    light = 0.08 + np.zeros_like(at)
    for _ in range(int(rng.integers(2, 4))):
        color = np.exp(0.45 * rng.standard_normal(3))
        place = (rng.uniform(-2.4, 2.4), rng.uniform(-0.3, 0.8), rng.uniform(0.3, 0.9), rng.uniform(0.2, 0.6))
        light = light + patch(*place)[:, None] * color * rng.uniform(1.0, 5.0)
    return light


PLACES: dict[Place, Callable[[np.random.Generator, ndarray], Radiance]] = {
    "sky": _sky,
    "shade": _shade,
    "room": _room,
    "window": _window,
    "studio": _studio,
    "hall": _hall,
    "dusk": _dusk,
    "neon": _neon,
}
"""Recipes by name."""


@cache
def _reduction() -> Float[ndarray, "9 N"]:
    """From radiance to coefficients: integrate over each surface's hemisphere, then fit the nine functions."""
    at = even_directions()
    reflected = (at @ at.T).clip(0.0) * 4.0 / DIRECTIONS
    return np.linalg.pinv(sh_basis(torch.from_numpy(at)).numpy()) @ reflected
