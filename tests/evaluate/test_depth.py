"""Depth maps of planes and a sphere, whose depth is known at each pixel; errors by hand."""

import numpy as np
import pytest
import trimesh

from facewright.evaluate.depth import depth_errors, frontal_depth_mm
from facewright.evaluate.surfaces import Surface


def pixel_grid(size: int, pixel_mm: float, half_mm: float) -> tuple[np.ndarray, np.ndarray]:
    place = (np.arange(size) + 0.5) * pixel_mm - half_mm
    return np.meshgrid(place, -place)


def test_tilted_plane_is_exact():
    corners = np.array([[-300.0, -300], [300, -300], [300, 300], [-300, 300]])
    plane = Surface(np.column_stack([corners, corners @ [0.2, -0.1] + 7]), np.array([[0, 1, 2], [0, 2, 3]]))
    depth = frontal_depth_mm(plane, centre_mm=np.array([10.0, 20.0, 5.0]), half_width_mm=50.0, pixel_mm=2.0)
    x, y = pixel_grid(50, 2, 50)
    expected = 1000 - (0.2 * (x + 10) - 0.1 * (y + 20) + 7 - 5)
    np.testing.assert_allclose(depth, expected, atol=1e-3)


def test_front_of_a_sphere_is_drawn_and_nothing_else():
    ball = trimesh.creation.icosphere(5, radius=60)
    sphere = Surface(np.asarray(ball.vertices), np.asarray(ball.faces))
    depth = frontal_depth_mm(sphere, centre_mm=np.zeros(3), half_width_mm=80.0, pixel_mm=1.0)
    x, y = pixel_grid(160, 1, 80)
    inside = np.hypot(x, y) < 55
    np.testing.assert_allclose(depth[inside], 1000 - np.sqrt(60**2 - x[inside] ** 2 - y[inside] ** 2), atol=0.15)
    assert np.isinf(depth[np.hypot(x, y) > 61]).all()


def test_errors_by_hand():
    truth = np.array([[100.0, 1000.0], [200.0, np.inf]])
    predicted = np.array([[110.0, 100.0], [np.inf, 5.0]])
    errors = depth_errors(predicted, truth)
    assert errors.pixels == 2
    assert errors.rmse_mm == pytest.approx(np.sqrt((10**2 + 900**2) / 2))
    assert errors.log10 == pytest.approx((np.log10(1.1) + 1) / 2)
    assert errors.relative == pytest.approx((0.1 + 0.9) / 2)
    one = depth_errors(predicted, truth, np.array([[True, False], [True, True]]))
    assert (one.pixels, one.rmse_mm) == (1, pytest.approx(10))


def test_maps_without_common_pixels_are_refused():
    with pytest.raises(ValueError, match="common pixels"):
        depth_errors(np.full((2, 2), np.inf), np.ones((2, 2)))
    with pytest.raises(ValueError, match="positive depth"):
        depth_errors(np.full((2, 2), -1.0), np.ones((2, 2)))
