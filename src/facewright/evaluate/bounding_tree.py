"""A balanced tree of boxes over triangles, and exact closest points found through it with numpy alone.

The tree is a heap: node ``i`` has the children ``2 i + 1`` and ``2 i + 2``; all leaves lie on one level and hold
equally many triangles (some are repeated to fill them). ``closest_point_numba`` walks the same tree, query by query.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

LEAF_SIZE = 4
CHUNK = 4096
"""Queries that travel down the tree together: bounds the memory of the numpy search."""


@dataclass(frozen=True)
class BoundingTree:
    """Boxes over triangles.

    Attributes:
        low: lower corner of each node's box.
        high: upper corner.
        corners: corner positions of the triangles, leaf by leaf.
        face_index: which face of the mesh each of them is.
        leaf_size: triangles in a leaf.
    """

    low: Float[ndarray, "nodes 3"]
    high: Float[ndarray, "nodes 3"]
    corners: Float[ndarray, "slots 3 3"]
    face_index: Int[ndarray, " slots"]
    leaf_size: int

    @property
    def first_leaf(self) -> int:
        """Heap index of the first leaf."""
        return len(self.low) // 2


def build_tree(triangles: Float[ndarray, "F 3 3"]) -> BoundingTree:
    """Halve the triangles at the median of their middles' widest axis, until leaves hold at most ``LEAF_SIZE``."""
    count = len(triangles)
    depth = max(0, int(np.ceil(np.log2(count / LEAF_SIZE))))
    leaf_size = -(-count // 2**depth)
    groups = np.resize(np.arange(count), (1, leaf_size * 2**depth))
    middles = triangles.mean(1)
    for _ in range(depth):
        inside = middles[groups]
        axis = np.ptp(inside, axis=1).argmax(-1)
        along = np.take_along_axis(inside, axis[:, None, None], axis=2)[..., 0]
        order = np.argpartition(along, groups.shape[1] // 2, axis=1)
        groups = np.take_along_axis(groups, order, axis=1).reshape(2 * len(groups), -1)
    corners = np.ascontiguousarray(triangles[groups.ravel()])
    low, high = [corners.reshape(2**depth, -1, 3).min(1)], [corners.reshape(2**depth, -1, 3).max(1)]
    while len(low[0]) > 1:
        low.insert(0, low[0].reshape(-1, 2, 3).min(1))
        high.insert(0, high[0].reshape(-1, 2, 3).max(1))
    return BoundingTree(np.concatenate(low), np.concatenate(high), corners, groups.ravel(), leaf_size)


def search_numpy(tree: BoundingTree, points: Float[ndarray, "N 3"]) -> tuple[Int[ndarray, " N"], Float[ndarray, "N 3"]]:
    """Slot of each point's closest triangle, and the weights of its corners at the closest point."""
    slots, weights = np.zeros(len(points), np.int64), np.zeros((len(points), 3))
    for start in range(0, len(points), CHUNK):
        part = slice(start, start + CHUNK)
        slots[part], weights[part] = _search_chunk(tree, points[part])
    return slots, weights


def _search_chunk(tree: BoundingTree, points: ndarray) -> tuple[ndarray, ndarray]:
    """Pairs of query and node move down the levels together; those whose box is farther than a known triangle leave."""
    guess = _descend(tree, points)[:, None] + np.arange(tree.leaf_size)
    bound = _distances2(tree, points, guess)[0].min(1) * (1 + 1e-9) + 1e-300  # wider by far more than rounding
    query, node = np.arange(len(points)), np.zeros(len(points), np.int64)
    while node[0] < tree.first_leaf:
        query, node = np.repeat(query, 2), (2 * node[:, None] + (1, 2)).ravel()
        near = _box_distance2(tree, points[query], node) <= bound[query]
        query, node = query[near], node[near]
    slot = ((node - tree.first_leaf) * tree.leaf_size)[:, None] + np.arange(tree.leaf_size)
    distance2, weights = _distances2(tree, points[query], slot)
    # Pairs are still ordered by query: a stable sort by (query, distance) puts each query's best first.
    flat_query = np.repeat(query, tree.leaf_size)
    order = np.lexsort((distance2.ravel(), flat_query))
    best = order[np.searchsorted(flat_query, np.arange(len(points)))]
    return slot.ravel()[best], weights[best]


def _descend(tree: BoundingTree, points: ndarray) -> ndarray:
    """The first slot of the leaf reached by always taking the nearer box: a fair guess."""
    node = np.zeros(len(points), np.int64)
    for _ in range(int(np.log2(tree.first_leaf + 1))):
        left = 2 * node + 1
        node = left + (_box_distance2(tree, points, left + 1) < _box_distance2(tree, points, left))
    return (node - tree.first_leaf) * tree.leaf_size


def _box_distance2(tree: BoundingTree, points: ndarray, node: ndarray) -> ndarray:
    """Squared distances of points to boxes; zero inside."""
    outside = np.maximum(np.maximum(tree.low[node] - points, points - tree.high[node]), 0.0)
    return np.square(outside).sum(-1)


def _distances2(tree: BoundingTree, points: ndarray, slots: ndarray) -> tuple[ndarray, ndarray]:
    """Squared distance of each point to its row of slots; weights of the closest points, one row per pair."""
    corners, repeated = tree.corners[slots.ravel()], np.repeat(points, slots.shape[1], axis=0)
    weights = _closest_weights(corners, repeated)
    closest = np.einsum("nc,ncd->nd", weights, corners)
    return np.square(repeated - closest).sum(-1).reshape(slots.shape), weights


def _closest_weights(corners: Float[ndarray, "N 3 3"], points: Float[ndarray, "N 3"]) -> Float[ndarray, "N 3"]:
    """Weights of the corners at the closest point of each triangle: the best of its inside and its three edges.

    Every candidate lies on the triangle, so that slivers, segments and single points need no case of their own.
    """
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    ab, ac, ap = b - a, c - a, points - a
    normal = np.cross(ab, ac)
    area2 = np.square(normal).sum(-1)
    safe = np.where(area2 > 0, area2, 1.0)
    at_b, at_c = (np.cross(ap, ac) * normal).sum(-1) / safe, (np.cross(ab, ap) * normal).sum(-1) / safe
    inside = (area2 > 0) & (at_b >= 0) & (at_c >= 0) & (at_b + at_c <= 1)
    candidates = [np.where(inside[:, None], np.stack([1 - at_b - at_c, at_b, at_c], -1), [1.0, 0.0, 0.0])]
    for i, j in ((0, 1), (1, 2), (2, 0)):
        edge = corners[:, j] - corners[:, i]
        length2 = np.square(edge).sum(-1)
        along = ((points - corners[:, i]) * edge).sum(-1) / np.where(length2 > 0, length2, 1.0)
        weights = np.zeros((len(points), 3))
        weights[:, j] = along.clip(0.0, 1.0)
        weights[:, i] = 1.0 - weights[:, j]
        candidates.append(weights)
    stacked = np.stack(candidates)
    places = np.einsum("knc,ncd->knd", stacked, corners)
    best = np.square(places - points).sum(-1).argmin(0)
    return stacked[best, np.arange(len(points))]
