"""Silhouettes that blend and carry a gradient to vertex positions.

A rasteriser asks each pixel's centre only, so silhouettes are jagged and their gradient is zero. Here every silhouette
edge of the mesh is followed across the picture, and wherever it passes between the centres of two neighbouring pixels,
one inside (I) and one outside (O) of the edge, the place t of the crossing (0 at I, 1 at O) says how far the inner
surface reaches: up to t < 1/2 it leaves (1/2 - t) of pixel I to O's colour; beyond, it takes (t - 1/2) of pixel O.
This is the box-filtered coverage of a straight edge along one axis (the idea of nvdiffrast's antialias, Laine 2020,
but found from the edges instead of from face ids, so that triangles smaller than a pixel lose nothing). t is a smooth
function of the edge's two vertices, and so is the picture.

An edge is a silhouette if all its faces lie on one side of it in the picture: a fold, or the border of an open mesh.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from facewright.records import Fragments, TensorRecord
from facewright.render.rasterizers.snapping import GUARD_PX


@dataclass(frozen=True)
class MeshEdges(TensorRecord):
    """The edges of a topology; make it once per mesh with ``mesh_edges`` and pass it along.

    Attributes:
        ends: ids of the two vertices of each edge.
        opposite: ids of the third vertex of the one or two faces at the edge (repeated on a border). Edges of three and
            more faces are left out.
    """

    ends: Int[Tensor, "E 2"]
    opposite: Int[Tensor, "E 2"]


def mesh_edges(faces: Int[Tensor, "F 3"]) -> MeshEdges:
    """Find the edges of a mesh."""
    ends = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    opposite = torch.cat([faces[:, 2], faces[:, 0], faces[:, 1]])
    unique, owner, count = ends.sort(dim=1).values.unique(dim=0, return_inverse=True, return_counts=True)
    order = owner.argsort(stable=True)
    first = count.cumsum(0) - count
    pair = torch.stack([opposite[order[first]], opposite[order[first + (count == 2).long()]]], 1)
    return MeshEdges(unique[count <= 2], pair[count <= 2])


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
    silhouettes = _find_silhouettes(vertices_clip, edges, (height, width))
    if silhouettes.picture.numel() == 0:
        return image
    flat = image.permute(0, 2, 3, 1).reshape(-1, channels)
    steps = [_blend_weights(silhouettes, fragments, axis) for axis in (0, 1)]
    target, other, weight = (torch.cat(parts) for parts in zip(*steps, strict=True))
    blended = flat.index_add(0, target, weight[:, None] * (flat[other] - flat[target]))
    return blended.view(batch, height, width, channels).permute(0, 3, 1, 2)


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


def _find_silhouettes(vertices_clip: Tensor, edges: MeshEdges, size: tuple[int, int]) -> _Silhouettes:
    """Edges whose faces all lie on one side; those with a corner that a rasteriser would drop are left out."""
    with torch.no_grad():
        screen = _project(vertices_clip, size)
        usable = (vertices_clip[..., 3] > 0) & (screen.abs() < GUARD_PX).all(-1)
        start, end = screen[:, edges.ends[:, 0], :2], screen[:, edges.ends[:, 1], :2]
        along = end - start
        sides = []
        for i in range(2):
            toward = screen[:, edges.opposite[:, i], :2] - start
            sides.append((along[..., 0] * toward[..., 1] - along[..., 1] * toward[..., 0]).sign())
        corners_usable = usable[:, edges.ends].all(-1) & usable[:, edges.opposite].all(-1)
        picture, edge = ((sides[0] * sides[1] > 0) & corners_usable).nonzero(as_tuple=True)
        inside = sides[0][picture, edge]
    ends = _project(vertices_clip[picture[:, None], edges.ends[edge]], size)
    return _Silhouettes(picture, ends[:, 0], ends[:, 1], inside)


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
        kept &= _crosses_more_of(fragments, inner, outer, axis)
        kept = kept.nonzero()[:, 0]
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


def _crosses_more_of(
    fragments: Fragments, inner: Int[Tensor, " N"], outer: Int[Tensor, " N"], axis: int
) -> Bool[Tensor, " N"]:
    """Whether the silhouette at a pair of pixels is crossed more by this axis than by the other.

    Coverage along one axis is exact for edges that it crosses; counting an edge along both would blend it twice. The
    direction comes from which pixels around the pair are nearer than the middle of the two depths (a Sobel filter on
    that pattern), not from the mesh edge: fold lines zigzag from triangle to triangle.
    """
    _, height, width = fragments.face_index.shape
    depth = fragments.depth.flatten()
    middle = (depth[inner] + depth[outer]) / 2
    beside, limit = (width, height) if axis == 0 else (1, width)
    line = (inner % (height * width)) // width if axis == 0 else inner % width
    up, down = torch.where(line > 0, -beside, 0), torch.where(line < limit - 1, beside, 0)

    def nearer(pixel: Tensor) -> Tensor:
        return (depth[pixel] < middle).to(torch.int8)

    inner_up, inner_down, outer_up, outer_down = (nearer(p + s) for p in (inner, outer) for s in (up, down))
    across = 2 + (inner_up - outer_up) + (inner_down - outer_down)
    along = (inner_down - inner_up) + (outer_down - outer_up)
    level = across.abs() - along.abs()
    return level >= 0 if axis == 0 else level > 0
