"""Procedural pictures: 1/f noise, backgrounds, and a block of solid noise. numpy, linear RGB 0..1."""

from functools import cache

import cv2
import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.ndimage import zoom
from torch import Tensor

GRAIN_SIZE, GRAIN_STEPS = 64, 20


def fractal_noise(rng: np.random.Generator, height: int, width: int, slope: float) -> Float[ndarray, "H W"]:
    """Noise whose amplitude falls as frequency^-slope (natural pictures: about 1); mean 0, deviation 1."""
    size = cv2.getOptimalDFTSize(max(height, width, 2))
    fy, fx = np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None]
    amplitude = np.hypot(fy, fx)
    amplitude[0, 0] = np.inf
    phase = np.exp(2j * np.pi * rng.random(amplitude.shape))
    noise = np.fft.irfft2(phase * amplitude**-slope, s=(size, size))[:height, :width]
    return ((noise - noise.mean()) / max(float(noise.std()), 1e-9)).astype(np.float32)


def draw_background(rng: np.random.Generator, height: int, width: int) -> Float[ndarray, "H W 3"]:
    """What is behind the person: coloured 1/f noise under random shapes, out of focus by a random amount.

    Drawn at a quarter of the size where it is blurred anyway.
    """
    blur = float(rng.choice([0.0, rng.uniform(0.005, 0.04)])) * max(height, width)
    shrink = 4 if blur > 4 else 2 if blur > 1 else 1
    h, w = -(-height // shrink), -(-width // shrink)
    base, spread = rng.uniform(0.02, 0.6), rng.uniform(0.02, 0.3)
    grey = fractal_noise(rng, h, w, rng.uniform(0.7, 1.6))[..., None]
    tint = fractal_noise(rng, h // 4 + 1, w // 4 + 1, 1.2)
    tint = cv2.resize(tint, (w, h), interpolation=cv2.INTER_LINEAR)[..., None]
    color = np.exp(0.2 * rng.standard_normal(3))
    picture = (base * color + spread * (grey + 0.15 * tint * rng.standard_normal(3))).astype(np.float32)
    for _ in range(int(rng.integers(0, 9))):
        picture = _with_shape(rng, picture)
    picture = cv2.GaussianBlur(picture, (0, 0), blur / shrink) if blur > 0.3 else picture
    if shrink > 1:
        picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_LINEAR)
    return picture.clip(0.0, 1.0)


def _with_shape(rng: np.random.Generator, picture: Float[ndarray, "H W 3"]) -> Float[ndarray, "H W 3"]:
    """A copy with a random ellipse or quadrangle of one colour."""
    h, w = picture.shape[:2]
    corners = rng.uniform(-0.1, 1.1, 2) + rng.uniform(-0.4, 0.4, (4, 2))
    points = (cv2.convexHull(corners.astype(np.float32))[:, 0] * [w, h]).astype(np.int32)
    color = tuple(float(c) for c in rng.beta(1.0, 2.0) * np.exp(0.4 * rng.standard_normal(3)))
    canvas = picture.copy()
    if rng.random() < 0.5:
        return cv2.fillPoly(canvas, [points], color, cv2.LINE_AA)
    middle, axes = points.mean(0).astype(int), np.ptp(points, axis=0) // 2
    return cv2.ellipse(canvas, tuple(middle.tolist()), tuple(axes.tolist()), 0.0, 0.0, 360.0, color, -1, cv2.LINE_AA)


@cache
def grain_block() -> Float[Tensor, " N"]:
    """Solid noise, the same for all scenes; pictures differ by where they read it."""
    rng = np.random.default_rng(7)
    fine, coarse = (rng.standard_normal((side,) * 3) for side in (GRAIN_SIZE, GRAIN_SIZE // 4))
    soft = np.asarray(zoom(coarse, 4, order=1, mode="grid-wrap", grid_mode=True))
    steps = np.round(GRAIN_STEPS * (0.7 * fine + 1.2 * soft)).clip(-127, 127)
    return torch.from_numpy(steps / GRAIN_STEPS).float().flatten()


@cache
def grain_bytes() -> Int[ndarray, " N"]:
    """``grain_block`` in whole steps of 1 / ``GRAIN_STEPS``: a quarter of the memory, for loops that read at random."""
    return (grain_block().numpy() * GRAIN_STEPS).round().astype(np.int8)


def read_grain(places: Float[Tensor, "P 3"]) -> Float[Tensor, " P"]:
    """Solid noise at places of any range, about -2..2; it repeats every two units.

    Cells are not interpolated: they are smaller than pixels, and several rays are averaged.
    """
    cell = (places * (GRAIN_SIZE / 2)).floor().to(torch.int32) & (GRAIN_SIZE - 1)
    index = (cell[:, 0] * GRAIN_SIZE + cell[:, 1]) * GRAIN_SIZE + cell[:, 2]
    return grain_block().to(places).index_select(0, index)
