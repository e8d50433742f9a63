"""The slow twin: one triangle, one pixel at a time, in Python's unbounded whole numbers. For tests."""

import math
from fractions import Fraction

import torch
from jaxtyping import Float, Int
from torch import Tensor

from facewright.records import Fragments
from facewright.render.rasterizers.snapping import DEPTH_STEPS, GUARD_PX, STEPS_PER_PX, empty_fragments

Point = tuple[int, int]


def rasterize_reference(
    vertices_clip: Float[Tensor, "B V 4"], faces: Int[Tensor, "F 3"], size: tuple[int, int]
) -> Fragments:
    """Rasterise exactly by the rule of ``snapping``; see ``rasterize`` for arguments and result."""
    fragments = empty_fragments(vertices_clip, size)
    nearest: dict[tuple[int, int, int], tuple[int, int]] = {}
    for batch, clip in enumerate(vertices_clip.detach().double().tolist()):
        for face, corners in enumerate(faces.tolist()):
            points = [_project(clip[corner], size) for corner in corners]
            if any(point is None for point in points):
                continue
            for row, column, depth in _covered_pixels([point for point in points if point is not None], size):
                key = (math.floor((depth + 1.0) * DEPTH_STEPS), face)
                pixel = (batch, row, column)
                if key < nearest.get(pixel, (2 * DEPTH_STEPS + 1, 0)):
                    nearest[pixel] = key
                    fragments.face_index[pixel] = face
                    fragments.depth[pixel] = key[0] / DEPTH_STEPS - 1.0
                    weights = _perspective_weights([clip[corner] for corner in corners], row, column, size)
                    fragments.barycentrics[pixel] = torch.tensor(weights, dtype=vertices_clip.dtype)
    return fragments


def _project(clip: list[float], size: tuple[int, int]) -> tuple[Point, float] | None:
    """Grid position and z / w, or None if a triangle with this corner is dropped."""
    x, y, z, w = clip
    if not all(math.isfinite(value) for value in clip) or w <= 0:
        return None
    height, width = size
    column = ((x / w + 1.0) * (0.5 * width) - 0.5) * STEPS_PER_PX
    row = ((y / w + 1.0) * (0.5 * height) - 0.5) * STEPS_PER_PX
    depth = z / w
    if not max(abs(column), abs(row)) <= GUARD_PX * STEPS_PER_PX or not math.isfinite(depth):
        return None
    return (round(column), round(row)), depth


def _edge(a: Point, b: Point, p: Point) -> int:
    """Twice the signed area of a, b, p; positive if p is on the right of a -> b, as the picture is seen (y down)."""
    return (b[0] - a[0]) * (p[1] - a[1]) - (b[1] - a[1]) * (p[0] - a[0])


def _covered_pixels(points: list[tuple[Point, float]], size: tuple[int, int]) -> list[tuple[int, int, float]]:
    """Rows, columns and z / w of the pixel centres in a triangle."""
    (a, za), (b, zb), (c, zc) = points
    area = _edge(a, b, c)
    if area == 0:
        return []
    clockwise = (a, b, c) if area > 0 else (a, c, b)
    slope_x = ((zb - za) * (c[1] - a[1]) - (zc - za) * (b[1] - a[1])) / area
    slope_y = ((zc - za) * (b[0] - a[0]) - (zb - za) * (c[0] - a[0])) / area
    columns, rows = zip(a, b, c, strict=True)
    found = []
    for row in range(max(0, min(rows) // STEPS_PER_PX), min(size[0] - 1, max(rows) // STEPS_PER_PX) + 1):
        for column in range(max(0, min(columns) // STEPS_PER_PX), min(size[1] - 1, max(columns) // STEPS_PER_PX) + 1):
            p = (column * STEPS_PER_PX, row * STEPS_PER_PX)
            inside = True
            for i in range(3):
                start, end = clockwise[i], clockwise[(i + 1) % 3]
                left_or_top = end[1] < start[1] or (end[1] == start[1] and end[0] > start[0])
                side = _edge(start, end, p)
                inside &= side > 0 or (side == 0 and left_or_top)
            depth = (za + slope_y * (p[1] - a[1])) + slope_x * (p[0] - a[0])
            if inside and -1.0 <= depth <= 1.0:
                found.append((row, column, depth))
    return found


def _perspective_weights(clip: list[list[float]], row: int, column: int, size: tuple[int, int]) -> list[float]:
    """Weights on the 3D triangle, exactly, from where the pixel's ray meets its plane; clamped to the triangle."""
    height, width = size
    px, py = Fraction(2 * column + 1, width) - 1, Fraction(2 * row + 1, height) - 1
    u = [Fraction(corner[0]) - px * Fraction(corner[3]) for corner in clip]
    v = [Fraction(corner[1]) - py * Fraction(corner[3]) for corner in clip]
    areas = [u[(i + 1) % 3] * v[(i + 2) % 3] - u[(i + 2) % 3] * v[(i + 1) % 3] for i in range(3)]
    if sum(areas) < 0:
        areas = [-area for area in areas]
    kept = [max(area, Fraction(0)) for area in areas]
    total = sum(kept)
    return [float(area / total) for area in kept] if total else [1 / 3] * 3
