"""Which faces are good enough to learn from; every refusal has a reason that can be counted."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, UInt8
from numpy import ndarray

BLUR_OF_GRADIENTS_PX = 0.8
"""Gaussian blur of a portrait, px, times the ratio of Laplacian to gradient (deviation to root mean square) that it
leaves: 0.7 to 0.85 on 14 portraits at sigmas of 1 to 3 px."""
_SMOOTHING_PX = 1.5
"""Blur that is added first and subtracted after: noise and the steps of 8 bits would pass for sharpness."""
DARK, CLIPPED = 10, 250
"""Brightest byte of a pixel that shows nothing; least byte of two channels of one that is overexposed."""


@dataclass(frozen=True)
class QualityLimits:
    """What is asked of a face.

    Attributes:
        min_eye_px: distance of the eyes in the photo, px, were the face seen from the front.
        min_score: the detector's confidence, 0..1; not asked where points are given.
        min_mesh_score: the mesh network's, 0..1; the same. Below it the dense points say nothing.
        max_blur: sigma of the blur, as a share of the eye distance.
        max_outside: share of the face's points that lie outside of the photo.
        max_dark: share of the face that is black.
        max_clipped: share of the face that is overexposed (two of its three channels at their end).
        max_roll_deg: tilt of the head in the picture, degrees: the crop does not turn.
    """

    min_eye_px: float = 20.0
    min_score: float = 0.6
    min_mesh_score: float = 0.3
    max_blur: float = 0.06
    max_outside: float = 0.05
    max_dark: float = 0.4
    max_clipped: float = 0.25
    max_roll_deg: float = 50.0


def blur_px(window_srgb: UInt8[ndarray, "W W 3"], face: Bool[ndarray, "W W"]) -> float:
    """Estimate the blur of a face, sigma in pixels, from how fast its gradients change."""
    grey = cv2.cvtColor(window_srgb.astype(np.float32), cv2.COLOR_RGB2GRAY)
    grey = cv2.GaussianBlur(grey, (0, 0), _SMOOTHING_PX)
    across, down = (cv2.Sobel(grey, cv2.CV_32F, dx, 1 - dx, ksize=3)[face] / 8.0 for dx in (1, 0))
    gradient = float(np.sqrt(np.mean(across**2 + down**2)))
    bend = float(cv2.Laplacian(grey, cv2.CV_32F, ksize=1)[face].std())
    total = BLUR_OF_GRADIENTS_PX * gradient / bend if bend > 0.0 else float("inf")
    return float(np.sqrt(max(total**2 - _SMOOTHING_PX**2, 0.0)))


def picture_refusal(
    window_srgb: UInt8[ndarray, "W W 3"], face: Bool[ndarray, "W W"], eye_px: float, limits: QualityLimits
) -> tuple[str, str] | None:
    """Reason and detail why the pixels of a face are of no use; None if they are.

    Args:
        window_srgb: window around the face.
        face: where the face is in it.
        eye_px: eye distance in the window, px.
        limits: what is asked.
    """
    pixels = window_srgb[face]
    dark, clipped = float((pixels.max(-1) <= DARK).mean()), float((np.sort(pixels, -1)[:, 1] >= CLIPPED).mean())
    if dark > limits.max_dark:
        return "dark", f"expected at most {limits.max_dark:.0%} of the face black, received {dark:.0%}"
    if clipped > limits.max_clipped:
        return "bright", f"expected at most {limits.max_clipped:.0%} of the face overexposed, received {clipped:.0%}"
    blur = blur_px(window_srgb, face) / eye_px
    if blur > limits.max_blur:
        return "blurred", f"expected blur below {limits.max_blur:.3f} of the eye distance, received {blur:.3f}"
    return None
