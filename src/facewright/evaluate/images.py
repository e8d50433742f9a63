"""How well a rendered face repeats its photo: photometric error and overlap of masks. numpy, sRGB-coded values 0..1."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray


@dataclass(frozen=True)
class PhotometricErrors:
    """Over the counted pixels.

    Attributes:
        euclidean: weighted mean of the RGB vector's distance: Deep3D's photometric term, 0..sqrt(3).
        l1: weighted mean absolute difference over pixels and channels.
        psnr_db: of the weighted mean squared difference; infinite for equal pictures.
        pixels: sum of the weights.
    """

    euclidean: float
    l1: float
    psnr_db: float
    pixels: float


def photometric_errors(
    rendered_srgb: Float[ndarray, "3 H W"], photo_srgb: Float[ndarray, "3 H W"], weight: Float[ndarray, "H W"]
) -> PhotometricErrors:
    """Compare a rendering with its photo on the face.

    Args:
        rendered_srgb: coded for display.
        photo_srgb: likewise.
        weight: 0..1 per pixel: the rendered mask, times a skin mask where one is used.

    Raises:
        ValueError: no pixel counts.
    """
    total = float(weight.sum())
    if total <= 0:
        raise ValueError("expected pixels with weight, received none; the face lies outside of the photo")
    difference = rendered_srgb.astype(np.float64) - photo_srgb
    squared = np.square(difference).sum(0)
    mean_square = float((weight * squared).sum()) / (3.0 * total)
    return PhotometricErrors(
        float((weight * np.sqrt(squared)).sum()) / total,
        float((weight * np.abs(difference).mean(0)).sum()) / total,
        float(-10.0 * np.log10(mean_square)) if mean_square > 0 else float("inf"),
        total,
    )


def mask_iou(first: Bool[ndarray, "H W"], second: Bool[ndarray, "H W"]) -> float:
    """Intersection over union; 1 if both are empty. Part-IoU is its mean over facial parts."""
    union = int((first | second).sum())
    return float((first & second).sum()) / union if union else 1.0
