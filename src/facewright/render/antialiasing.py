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

from dataclasses import dataclass, fields

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from facewright.compiled import can_compile, compiled
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
    with torch.no_grad():
        found = _find_crossings(vertices_clip, faces, edges, fragments)
    planes = image.transpose(0, 1).reshape(channels, -1)
    reach = _reach(vertices_clip, found, (height, width))
    short = reach < 0.5
    target, other = torch.where(short, found.pixels, found.pixels.flip(0))
    weight = torch.where(short, 0.5 - reach, reach - 0.5)  # not abs(): at 1/2 it has no slope
    there, here = planes.index_select(1, torch.cat([other, target])).chunk(2, 1)
    blended = planes.index_add(1, target, weight * (there - here))
    return blended.view(channels, batch, height, width).transpose(0, 1)


@dataclass(frozen=True)
class _Crossings:
    """Where silhouette edges pass between neighbouring pixels (N places), along rows and along columns.

    Attributes:
        ends: the edge's two vertices, as places in the flattened (batch, vertex) list.
        along_row: whether the two pixels lie in one row (else in one column).
        line: number of that row or column.
        inner: number of the inner pixel on that line.
        outward: 1 where the outer pixel follows the inner one on the line, -1 where it precedes it.
        pixels: inner and outer pixel, as places in the flattened (batch, row, column) pictures.
    """

    ends: Int[Tensor, "2 N"]
    along_row: Bool[Tensor, " N"]
    line: Int[Tensor, " N"]
    inner: Int[Tensor, " N"]
    outward: Int[Tensor, " N"]
    pixels: Int[Tensor, "2 N"]

    def pick(self, ids: Int[Tensor, " M"]) -> "_Crossings":
        return _Crossings(*(getattr(self, entry.name)[..., ids] for entry in fields(self)))


def _reach(vertices_clip: Tensor, found: _Crossings, size: tuple[int, int]) -> Float[Tensor, " N"]:
    """How far from the inner pixel's centre to the outer one's the edge passes, 0..1; differentiable."""
    column, row, _ = _project(vertices_clip.flatten(0, 1).index_select(0, found.ends.flatten()), size)
    along = torch.where(found.along_row.repeat(2), row, column).view(2, -1)
    across = torch.where(found.along_row.repeat(2), column, row).view(2, -1)
    share = (found.line - along[0]) / (along[1] - along[0])
    return (across[0] + share * (across[1] - across[0]) - found.inner) * found.outward


