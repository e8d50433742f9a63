"""From scene light to a picture file: blur, sensor noise, JPEG. numpy; linear RGB in, sRGB-coded bytes out."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray


@dataclass(frozen=True)
class Lens:
    """What a camera does to a picture.

    Attributes:
        blur_px: sigma of the blur.
        motion_px: length of the shake, px; 0 for none.
        motion_angle: direction of the shake, radians.
        shot_noise: deviation of the noise at full light, linear.
        read_noise: deviation of the noise in the dark, linear.
        quality: of the JPEG, 1..100; 0 for none.
    """

    blur_px: float = 0.0
    motion_px: float = 0.0
    motion_angle: float = 0.0
    shot_noise: float = 0.0
    read_noise: float = 0.0
    quality: int = 0


def draw_lens(rng: np.random.Generator, face_px: float, *, dark: bool) -> Lens:
    """A lens for a face of a size: mostly sharp and clean; noisier in the dark.

    Args:
        rng: random state; it advances.
        face_px: distance of the eyes; blur is a share of it.
        dark: whether the sensor had to be turned up.
    """
    noise = rng.uniform(0.002, 0.02) * (3.0 if dark else 1.0)
    return Lens(
        blur_px=float(abs(rng.normal(0.0, 0.008))) * face_px + 0.3,
        motion_px=float(rng.uniform(0.0, 0.08)) * face_px if rng.random() < 0.12 else 0.0,
        motion_angle=float(rng.uniform(0.0, np.pi)),
        shot_noise=float(noise),
        read_noise=float(0.15 * noise),
        quality=int(rng.integers(50, 99)),
    )


def take_picture(linear: Float[ndarray, "H W 3"], lens: Lens, rng: np.random.Generator) -> UInt8[ndarray, "H W 3"]:
    """Expose, code and compress."""
    picture = linear.astype(np.float32)
    if lens.blur_px > 0.2:
        picture = cv2.GaussianBlur(picture, (0, 0), lens.blur_px)
    if lens.motion_px > 1.0:
        picture = cv2.filter2D(picture, -1, _shake(lens))
    picture = picture.clip(0.0, None)
    if lens.shot_noise > 0:
        deviation = np.sqrt(lens.shot_noise**2 * picture + lens.read_noise**2)
        picture = picture + deviation * rng.standard_normal(picture.shape, dtype=np.float32)
    levels = _SRGB[(picture.clip(0.0, 1.0) * (len(_SRGB) - 1) + 0.5).astype(np.int32)]
    if not lens.quality:
        return levels
    _, code = cv2.imencode(".jpg", levels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, lens.quality])
    return np.ascontiguousarray(np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR))[..., ::-1])


def _shake(lens: Lens) -> Float[ndarray, "K K"]:
    """A line of equal weights."""
    half = int(np.ceil(lens.motion_px / 2))
    kernel = np.zeros((2 * half + 1, 2 * half + 1), np.float32)
    reach = 0.5 * lens.motion_px * np.array([np.cos(lens.motion_angle), np.sin(lens.motion_angle)])
    start, stop = ((half + sign * reach).round().astype(int).tolist() for sign in (-1, 1))
    cv2.line(kernel, start, stop, 1.0, 1, cv2.LINE_AA)
    return kernel / kernel.sum()


def _srgb_table(size: int = 8192) -> UInt8[ndarray, " size"]:
    linear = np.linspace(0.0, 1.0, size)
    coded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.round(255.0 * coded).astype(np.uint8)


_SRGB = _srgb_table()
