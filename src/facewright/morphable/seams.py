"""Triangles in a plane: which one a pixel lies in, and the ones that close what is open between them."""

from collections import defaultdict

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

_EDGE = 1e-9


def pixels_of_triangles(
    triangles: Float[ndarray, "F 3 2"], size: int
) -> tuple[Int[ndarray, "size size"], Float[ndarray, "size size 3"]]:
    """The triangle that holds each pixel's middle, -1 where none does, and the barycentric weights of its corners.

    Args:
        triangles: columns and rows of the corners, px; where some lie over each other the last one is taken.
        size: side of the square picture.
    """
    low = np.clip(np.ceil(triangles.min(1) - _EDGE), 0, size).astype(np.int64)
    high = np.clip(np.floor(triangles.max(1) + _EDGE), -1, size - 1).astype(np.int64)
    sides = np.maximum(high - low + 1, 0)
    counts = sides.prod(1)
    which = np.repeat(np.arange(len(triangles)), counts)
    step = np.arange(len(which)) - np.repeat(counts.cumsum() - counts, counts)
    pixels = low[which] + np.stack([step % sides[which, 0], step // sides[which, 0]], -1)
    a, b, c = triangles[which].transpose(1, 0, 2)
    area = _area(a, b, c)
    with np.errstate(divide="ignore", invalid="ignore"):
        weights = np.stack([_area(pixels, b, c), _area(a, pixels, c), _area(a, b, pixels)], -1) / area[:, None]
    inside = (np.abs(area) > _EDGE) & (weights >= -_EDGE).all(1)
    columns, rows = pixels[inside].T
    found, taken = np.full((size, size), -1, np.int64), np.zeros((size, size, 3))
    found[rows, columns] = which[inside]
    taken[rows, columns] = np.clip(weights[inside], 0.0, 1.0)
    return found, taken / np.where(found >= 0, taken.sum(-1), 1.0)[..., None]


def closing_triangles(points: Float[ndarray, "N 2"], triangles: Int[ndarray, "F 3"]) -> Int[ndarray, "G 3"]:
    """Triangles over the holes of a mesh in the plane, with its corners; its outer border stays open.

    Args:
        points: places of the corners.
        triangles: ids into ``points``.
    """
    loops = sorted(_border_loops(triangles), key=lambda loop: -abs(_loop_area(points[loop])))
    closing = [ear for loop in loops[1:] for ear in _ears(points, loop)]
    return np.array(closing, np.int64).reshape(-1, 3)


def _border_loops(triangles: Int[ndarray, "F 3"]) -> list[list[int]]:
    """Closed ways along the edges that belong to one triangle alone."""
    edges = triangles[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2)
    own = {tuple(edge) for edge in edges.tolist()}
    after: dict[int, list[int]] = defaultdict(list)
    for first, second in own:
        if (second, first) not in own:
            after[first].append(second)
    loops = []
    while after:
        start = min(after)
        loop, here = [start], start
        while after.get(here):
            following = after[here].pop()
            if not after[here]:
                del after[here]
            if following == start:
                loops.append(loop)
                break
            loop.append(following)
            here = following
    return [loop for loop in loops if len(loop) > 2]


def _ears(points: Float[ndarray, "N 2"], loop: list[int]) -> list[list[int]]:
    """A polygon cut into triangles, ear by ear, the least slim first (Meisters 1975)."""
    ring = loop if _loop_area(points[loop]) > 0 else loop[::-1]
    cut = []
    while len(ring) > 3:
        place = points[ring]
        before, after = np.roll(place, 1, 0), np.roll(place, -1, 0)
        area = _area(before, place, after)
        longest = np.linalg.norm(np.stack([place - before, after - place, before - after]), axis=-1).max(0)
        order = np.argsort(-area / np.maximum(longest, _EDGE) ** 2)
        best = next((k for k in order.tolist() if area[k] > 0 and _empty(place, k)), int(order[0]))
        cut.append([ring[best - 1], ring[best], ring[(best + 1) % len(ring)]])
        ring = ring[:best] + ring[best + 1 :]
    return [*cut, ring]


def _empty(ring: Float[ndarray, "M 2"], k: int) -> bool:
    """Whether no other corner lies in the ear at a corner."""
    a, b, c = ring[k - 1], ring[k], ring[(k + 1) % len(ring)]
    others = np.delete(ring, [(k - 1) % len(ring), k, (k + 1) % len(ring)], 0)
    inside = np.stack([_area(a, b, others), _area(b, c, others), _area(c, a, others)]) >= 0
    return not inside.all(0).any()


def _area(a: ndarray, b: ndarray, c: ndarray) -> ndarray:
    """Twice the signed area of triangles."""
    return (b[..., 0] - a[..., 0]) * (c[..., 1] - a[..., 1]) - (c[..., 0] - a[..., 0]) * (b[..., 1] - a[..., 1])


def _loop_area(ring: Float[ndarray, "M 2"]) -> float:
    x, y = ring.T
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2)
