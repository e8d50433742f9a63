"""From scene light to a picture file: glass, sensor, developing, saving. numpy; linear RGB in, sRGB bytes out."""

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8
from numpy import ndarray

from facewright.compiled import can_compile, compiled
from facewright.synthetic.dice import sign

CODED_SIZE, CODED_RANGE = 4096, 2.0
"""Entries of the tone table (even in the root of the light), and the light of its last one: brighter is white."""
NOISE_BANK_PX, BLUR_STEP_PX = 512, 0.3


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
        vignette: share of the light that the corners lose.
        balance: gains of red, green and blue that are wrong.
        demosaic_px: sigma of the blur that filling in colours leaves on noise; 0 for none.
        shoulder: linear light from which highlights are compressed; 1 for none.
        contrast: of the tone curve; 0 for none.
        saturation: of colours; 1 leaves them.
        sharpening: of edges, with halos; 0 for none.
        shrink: factor by which the picture is made smaller, saved and enlarged again; 1 for none.
        quality_again: of a second JPEG, after that; 0 for none.
    """

    blur_px: float = 0.0
    motion_px: float = 0.0
    motion_angle: float = 0.0
    shot_noise: float = 0.0
    read_noise: float = 0.0
    quality: int = 0
    vignette: float = 0.0
    balance: tuple[float, float, float] = (1.0, 1.0, 1.0)
    demosaic_px: float = 0.0
    shoulder: float = 1.0
    contrast: float = 0.0
    saturation: float = 1.0
    sharpening: float = 0.0
    shrink: float = 1.0
    quality_again: int = 0


def draw_lens(rng: np.random.Generator, face_px: float, *, dark: bool) -> Lens:
    """A lens for a face of a size: mostly sharp and clean; noisier in the dark.

    Args:
        rng: random state; it advances.
        face_px: distance of the eyes; blur is a share of it.
        dark: whether the sensor had to be turned up.
    """
    noise = 0.006 * np.exp(0.8 * rng.standard_normal()) * (3.0 if dark else 1.0)
    warm, green = 0.07 * rng.standard_normal(), 0.02 * rng.standard_normal()
    small = rng.random() < 0.12
    return Lens(
        blur_px=float(abs(rng.normal(0.0, 0.012))) * face_px + 0.3,
        motion_px=float(rng.uniform(0.02, 0.12)) * face_px if rng.random() < 0.1 else 0.0,
        motion_angle=float(rng.uniform(0.0, np.pi)),
        shot_noise=float(min(noise, 0.035)),
        read_noise=float(min(0.15 * noise, 0.01)),
        quality=int(100 - 60 * rng.beta(1.2, 2.5)),
        vignette=float(rng.uniform(0.0, 0.5)) if rng.random() < 0.4 else 0.0,
        balance=(float(np.exp(warm)), float(np.exp(green)), float(np.exp(-warm))),
        demosaic_px=float(rng.uniform(0.3, 0.9)),
        shoulder=float(rng.uniform(0.45, 0.9)),
        contrast=float(np.clip(rng.normal(0.25, 0.25), -0.3, 0.8)),
        saturation=float(np.clip(rng.normal(1.05, 0.15), 0.6, 1.4)) if rng.random() > 0.03 else 0.0,
        sharpening=float(rng.uniform(0.2, 1.2)) if rng.random() < 0.4 else 0.0,
        shrink=float(rng.uniform(0.35, 0.85)) if small else 1.0,
        quality_again=int(rng.integers(40, 95)) if small or rng.random() < 0.25 else 0,
    )


def take_picture(linear: Float[ndarray, "H W 3"], lens: Lens, rng: np.random.Generator) -> UInt8[ndarray, "H W 3"]:
    """Expose, develop and compress."""
    reached = _through_glass(np.ascontiguousarray(linear, np.float32), lens)
    height, width = reached.shape[:2]
    noise = _drawn_noise(rng, height, width, lens.demosaic_px) if lens.shot_noise > 0 else None
    coded = read_sensor_compiled(reached, lens, noise) if can_compile() else read_sensor(reached, lens, noise)
    if lens.saturation != 1.0:
        grey = np.broadcast_to(np.array([0.299, 0.587, 0.114], np.float32), (3, 3))
        mixing = lens.saturation * np.eye(3, dtype=np.float32) + (1.0 - lens.saturation) * grey
        coded = cv2.transform(coded, mixing.astype(np.float32))
    if lens.sharpening > 0.0:
        coded = coded + lens.sharpening * (coded - cv2.GaussianBlur(coded, (0, 0), 1.0))
    levels = (coded.clip(0.0, 255.0) + 0.5).astype(np.uint8)
    levels = _saved(levels, lens.quality)
    if lens.shrink < 1.0:
        small = (max(8, round(width * lens.shrink)), max(8, round(height * lens.shrink)))
        levels = _saved(cv2.resize(levels, small, interpolation=cv2.INTER_AREA), lens.quality_again)
        return cv2.resize(levels, (width, height), interpolation=cv2.INTER_CUBIC)
    return _saved(levels, lens.quality_again)


def _through_glass(picture: Float[ndarray, "H W 3"], lens: Lens) -> Float[ndarray, "H W 3"]:
    """What reaches the sensor, linear."""
    if lens.vignette > 0.0:
        y, x = (np.linspace(-1.0, 1.0, side, dtype=np.float32) for side in picture.shape[:2])
        picture = picture * (1.0 - 0.5 * lens.vignette * (y[:, None] ** 2 + x**2))[..., None]
    if lens.blur_px > 0.2:
        picture = cv2.GaussianBlur(picture, (0, 0), lens.blur_px)
    if lens.motion_px > 1.0:
        picture = cv2.filter2D(picture, -1, _shake(lens))
    return picture


@dataclass(frozen=True)
class Noise:
    """A part of ready noise, turned by chance; drawing it anew would take longer than all the rest.

    Attributes:
        piece: deviation 1, rows and columns turned already.
        channels: of the piece that red, green and blue take.
        signs: of them.
    """

    piece: Float[ndarray, "H W 3"]
    channels: Int[ndarray, "3"]
    signs: Float[ndarray, "3"]


def _drawn_noise(rng: np.random.Generator, height: int, width: int, blur_px: float) -> Noise:
    bank = _noise_bank(max(NOISE_BANK_PX, 1 << (max(height, width) - 1).bit_length()), round(blur_px / BLUR_STEP_PX))
    top, left = rng.integers(bank.shape[0] - height + 1), rng.integers(bank.shape[1] - width + 1)
    piece = bank[top : top + height, left : left + width]
    signs = rng.choice(np.array([-1.0, 1.0], np.float32), 3)
    return Noise(piece[:: int(sign(rng)), :: int(sign(rng))], rng.permutation(3), signs)


def read_sensor(picture: Float[ndarray, "H W 3"], lens: Lens, noise: Noise | None) -> Float[ndarray, "H W 3"]:
    """Levels 0..255 of what reaches the sensor: noise, wrong balance, tones.

    Args:
        picture: linear light.
        lens: what is done to it.
        noise: None: none.
    """
    picture = picture.clip(0.0, None)
    if noise is not None:
        deviation = np.sqrt(picture * np.float32(lens.shot_noise**2) + np.float32(lens.read_noise**2))
        picture = picture + deviation * (noise.piece[..., noise.channels] * noise.signs)
    picture = picture * np.array(lens.balance, np.float32)
    place = np.sqrt(picture.clip(0.0, CODED_RANGE)) * np.float32((CODED_SIZE - 1) / CODED_RANGE**0.5)
    return _tones(lens.shoulder, lens.contrast).take((place + np.float32(0.5)).astype(np.intp))


def read_sensor_compiled(picture: Float[ndarray, "H W 3"], lens: Lens, noise: Noise | None) -> Float[ndarray, "H W 3"]:
    """``read_sensor`` in one loop.

    Raises:
        MissingExtraError: numba is not installed.
    """
    levels, numbers = np.zeros_like(picture), np.array([lens.shot_noise**2, lens.read_noise**2], np.float32)
    balance, tones = np.array(lens.balance, np.float32), _tones(lens.shoulder, lens.contrast)
    if noise is None:
        noise, numbers = Noise(picture, np.arange(3), np.zeros(3, np.float32)), np.zeros(2, np.float32)
    compiled(_read_sensor)(picture, noise.piece, noise.channels, noise.signs, numbers, balance, tones, levels)
    return levels


def _read_sensor(picture, noise, channels, signs, numbers, balance, tones, levels):
    """The loop of ``read_sensor_compiled``. For numba."""
    zero, half, brightest = np.float32(0.0), np.float32(0.5), np.float32(CODED_RANGE)
    scale = np.float32((CODED_SIZE - 1) / CODED_RANGE**0.5)
    for i in range(picture.shape[0]):
        for j in range(picture.shape[1]):
            for k in range(3):
                light = max(picture[i, j, k], zero)
                light += np.sqrt(light * numbers[0] + numbers[1]) * (noise[i, j, channels[k]] * signs[k])
                light = min(max(light * balance[k], zero), brightest)
                levels[i, j, k] = tones[np.uintp(np.sqrt(light) * scale + half)]


@cache
def _noise_bank(size_px: int, blur_steps: int) -> Float[ndarray, "S S 3"]:
    """Gaussian noise of deviation 1, blurred (and weaker by that) as filling in colours does."""
    noise = np.random.default_rng(13).standard_normal((size_px, size_px, 3), dtype=np.float32)
    return cv2.GaussianBlur(noise, (0, 0), blur_steps * BLUR_STEP_PX) if blur_steps else noise


def _saved(levels: UInt8[ndarray, "H W 3"], quality: int) -> UInt8[ndarray, "H W 3"]:
    """Through a JPEG of a quality; 0: as it is."""
    if not quality:
        return levels
    swapped = cv2.cvtColor(levels, cv2.COLOR_RGB2BGR)
    _, code = cv2.imencode(".jpg", swapped, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.cvtColor(np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR)), cv2.COLOR_BGR2RGB))


def _shake(lens: Lens) -> Float[ndarray, "K K"]:
    """A line of equal weights."""
    half = int(np.ceil(lens.motion_px / 2))
    kernel = np.zeros((2 * half + 1, 2 * half + 1), np.float32)
    reach = 0.5 * lens.motion_px * np.array([np.cos(lens.motion_angle), np.sin(lens.motion_angle)])
    start, stop = ((half + sign * reach).round().astype(int).tolist() for sign in (-1, 1))
    cv2.line(kernel, start, stop, 1.0, 1, cv2.LINE_AA)
    return kernel / kernel.sum()


def _tones(shoulder: float, contrast: float) -> Float[ndarray, " T"]:
    """Levels 0..255 by the root of linear light: highlights roll off, contrast turns about middle grey."""
    linear, coded, turned = _plain_tones()
    first = int(linear.searchsorted(shoulder, side="right")) if shoulder < 1.0 else CODED_SIZE
    if first < CODED_SIZE:
        room = 1.0 - shoulder
        bright = 1.055 * (shoulder + room * -np.expm1((shoulder - linear[first:]) / room)) ** (1 / 2.4) - 0.055
        coded = np.concatenate([coded[:first], bright])
        turned = np.concatenate([turned[:first], np.sin(2.0 * np.pi * bright)]) if contrast else turned
    if contrast:
        coded = coded - contrast / (2.0 * np.pi) * turned
    return (255.0 * coded).astype(np.float32)


@cache
def _plain_tones() -> tuple[Float[ndarray, " T"], Float[ndarray, " T"], Float[ndarray, " T"]]:
    """Linear light of the tone table's entries, its code 0..1, and the sine that contrast bends the code by."""
    linear = np.square(np.linspace(0.0, CODED_RANGE**0.5, CODED_SIZE, dtype=np.float32))
    clipped = linear.clip(0.0, 1.0)
    coded = np.where(clipped <= 0.0031308, 12.92 * clipped, 1.055 * clipped ** (1 / 2.4) - 0.055)
    return linear, coded, np.sin(2.0 * np.pi * coded)
