"""Flattening of triangle charts: Tutte's embedding, then the symmetric Dirichlet energy, which flips no triangle."""

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import splu


def boundary_loops(faces: np.ndarray) -> list[np.ndarray]:
    """Closed loops of a mesh's open edges, each in the direction of its faces, the longest (in edges) first."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    have = {(int(a), int(b)) for a, b in edges}
    following = {a: b for a, b in sorted(have) if (b, a) not in have}
    loops = []
    while following:
        start, here = min(following.items())
        del following[start]
        loop = [start]
        while here != start:
            loop.append(here)
            here = following.pop(here)
        loops.append(np.array(loop))
    return sorted(loops, key=len, reverse=True)


def fill_holes(faces: np.ndarray, count: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """Fans about new vertices (``count``, ``count + 1``, ...) that close all loops but the longest, and those loops."""
    holes = boundary_loops(faces)[1:]
    fans = [np.stack([np.roll(loop, -1), loop, np.full(len(loop), count + k)], 1) for k, loop in enumerate(holes)]
    return np.concatenate([np.zeros((0, 3), int), *fans]), holes


def tutte_embedding(faces: np.ndarray, count: int, rim: np.ndarray, rim_uv: np.ndarray) -> np.ndarray:
    """(count, 2) inner vertices in the mean of their neighbours, the rim on a convex curve: no flips (Tutte 1963)."""
    links = np.unique(np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1), axis=0)
    weights = sparse.coo_matrix((np.ones(len(links)), (links[:, 0], links[:, 1])), (count, count)).tocsr()
    weights = weights + weights.T
    laplacian = sparse.diags(np.asarray(weights.sum(1)).ravel()) - weights
    free = np.setdiff1d(np.arange(count), rim)
    uv = np.zeros((count, 2))
    uv[rim] = rim_uv
    uv[free] = splu(laplacian[free][:, free].tocsc()).solve(-laplacian[free][:, rim] @ rim_uv)
    return uv


def triangles_in_plane(corners: np.ndarray) -> np.ndarray:
    """(F, 3, 2) the triangles (F, 3, 3) laid flat, first corner at the origin, counter-clockwise."""
    along, across = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    length = np.linalg.norm(along, axis=1)
    x = (along * across).sum(1) / length
    y = np.linalg.norm(np.cross(along, across), axis=1) / length
    zero = np.zeros_like(x)
    return np.stack([np.stack([zero, zero], 1), np.stack([length, zero], 1), np.stack([x, y], 1)], 1)


def signed_areas(corners: np.ndarray) -> np.ndarray:
    """(F,) areas of plane triangles (F, 3, 2); positive if counter-clockwise."""
    a, b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    return 0.5 * (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0])


class Flattening:
    """Sum over triangles of weight times |J|^2 + |J^-1|^2, J taking the rest triangle to the plane.

    The energy is that of Smith and Schaefer 2015 (eq. 2); the descent is SLIM (Rabinovich et al. 2017, algorithm 1).

    Args:
        faces: (F, 3) ids of plane vertices.
        rest: (F, 3, 2) the triangles as they would like to be.
        weights: (F,) how much each counts.
        count: number of plane vertices.
    """

    def __init__(self, faces: np.ndarray, rest: np.ndarray, weights: np.ndarray, count: int) -> None:
        inverse = np.linalg.inv(np.stack([rest[:, 1] - rest[:, 0], rest[:, 2] - rest[:, 0]], -1))
        coefficients = np.concatenate([-inverse.sum(1, keepdims=True), inverse], 1)
        rows, columns = np.repeat(np.arange(len(faces)), 3), faces.ravel()
        self._gradients = [
            sparse.csr_matrix((coefficients[:, :, axis].ravel(), (rows, columns)), (len(faces), count))
            for axis in range(2)
        ]
        self._weights = weights

    def energy(self, uv: np.ndarray) -> float:
        """Weighted mean per triangle: 4 where nothing is distorted, infinite where a triangle is flipped."""
        jacobian = self._jacobian(uv)
        det = np.linalg.det(jacobian)
        if det.min() <= 0.0:
            return np.inf
        return float((self._weights * (jacobian**2).sum((1, 2)) * (1.0 + det**-2.0)).sum() / self._weights.sum())

    def minimise(self, uv: np.ndarray, *, steps: int) -> np.ndarray:
        """Descend from a valid embedding; the line search refuses flips."""
        value = self.energy(uv)
        for _ in range(steps):
            direction, length = self._proxy_minimum(uv) - uv, 1.0
            while not self.energy(uv + length * direction) < value:
                length *= 0.7
                if length < 1e-6:
                    return uv
            uv = uv + length * direction
            value, before = self.energy(uv), value
            if before - value < 1e-7 * value:
                break
        return uv

    def _jacobian(self, uv: np.ndarray) -> np.ndarray:
        return np.stack([g @ uv for g in self._gradients], -1)

    def _proxy_minimum(self, uv: np.ndarray) -> np.ndarray:
        """Minimum of the quadratic that agrees with the energy's gradient: |W (J - R)|^2, R the nearest rotation."""
        left, sigma, right = np.linalg.svd(self._jacobian(uv))
        away = np.where(np.abs(sigma - 1.0) < 1e-4, 1e-4, sigma - 1.0)
        squares = np.where(np.abs(sigma - 1.0) < 1e-4, 4.0, (sigma - sigma**-3.0) / away)
        stiffness = self._weights[:, None, None] * ((left * squares[:, None, :]) @ left.transpose(0, 2, 1))
        pull = stiffness @ (left @ right)
        blocks = [
            [sum(g.T @ sparse.diags(stiffness[:, r, c]) @ g for g in self._gradients) for c in range(2)]
            for r in range(2)
        ]
        system = sparse.csc_matrix(sparse.bmat(blocks))
        # A little of where it is now: takes away the freedom to shift.
        stay = 1e-4 * system.diagonal().mean()
        goal = sum(g.T @ pull[:, :, axis] for axis, g in enumerate(self._gradients)) + stay * uv
        solved = splu(system + stay * sparse.identity(2 * len(uv), format="csc")).solve(goal.T.ravel())
        return solved.reshape(2, -1).T
