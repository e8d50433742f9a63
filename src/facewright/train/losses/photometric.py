"""Robust, skin-aware photometric loss: equation 2 of Deng et al. 2019."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor


def photometric_loss(
    rendered_srgb: Float[Tensor, "B 3 H W"],
    photo_srgb: Float[Tensor, "B 3 H W"],
    weight: Float[Tensor, "B H W"],
    pooled: bool = False,
    rounding: float = 0.0,
    coding: Callable[[Tensor], Tensor] | None = None,
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

        coding: brings ``rendered_srgb`` to display coding, where it is not yet; asked for pixels that weigh something.

    Returns:
        A colour distance: 0 for equal pictures (``rounding`` where it is given), √3 for black against white.
    """
    weight, batch, of_each = weight.detach(), len(weight), weight[0].numel()
    ours, theirs = (picture.transpose(0, 1).flatten(1) for picture in (rendered_srgb, photo_srgb))
    each, places = weight.flatten(), None
    if weight.device.type == "cpu":  # most pixels weigh nothing; a GPU would rather compute them than count the others
        places = each.nonzero()[:, 0]
        ours, theirs, each = ours.index_select(1, places), theirs.index_select(1, places), each[places]
    squared = ((ours if coding is None else coding(ours)) - theirs).square().sum(0)
    # not linalg.vector_norm, which is ten times slower over so short an axis; the clamp stops the gradient at zero
    distance = (squared + rounding**2 if rounding > 0 else squared.clamp_min(torch.finfo(squared.dtype).tiny)).sqrt()
    if pooled:
        return (each * distance).sum() / each.sum().clamp_min(1.0)
    if places is None:
        sums = (each * distance).view(batch, -1).sum(1)
    else:
        sums = distance.new_zeros(batch).index_add(0, places // of_each, each * distance)
    return (sums / weight.sum((1, 2)).clamp_min(1.0)).mean()
