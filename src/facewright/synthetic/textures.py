"""Procedural textures: 1/f noise, and a block of solid noise. numpy."""

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
