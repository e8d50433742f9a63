"""Normals of triangle meshes."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def face_normals(vertices: Float[Tensor, "*B V 3"], faces: Int[Tensor, "F 3"]) -> Float[Tensor, "*B F 3"]:
    """Unit normals of counter-clockwise triangles; zero for degenerate ones."""
    a, b, c = (vertices[..., faces[:, i], :] for i in range(3))
    return torch.nn.functional.normalize(torch.linalg.cross(b - a, c - a), dim=-1, eps=1e-12)


def vertex_normals(vertices: Float[Tensor, "*B V 3"], faces: Int[Tensor, "F 3"]) -> Float[Tensor, "*B V 3"]:
    """Unit vertex normals: the sum of incident *unit* face normals, normalised (not area-weighted; deep3d.md section 3)."""
    per_face = face_normals(vertices, faces)
    total = torch.zeros_like(vertices)
    for corner in range(3):
        total = total.index_add(-2, faces[:, corner], per_face)
    return torch.nn.functional.normalize(total, dim=-1, eps=1e-12)
