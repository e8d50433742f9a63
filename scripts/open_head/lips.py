"""Lips that touch at rest: the source's population targets leave some mouths open by up to three millimetres."""

import numpy as np
from open_head.rings import loop_vertices, upper_and_lower
from open_head.topology import HeadTopology
from scipy import sparse

REST_GAP = -0.002
"""dm between the lips at rest: they press on each other a little, so that no slit shows the teeth."""
RIM = 493
"""A vertex of `base.obj` on the edge loop along which the lips meet."""
SHARE_BY_LOOP = {
    1.0: (523, 493, 494),
    0.85: (513, 540),
    0.6: (495, 557),
    0.36: (496, 574),
    0.18: (492, 591),
    0.06: (5337, 608),
}
"""How much of the closing each loop around the mouth takes part in; loops are named by a vertex on the midline."""


def lip_closing(topology: HeadTopology, mean: np.ndarray) -> sparse.csr_matrix:
    """(V, V) matrix that takes heights (V,) to the change of height that removes the gap between the lips.

    Along the loop where the lips meet, the gap at a place is the height of the upper lip less that of the lower one at
    the same distance from the middle; both move by half of it, and the loops around take their share.

    Args:
        topology: of the head.
        mean: (V, 3) head on which distances from the middle are read, dm.
    """
    upper, lower = upper_and_lower(loop_vertices(topology, RIM), mean)
    count = len(mean)
    matrix = sparse.lil_matrix((count, count))
    for share, starts in SHARE_BY_LOOP.items():
        for start in starts:
            for row, sign in zip(upper_and_lower(loop_vertices(topology, start), mean), (-0.5, 0.5), strict=True):
                for vertex in row:
                    for weight, rim in ((1.0, upper), (-1.0, lower)):
                        for neighbour, part in _between(mean[rim, 0], mean[vertex, 0]):
                            matrix[vertex, rim[neighbour]] += sign * share * weight * part
    return sparse.csr_matrix(matrix)


def close_lips(topology: HeadTopology, heads: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Heads (N, V, 3) whose lips are ``REST_GAP`` apart: a smooth, affine map of the head."""
    closing = lip_closing(topology, mean)
    rest = closing @ np.where(
        np.isin(np.arange(len(mean)), upper_and_lower(loop_vertices(topology, RIM), mean)[0]), 1.0, 0.0
    )
    closed = heads.copy()
    closed[:, :, 1] += (closing @ heads[:, :, 1].T).T - REST_GAP * rest
    return closed


def _between(positions: np.ndarray, x: float) -> list[tuple[int, float]]:
    """Indices and weights that interpolate linearly at ``x`` in ascending positions."""
    place = float(np.interp(x, positions, np.arange(len(positions))))
    left = min(int(place), len(positions) - 2)
    return [(left, 1.0 - (place - left)), (left + 1, place - left)]
