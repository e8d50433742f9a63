"""Frechet distance between two sets of coefficients, as "E-FID" uses it on expressions. numpy."""

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.linalg import eigh


def frechet_distance(first: Float[ndarray, "N K"], second: Float[ndarray, "M K"]) -> float:
    """Squared Frechet (2-Wasserstein) distance of the Gaussians with the sets' means and covariances.

    |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)): the formula of FID (Heusel 2017) with coefficients for features. With
    fewer samples than coefficients the covariances are of low rank; the distance is still defined, and biased upwards.

    Raises:
        ValueError: fewer than two samples, or different numbers of coefficients.
    """
    if min(len(first), len(second)) < 2 or first.shape[1] != second.shape[1]:
        raise ValueError(
            f"expected two sets of at least 2 equally long rows, received {first.shape} and {second.shape}"
        )
    offset = first.mean(0) - second.mean(0)
    cov1, cov2 = (np.atleast_2d(np.cov(rows, rowvar=False)) for rows in (first, second))
    values, vectors = eigh(cov1)
    root1 = (vectors * np.sqrt(values.clip(0.0))) @ vectors.T
    cross = np.sqrt(eigh(root1 @ cov2 @ root1, eigvals_only=True).clip(0.0)).sum()  # tr (C1 C2)^(1/2), symmetric form
    return float(max(0.0, offset @ offset + np.trace(cov1) + np.trace(cov2) - 2.0 * cross))


def expression_fid(first: Float[ndarray, "N K"], second: Float[ndarray, "M K"]) -> float:
    """E-FID over a pool: all frames of all generated clips against all frames of the true ones.

    Papers name E-FID without a formula; this is one of the two readings in use, the coefficients themselves taken as
    features (no Inception network). The other is ``expression_fid_per_clip``.
    """
    return frechet_distance(first, second)


def expression_fid_per_clip(pairs: list[tuple[Float[ndarray, "N K"], Float[ndarray, "M K"]]]) -> float:
    """E-FID as the mean over clips of the distance between a generated clip's frames and its true clip's frames.

    The second reading in use. Clips are shorter than coefficient vectors are long more often than not, so its
    figures are larger and never comparable with ``expression_fid``.
    """
    return float(np.mean([frechet_distance(generated, true) for generated, true in pairs]))
