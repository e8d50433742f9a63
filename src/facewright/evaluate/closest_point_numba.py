"""Closest points on triangles, compiled for the CPU by numba at the first call: the fast twin of ``bounding_tree``."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray

from facewright.evaluate.bounding_tree import BoundingTree
from facewright.render.compiled import compiled


def search_numba(tree: BoundingTree, points: Float[ndarray, "N 3"]) -> tuple[Int[ndarray, " N"], Float[ndarray, "N 3"]]:
    """See ``bounding_tree.search_numpy``. Runs on as many threads as torch does."""
    walk, count = compiled(_walk), len(points)
    slots, weights = np.zeros(count, np.int64), np.zeros((count, 3))
    workers = max(1, min(torch.get_num_threads(), count // 1024))
    edges = np.linspace(0, count, workers + 1).astype(int).tolist()

    def run(start: int, end: int) -> None:
        walk(tree.low, tree.high, tree.corners, tree.leaf_size, points[start:end], slots[start:end], weights[start:end])

    if workers == 1:  # starting a thread takes longer than a thousand points
        run(0, count)
    else:
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(run, edges[:-1], edges[1:]))
    return slots, weights


def _walk(low, high, corners, leaf_size, points, slots, weights):  # noqa: C901 - numba compiles and caches it whole
    """Depth-first, the nearer box first; a box farther than the best triangle so far is not opened."""
    first_leaf = low.shape[0] // 2
    stack = np.zeros(64, np.int64)
    stack_distance2 = np.zeros(64)
    found = np.zeros(3)  # weights of the query's projection on the triangle
    for n in range(points.shape[0]):
        px, py, pz = points[n, 0], points[n, 1], points[n, 2]
        best = np.inf
        stack[0], stack_distance2[0], height = 0, 0.0, 1
        while height > 0:
            height -= 1
            node = stack[height]
            if stack_distance2[height] >= best:
                continue
            if node < first_leaf:
                left = 2 * node + 1
                near, far = 0.0, 0.0
                for side in range(2):
                    child = left + side
                    dx = max(low[child, 0] - px, px - high[child, 0], 0.0)
                    dy = max(low[child, 1] - py, py - high[child, 1], 0.0)
                    dz = max(low[child, 2] - pz, pz - high[child, 2], 0.0)
                    if side == 0:
                        near = dx * dx + dy * dy + dz * dz
                    else:
                        far = dx * dx + dy * dy + dz * dz
                near_child, far_child = left, left + 1
                if far < near:
                    near, far = far, near
                    near_child, far_child = left + 1, left
                if far < best:
                    stack[height], stack_distance2[height] = far_child, far
                    height += 1
                if near < best:
                    stack[height], stack_distance2[height] = near_child, near
                    height += 1
                continue
            first = (node - first_leaf) * leaf_size
            for slot in range(first, first + leaf_size):
                ax, ay, az = corners[slot, 0, 0], corners[slot, 0, 1], corners[slot, 0, 2]
                abx, aby, abz = corners[slot, 1, 0] - ax, corners[slot, 1, 1] - ay, corners[slot, 1, 2] - az
                acx, acy, acz = corners[slot, 2, 0] - ax, corners[slot, 2, 1] - ay, corners[slot, 2, 2] - az
                apx, apy, apz = px - ax, py - ay, pz - az
                nx, ny, nz = aby * acz - abz * acy, abz * acx - abx * acz, abx * acy - aby * acx
                area2 = nx * nx + ny * ny + nz * nz
                at_a, at_b, at_c = -1.0, -1.0, -1.0
                if area2 > 0.0:
                    at_b = (
                        (apy * acz - apz * acy) * nx + (apz * acx - apx * acz) * ny + (apx * acy - apy * acx) * nz
                    ) / area2
                    at_c = (
                        (aby * apz - abz * apy) * nx + (abz * apx - abx * apz) * ny + (abx * apy - aby * apx) * nz
                    ) / area2
                    at_a = 1.0 - at_b - at_c
                    if at_a >= 0.0 and at_b >= 0.0 and at_c >= 0.0:
                        ex = apx - at_b * abx - at_c * acx
                        ey = apy - at_b * aby - at_c * acy
                        ez = apz - at_b * abz - at_c * acz
                        distance2 = ex * ex + ey * ey + ez * ez
                        if distance2 < best:
                            best, slots[n] = distance2, slot
                            weights[n, 0], weights[n, 1], weights[n, 2] = at_a, at_b, at_c
                    # The closest point lies on an edge that the query is beyond of. Slivers, whose weights are poor,
                    # try all three.
                    sizes = (abx * abx + aby * aby + abz * abz) * (acx * acx + acy * acy + acz * acz)
                    if area2 < 1e-12 * sizes:
                        at_a, at_b, at_c = -1.0, -1.0, -1.0
                found[0], found[1], found[2] = at_a, at_b, at_c
                for i in range(3):
                    j, k = (i + 1) % 3, (i + 2) % 3
                    if found[k] > 1e-9:
                        continue
                    bx, by, bz = corners[slot, i, 0], corners[slot, i, 1], corners[slot, i, 2]
                    ex, ey, ez = corners[slot, j, 0] - bx, corners[slot, j, 1] - by, corners[slot, j, 2] - bz
                    length2 = ex * ex + ey * ey + ez * ez
                    along = 0.0
                    if length2 > 0.0:
                        along = min(1.0, max(0.0, ((px - bx) * ex + (py - by) * ey + (pz - bz) * ez) / length2))
                    ex, ey, ez = px - bx - along * ex, py - by - along * ey, pz - bz - along * ez
                    distance2 = ex * ex + ey * ey + ez * ez
                    if distance2 < best:
                        best, slots[n] = distance2, slot
                        weights[n, i], weights[n, j], weights[n, k] = 1.0 - along, along, 0.0
