"""Crops moved, resized, turned and mirrored at random, so that networks learn to live with a detector's errors."""

import math
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8
from numpy import ndarray

from facewright.bounds import Use, bounded, only
from facewright.train.samples import DataCard

_FARTHEST = 3.0  # deviations
_BLURRED_FROM = 1.25  # stored pixels per pixel; beyond, bilinear sampling alone would skip pixels


MOVED = Use("with --jitter", lambda options: options["jitter"])


@dataclass(frozen=True)
class CropJitter:
    """How far crops are moved. Truth of synthetic samples would not hold in mirrored or turned ones: they never are.

    Attributes:
        shift: in x and in y, as a share of the crop's side.
        scale: of the size, as a share.
        mirror: share of photographs that are mirrored.
        turn: of photographs, degrees.
        draw: ``normal``: shift, scale (of the size's logarithm) and turn are standard deviations; ``even``: limits.
        beyond: what lies outside of the stored crop: ``photo``: what is stored around it, and crops stay inside of
            that; ``black``, as in the PyTorch program of Deng et al.
    """

    shift: float = bounded(0.02, use=MOVED)
    scale: float = bounded(0.04, below=1, use=MOVED)
    mirror: float = bounded(0.5, most=1, use=MOVED)
    turn: float = bounded(0.0, most=180, use=MOVED)
    draw: Literal["normal", "even"] = only(MOVED, "normal")
    beyond: Literal["photo", "black"] = only(MOVED, "photo")


USUAL_JITTER = CropJitter()
NO_JITTER = CropJitter(0.0, 0.0, 0.0)


@dataclass(frozen=True)
class CropPlace:
    """Where in a stored crop a net's crop lies: x = middle + pitch F R^T (u - centre of u), F mirroring where asked.

    Attributes:
        middle: of the net's crop, stored crop px.
        pitch: stored pixels per pixel of the net's crop.
        size: side of the net's crop, px.
        mirrored: left and right exchanged.
        turn: of the picture, clockwise as seen, radians; after mirroring.
        blackened: what is stored beyond the crop is not shown.
    """

    middle: tuple[float, float]
    pitch: float
    size: int
    mirrored: bool
    turn: float = 0.0
    blackened: bool = False

    def picture(self, window: UInt8[ndarray, "W W *C"], margin: int) -> UInt8[ndarray, "S S *C"]:
        """Resample a stored window; what lies outside of it is black."""
        if self.blackened and margin:
            inside, whole = slice(margin, -margin), window
            window = np.zeros_like(whole)
            window[inside, inside] = whole[inside, inside]
        if self.pitch > _BLURRED_FROM:
            window = cv2.GaussianBlur(window, (0, 0), 0.5 * float(np.sqrt(self.pitch**2 - 1.0)))
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return cv2.warpAffine(window, self._window_from_crop(margin), (self.size, self.size), flags=flags)

    def points(self, points: Float[ndarray, "N 2"], partner: Int[ndarray, " N"]) -> Float[ndarray, "N 2"]:
        """Stored crop pixels to pixels of the net's crop.

        Args:
            points: centres at integers.
            partner: number of each point's mirror partner.
        """
        centred = (points - np.array(self.middle, np.float32)) / np.float32(self.pitch)
        if self.mirrored:
            centred = centred[partner] * np.array([-1.0, 1.0], np.float32)
        if self.turn:
            centred = centred @ self._rotation().T.astype(np.float32)
        return centred + np.float32((self.size - 1) / 2)

    def _rotation(self) -> Float[ndarray, "2 2"]:
        cosine, sine = math.cos(self.turn), math.sin(self.turn)
        return np.array([[cosine, -sine], [sine, cosine]])

    def _window_from_crop(self, margin: int) -> Float[ndarray, "2 3"]:
        flip = np.diag([-1.0 if self.mirrored else 1.0, 1.0])
        turned, half = self.pitch * flip @ self._rotation().T, (self.size - 1) / 2
        offset = np.array(self.middle) + margin - turned @ np.array([half, half])
        return np.concatenate([turned, offset[:, None]], 1)


def place_crop(
    card: DataCard,
    crop_size: int,
    jitter: CropJitter,
    normals: Float[ndarray, "4"],
    uniform: float,
    view: float = 1.0,
) -> CropPlace:
    """The place of one crop: jittered, but inside the stored window unless it is black beyond the crop.

    Args:
        card: what is stored.
        crop_size: side of the net's crop, px.
        jitter: how far.
        normals: standard-normal numbers for x, y, size and turn.
        uniform: number in 0..1 that decides on mirroring.
        view: how much more than the crop is seen, as a factor on its side; beyond the window it is black then.
    """
    photograph = card.kind == "photographs"
    if jitter.draw == "even":
        x, y, size, turn = (math.erf(number / math.sqrt(2.0)) for number in normals.tolist())
        grown = 1.0 + jitter.scale * size
    else:
        x, y, size, turn = normals.tolist()
        size, turn = (min(max(number, -_FARTHEST), _FARTHEST) for number in (size, turn))
        grown = math.exp(jitter.scale * size)
    angle = math.radians(jitter.turn * turn) if photograph else 0.0
    pitch, move = view * card.crop_size / (grown * crop_size), jitter.shift * card.crop_size * np.array([x, y])
    if jitter.beyond == "photo" and view == 1.0:
        reach = (
            card.crop_size - 1
        ) / 2 + card.margin  # from the middle to the centres of the window's outermost pixels
        half = (crop_size - 1) / 2 * (abs(math.cos(angle)) + abs(math.sin(angle)))
        pitch = min(pitch, reach / half)
        room = reach - pitch * half
        move = np.clip(move, -room, room)
    across, down = ((card.crop_size - 1) / 2 + move).tolist()
    mirrored = photograph and bool(uniform < jitter.mirror)
    return CropPlace((across, down), pitch, crop_size, mirrored, angle, jitter.beyond == "black")
