"""Closed edge loops of the head's skin, as they run in the source's quads."""

import numpy as np
from open_head.topology import HeadTopology


def loop_vertices(topology: HeadTopology, start: int) -> np.ndarray:
    """Model vertices of the shortest closed edge loop through a vertex of `base.obj`, in order around it."""
    place = np.full(int(topology.source_ids.max()) + 1, -1)
    known = topology.source_ids >= 0
    place[topology.source_ids[known]] = np.flatnonzero(known)
    return place[np.array(topology.skin_loop(start))]
