"""Silhouettes that blend and carry a gradient to vertex positions.

A rasteriser asks each pixel's centre only, so silhouettes are jagged and their gradient is zero. Here every silhouette
edge of the mesh is followed across the picture, and wherever it passes between the centres of two neighbouring pixels,
one inside (I) and one outside (O) of the edge, the place t of the crossing (0 at I, 1 at O) says how far the inner
surface reaches: up to t < 1/2 it leaves (1/2 - t) of pixel I to O's colour; beyond, it takes (t - 1/2) of pixel O.
This is the box-filtered coverage of a straight edge along one axis (the idea of nvdiffrast's antialias, Laine 2020,
but found from the edges instead of from face ids, so that triangles smaller than a pixel lose nothing). t is a smooth
function of the edge's two vertices, and so is the picture.

An edge is a silhouette if its faces lie on one side of it in the picture: a fold, or the border of an open mesh.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from facewright.records import Fragments, TensorRecord
from facewright.render.rasterizers.snapping import GUARD_PX


@dataclass(frozen=True)
class MeshEdges(TensorRecord):
    """The edges of a topology; make it once per mesh with ``mesh_edges`` and pass it along.

    Attributes:
        ends: ids of the two vertices of each edge, the lower one first.
        faces: ids of the one or two faces at the edge (repeated on a border). Edges of three and more are left out.
        turns: 1 where the face runs through the edge from its first to its second end, -1 where the other way.
    """

    ends: Int[Tensor, "E 2"]
    faces: Int[Tensor, "E 2"]
    turns: Int[Tensor, "E 2"]


def mesh_edges(faces: Int[Tensor, "F 3"]) -> MeshEdges:
    """Find the edges of a mesh."""
    start, end = faces.flatten(), faces.roll(-1, 1).flatten()  # three directed edges per face
    low, high = torch.minimum(start, end), torch.maximum(start, end)
    base = int(high.max()) + 1 if high.numel() else 1
    key, order = (low * base + high).sort(stable=True)
    _, count = key.unique_consecutive(return_counts=True)
    first = (count.cumsum(0) - count)[count <= 2]
    pair = torch.stack([order[first], order[first + (count[count <= 2] == 2).long()]], 1)
    one = order[first]
    return MeshEdges(torch.stack([low[one], high[one]], 1), pair // 3, torch.where(start[pair] == low[pair], 1, -1))


def antialias(
    image: Float[Tensor, "B C H W"],
    vertices_clip: Float[Tensor, "B V 4"],
    faces: Int[Tensor, "F 3"],
    fragments: Fragments,
    *,
    edges: MeshEdges | None = None,
) -> Float[Tensor, "B C H W"]:
    """Blend pixels along silhouettes; differentiable in ``image`` and ``vertices_clip``.

    Args:
        image: values per pixel, drawn from ``fragments``.
        vertices_clip: the vertices that ``fragments`` were made from.
        faces: vertex ids.
        fragments: what was rasterised.
        edges: ``mesh_edges(faces)``, if already known; found again at each call otherwise.
    """
    edges = mesh_edges(faces) if edges is None else edges
    batch, channels, height, width = image.shape
    silhouettes = _find_silhouettes(vertices_clip, faces, edges, (height, width))
    if silhouettes.picture.numel() == 0:
        return image
    planes = image.transpose(0, 1).reshape(channels, -1)
    steps = [_blend_weights(silhouettes, fragments, axis) for axis in (0, 1)]
    target, other, weight = (torch.cat(parts) for parts in zip(*steps, strict=True))
    there, here = planes.index_select(1, torch.cat([other, target])).chunk(2, 1)
    blended = planes.index_add(1, target, weight * (there - here))
    return blended.view(channels, batch, height, width).transpose(0, 1)


@dataclass(frozen=True)
class _Silhouettes:
    """Silhouette edges of all pictures in one list (K).

    Attributes:
        picture: batch entry.
        start: column, row (px) and z / w of the first end; differentiable.
        end: the same of the second end.
        inside: 1 where the surface is on the right of start -> end as the picture is seen, -1 where on the left.
    """

    picture: Int[Tensor, " K"]
    start: Float[Tensor, "K 3"]
    end: Float[Tensor, "K 3"]
    inside: Float[Tensor, " K"]


def _project(clip: Float[Tensor, "*N 4"], size: tuple[int, int]) -> Float[Tensor, "*N 3"]:
    """Clip space to column, row (px) and z / w."""
    height, width = size
    ndc = clip[..., :3] / clip[..., 3:]
    return torch.stack([(ndc[..., 0] + 1) * (width / 2) - 0.5, (ndc[..., 1] + 1) * (height / 2) - 0.5, ndc[..., 2]], -1)


def _find_silhouettes(vertices_clip: Tensor, faces: Tensor, edges: MeshEdges, size: tuple[int, int]) -> _Silhouettes:
    """Edges whose faces all lie on one side; those of a face that a rasteriser would drop are left out."""
    with torch.no_grad():
        column, row, depth = _project(vertices_clip, size).unbind(-1)
        w = vertices_clip[..., 3]
        usable = (w > 0) & (w < torch.inf) & (column.abs() < GUARD_PX) & (row.abs() < GUARD_PX) & depth.isfinite()
        column, row = torch.where(usable, column, torch.nan), torch.where(usable, row, torch.nan)
        (x0, x1, x2), (y0, y1, y2) = ([v.index_select(1, faces[:, i]) for i in range(3)] for v in (column, row))
        facing = ((x1 - x0) * (y2 - y0) - (y1 - y0) * (x2 - x0)).sign()  # 1: clockwise as seen; NaN: not drawn
        first, second = (facing.index_select(1, edges.faces[:, i]) * edges.turns[:, i] for i in range(2))
        picture, edge = (first * second > 0).nonzero(as_tuple=True)
        inside = first[picture, edge]
    corners = (edges.ends[edge] + (picture * vertices_clip.shape[1])[:, None]).T.flatten()
    start, end = _project(vertices_clip.flatten(0, 1).index_select(0, corners), size).chunk(2)
    return _Silhouettes(picture, start, end, inside)


def _blend_weights(
    silhouettes: _Silhouettes, fragments: Fragments, axis: int
) -> tuple[Int[Tensor, " N"], Int[Tensor, " N"], Float[Tensor, " N"]]:
    """Pixels to change, the neighbours they take colour from, and how much; along rows (axis 0) or columns (axis 1)."""
    _, height, width = fragments.face_index.shape
    lines, across = (height, width) if axis == 0 else (width, height)
    a, b = silhouettes.start, silhouettes.end
    with torch.no_grad():
        low, high = torch.minimum(a, b)[:, 1 - axis], torch.maximum(a, b)[:, 1 - axis]
        first, stop = low.ceil().clamp(0, lines).long(), high.ceil().clamp(0, lines).long()
        owner = torch.repeat_interleave(torch.arange(a.shape[0], device=a.device), stop - first)
        line = torch.arange(owner.shape[0], device=a.device) - (((stop - first).cumsum(0) - stop)[owner])
    a, b = a[owner], b[owner]
    share = (line - a[:, 1 - axis]) / (b[:, 1 - axis] - a[:, 1 - axis])
    crossing = a[:, axis] + share * (b[:, axis] - a[:, axis])
    with torch.no_grad():
        before = crossing.floor().long()
        depth = a[:, 2] + share * (b[:, 2] - a[:, 2])
        run = (b[:, 1 - axis] - a[:, 1 - axis]) * silhouettes.inside[owner] * (1 if axis == 0 else -1)
        inner, outer = before + (run < 0), before + (run > 0)
        in_picture = (before >= 0) & (before < across - 1)
        base = silhouettes.picture[owner] * height * width + line * (width if axis == 0 else 1)
        step = 1 if axis == 0 else width
        inner, outer = (base + position.clamp(0, across - 1) * step for position in (inner, outer))
        face, nearest = fragments.face_index.flatten(), fragments.depth.flatten()
        kept = in_picture & (face[inner] >= 0) & (face[inner] != face[outer]) & (depth < nearest[outer])
        slant = ((b - a)[:, 1 - axis].abs() - (b - a)[:, axis].abs()).sign() * 0.5
        slant = torch.where(slant == 0, 0.25, slant) if axis == 0 else slant
        kept = (kept & (_steepness(fragments, inner, outer, axis) + slant > 0)).nonzero()[:, 0]
    inner, outer, run = inner[kept], outer[kept], run[kept]
    reach = crossing[kept] - before[kept]
    reach = torch.where(run > 0, reach, 1 - reach)
    last = _outermost(inner * 2 + (run > 0), reach.detach())
    inner, outer, reach = inner[last], outer[last], reach[last]
    short = reach < 0.5
    return torch.where(short, inner, outer), torch.where(short, outer, inner), (reach - 0.5).abs()


def _outermost(pair: Int[Tensor, " N"], reach: Float[Tensor, " N"]) -> Int[Tensor, " M"]:
    """Of several crossings between the same two pixels, the one that is furthest out."""
    order = reach.argsort(descending=True, stable=True)
    order = order[pair[order].argsort(stable=True)]
    first = torch.ones_like(order, dtype=torch.bool)
    first[1:] = pair[order][1:] != pair[order][:-1]
    return order[first]


def _steepness(
    fragments: Fragments, inner: Int[Tensor, " N"], outer: Int[Tensor, " N"], axis: int
) -> Int[Tensor, " N"]:
    """By how much the silhouette at pairs of pixels is crossed more by this axis than by the other; a whole number.

    Coverage along one axis is exact for edges that it crosses; to count an edge along both would double its gradient.
    The direction comes from a Sobel filter at the inner pixel, over which pixels are nearer than the middle of the
    pair's depths, and not from the mesh edge: fold lines of rough meshes zigzag from triangle to triangle.
    """
    _, height, width = fragments.face_index.shape
    depth = fragments.depth.flatten()
    middle = (depth[inner] + depth[outer]) / 2
    row, column = inner % (height * width) // width, inner % width
    left, right = -(column > 0).long(), (column < width - 1).long()
    up, down = -(row > 0).long() * width, (row < height - 1).long() * width
    nearer = {
        (y, x): (depth[inner + dy + dx] < middle).to(torch.int8)
        for y, dy in enumerate((up, 0, down))
        for x, dx in enumerate((left, 0, right))
    }
    across = sum(weight * (nearer[y, 2] - nearer[y, 0]) for y, weight in enumerate((1, 2, 1)))
    along = sum(weight * (nearer[2, x] - nearer[0, x]) for x, weight in enumerate((1, 2, 1)))
    steepness = across.abs() - along.abs()
    return steepness if axis == 0 else -steepness
