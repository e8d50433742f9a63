"""Rasterisation in tensor operations only, on any device: triangles -> rows they touch -> pixels of each row.

Each row of a triangle is one span of columns, found exactly from the three edges; each pixel of a span writes its
(depth step, face id), packed in 64 bits, with a scattered minimum. Work is cut into chunks, so memory does not grow
with the size of triangles.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from facewright.records import Fragments
from facewright.render.interpolation import fragment_barycentrics
from facewright.render.rasterizers.snapping import (
    DEPTH_STEPS,
    EMPTY,
    FACE_BITS,
    STEPS_PER_PX,
    snap_vertices,
    unpack_keys,
)

PIXELS_PER_CHUNK = 2**21


@dataclass(frozen=True)
class _Triangles:
    """The triangles of all pictures in one list (N = batch x faces). Lengths in grid steps, rows in pixels.

    Attributes:
        rows: number of pixel rows to draw; 0 for triangles that are not drawn.
        first_row: the first of them.
        edges: for each edge dx, x dy - y dx and dy of its first corner (x, y) and its run (dx, dy), times the sign
            of the triangle's area, so that dy is negative on left edges and positive on right ones.
        plane: column, row and z / w of the first corner, z / w per column and per row step.
    """

    rows: Int[Tensor, " N"]
    first_row: Int[Tensor, " N"]
    edges: tuple[tuple[Float[Tensor, " N"], Float[Tensor, " N"], Float[Tensor, " N"]], ...]
    plane: tuple[Float[Tensor, " N"], ...]


def rasterize_vectorized(
    vertices_clip: Float[Tensor, "B V 4"], faces: Int[Tensor, "F 3"], size: tuple[int, int]
) -> Fragments:
    """Rasterise by the rule of ``snapping``; see ``rasterize`` for arguments and result."""
    height, width = size
    batch = vertices_clip.shape[0]
    keys = torch.full((batch * height * width,), EMPTY, dtype=torch.int64, device=vertices_clip.device)
    triangles = _set_up(vertices_clip, faces, size)
    for owner, position in _chunks(triangles.rows, max(1, PIXELS_PER_CHUNK // 8)):
        _draw_rows(triangles, owner, position, len(faces), size, keys)
    face_index, depth = unpack_keys(keys.view(batch, height, width), vertices_clip.dtype)
    return Fragments(face_index, fragment_barycentrics(vertices_clip.detach(), faces, face_index), depth)


def _set_up(vertices_clip: Tensor, faces: Tensor, size: tuple[int, int]) -> _Triangles:
    """Snap, drop what cannot be seen, and prepare each triangle's edges and depth plane."""
    snapped = snap_vertices(vertices_clip, size)
    corners = faces.unbind(1)
    x, y, z, usable = (
        [value.index_select(1, corner).flatten() for corner in corners]
        for value in (snapped.column, snapped.row, snapped.depth, snapped.usable)
    )
    first_row, end_row = _pixel_range(y, size[0])
    first_column, end_column = _pixel_range(x, size[1])
    area = (x[1] - x[0]) * (y[2] - y[0]) - (y[1] - y[0]) * (x[2] - x[0])
    drawn = usable[0] & usable[1] & usable[2] & (area != 0) & (first_column < end_column)
    turn, area = area.sign(), torch.where(area == 0, 1.0, area)
    edges = []
    for i, j in ((0, 1), (1, 2), (2, 0)):
        dx, dy = turn * (x[j] - x[i]), turn * (y[j] - y[i])
        edges.append((dx, x[i] * dy - y[i] * dx, dy))
    slope_x = ((z[1] - z[0]) * (y[2] - y[0]) - (z[2] - z[0]) * (y[1] - y[0])) / area
    slope_y = ((z[2] - z[0]) * (x[1] - x[0]) - (z[1] - z[0]) * (x[2] - x[0])) / area
    rows = torch.where(drawn, end_row - first_row, 0).long()
    return _Triangles(rows, first_row.long(), tuple(edges), (x[0], y[0], z[0], slope_x, slope_y))


