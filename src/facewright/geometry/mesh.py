"""Normals of triangle meshes."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def face_normals(vertices: Float[Tensor, "*B V 3"], faces: Int[Tensor, "F 3"]) -> Float[Tensor, "*B F 3"]:
    """Unit normals of counter-clockwise triangles; zero for degenerate ones."""
    a, b, c = (vertices.index_select(-2, faces[:, i]) for i in range(3))
    return torch.nn.functional.normalize(torch.linalg.cross(b - a, c - a), dim=-1, eps=1e-12)


def vertex_normals(vertices: Float[Tensor, "*B V 3"], faces: Int[Tensor, "F 3"]) -> Float[Tensor, "*B V 3"]:
    """Unit vertex normals: sum of *unit* face normals around, normalised (docs/deep3d.md section 3; not by area)."""
    num_vertices = vertices.shape[-2]
    flat = vertices.reshape(-1, 3)  # one long list of vertices: adding along any other axis is many times slower
    first = torch.arange(0, flat.shape[0], num_vertices, device=faces.device)
    long_faces = (first[:, None, None] + faces).flatten(0, 1)
    per_face = face_normals(flat, long_faces)
    total = torch.zeros_like(flat)
    for corner in range(3):
        total = total.index_add(0, long_faces[:, corner], per_face)
    return torch.nn.functional.normalize(total, dim=-1, eps=1e-12).view_as(vertices)


def surrounding_normals(
    points: Float[Tensor, "N 3"],
    vertices: Float[Tensor, "V 3"],
    faces: Int[Tensor, "F 3"],
    weights: Float[Tensor, " V"],
    reach_dm: float = 0.15,
) -> Float[Tensor, "N 3"]:
    """Which way a surface looks around points: unit means of the vertex normals near them.

    The vertices at the rims of lids and lips themselves look into the head.

    Args:
        points: dm, of the vertices' frame.
        vertices: dm.
        faces: of the mesh.
        weights: how much each vertex counts.
        reach_dm: scale of "near".
    """
    nearness = torch.exp(-(torch.cdist(points, vertices) / reach_dm).square()) * weights
    return torch.nn.functional.normalize(nearness @ vertex_normals(vertices, faces), dim=-1)
