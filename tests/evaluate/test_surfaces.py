"""Closest points: trimesh and scipy as oracles, degenerate triangles, rims."""

import sys

import numpy as np
import pytest
import trimesh
from scipy.optimize import minimize
from scipy.spatial import KDTree

from facewright.errors import MissingExtraError
from facewright.evaluate.surfaces import (
    Surface,
    closest_points,
    distances_mm,
    on_rim,
    point_to_plane_mm,
    point_to_point_mm,
    point_to_surface_mm,
)


def queries(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 3)) * 70


def test_closest_points_are_trimesh_s(head):
    points = queries(400)
    found = closest_points(points, head)
    places, distances, _ = trimesh.proximity.closest_point_naive(trimesh.Trimesh(head.vertices_mm, head.faces), points)
    np.testing.assert_allclose(found.distances_mm, distances, atol=1e-9)
    np.testing.assert_allclose(found.points_mm, places, atol=1e-6)  # a tie may be answered by either triangle


def test_answer_is_consistent_with_itself(head):
    points = queries(300, seed=1)
    found = closest_points(points, head)
    corners = head.vertices_mm[head.faces[found.face_index]]
    np.testing.assert_allclose(np.einsum("nc,ncd->nd", found.barycentrics, corners), found.points_mm, atol=1e-9)
    np.testing.assert_allclose(found.barycentrics.sum(1), 1.0, atol=1e-12)
    assert found.barycentrics.min() >= 0
    np.testing.assert_allclose(np.linalg.norm(points - found.points_mm, axis=1), found.distances_mm, atol=1e-12)


