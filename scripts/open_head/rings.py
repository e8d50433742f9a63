"""Closed edge loops of the head's skin, as they run in the source's quads."""

import numpy as np
from open_head.topology import HeadTopology


def loop_vertices(topology: HeadTopology, start: int) -> np.ndarray:
    """Model vertices of the shortest closed edge loop through a vertex of `base.obj`, in order around it."""
    place = np.full(int(topology.source_ids.max()) + 1, -1)
    known = topology.source_ids >= 0
    place[topology.source_ids[known]] = np.flatnonzero(known)
    return place[np.array(topology.skin_loop(start))]


def upper_and_lower(loop: np.ndarray, mean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The two halves of a loop around mouth or eye, each from -x to +x, both with the corners."""
    ends = loop[[mean[loop, 0].argmin(), mean[loop, 0].argmax()]]
    first, last = sorted(int(np.flatnonzero(loop == end)[0]) for end in ends)
    halves = (loop[first : last + 1], np.concatenate([loop[last:], loop[: first + 1]]))
    upper, lower = sorted(halves, key=lambda half: -mean[half, 1].mean())
    return upper[np.argsort(mean[upper, 0])], lower[np.argsort(mean[lower, 0])]
