"""The smoothest deformation of space that brings distances between given points to given values.

A thin-plate spline in three dimensions (kernel |r|; Duchon 1977) through the measurement points: among all splines that
meet the wanted distances the one of least bending energy; scaling along the axes costs next to nothing.
"""

import numpy as np

AFFINE_COST = 0.02
"""Small price of the affine part per squared dm of movement, so that the answer is unique."""


class SpaceWarp:
    """A spline displacement of space.

    Args:
        centres: (c, 3) control points, dm.
        moves: (c, 3) their displacements, dm.
    """

    def __init__(self, centres: np.ndarray, moves: np.ndarray) -> None:
        self._centres = centres
        self._coefficients = np.linalg.solve(_spline_system(centres), np.concatenate([moves, np.zeros((4, 3))]))

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Displacements (..., 3) of points (..., 3), dm."""
        flat = points.reshape(-1, 3)
        kernel = np.linalg.norm(flat[:, None] - self._centres[None], axis=2)
        features = np.concatenate([kernel, np.ones((len(flat), 1)), flat], axis=1)
        return (features @ self._coefficients).reshape(points.shape)


def least_bending_moves(centres: np.ndarray, constraints: np.ndarray) -> np.ndarray:
    """(k, c, 3) moves of the control points that change one linearised distance by one and leave the others.

    Args:
        centres: (c, 3) control points, dm.
        constraints: (k, c, 3) gradient of each distance with respect to the control points.
    """
    count = len(centres)
    bending = np.linalg.inv(_spline_system(centres))[:count, :count]
    cost = -0.5 * (bending + bending.T)
    values, vectors = np.linalg.eigh(cost)
    cost = (vectors * np.maximum(values, 0.0)) @ vectors.T + AFFINE_COST * np.eye(count)
    inverse = np.linalg.inv(cost)
    pulled = np.einsum("ab,kbc->kac", inverse, constraints)
    gram = np.einsum("kac,jac->kj", pulled, constraints)
    return np.einsum("jk,kac->jac", np.linalg.inv(gram), pulled)


def _spline_system(centres: np.ndarray) -> np.ndarray:
    kernel = np.linalg.norm(centres[:, None] - centres[None], axis=2)
    affine = np.concatenate([np.ones((len(centres), 1)), centres], axis=1)
    return np.block([[kernel, affine], [affine.T, np.zeros((4, 4))]])


def warped(points: np.ndarray, warps: list[SpaceWarp]) -> np.ndarray:
    """Points (..., 3) after all deformations, one after the other, dm."""
    for warp in warps:
        points = points + warp(points)
    return points