def test_soup_of_slivers_segments_and_points():
    """Triangles of all shapes and sizes, some without area, against a numerical minimum over each."""
    rng = np.random.default_rng(3)
    corners = rng.normal(size=(60, 3, 3)) * np.exp(rng.uniform(-3, 2, size=(60, 1, 1)))
    corners[:10, 2] = corners[:10, 1]  # segments
    corners[10:20, 2] = 0.3 * corners[10:20, 0] + 0.7 * corners[10:20, 1]  # collinear
    corners[20:25] = corners[20:25, :1]  # points
    corners[25:35, 2] = corners[25:35, 1] + 1e-7 * rng.normal(size=(10, 3))  # slivers
    soup = Surface(corners.reshape(-1, 3), np.arange(180).reshape(-1, 3))
    points = rng.normal(size=(40, 3)) * 3
    grid = np.stack(np.meshgrid(*[np.linspace(0, 1, 41)] * 2), -1).reshape(-1, 2)
    grid = grid[grid.sum(1) <= 1]
    weights = np.concatenate([1 - grid.sum(1, keepdims=True), grid], 1)
    samples = np.einsum("wc,fcd->fwd", weights, corners).reshape(-1, 3)
    found = closest_points(points, soup)
    sampled, nearest = (np.asarray(answer) for answer in KDTree(samples).query(points))
    assert (found.distances_mm <= sampled + 1e-12).all()
    for i in range(len(points)):  # polish the best sample; nothing may be nearer than the answer

        def squared(w: np.ndarray, i: int = i) -> float:
            a, b, c = corners[nearest[i] // len(weights)]
            return float(np.square(a + w[0] * (b - a) + w[1] * (c - a) - points[i]).sum())

        start = weights[nearest[i] % len(weights), 1:]
        rule = {"type": "ineq", "fun": lambda w: 1 - w.sum()}
        best = minimize(squared, start, bounds=[(0, 1)] * 2, constraints=rule, options={"ftol": 1e-14}).fun
        assert found.distances_mm[i] <= np.sqrt(max(best, 0)) + 1e-6


@pytest.mark.parametrize("count", [0, 1, 2, 37])
def test_points_on_few_triangles_are_found(count: int) -> None:
    triangles = np.random.default_rng(count).normal(size=(max(count, 1), 3, 3))
    few = Surface(triangles.reshape(-1, 3), np.arange(triangles.size // 3).reshape(-1, 3))
    found = closest_points(triangles.mean(1)[:count], few)
    assert found.face_index.tolist() == list(range(count))
    assert found.distances_mm.shape == (count,)
    assert (found.distances_mm < 1e-12).all()


def test_without_libigl_the_line_that_installs_it_is_said(head: Surface, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "igl", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'facewright\[evaluate\]'"):
        closest_points(queries(5), Surface(head.vertices_mm, head.faces))


def test_kinds_of_distance(head):
    """On a plane of unit spacing: to vertices, to the tangent plane, to the surface."""
    box = trimesh.creation.box(extents=(10, 10, 0.0001))
    plane = Surface(*trimesh.remesh.subdivide_to_size(box.vertices, box.faces, 1.5)[:2])
    rng = np.random.default_rng(0)
    points = np.column_stack([rng.uniform(-4, 4, (50, 2)), rng.uniform(1, 2, 50)])
    above = points[:, 2] - 0.00005
    np.testing.assert_allclose(distances_mm(points, plane, "surface"), above, atol=1e-9)
    np.testing.assert_allclose(distances_mm(points, plane, "plane"), above, atol=1e-3)
    np.testing.assert_allclose(distances_mm(points, plane, "point"), KDTree(plane.vertices_mm).query(points)[0])
    far = queries(200)
    assert (point_to_point_mm(far, head) >= point_to_surface_mm(far, head) - 1e-12).all()


def test_half_normal_noise(head):
    """Normal noise of deviation sigma: mean 0.798 sigma, median 0.674 sigma (on a tangent plane, where it is exact)."""
    sigma = 0.2
    noise = np.random.default_rng(0).normal(size=len(head.vertices_mm)) * sigma
    points = head.vertices_mm + noise[:, None] * head.vertex_normals
    for measured in (point_to_plane_mm(points, head), point_to_surface_mm(points, head)):
        assert measured.mean() / sigma == pytest.approx(0.798, abs=0.025)
        assert np.median(measured) / sigma == pytest.approx(0.674, abs=0.03)


def test_rim_is_found():
    """A square of two triangles: points over its inside have inner partners, points beside it end on the rim."""
    square = Surface(np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]), np.array([[0, 1, 2], [0, 2, 3]]))
    points = np.array([[0.3, 0.6, 1.0], [0.5, 0.5, 1.0], [1.4, 0.5, 0.2], [-0.1, -0.1, 0.0]])
    assert on_rim(closest_points(points, square), square).tolist() == [False, False, True, True]
    assert square.open_edges.sum() == 4


@pytest.mark.parametrize("first", range(3))
def test_rim_is_found_at_a_corner_whose_face_has_no_open_edge(first):
    """A fan of three faces around a hub; the middle one's edges at the hub are shared, yet the hub is an end."""
    angles = np.linspace(0, np.pi / 2, 4)
    rim = np.column_stack([np.cos(angles), np.sin(angles), np.zeros(4)])
    faces = np.roll([[0, 1, 2], [0, 2, 3], [0, 3, 4]], first, axis=0)  # of faces alike the first one answers
    fan = Surface(np.concatenate([np.zeros((1, 3)), rim]), faces)
    points = np.array([[-0.3, -0.3, 0.0], [-0.1, -0.2, 0.4], [0.3, 0.3, 0.5]])
    assert on_rim(closest_points(points, fan), fan).tolist() == [True, True, False]


def test_a_closed_mesh_has_no_rim(head):
    assert not head.open_edges.any()


def test_bad_meshes_are_refused():
    triangle = np.array([[0, 1, 2]])
    with pytest.raises(ValueError, match="at least one face"):
        Surface(np.zeros((3, 3)), np.zeros((0, 3), int))
    with pytest.raises(ValueError, match="ids up to 2"):
        Surface(np.zeros((2, 3)), triangle)
    with pytest.raises(ValueError, match="NaN"):
        Surface(np.array([[0, 0, 0], [1, 0, 0], [np.nan, 0, 0]]), triangle)
    with pytest.raises(ValueError, match="finite points"):
        closest_points(np.full((2, 3), np.inf), Surface(np.eye(3), triangle))
