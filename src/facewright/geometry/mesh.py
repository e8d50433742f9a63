"""Normals of triangle meshes."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from facewright.compiled import can_compile, compiled

LEAST_LENGTH = 1e-12
"""Shorter vectors are divided by this instead of their length."""


def face_normals(vertices: Float[Tensor, "*B V 3"], faces: Int[Tensor, "F 3"]) -> Float[Tensor, "*B F 3"]:
    """Unit normals of counter-clockwise triangles; zero for degenerate ones."""
    a, b, c = (vertices.index_select(-2, faces[:, i]) for i in range(3))
    return torch.nn.functional.normalize(torch.linalg.cross(b - a, c - a), dim=-1, eps=LEAST_LENGTH)


def vertex_normals(vertices: Float[Tensor, "*B V 3"], faces: Int[Tensor, "F 3"]) -> Float[Tensor, "*B V 3"]:
    """Unit vertex normals: sum of *unit* face normals around, normalised (docs/deep3d.md section 3; not by area).

    Where a gradient is asked for on the CPU, compiled loops go both ways in a pass each (extra ``fast``).
    """
    differentiated = vertices.requires_grad and torch.is_grad_enabled()
    if differentiated and vertices.device.type == "cpu" and can_compile():
        normals: Any = _VertexNormals.apply(vertices.reshape(-1, *vertices.shape[-2:]), faces)
        return normals.view_as(vertices)
    return vertex_normals_by_tensors(vertices, faces)


def vertex_normals_by_tensors(vertices: Float[Tensor, "*B V 3"], faces: Int[Tensor, "F 3"]) -> Float[Tensor, "*B V 3"]:
    """``vertex_normals`` in tensor operations, on any device."""
    num_vertices = vertices.shape[-2]
    flat = vertices.reshape(-1, 3)  # one long list of vertices: adding along any other axis is many times slower
    first = torch.arange(0, flat.shape[0], num_vertices, device=faces.device)
    long_faces = (first[:, None, None] + faces).flatten(0, 1)
    per_face = face_normals(flat, long_faces)
    total = torch.zeros_like(flat).index_add(0, long_faces.flatten(), per_face.repeat_interleave(3, 0))
    return torch.nn.functional.normalize(total, dim=-1, eps=LEAST_LENGTH).view_as(vertices)


class _VertexNormals(torch.autograd.Function):
    """The compiled twin of ``vertex_normals_by_tensors``."""

    @staticmethod
    def forward(ctx: Any, vertices: Tensor, faces: Tensor) -> Tensor:
        vertices, total, normals = vertices.contiguous(), torch.zeros_like(vertices), torch.zeros_like(vertices)
        compiled(_sum_normals)(vertices.numpy(), faces.numpy(), total.numpy(), normals.numpy())
        ctx.save_for_backward(vertices, faces, total)
        return normals

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        vertices, faces, total = ctx.saved_tensors
        by_total, by_vertices = torch.zeros_like(total), torch.zeros_like(vertices)
        arrays = (gradients[0].contiguous(), vertices, faces, total, by_total, by_vertices)
        compiled(_spread_gradients)(*(array.numpy() for array in arrays))
        return by_vertices, None


def _sum_normals(vertices, faces, total, normals):
    """Sums of unit face normals, and those sums brought to unit length. For numba."""
    for i in range(vertices.shape[0]):
        for f in range(faces.shape[0]):
            a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
            x0, y0, z0 = vertices[i, a, 0], vertices[i, a, 1], vertices[i, a, 2]
            x1, y1, z1 = vertices[i, b, 0] - x0, vertices[i, b, 1] - y0, vertices[i, b, 2] - z0
            x2, y2, z2 = vertices[i, c, 0] - x0, vertices[i, c, 1] - y0, vertices[i, c, 2] - z0
            x, y, z = y1 * z2 - z1 * y2, z1 * x2 - x1 * z2, x1 * y2 - y1 * x2
            scale = 1.0 / max(np.sqrt(x * x + y * y + z * z), LEAST_LENGTH)
            x, y, z = scale * x, scale * y, scale * z
            for corner in (a, b, c):
                total[i, corner, 0] += x
                total[i, corner, 1] += y
                total[i, corner, 2] += z
        for v in range(vertices.shape[1]):
            x, y, z = total[i, v, 0], total[i, v, 1], total[i, v, 2]
            scale = 1.0 / max(np.sqrt(x * x + y * y + z * z), LEAST_LENGTH)
            normals[i, v, 0], normals[i, v, 1], normals[i, v, 2] = scale * x, scale * y, scale * z


def _spread_gradients(gradient, vertices, faces, total, by_total, by_vertices):
    """Derivatives of ``_sum_normals``: of x / |x| by x, then of the cross product e1 x e2 by its two edges."""
    for i in range(vertices.shape[0]):
        for v in range(vertices.shape[1]):
            x, y, z = total[i, v, 0], total[i, v, 1], total[i, v, 2]
            length = np.sqrt(x * x + y * y + z * z)
            scale = 1.0 / max(length, LEAST_LENGTH)
            x, y, z = scale * x, scale * y, scale * z
            gx, gy, gz = gradient[i, v, 0], gradient[i, v, 1], gradient[i, v, 2]
            along = x * gx + y * gy + z * gz if length > LEAST_LENGTH else 0.0
            by_total[i, v, 0] = scale * (gx - along * x)
            by_total[i, v, 1] = scale * (gy - along * y)
            by_total[i, v, 2] = scale * (gz - along * z)
        for f in range(faces.shape[0]):
            a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
            x0, y0, z0 = vertices[i, a, 0], vertices[i, a, 1], vertices[i, a, 2]
            x1, y1, z1 = vertices[i, b, 0] - x0, vertices[i, b, 1] - y0, vertices[i, b, 2] - z0
            x2, y2, z2 = vertices[i, c, 0] - x0, vertices[i, c, 1] - y0, vertices[i, c, 2] - z0
            x, y, z = y1 * z2 - z1 * y2, z1 * x2 - x1 * z2, x1 * y2 - y1 * x2
            length = np.sqrt(x * x + y * y + z * z)
            scale = 1.0 / max(length, LEAST_LENGTH)
            x, y, z = scale * x, scale * y, scale * z
            gx = by_total[i, a, 0] + by_total[i, b, 0] + by_total[i, c, 0]
            gy = by_total[i, a, 1] + by_total[i, b, 1] + by_total[i, c, 1]
            gz = by_total[i, a, 2] + by_total[i, b, 2] + by_total[i, c, 2]
            along = x * gx + y * gy + z * gz if length > LEAST_LENGTH else 0.0
            gx, gy, gz = scale * (gx - along * x), scale * (gy - along * y), scale * (gz - along * z)
            first = (y2 * gz - z2 * gy, z2 * gx - x2 * gz, x2 * gy - y2 * gx)
            second = (gy * z1 - gz * y1, gz * x1 - gx * z1, gx * y1 - gy * x1)
            for axis in range(3):
                by_vertices[i, b, axis] += first[axis]
                by_vertices[i, c, axis] += second[axis]
                by_vertices[i, a, axis] -= first[axis] + second[axis]


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
