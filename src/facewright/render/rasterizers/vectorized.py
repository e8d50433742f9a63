"""Rasterisation in tensor operations only, on any device: triangles -> rows they touch -> pixels of each row.

Each row of a triangle is one span of columns, found exactly from the three edges; each pixel of a span writes its
(depth step, face id), packed in 64 bits, with a scattered minimum. Work is cut into chunks, so memory does not grow
with the size of triangles.
"""

from dataclasses import dataclass, fields

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
    """Triangles that may hold a pixel centre, all batches in one list (N). Lengths in grid steps, rows in pixels."""

    picture: Int[Tensor, " N"]
    face: Int[Tensor, " N"]
    first_row: Int[Tensor, " N"]
    end_row: Int[Tensor, " N"]
    column: Float[Tensor, "N 3"]
    row: Float[Tensor, "N 3"]
    area: Float[Tensor, " N"]
    depth: Float[Tensor, " N"]
    depth_per_column: Float[Tensor, " N"]
    depth_per_row: Float[Tensor, " N"]

    def pick(self, ids: Int[Tensor, " M"]) -> "_Triangles":
        return _Triangles(*(getattr(self, entry.name)[ids] for entry in fields(self)))


def rasterize_vectorized(
    vertices_clip: Float[Tensor, "B V 4"], faces: Int[Tensor, "F 3"], size: tuple[int, int]
) -> Fragments:
    """Rasterise by the rule of ``snapping``; see ``rasterize`` for arguments and result."""
    height, width = size
    batch = vertices_clip.shape[0]
    keys = torch.full((batch * height * width,), EMPTY, dtype=torch.int64, device=vertices_clip.device)
    triangles = _set_up(vertices_clip, faces, size)
    rows_left = (triangles.end_row - triangles.first_row).cumsum(0)
    start = 0
    rows_per_chunk = max(1, PIXELS_PER_CHUNK // 8)
    while start < rows_left.shape[0]:  # at least one triangle a chunk: no more than 32768 rows above the limit
        before = int(rows_left[start - 1]) if start else 0
        end = max(start + 1, int(torch.searchsorted(rows_left, before + rows_per_chunk, right=True)))
        _draw(triangles.pick(torch.arange(start, end, device=keys.device)), size, keys)
        start = end
    face_index, depth = unpack_keys(keys.view(batch, height, width), vertices_clip.dtype)
    return Fragments(face_index, fragment_barycentrics(vertices_clip.detach(), faces, face_index), depth)


def _set_up(vertices_clip: Tensor, faces: Tensor, size: tuple[int, int]) -> _Triangles:
    """Snap, drop what cannot be seen, and find each triangle's rows, area and depth slopes."""
    height, width = size
    snapped = snap_vertices(vertices_clip, size)
    column, row, depth = (value[:, faces] for value in (snapped.column, snapped.row, snapped.depth))
    first_row, end_row = _pixel_range(row, height)
    first_column, end_column = _pixel_range(column, width)
    (x0, x1, x2), (y0, y1, y2), (z0, z1, z2) = column.unbind(-1), row.unbind(-1), depth.unbind(-1)
    area = (x1 - x0) * (y2 - y0) - (y1 - y0) * (x2 - x0)
    seen = snapped.usable[:, faces].all(-1) & (area != 0) & (first_row < end_row) & (first_column < end_column)
    picture, face = seen.nonzero(as_tuple=True)
    x0, x1, x2, y0, y1, y2, z0, z1, z2, area = (v[seen] for v in (x0, x1, x2, y0, y1, y2, z0, z1, z2, area))
    return _Triangles(
        picture,
        face,
        first_row[seen].long(),
        end_row[seen].long(),
        torch.stack([x0, x1, x2], -1),
        torch.stack([y0, y1, y2], -1),
        area,
        z0,
        ((z1 - z0) * (y2 - y0) - (z2 - z0) * (y1 - y0)) / area,
        ((z2 - z0) * (x1 - x0) - (z1 - z0) * (x2 - x0)) / area,
    )


def _pixel_range(corners: Float[Tensor, "B F 3"], length: int) -> tuple[Float[Tensor, "B F"], Float[Tensor, "B F"]]:
    """First pixel centre at or after the triangle's start, and first one at or after its end (not its own any more)."""
    first = (corners.amin(-1) / STEPS_PER_PX).ceil().clamp(0, length)
    return first, (corners.amax(-1) / STEPS_PER_PX).ceil().clamp(0, length)


def _draw(triangles: _Triangles, size: tuple[int, int], keys: Int[Tensor, " P"]) -> None:
    """Write the triangles into the key buffer, chunk by chunk of pixels."""
    height, width = size
    owner, offset = _enumerate(triangles.end_row - triangles.first_row)
    spans = triangles.pick(owner)
    row_px = spans.first_row + offset
    row = row_px.to(spans.row) * STEPS_PER_PX
    first, end = _columns(spans, row, width)
    length = (end - first).clamp_min(0)
    depth_at_row = spans.depth + spans.depth_per_row * (row - spans.row[:, 0])
    base = (spans.picture * height + row_px) * width
    total = length.cumsum(0)
    start = 0
    while start < total.shape[0]:
        before = int(total[start - 1]) if start else 0
        stop = max(start + 1, int(torch.searchsorted(total, before + PIXELS_PER_CHUNK, right=True)))
        span, along = _enumerate(length[start:stop])
        span = span + start
        column_px = first[span] + along
        steps = column_px.to(row) * STEPS_PER_PX - spans.column[span, 0]
        depth = depth_at_row[span] + spans.depth_per_column[span] * steps
        level = ((depth + 1.0) * DEPTH_STEPS).floor().long()
        packed = torch.where(depth.abs() <= 1.0, (level << FACE_BITS) | spans.face[span], EMPTY)
        keys.scatter_reduce_(0, base[span] + column_px, packed, "amin")
        start = stop


def _columns(spans: _Triangles, row: Float[Tensor, " N"], width: int) -> tuple[Int[Tensor, " N"], Int[Tensor, " N"]]:
    """First column in the triangle and first one after it, on one row each.

    A column is in if it is at or right of the left edges and strictly left of the right edges. The quotients below have
    denominators under 2**36 and values under 2**16, so rounding cannot carry them across a whole number.
    """
    x, y = spans.column, spans.row
    dx, dy = x.roll(-1, 1) - x, y.roll(-1, 1) - y
    crossing = (x * dy + (row[:, None] - y) * dx) / (dy * STEPS_PER_PX)  # in px; unused (0/0) for level edges
    bound = crossing.ceil()
    downward = dy * spans.area[:, None].sign()
    first = torch.where(downward < 0, bound, 0.0).amax(-1).clamp(0, width)
    end = torch.where(downward > 0, bound, float(width)).amin(-1).clamp(0, width)
    return first.long(), end.long()


def _enumerate(counts: Int[Tensor, " N"]) -> tuple[Int[Tensor, " M"], Int[Tensor, " M"]]:
    """For counts (2, 0, 3): owners (0, 0, 2, 2, 2) and positions within the owner (0, 1, 0, 1, 2)."""
    owner = torch.repeat_interleave(torch.arange(counts.shape[0], device=counts.device), counts)
    position = torch.arange(owner.shape[0], device=counts.device)
    return owner, position - (counts.cumsum(0) - counts)[owner]
