"""Principal modes of shape of a population and its mirror image."""

import numpy as np


def symmetric_pca(
    heads: np.ndarray, mirror: np.ndarray, weights: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray, float]:
    """Principal components of heads and their mirror images together.

    The mean is exactly symmetric, and each mode is exactly symmetric or exactly antisymmetric: half of the sum and half
    of the difference of a head and its mirror image are uncorrelated in the doubled population, so each kind has its
    own components.

    Args:
        heads: (N, V, 3) dm.
        mirror: (V,) left-right partners.
        weights: (V,) importance of each vertex's squared distance.
        count: of modes.

    Returns:
        mean: (V, 3) dm.
        basis: (V, 3, count) dm per standard deviation, by falling weighted variance.
        kept: share of the weighted variance that the modes hold.
    """
    flipped = heads[:, mirror] * np.array([-1.0, 1.0, 1.0], heads.dtype)
    mean = (0.5 * (heads.mean(0, dtype=np.float64) + flipped.mean(0, dtype=np.float64))).astype(heads.dtype)
    modes, variances = [], []
    for kind in (0.5 * (heads + flipped) - mean, 0.5 * (heads - flipped)):
        basis, variance = _components(kind, weights, min(count, len(heads) - 1))
        modes.append(basis)
        variances.append(variance)
    total = sum(float(kind.sum()) for kind in variances)
    largest = np.concatenate([kind[:count] for kind in variances])
    order = np.argsort(-largest, kind="stable")[:count]
    basis = np.concatenate([kind[:, :, :count] for kind in modes], axis=2)[:, :, order]
    return mean.astype(np.float64), basis, float(largest[order].sum() / total)


def _components(offsets: np.ndarray, weights: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Basis (V, 3, count) per standard deviation and all weighted variances of zero-mean offsets (N, V, 3)."""
    number = len(offsets)
    weighted = (offsets * np.sqrt(weights)[:, None].astype(offsets.dtype)).reshape(number, -1)
    gram = (weighted @ weighted.T).astype(np.float64) / number
    values, vectors = np.linalg.eigh(gram)
    values, vectors = np.maximum(values[::-1], 0.0), vectors[:, ::-1][:, :count]
    # A fixed sign per mode, so that a rebuild gives the same file.
    vectors = vectors * np.sign(vectors[np.abs(vectors).argmax(0), np.arange(count)])
    basis = offsets.reshape(number, -1).T.astype(np.float64) @ vectors / np.sqrt(number)
    return basis.reshape(*offsets.shape[1:], count), values
