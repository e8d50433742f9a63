"""Frames: the published projection, and agreement of pixels with clip space."""

from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch

from facewright.align.official import official_points_from_pixels
from facewright.geometry.frames import (
    apply_homogeneous,
    clip_from_world,
    crop_camera,
    pose_points,
    project_points,
    window_camera,
)
from facewright.geometry.rotations import rotation_from_angles
from facewright.records import Camera

# Where the official code projects landmarks of its mean face, all coefficients zero: u, v (y up).
OFFICIAL_PROJECTIONS = {
    0: (41.8882, 132.9246),
    8: (112.2773, 26.5943),
    16: (181.9687, 132.8736),
    30: (112.3495, 107.0387),
    36: (67.7961, 141.9461),
    45: (156.2802, 141.8148),
    48: (85.8182, 72.4070),
    54: (137.7928, 72.4197),
}


def any_camera() -> Camera:
    def batch(*values: float) -> torch.Tensor:
        return torch.tensor(values, dtype=torch.float64)

    return Camera(batch(800.0, 3000.0), batch(140.0, 55.5), batch(97.0, 300.0), 320, 200, distance_dm=12.0)


def test_mean_landmarks_project_as_published(shared_dir: Path) -> None:
    mean = scipy.io.loadmat(shared_dir / "bfm_tables" / "similarity_Lm3D_all.mat")["lm"].astype(np.float64)
    points, zero = torch.from_numpy(mean)[None], torch.zeros(1, 3, dtype=torch.float64)
    pixels = project_points(pose_points(points, zero, zero), crop_camera(like=points))[0, :, :2]
    official = official_points_from_pixels(pixels)
    for number, expected in OFFICIAL_PROJECTIONS.items():
        np.testing.assert_allclose(official[number], expected, atol=1e-4)


def test_projection_is_the_formula(rng: torch.Generator) -> None:
    camera, points = any_camera(), torch.randn(2, 30, 3, generator=rng, dtype=torch.float64)
    projected = project_points(points, camera)
    for batch in range(2):
        for (x, y, z), got in zip(points[batch].tolist(), projected[batch].tolist(), strict=True):
            focal, cx, cy = camera.focal_px[batch].item(), camera.cx[batch].item(), camera.cy[batch].item()
            assert got == pytest.approx([cx + focal * x / (12 - z), cy - focal * y / (12 - z), 12 - z], rel=1e-12)


def test_clip_space_and_pixels_agree(rng: torch.Generator) -> None:
    camera, points = any_camera(), torch.randn(2, 50, 3, generator=rng, dtype=torch.float64)
    x, y, z, w = clip_from_world(points, camera).unbind(-1)
    column = (x / w + 1) * camera.width / 2 - 0.5  # NDC -1 is the left edge of column 0
    row = (y / w + 1) * camera.height / 2 - 0.5  # NDC -1 is the upper edge of row 0
    torch.testing.assert_close(torch.stack([column, row, w], -1), project_points(points, camera), rtol=1e-12, atol=1e-9)
    assert bool((z.abs() < w).all())


@pytest.mark.parametrize("distance_dm", [10.0, 4.0, 100.0])
def test_depth_range_follows_the_camera(distance_dm: float) -> None:
    one = torch.ones(1, dtype=torch.float64)
    camera = Camera(1015 * one, 112 * one, 112 * one, 224, 224, distance_dm)
    points = torch.tensor([[[0.0, 0.0, distance_dm * 0.5], [0.0, 0.0, -distance_dm * 0.5]]], dtype=torch.float64)
    clip = clip_from_world(points, camera)
    np.testing.assert_allclose(clip[0, :, 2] / clip[0, :, 3], [-1.0, 1.0], atol=1e-12)  # near and far


@pytest.mark.parametrize("size", [64, 224, 225, 1024])
def test_crop_camera_shows_the_same_at_every_size(size: int, rng: torch.Generator) -> None:
    points = 0.5 * torch.randn(1, 20, 3, generator=rng, dtype=torch.float64)
    at_224 = project_points(points, crop_camera(like=points))[..., :2]
    at_size = project_points(points, crop_camera(size=size, like=points))[..., :2]
    torch.testing.assert_close((at_size + 0.5) * 224 / size - 0.5, at_224, rtol=0, atol=1e-9)
    assert crop_camera(3, size=size).focal_px.shape == (3,)


def test_pose_turns_then_moves(rng: torch.Generator) -> None:
    points, angles, translation = (torch.randn(2, *s, 3, generator=rng, dtype=torch.float64) for s in ((5,), (), ()))
    posed = pose_points(points, angles, translation)
    for batch in range(2):
        rotation = rotation_from_angles(angles[batch])
        for i in range(5):
            expected = rotation @ points[batch, i] + translation[batch]
            torch.testing.assert_close(posed[batch, i], expected, rtol=0, atol=1e-12)


def test_projection_gradients(rng: torch.Generator) -> None:
    camera = any_camera()
    points = torch.randn(2, 3, 3, generator=rng, dtype=torch.float64).requires_grad_()
    angles = torch.randn(2, 3, generator=rng, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda p, a: project_points(pose_points(p, a, a), camera), (points, angles))
    assert torch.autograd.gradcheck(lambda p: clip_from_world(p, camera), points)


def test_window_camera_shows_a_magnified_part(rng: torch.Generator) -> None:
    camera, points = any_camera(), torch.randn(2, 20, 3, generator=rng, dtype=torch.float64)
    window = window_camera(camera, 30.0, 12.5, 2.5, 90, 70)
    whole, part = (project_points(points, c)[..., :2] for c in (camera, window))
    corner = torch.tensor([30.0, 12.5], dtype=torch.float64)
    torch.testing.assert_close(part, (whole + 0.5 - corner) * 2.5 - 0.5, rtol=1e-12, atol=1e-9)
    assert (window.width, window.height, window.distance_dm) == (90, 70, 12.0)
    magnified = window_camera(camera, 0.0, 0.0, 2.0, 2 * camera.width, 2 * camera.height)
    near, far = clip_from_world(points, camera), clip_from_world(points, magnified)
    torch.testing.assert_close(far, near, rtol=0, atol=1e-12)  # the same picture at twice the size


def test_homogeneous_maps_compose(rng: torch.Generator) -> None:
    T_b_c = torch.tensor([[1.5, 0.2, 3.0], [-0.1, 0.8, -4.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    T_a_b = torch.tensor([[0.5, 0.0, 9.0], [0.3, 2.0, 1.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    points_c = torch.randn(4, 6, 2, generator=rng, dtype=torch.float64)
    stepwise = apply_homogeneous(T_a_b, apply_homogeneous(T_b_c, points_c))
    torch.testing.assert_close(apply_homogeneous(T_a_b @ T_b_c, points_c), stepwise)
    assert apply_homogeneous(T_a_b, points_c.float()).dtype == torch.float32
