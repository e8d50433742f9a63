"""The place of a mesh that is nearest to a point."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from facewright.geometry.mesh import face_normals
from facewright.records import Embedding, TensorRecord

CANDIDATES = 16
"""Triangles by their middles, among which the nearest is sought: on meshes of heads it is always one of them."""
_TOGETHER = 4096


@dataclass(frozen=True)
class NearestPlaces(TensorRecord):
    """Places of a mesh.

    Attributes:
        places: in triangles.
        distance: from the points that they were sought for.
    """

    places: Embedding
    distance: Float[Tensor, " N"]


def nearest_places(
    points: Float[Tensor, "N 3"],
    vertices: Float[Tensor, "V 3"],
    faces: Int[Tensor, "F 3"],
    *,
    normals: Float[Tensor, "N 3"] | None = None,
    least_cosine: float = 0.0,
) -> NearestPlaces:
    """For each point the nearest place of a surface; of surfaces that look its way, where it has a way and one is near.

    Args:
        points: in the vertices' frame and unit.
        vertices: of the mesh.
        faces: of the mesh, counter-clockwise from outside.
        normals: which way each point looks, unit.
        least_cosine: of the angle between that and a triangle's normal.
    """
    corners = vertices[faces]
    from scipy.spatial import KDTree  # here: it takes its time to load, and few ask for it

    tree = KDTree(corners.mean(1).cpu().numpy())
    most = min(CANDIDATES, len(faces))
    found = torch.from_numpy(tree.query(points.cpu().numpy(), k=most)[1]).reshape(len(points), most).to(faces.device)
    ways = face_normals(vertices, faces)
    parts = []
    for rows in torch.arange(len(points), device=faces.device).split(_TOGETHER):
        near = found[rows]
        weights, apart = _on_triangles(points[rows, None], corners[near])
        if normals is not None:
            against = (ways[near] * normals[rows, None]).sum(-1) < least_cosine
            apart = torch.where(against & ~against.all(1, keepdim=True), torch.inf, apart)
        best = apart.argmin(1)
        each = torch.arange(len(rows), device=faces.device)
        parts.append((faces[near[each, best]], weights[each, best], apart[each, best]))
    corner_ids, weights, apart = (torch.cat(part) for part in zip(*parts, strict=True))
    return NearestPlaces(Embedding(corner_ids, weights), apart)


def _on_triangles(
    points: Float[Tensor, "N 1 3"], corners: Float[Tensor, "N K 3 3"]
) -> tuple[Float[Tensor, "N K 3"], Float[Tensor, "N K"]]:
    """Barycentric weights of the place of each triangle that is nearest to a point, and its distance."""
    tried = [_in_plane(points, corners)]
    for i, j in ((0, 1), (1, 2), (2, 0)):
        a, along = corners[..., i, :], corners[..., j, :] - corners[..., i, :]
        share = ((points - a) * along).sum(-1) / along.square().sum(-1).clamp_min(1e-30)
        on_edge = torch.zeros_like(corners[..., 0])
        on_edge[..., j] = share.clamp(0.0, 1.0)
        on_edge[..., i] = 1.0 - on_edge[..., j]
        tried.append(on_edge)
    weights = torch.stack(tried, -2)
    apart = ((weights[..., None] * corners[..., None, :, :]).sum(-2) - points[..., None, :]).norm(dim=-1)
    apart = torch.where((weights < 0.0).any(-1), torch.inf, apart)
    least = apart.argmin(-1, keepdim=True)
    return weights.gather(-2, least[..., None].expand(*least.shape, 3))[..., 0, :], apart.gather(-1, least)[..., 0]


def _in_plane(points: Float[Tensor, "N 1 3"], corners: Float[Tensor, "N K 3 3"]) -> Float[Tensor, "N K 3"]:
    """Weights of the foot of the perpendicular; negative ones where it is outside or the triangle has no area."""
    a, e1, e2 = corners[..., 0, :], corners[..., 1, :] - corners[..., 0, :], corners[..., 2, :] - corners[..., 0, :]
    away = points - a
    d11, d12, d22 = (e1 * e1).sum(-1), (e1 * e2).sum(-1), (e2 * e2).sum(-1)
    d1, d2 = (away * e1).sum(-1), (away * e2).sum(-1)
    area = d11 * d22 - d12 * d12
    v = (d22 * d1 - d12 * d2) / area.clamp_min(1e-30)
    w = (d11 * d2 - d12 * d1) / area.clamp_min(1e-30)
    flat = area <= 1e-12 * d11 * d22
    weights = torch.stack([1.0 - v - w, v, w], -1)
    return torch.where(flat[..., None], torch.full_like(weights, -1.0), weights)
