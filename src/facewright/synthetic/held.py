"""What people hold before their faces: hands, phones, cups, microphones, paper, twigs. Flat, painted on the picture."""

from typing import Literal

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from facewright.synthetic.backdrops import noise_patch, thing_color
from facewright.synthetic.dice import picked, sign

HeldKind = Literal["hand", "phone", "cup", "microphone", "paper", "twigs", "thing"]
HELD_KINDS: dict[HeldKind, float] = {
    "hand": 0.45,
    "phone": 0.1,
    "cup": 0.1,
    "microphone": 0.1,
    "paper": 0.05,
    "twigs": 0.08,
    "thing": 0.12,
}
"""What is held and how often."""


def held_object(
    rng: np.random.Generator,
    low: Float[ndarray, "2"],
    high: Float[ndarray, "2"],
    size: tuple[int, int],
    skin: Float[ndarray, "3"],
) -> tuple[Float[ndarray, "H W 3"], Float[ndarray, "H W"]]:
    """Its paint (linear RGB), and where it covers.

    Args:
        rng: random state; it advances.
        low: least x and y of the head in the picture, px.
        high: greatest x and y.
        size: rows and columns of the picture.
        skin: linear colour of lit skin.
    """
    kind = picked(rng, HELD_KINDS)
    extent = float((high - low).max())
    middle = low + (high - low) * rng.uniform([0.1, 0.25], [0.9, 1.0])
    turn = rng.uniform(-0.9, 0.9) + (np.pi if kind in ("twigs", "thing") and rng.random() < 0.5 else 0.0)
    axes = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]) * extent

    def placed(x: float, y: float) -> tuple[int, int]:
        """From the thing's own frame (up is -y, a head is about 1 long) to pixels."""
        column, row = np.array([x, y]) @ axes + middle
        return int(column), int(row)

    mask = np.zeros(size, np.uint8)
    if kind == "hand":
        _fingers(rng, mask, placed, extent)
        return _rounded(mask, skin * rng.uniform(0.75, 1.15), extent, rng)
    if kind == "microphone":
        cv2.line(mask, placed(0.0, 0.1), placed(0.05, 1.5), 255, max(1, int(0.09 * extent)), cv2.LINE_AA)
        cv2.circle(mask, placed(0.0, 0.0), max(1, int(0.1 * extent)), 255, -1, cv2.LINE_AA)
        return _rounded(mask, np.full(3, rng.uniform(0.01, 0.2)), extent, rng)
    if kind == "twigs":
        for _ in range(int(rng.integers(4, 14))):
            x, y = rng.normal(0.0, 0.25, 2)
            axes_px = (max(1, int(0.1 * extent)), max(1, int(0.04 * extent)))
            cv2.ellipse(mask, placed(x, y), axes_px, float(rng.uniform(0, 180)), 0, 360, 255, -1, cv2.LINE_AA)
        green = np.array([0.06, 0.12, 0.03]) * rng.uniform(0.4, 2.0) * np.exp(0.2 * rng.standard_normal(3))
        return _rounded(mask, green, extent, rng)
    if kind == "thing":
        around = np.sort(rng.uniform(0, 2 * np.pi, 9))
        reach = rng.uniform(0.05, 0.3, 2) * rng.uniform(0.7, 1.3, (9, 1))
        outline = np.stack([np.cos(around), np.sin(around)], -1) * reach
    else:
        wide, tall = {"phone": (0.19, 0.38), "cup": (0.17, 0.22), "paper": (0.4, 0.5)}[kind]
        taper = 0.75 if kind == "cup" else 1.0
        outline = np.array([[-wide, -tall], [wide, -tall], [taper * wide, tall], [-taper * wide, tall]])
    corners = np.array([placed(x, y) for x, y in outline.tolist()], np.int32)
    cv2.fillPoly(mask, [corners], 255, cv2.LINE_AA)
    color = np.full(3, rng.uniform(0.01, 0.1)) if kind == "phone" else thing_color(rng, most=0.8)
    paint, cover = _rounded(mask, color, extent, rng)
    if kind in ("phone", "cup"):  # somebody holds it
        grip = np.zeros(size, np.uint8)
        for k in range(4):
            y = -0.05 + 0.085 * k
            ends = placed(-0.26, y + 0.03), placed(rng.uniform(-0.02, 0.08), y)
            cv2.line(grip, *ends, 255, max(1, int(0.075 * extent)), cv2.LINE_AA)
        hand, held = _rounded(grip, skin, extent, rng)
        paint = held[..., None] * hand + (1.0 - held[..., None]) * paint
        cover = np.maximum(cover, held)
    return paint.astype(np.float32), cover


def _fingers(rng: np.random.Generator, mask: UInt8[ndarray, "H W"], placed, extent: float) -> None:
    """A palm with four fingers and a thumb, spread or closed, some of them bent."""
    spread = rng.uniform(0.02, 0.14)
    thick = max(1, int(0.085 * extent))
    palm = [placed(-0.17, 0.0), placed(0.17, 0.0), placed(0.13, 0.42), placed(-0.13, 0.42)]
    cv2.fillPoly(mask, [np.array(palm, np.int32)], 255, cv2.LINE_AA)
    cv2.line(mask, placed(0.0, 0.35), placed(rng.normal(0.0, 0.1), 1.3), 255, max(1, int(0.24 * extent)), cv2.LINE_AA)
    for k, length in enumerate((0.30, 0.38, 0.36, 0.28)):
        x = -0.13 + 0.087 * k
        long = length * rng.uniform(0.5, 1.0)
        cv2.line(mask, placed(x, 0.03), placed(x + (k - 1.5) * spread, -long), 255, thick, cv2.LINE_AA)
    side = sign(rng)
    tip = placed(side * rng.uniform(0.2, 0.36), rng.uniform(-0.12, 0.15))
    cv2.line(mask, placed(side * 0.12, 0.25), tip, 255, thick, cv2.LINE_AA)


def _rounded(
    mask: UInt8[ndarray, "H W"], color: Float[ndarray, "3"], extent: float, rng: np.random.Generator
) -> tuple[Float[ndarray, "H W 3"], Float[ndarray, "H W"]]:
    """Paint that darkens toward the rim, as round things do, and the cover with a soft edge."""
    inside = cv2.distanceTransform((mask > 127).astype(np.uint8), cv2.DIST_L2, 3)
    shade = 0.45 + 0.55 * np.sqrt((inside / (0.045 * extent + 1.0)).clip(0.0, 1.0))
    shade = shade * np.exp(rng.uniform(0.02, 0.15) * noise_patch(rng, *mask.shape))
    cover = cv2.GaussianBlur(mask.astype(np.float32) / 255.0, (0, 0), 0.004 * extent + 0.3)
    return (shade[..., None] * color).astype(np.float32), cover
