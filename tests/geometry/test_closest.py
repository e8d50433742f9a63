"""Nearest places of a surface against trimesh, which tries every triangle."""

import numpy as np
import pytest
import torch
import trimesh

from facewright.geometry.closest import nearest_places
from facewright.geometry.mesh import face_normals

BALL = trimesh.creation.icosphere(subdivisions=3)


@pytest.fixture(scope="module")
def ball() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(np.array(BALL.vertices)), torch.from_numpy(np.array(BALL.faces, dtype=np.int64))


def test_the_place_is_the_nearest_of_all_triangles(ball, rng):
    vertices, faces = ball
    points = 1.2 * torch.randn(40, 3, generator=rng, dtype=torch.float64)
    found = nearest_places(points, vertices, faces)
    triangles = vertices[faces].numpy()
    for point, place, distance in zip(points.numpy(), found.places.of(vertices).numpy(), found.distance, strict=True):
        tried = trimesh.triangles.closest_point(triangles, np.broadcast_to(point, (len(triangles), 3)))
        apart = np.linalg.norm(tried - point, axis=1)
        assert float(distance) == pytest.approx(apart.min(), abs=1e-9)
        np.testing.assert_allclose(place, tried[apart.argmin()], atol=1e-9)


def test_weights_are_barycentric(ball, rng):
    vertices, faces = ball
    weights = nearest_places(torch.randn(40, 3, generator=rng, dtype=torch.float64), vertices, faces).places.weights
    assert (weights >= 0).all()
    torch.testing.assert_close(weights.sum(1), torch.ones(40, dtype=torch.float64))


def test_of_two_skins_the_one_that_looks_the_same_way_is_taken(ball):
    outer, faces = ball
    vertices = torch.cat([outer, 0.98 * outer])  # a thin shell, whose inner skin looks inwards
    both = torch.cat([faces, faces.flip(1) + len(outer)])
    outward = face_normals(outer, faces)
    points = 0.985 * outer[faces].mean(1)  # nearer to the inner skin
    assert (nearest_places(points, vertices, both).places.corners >= len(outer)).any()
    assert (nearest_places(points, vertices, both, normals=outward).places.corners < len(outer)).all()


def test_triangles_without_area_do_no_harm():
    vertices = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [2, 0, 0]], dtype=torch.float64)
    faces = torch.tensor([[0, 1, 3], [0, 1, 2]])
    found = nearest_places(torch.tensor([[0.2, 0.2, 1.0]], dtype=torch.float64), vertices, faces)
    torch.testing.assert_close(found.places.of(vertices), torch.tensor([[0.2, 0.2, 0.0]], dtype=torch.float64))
    assert float(found.distance) == pytest.approx(1.0)
