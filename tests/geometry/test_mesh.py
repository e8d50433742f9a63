"""Normals against trimesh and a plain loop."""

import numpy as np
import pytest
import torch
import trimesh

from facewright.compiled import can_compile
from facewright.geometry.mesh import face_normals, surrounding_normals, vertex_normals, vertex_normals_by_tensors


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


def test_surroundings_of_a_ball_look_outward(rng: torch.Generator) -> None:
    """Wherever a point lies near it; only what counts is asked, and what is near."""
    ball = trimesh.creation.icosphere(3, radius=0.8)
    vertices, faces = (torch.from_numpy(np.array(part)) for part in (ball.vertices, ball.faces))
    outward = torch.nn.functional.normalize(torch.randn(40, 3, generator=rng, dtype=torch.float64), dim=-1)
    everywhere = torch.ones(len(vertices), dtype=torch.float64)
    for distance in (0.7, 0.8, 0.9):
        found = surrounding_normals(distance * outward, vertices, faces, everywhere)
        assert float((found * outward).sum(-1).min()) > 0.995
    torch.testing.assert_close(found.norm(dim=-1), everywhere[:40])
    upper = (vertices[:, 1] > 0.1).double()
    equator = torch.tensor([[0.8, 0.0, 0.0]], dtype=torch.float64)
    assert float(surrounding_normals(equator, vertices, faces, upper)[0, 1]) > 0.1
    wide = surrounding_normals(equator, vertices, faces, upper, reach_dm=5.0)
    assert float(wide[0, 1]) > 0.9  # the mean of the upper half looks up


def test_a_rim_that_looks_inward_is_outvoted() -> None:
    """Like lids and lips: points glued to a fold's edge look where the surface around it looks."""
    ticks = torch.linspace(-0.5, 0.5, 21)
    x, y = (axis.flatten() for axis in torch.meshgrid(ticks, ticks, indexing="xy"))
    row, column = (axis.flatten() for axis in torch.meshgrid(torch.arange(20), torch.arange(20), indexing="ij"))
    a = 21 * row + column
    faces = torch.cat([torch.stack([a, a + 1, a + 22], -1), torch.stack([a, a + 22, a + 21], -1)])
    depth = torch.where(x.abs() < 0.02, -0.3, 0.0)  # a deep, narrow furrow
    vertices = torch.stack([x, y, depth], -1)
    wall = int(((x - 0.05).abs() + y.abs()).argmin())
    assert float(vertex_normals(vertices, faces)[wall, 2]) < 0.9
    around = surrounding_normals(vertices[wall : wall + 1], vertices, faces, torch.ones(len(vertices)))
    assert float(around[0, 2]) > 0.95


@pytest.mark.skipif(not can_compile(), reason="numba is not installed")
def test_compiled_normals_and_their_gradients_are_those_of_tensors(rng: torch.Generator) -> None:
    """Degenerate faces, unused vertices and a mesh that is not in a batch included."""
    vertices, faces = lumpy_sphere(rng)
    faces = torch.cat([faces[5:], torch.tensor([[3, 3, 7]])])
    weights = torch.randn(vertices.shape, generator=rng, dtype=torch.float64)
    for chosen in (slice(None), 0):
        found = []
        for normals_of in (vertex_normals, vertex_normals_by_tensors):
            leaf = vertices[chosen].clone().requires_grad_()
            normals = normals_of(leaf, faces)
            (normals * weights[chosen]).sum().backward()
            found.append((normals.detach(), leaf.grad))
        assert found[0][1] is not None
        for ours, theirs in zip(*found, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)