def _project(clip: Float[Tensor, "*N 4"], size: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """Clip space to column, row (px) and z / w."""
    x, y, z, w = clip.unbind(-1)
    return (x / w + 1) * (size[1] / 2) - 0.5, (y / w + 1) * (size[0] / 2) - 0.5, z / w


def _find_crossings(vertices_clip: Tensor, faces: Tensor, edges: MeshEdges, fragments: Fragments) -> _Crossings:
    """All places where an edge that is a silhouette, and not hidden, passes between two pixels."""
    compiling = vertices_clip.device.type == "cpu" and can_compile()
    follow = _follow_edges_compiled if compiling else _follow_edges
    candidates, steeper, reach = follow(vertices_clip, faces, edges, fragments)
    chosen = _crossed_along(candidates, steeper, fragments).nonzero()[:, 0]
    return candidates.pick(chosen[_outermost(candidates.pixels[:, chosen], reach[chosen])])


def _follow_edges(
    vertices_clip: Float[Tensor, "B V 4"], faces: Int[Tensor, "F 3"], edges: MeshEdges, fragments: Fragments
) -> tuple[_Crossings, Float[Tensor, " N"], Float[Tensor, " N"]]:
    """Where silhouettes pass between a pixel that shows a face and another, in front of what that one shows.

    Also whether each edge runs more across the line than along it (1, 0, -1), and how far from the inner pixel's centre
    to the outer one's it passes.
    """
    _, height, width = fragments.face_index.shape
    picture, edge, side = _find_silhouettes(vertices_clip, faces, edges, (height, width))
    ends = edges.ends[edge].T + picture * vertices_clip.shape[1]
    column, row, depth = _project(vertices_clip.flatten(0, 1)[ends], (height, width))
    # Every edge is followed twice: from row to row, and from column to column with the axes' roles exchanged.
    along_row = torch.arange(2 * edge.shape[0], device=edge.device) < edge.shape[0]
    along, across = torch.cat([row, column], 1), torch.cat([column, row], 1)
    first = along.amin(0).ceil().clamp_min(0).long()
    stop = torch.minimum(along.amax(0).ceil(), torch.where(along_row, height, width)).long()
    count = (stop - first).clamp_min(0)
    owner = torch.repeat_interleave(torch.arange(count.shape[0], device=edge.device), count)
    line = torch.arange(owner.shape[0], device=edge.device) - (count.cumsum(0) - count - first)[owner]
    source = owner % edge.shape[0]
    (a0, a1), (c0, c1), (d0, d1), along_row = along[:, owner], across[:, owner], depth[:, source], along_row[owner]
    share = (line - a0) / (a1 - a0)
    crossing = c0 + share * (c1 - c0)
    # The surface is on the right of the edge (side 1) as seen: going down a row, that is toward lower columns.
    toward_lower = (a1 - a0) * side[source] * torch.where(along_row, 1, -1) > 0
    before = crossing.floor().long()
    inner = torch.where(toward_lower, before, before + 1)
    outward = torch.where(toward_lower, 1, -1)
    step, base = torch.where(along_row, 1, width), torch.where(along_row, width, 1) * line
    inside = (before >= 0) & (before + 1 < torch.where(along_row, width, height))
    place = picture[source] * (height * width) + base + before.clamp_min(0) * step
    pixels = torch.stack([inner, inner + outward]).sub(before).mul(step) + place
    candidates = _Crossings(ends[:, source], along_row, line, inner, outward, pixels * inside)
    nearest, face = fragments.depth.flatten()[candidates.pixels[1]], fragments.face_index.flatten()[candidates.pixels]
    seen = inside & (face[0] >= 0) & (face[0] != face[1]) & (d0 + share * (d1 - d0) < nearest)
    kept = seen.nonzero()[:, 0]
    steeper = ((a1 - a0).abs() - (c1 - c0).abs())[kept].sign()
    return candidates.pick(kept), steeper, ((crossing - inner) * outward)[kept]


def _follow_edges_compiled(
    vertices_clip: Float[Tensor, "B V 4"], faces: Int[Tensor, "F 3"], edges: MeshEdges, fragments: Fragments
) -> tuple[_Crossings, Float[Tensor, " N"], Float[Tensor, " N"]]:
    """``_follow_edges`` in one pass over the vertices, faces and edges of each picture; the same places."""
    clip, (_, height, width) = vertices_clip.detach().contiguous(), fragments.face_index.shape
    # Half the width and height, one, a half: of the vertices' precision, and so are the products.
    numbers = clip.new_tensor([width / 2, height / 2, 1.0, 0.5]).numpy()
    topology = [value.contiguous().numpy() for value in (faces, edges.ends, edges.faces, edges.turns)]
    found, reach = np.zeros((9, len(edges.ends)), np.int64), np.zeros(len(edges.ends), numbers.dtype)
    places, reaches, count = [], [], np.zeros(1, np.int64)
    for i, picture in enumerate(clip):
        shown = (fragments.face_index[i].numpy(), fragments.depth[i].numpy())
        compiled(_walk_edges)(picture.numpy(), *topology, numbers, *shown, found, reach, count)
        if count[0] > found.shape[1]:  # there was no room for all
            found, reach = np.zeros((9, count[0]), np.int64), np.zeros(count[0], numbers.dtype)
            compiled(_walk_edges)(picture.numpy(), *topology, numbers, *shown, found, reach, count)
        place = torch.from_numpy(found[:, : count[0]].copy())
        place[:2] += i * clip.shape[1]
        place[2:4] += i * height * width
        places.append(place)
        reaches.append(torch.from_numpy(reach[: count[0]].copy()))
    place = torch.cat(places, 1)
    candidates = _Crossings(place[:2], place[4] > 0, place[5], place[6], place[7], place[2:4])
    return candidates, place[8].to(clip), torch.cat(reaches)


def _walk_edges(clip, faces, ends, edge_faces, turns, numbers, face_index, nearest, found, reach, count):
    """The loops of ``_follow_edges_compiled`` over one picture; counts what has no room, too. For numba."""
    places, facing = np.zeros((clip.shape[0], 3), dtype=clip.dtype), np.zeros(faces.shape[0], dtype=np.int64)
    for v in range(clip.shape[0]):
        w = clip[v, 3]
        usable = w > 0 and w < np.inf  # false for NaN
        places[v, 2] = clip[v, 2] / w if usable else np.nan
        for axis in range(2):
            place = (clip[v, axis] / w + numbers[2]) * numbers[axis] - numbers[3] if usable else numbers[2] * np.nan
            places[v, axis] = place if abs(place) < GUARD_PX else np.nan
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        x, y = places[a, 0], places[a, 1]
        area = (places[b, 0] - x) * (places[c, 1] - y) - (places[b, 1] - y) * (places[c, 0] - x)
        facing[f] = np.int64(area > 0) - np.int64(area < 0)  # 0 for NaN: not drawn
    number = np.zeros(1, dtype=clip.dtype)
    k = 0
    for e in range(edge_faces.shape[0]):
        side = facing[edge_faces[e, 0]] * turns[e, 0]
        if side * facing[edge_faces[e, 1]] * turns[e, 1] <= 0:
            continue
        start, end = ends[e, 0], ends[e, 1]
        for axis in range(2):  # from column to column, then from row to row
            a0, a1, c0, c1 = places[start, axis], places[end, axis], places[start, 1 - axis], places[end, 1 - axis]
            toward_lower = (a1 - a0) * side * (2 * axis - 1) > 0
            last = min(np.ceil(max(a0, a1)), face_index.shape[1 - axis])
            for line in range(max(np.ceil(min(a0, a1)), 0), last):
                number[0] = line
                share = (number[0] - a0) / (a1 - a0)
                crossing = c0 + share * (c1 - c0)
                before = np.int64(np.floor(crossing))
                if before < 0 or before + 1 >= face_index.shape[axis]:
                    continue
                inner, outward = (before, 1) if toward_lower else (before + 1, -1)
                outer = inner + outward
                here, there = ((line, inner), (line, outer)) if axis == 1 else ((inner, line), (outer, line))
                if face_index[here] < 0 or face_index[here] == face_index[there]:
                    continue
                if not places[start, 2] + share * (places[end, 2] - places[start, 2]) < nearest[there]:
                    continue
                if k < found.shape[1]:
                    found[0, k], found[1, k] = start, end
                    found[2, k] = here[0] * face_index.shape[1] + here[1]
                    found[3, k] = there[0] * face_index.shape[1] + there[1]
                    found[4, k], found[5, k], found[6, k], found[7, k] = axis, line, inner, outward
                    steeper = abs(a1 - a0) - abs(c1 - c0)
                    found[8, k] = np.int64(steeper > 0) - np.int64(steeper < 0)
                    reach[k] = (crossing - inner) * outward
                k += 1
    count[0] = k


def _find_silhouettes(
    vertices_clip: Float[Tensor, "B V 4"], faces: Int[Tensor, "F 3"], edges: MeshEdges, size: tuple[int, int]
) -> tuple[Int[Tensor, " K"], Int[Tensor, " K"], Float[Tensor, " K"]]:
    """Picture, edge and side (1: surface on the right of it) of edges whose faces all lie on one side.

    Edges of a face that a rasteriser would drop are left out.
    """
    column, row, _ = _project(vertices_clip, size)
    w = vertices_clip[..., 3]
    usable = (w > 0) & (w < torch.inf) & (column.abs() < GUARD_PX) & (row.abs() < GUARD_PX)
    column, row = torch.where(usable, column, torch.nan), torch.where(usable, row, torch.nan)
    (x0, x1, x2), (y0, y1, y2) = ([v.index_select(1, faces[:, i]) for i in range(3)] for v in (column, row))
    facing = ((x1 - x0) * (y2 - y0) - (y1 - y0) * (x2 - x0)).sign()  # 1: clockwise as seen; NaN: not drawn
    first, second = (facing.index_select(1, edges.faces[:, i]) * edges.turns[:, i] for i in range(2))
    picture, edge = (first * second > 0).nonzero(as_tuple=True)
    return picture, edge, first[picture, edge]


def _outermost(pixels: Int[Tensor, "2 N"], reach: Float[Tensor, " N"]) -> Int[Tensor, " M"]:
    """Of several crossings from one pixel to another, the one that is furthest out."""
    order = reach.argsort(descending=True, stable=True)
    for key in (pixels[1], pixels[0]):
        order = order[key[order].argsort(stable=True)]
    first = torch.ones_like(order, dtype=torch.bool)
    first[1:] = (pixels[:, order[1:]] != pixels[:, order[:-1]]).any(0)
    return order[first]


def _crossed_along(candidates: _Crossings, steeper: Float[Tensor, " N"], fragments: Fragments) -> Bool[Tensor, " N"]:
    """Whether the silhouette is to be counted along the line on which it was found.

    Coverage along one axis is exact for edges that cross it steeply; to count an edge along both axes would double its
    gradient. The direction comes from a Sobel filter at the inner pixel, over which pixels are nearer than the middle
    of the pair's depths, and not from the mesh edge: fold lines of rough meshes zigzag from triangle to triangle. The
    edge itself decides ties (``steeper``: 1 where it runs more across the line than along it).
    """
    _, height, width = fragments.face_index.shape
    depth, inner = fragments.depth.flatten(), candidates.pixels[0]
    middle = depth[candidates.pixels].mean(0)
    row, column = inner % (height * width) // width, inner % width
    zero = torch.zeros_like(row)
    beside = torch.stack([-(column > 0).long(), zero, (column < width - 1).long()])
    above = torch.stack([-(row > 0).long(), zero, (row < height - 1).long()]) * width
    nearer = (depth[inner + above[:, None] + beside] < middle).long()  # 3 rows, 3 columns
    sobel = torch.tensor([[1], [2], [1]], device=inner.device)
    by_column = ((nearer[:, 2] - nearer[:, 0]) * sobel).sum(0).abs()
    by_row = ((nearer[2] - nearer[0]) * sobel).sum(0).abs()
    excess = (by_column - by_row) * torch.where(candidates.along_row, 2, -2) + steeper
    return (excess > 0) | ((excess == 0) & candidates.along_row)
