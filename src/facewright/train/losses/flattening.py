"""Albedo flattening: equation 6 of Deng et al. 2019."""

from jaxtyping import Float
from torch import Tensor


def flattening_loss(albedo: Float[Tensor, "B V 3"], region: Float[Tensor, " V"]) -> Float[Tensor, ""]:
    """Variance of albedo over a skin region, summed over channels, mean over the batch.

    Meant for models whose albedo has shading baked in, as Basel's.

    Args:
        albedo: per vertex, 0..1, in the face model's own albedo space (Basel: display-coded).
        region: 0..1 per vertex: cheek, nose and forehead. A vertex of one half counts as half a vertex.

    Raises:
        ValueError: the region is empty.
    """
    total = region.sum()
    if not total > 0:
        raise ValueError(
            "expected a skin region with weight, received none; take a face model that has a 'skin' region"
        )
    share = (region / total)[:, None]
    mean = (share * albedo).sum(1, keepdim=True)
    return (share * (albedo - mean).square()).sum((1, 2)).mean()
