"""3D face recognition from coefficients, as Tran et al. 2017 do it. numpy."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray


@dataclass(frozen=True)
class SignedRootPca:
    """Coefficients to descriptors: PCA of the benchmark's training split, then signed square root; compare by cosine.

    Attributes:
        mean: of the training descriptors.
        directions: orthonormal rows.
    """

    mean: Float[ndarray, " K"]
    directions: Float[ndarray, "P K"]

    @classmethod
    def fit(cls, training: Float[ndarray, "N K"], num_directions: int | None = None) -> "SignedRootPca":
        """Learn from a training split; all directions with variance are kept if ``num_directions`` is None."""
        mean = training.mean(0)
        _, sizes, rows = np.linalg.svd(training - mean, full_matrices=False)
        rank = int((sizes > sizes[0] * 1e-10).sum())
        return cls(mean, rows[: min(rank, num_directions or rank)])

    def describe(self, coefficients: Float[ndarray, "N K"]) -> Float[ndarray, "N P"]:
        """Descriptors: sign(x) sqrt|x| of the projections."""
        projected = (coefficients - self.mean) @ self.directions.T
        return np.sign(projected) * np.sqrt(np.abs(projected))


def pool_sets(
    coefficients: Float[ndarray, "N K"], sets: Int[ndarray, " N"], weights: Float[ndarray, " N"] | None = None
) -> tuple[Float[ndarray, "S K"], Int[ndarray, " S"]]:
    """Average the coefficients of each video or template *before* they become descriptors.

    Args:
        coefficients: per frame.
        sets: which set each frame is of.
        weights: confidence of frames; equal if None.

    Returns:
        One row per set, and the sets' numbers in ascending order.

    Raises:
        ValueError: the weights of a set sum to zero.
    """
    numbers, index = np.unique(sets, return_inverse=True)
    w = np.ones(len(sets)) if weights is None else weights
    totals = np.bincount(index, weights=w)
    if (totals <= 0).any():
        raise ValueError(f"expected positive total weight per set, received none in set {numbers[totals <= 0][0]}")
    pooled = np.zeros((len(numbers), coefficients.shape[1]))
    np.add.at(pooled, index, coefficients * w[:, None])
    return pooled / totals[:, None], numbers
