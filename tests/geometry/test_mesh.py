"""Normals against trimesh and a plain loop."""

import numpy as np
import torch
import trimesh

from facewright.geometry.mesh import face_normals, vertex_normals


def lumpy_sphere(rng: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    sphere = trimesh.creation.icosphere(2)
    vertices = torch.tensor(np.asarray(sphere.vertices))
    vertices = vertices * (1 + 0.1 * torch.rand(2, len(vertices), 1, generator=rng, dtype=torch.float64))
    return vertices, torch.tensor(np.asarray(sphere.faces))


def test_face_normals_are_trimeshs(rng: torch.Generator) -> None:
    vertices, faces = lumpy_sphere(rng)
    for batch in range(2):
        expected = trimesh.Trimesh(vertices[batch].numpy(), faces.numpy(), process=False).face_normals
        np.testing.assert_allclose(face_normals(vertices, faces)[batch], expected, atol=1e-12)


def test_vertex_normals_sum_unit_face_normals(rng: torch.Generator) -> None:
    vertices, faces = lumpy_sphere(rng)
    for batch in range(2):
        total = np.zeros((vertices.shape[1], 3))
        for a, b, c in faces.tolist():
            normal = np.cross(vertices[batch, b] - vertices[batch, a], vertices[batch, c] - vertices[batch, a])
            total[[a, b, c]] += normal / np.linalg.norm(normal)
        expected = total / np.linalg.norm(total, axis=1, keepdims=True)
        np.testing.assert_allclose(vertex_normals(vertices, faces)[batch], expected, atol=1e-12)


def test_leading_axes_are_free(rng: torch.Generator) -> None:
    vertices, faces = lumpy_sphere(rng)
    whole = vertex_normals(vertices, faces)
    torch.testing.assert_close(vertex_normals(vertices[0], faces), whole[0], rtol=0, atol=0)
    torch.testing.assert_close(vertex_normals(vertices[:, None], faces)[:, 0], whole, rtol=0, atol=0)


def test_degenerate_faces_count_for_nothing(rng: torch.Generator) -> None:
    vertices, faces = lumpy_sphere(rng)
    flat = torch.cat([faces, torch.tensor([[0, 0, 5], [7, 7, 7]])])
    torch.testing.assert_close(vertex_normals(vertices, flat), vertex_normals(vertices, faces))
    alone = vertex_normals(torch.ones(3, 3), torch.tensor([[0, 1, 2]]))
    assert bool((alone == 0).all())


def test_normal_gradients(rng: torch.Generator) -> None:
    vertices = torch.randn(2, 5, 3, generator=rng, dtype=torch.float64).requires_grad_()
    faces = torch.tensor([[0, 1, 2], [0, 2, 3], [2, 4, 3]])
    assert torch.autograd.gradcheck(lambda v: vertex_normals(v, faces), vertices)
