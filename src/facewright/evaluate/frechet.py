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
    """E-FID with the expression coefficients as features: all frames of all generated clips against all true ones.

    Papers name E-FID without a formula, and it is read in two ways (docs/deep3d.md section 12): the coefficients
    themselves are the features, which is this function; or an Inception network's features are compared, which
    needs pictures: hand those features to ``frechet_distance``. Figures of the two are not comparable.
    """
    return frechet_distance(first, second)


def expression_fid_per_clip(pairs: list[tuple[Float[ndarray, "N K"], Float[ndarray, "M K"]]]) -> float:
    """The same features, as the mean over clips of the distance of a generated clip from its true clip.

    Papers do not say whether frames are pooled. Clips are often shorter than coefficient vectors are long: these
    figures are larger, and never comparable with ``expression_fid``.
    """
    return float(np.mean([frechet_distance(generated, true) for generated, true in pairs]))
