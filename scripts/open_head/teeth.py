"""Teeth and gum: arches with one crown per tooth, interpolated from the source's strips of 4 x 17 vertices."""

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import CubicSpline

TOOTH_WIDTHS_MM = {
    True: (8.5, 6.5, 7.5, 7.0, 7.0, 10.0, 10.0),
    False: (5.0, 5.5, 7.0, 7.0, 7.0, 11.0, 10.5),
}
"""Mean crown widths from the central incisor to the second molar, upper (True) and lower (Wheeler's dental anatomy)."""
COLUMNS_PER_TOOTH = 4
EMBRASURE = 0.006
"""dm by which the surface steps back between two crowns."""
EDGE_NOTCH = 0.008
"""dm by which the cutting edge steps back there."""
INCISOR_THICKNESS, MOLAR_THICKNESS = 0.012, 0.06
"""dm from the outer to the inner side of the cutting edge."""


@dataclass(frozen=True)
class ToothArch:
    """One arch with its gum.

    Attributes:
        helper_ids: (68,) source vertices that it follows.
        follow: (N, 68) rows sum to one.
        offset: (N, 3) dm: relief of the crowns, inner face.
        faces: (F, 3) counter-clockwise from outside.
        mirror: (N,) left-right partners.
        height: (N,) 0 gum line .. 1 cutting edge; negative on the gum.
        gap: (N,) 1 between crowns .. 0 on their middle.
    """

    helper_ids: np.ndarray
    follow: np.ndarray
    offset: np.ndarray
    faces: np.ndarray
    mirror: np.ndarray
    height: np.ndarray
    gap: np.ndarray


def build_arch(vertices: np.ndarray, quads: np.ndarray, *, upper: bool) -> ToothArch:
    """Rows run from the gum over the cutting edge to the inside, columns from the subject's right to left.

    Args:
        vertices: (19158, 3) neutral source vertices, dm.
        quads: (48, 4) the strip's quads.
        upper: which arch.
    """
    grid = _grid(vertices, quads, upper=upper)
    columns, gap, molar = _columns(vertices, grid, upper=upper)
    # Rows in the strip's own coordinate (0 gum, 2 cutting edge, 3 inside), the gum reaching down between the crowns.
    line = 0.72 + 0.4 * gap**2
    rows = np.stack([0 * gap, line, 0.5 * (line + 2.0), 0 * gap + 2.0, 0 * gap + 2.0, 0 * gap + 3.0])
    height = np.array([-1.0, 0.0, 0.5, 1.0, 1.0, 0.4])[:, None] + 0 * rows
    follow = np.stack([_interpolation(columns, row) for row in rows])
    surface = follow @ vertices[grid].reshape(-1, 3)
    inward = (surface[5] - surface[3]) * [1.0, 0.0, 1.0]
    inward /= np.linalg.norm(inward, axis=1, keepdims=True)
    offset = np.zeros_like(surface)
    offset[2:4] += EMBRASURE * (gap**2)[:, None] * inward
    offset[3:5, :, 1] += EDGE_NOTCH * gap**4 * (1.0 if upper else -1.0)
    offset[4] += (INCISOR_THICKNESS + molar * (MOLAR_THICKNESS - INCISOR_THICKNESS))[:, None] * inward
    index = np.arange(height.size).reshape(height.shape)
    return ToothArch(
        grid.reshape(-1),
        follow.reshape(-1, grid.size),
        offset.reshape(-1, 3),
        _strip_faces(index, upper=upper),
        index[:, ::-1].reshape(-1),
        height.reshape(-1),
        np.broadcast_to(gap, height.shape).reshape(-1).copy(),
    )


def _grid(vertices: np.ndarray, quads: np.ndarray, *, upper: bool) -> np.ndarray:
    """(4, 17) source ids of the strip: rows gum, crown, cutting edge, inside; columns from -x to +x."""
    neighbours: dict[int, set[int]] = {}
    for quad in quads.tolist():
        for a, b in zip(quad, quad[1:] + quad[:1], strict=True):
            neighbours.setdefault(a, set()).add(b)
            neighbours.setdefault(b, set()).add(a)
    middle = [i for i in neighbours if abs(vertices[i, 0]) < 1e-6]
    inside = min(middle, key=lambda i: vertices[i, 2])
    middle = sorted(middle, key=lambda i: vertices[i, 1] * (-1.0 if upper else 1.0))
    middle = [i for i in middle if i != inside] + [inside]
    columns = [middle]
    for side in (1.0, -1.0):
        walk = [middle]
        for _ in range(8):
            here, behind = walk[-1], set(walk[-1]) | set(walk[-2] if len(walk) > 1 else [])
            step = [[n for n in neighbours[i] - behind if vertices[n, 0] * side > 1e-6] for i in here]
            walk.append([options[0] for options in step])
        columns = columns + walk[1:] if side > 0 else walk[:0:-1] + columns
    return np.array(columns).T


def _columns(vertices: np.ndarray, grid: np.ndarray, *, upper: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Column positions 0..16 on the strip, gap weight, and 0 (incisors) .. 1 (molars), from -x to +x."""
    edge = vertices[grid[2]]
    arc = np.concatenate([[0.0], np.linalg.norm(np.diff(edge[8:], axis=0), axis=1).cumsum()])
    widths = np.array(TOOTH_WIDTHS_MM[upper])
    borders = np.concatenate([[0.0], widths.cumsum()]) / widths.sum() * arc[-1]
    inside = np.linspace(0.0, 1.0, COLUMNS_PER_TOOTH, endpoint=False)
    half = np.concatenate([(borders[:-1, None] + np.diff(borders)[:, None] * inside).reshape(-1), borders[-1:]])
    gap_half = np.concatenate([np.tile(np.abs(1.0 - 2.0 * inside), len(widths)), [1.0]])
    position = np.interp(half, arc, np.arange(9.0))
    molar = np.clip((half / arc[-1] - 0.4) / 0.3, 0.0, 1.0)
    return (
        np.concatenate([8.0 - position[:0:-1], 8.0 + position]),
        np.concatenate([gap_half[:0:-1], gap_half]),
        np.concatenate([molar[:0:-1], molar]),
    )


def _interpolation(columns: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """(C, 4 * 17) weights that read the strip at fractional columns and rows: cubic along it, linear across."""
    along = CubicSpline(np.arange(17.0), np.eye(17))(columns)
    across = np.maximum(0.0, 1.0 - np.abs(rows[:, None] - np.arange(4.0)))
    return (across[:, :, None] * along[:, None, :]).reshape(len(columns), -1)


def _strip_faces(index: np.ndarray, *, upper: bool) -> np.ndarray:
    """Two triangles per cell, the diagonals mirrored left-right."""
    half = (index.shape[1] - 1) // 2
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]
    left = np.stack([np.stack([a, b, c], -1), np.stack([a, c, d], -1)], -2)
    right = np.stack([np.stack([a, b, d], -1), np.stack([b, c, d], -1)], -2)
    faces = np.concatenate([right[:, :half], left[:, half:]], axis=1).reshape(-1, 3)
    return faces[:, ::-1] if upper else faces