def _pixel_range(corners: list[Tensor], length: int) -> tuple[Float[Tensor, " N"], Float[Tensor, " N"]]:
    """First pixel centre at or after the triangle's start, and first one at or after its end (not its own any more)."""
    a, b, c = corners
    low, high = torch.minimum(torch.minimum(a, b), c), torch.maximum(torch.maximum(a, b), c)
    first, end = ((value / STEPS_PER_PX).ceil().clamp(0, length) for value in (low, high))
    return first, end


def _draw_rows(
    triangles: _Triangles, owner: Tensor, position: Tensor, num_faces: int, size: tuple[int, int], keys: Tensor
) -> None:
    """Write rows of triangles into the key buffer, chunk by chunk of pixels."""
    height, width = size
    row_px = triangles.first_row.index_select(0, owner) + position
    x0, y0, z0, slope_x, slope_y = (value.index_select(0, owner) for value in triangles.plane)
    row = row_px.to(x0) * STEPS_PER_PX
    first, end = _columns(triangles, owner, row, width)
    depth_at_row = z0 + slope_y * (row - y0)
    base = (torch.div(owner, num_faces, rounding_mode="floor") * height + row_px) * width
    face = owner % num_faces
    for span, along in _chunks((end - first).clamp_min(0), PIXELS_PER_CHUNK):
        column_px = first.index_select(0, span) + along
        steps = column_px.to(row) * STEPS_PER_PX - x0.index_select(0, span)
        depth = depth_at_row.index_select(0, span) + slope_x.index_select(0, span) * steps
        packed = (((depth + 1.0) * DEPTH_STEPS).long() << FACE_BITS) | face.index_select(0, span)
        packed = torch.where(depth.abs() <= 1.0, packed, EMPTY)
        keys.scatter_reduce_(0, base.index_select(0, span) + column_px, packed, "amin")


def _columns(
    triangles: _Triangles, owner: Int[Tensor, " N"], row: Float[Tensor, " N"], width: int
) -> tuple[Int[Tensor, " N"], Int[Tensor, " N"]]:
    """First column in the triangle and first one after it, on one row each.

    A column is in if it is at or right of the left edges and strictly left of the right edges. The quotients below have
    denominators under 2**36 and values under 2**16, so rounding cannot carry them across a whole number.
    """
    first, end = torch.zeros_like(row), torch.full_like(row, width)
    for edge in triangles.edges:
        dx, offset, dy = (value.index_select(0, owner) for value in edge)
        bound = ((row * dx + offset) / (dy * STEPS_PER_PX)).ceil()  # unused where the edge is level (dy = 0)
        first = torch.where(dy < 0, torch.maximum(first, bound), first)
        end = torch.where(dy > 0, torch.minimum(end, bound), end)
    return first.clamp_max(width).long(), end.clamp_min(0).long()


def _chunks(counts: Int[Tensor, " N"], limit: int) -> Iterator[tuple[Int[Tensor, " M"], Int[Tensor, " M"]]]:
    """Enumerate what each owner has: counts (2, 0, 3) give owners (0, 0, 2, 2, 2) and positions (0, 1, 0, 1, 2).

    In chunks of about ``limit``: an owner is never cut, so that a chunk may exceed it by one owner's count.
    """
    total = counts.cumsum(0)
    start, done, everything = 0, 0, int(total[-1]) if len(total) else 0
    while done < everything:
        stop = len(counts)
        if everything - done > limit:
            stop = max(start + 1, int(torch.searchsorted(total, done + limit, right=True)))
        owner = torch.repeat_interleave(torch.arange(start, stop, device=counts.device), counts[start:stop])
        position = torch.arange(len(owner), device=counts.device) + done
        yield owner, position - (total - counts).index_select(0, owner)
        start, done = stop, done + len(owner)
