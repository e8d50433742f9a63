"""Robust, skin-aware photometric loss: equation 2 of Deng et al. 2019."""

import torch
from jaxtyping import Float
from torch import Tensor


def photometric_loss(
    rendered_srgb: Float[Tensor, "B 3 H W"],
    photo_srgb: Float[Tensor, "B 3 H W"],
    weight: Float[Tensor, "B H W"],
    pooled: bool = False,
    rounding: float = 0.0,
) -> Float[Tensor, ""]:
    """Weighted mean distance of colours: ``Σ A ‖I - I'‖ / Σ A``.

    The norm is over the three channels, not squared: a wrong pixel (hair, glasses) pulls no harder than a slightly
    wrong one. Where photo and rendering are equal the gradient is zero. A total weight of less than one pixel counts as
    one pixel, so that a face outside of the crop costs nothing instead of dividing by zero.

    Args:
        rendered_srgb: coded for display, not clamped; carries the gradient.
        photo_srgb: coded for display, 0..1.
        weight: 0..1: skin attention times the rendered region. No gradient passes: where the face *is* must not be
            learnt from how little it is asked about.
        pooled: one mean over all pixels of the batch, as both published programs have it (docs/deep3d.md, section 6.2);
            otherwise the mean over photos of each photo's mean, as in the paper.
        rounding: colour distance below which the norm is rounded off, ``√(d² + rounding²)``; 1e-3 in the PyTorch
            program.

    Returns:
        A colour distance: 0 for equal pictures (``rounding`` where it is given), √3 for black against white.
    """
    squared = (rendered_srgb - photo_srgb).square().sum(1)
    # not linalg.vector_norm, which is ten times slower over so short an axis; the clamp stops the gradient at zero
    distance = (squared + rounding**2 if rounding > 0 else squared.clamp_min(torch.finfo(squared.dtype).tiny)).sqrt()
    weight = weight.detach()
    axes = (0, 1, 2) if pooled else (1, 2)
    return ((weight * distance).sum(axes) / weight.sum(axes).clamp_min(1.0)).mean()
