import pytest
import torch

from facewright.geometry.frames import crop_camera, pose_points, project_points
from facewright.records import CoefficientLayout
from facewright.regress.official import (
    OFFICIAL_LAYOUT,
    coefficients_from_official,
    landmarks_from_official,
    official_from_coefficients,
    official_landmarks,
)


def test_the_official_vector_names_its_parts():
    vector = torch.arange(257.0)[None]
    c = coefficients_from_official(vector)
    assert c.id[0, 0] == 0
    assert c.exp[0, 0] == 80
    assert c.tex[0, 0] == 144
    assert c.angles.tolist() == [[224, 225, 226]]
    assert c.sh[0, :, 1].tolist() == list(range(236, 245))  # green
    assert c.translation.tolist() == [[254, 255, 256]]
    torch.testing.assert_close(official_from_coefficients(c), vector)
    torch.testing.assert_close(OFFICIAL_LAYOUT.pack(c), vector)


def test_trailing_values_are_dropped():
    vector = torch.randn(2, 260)
    torch.testing.assert_close(official_from_coefficients(coefficients_from_official(vector)), vector[:, :257])


def test_white_light_lights_all_channels_alike():
    vector = torch.randn(2, 239)
    c = coefficients_from_official(vector)
    for channel in range(3):
        torch.testing.assert_close(c.sh[..., channel], vector[:, 227:236])
    torch.testing.assert_close(c.translation, vector[:, 236:])


def test_the_disentangled_order_swaps_expression_and_texture():
    vector = torch.randn(1, 257)
    c = coefficients_from_official(vector, order="id-tex-exp")
    torch.testing.assert_close(c.tex, vector[:, 80:160])
    torch.testing.assert_close(c.exp, vector[:, 160:224])
    torch.testing.assert_close(official_from_coefficients(c, order="id-tex-exp"), vector)


def test_short_vectors_are_refused():
    with pytest.raises(ValueError, match="257 values or more"):
        coefficients_from_official(torch.zeros(1, 256))
    with pytest.raises(ValueError, match="45 values or more"):
        coefficients_from_official(torch.zeros(1, 44), layout=CoefficientLayout(5, 4, 3))


@pytest.mark.parametrize("crop_size", [224, 112])
def test_official_landmarks_follow_the_published_projection(crop_size):
    """u = f x / (10 - z) + S / 2, v_up likewise, row = S - 1 - v_up; computed here in float64 from the same points."""
    points = torch.randn(1, 68, 3, dtype=torch.float64) * 0.5
    angles, translation = torch.randn(2, 1, 3, dtype=torch.float64) * 0.3
    world = pose_points(points, angles, translation)
    ours = project_points(world, crop_camera(size=crop_size, like=points))[..., :2]
    focal = 1015 * crop_size / 224
    u = focal * world[..., 0] / (10 - world[..., 2]) + crop_size / 2
    v_up = focal * world[..., 1] / (10 - world[..., 2]) + crop_size / 2
    down = torch.stack([u, crop_size - 1 - v_up], -1)
    torch.testing.assert_close(official_landmarks(ours, crop_size=crop_size), down)
    up = official_landmarks(ours, crop_size=crop_size, rows="up")
    torch.testing.assert_close(up, torch.stack([u, v_up], -1))
    torch.testing.assert_close(landmarks_from_official(up, crop_size=crop_size, rows="up"), ours)
    torch.testing.assert_close(landmarks_from_official(down, crop_size=crop_size), ours)


def test_golden_projections_of_the_mean_face(shared_dir):
    """Published projections (u, v_up) of ``similarity_Lm3D_all`` with all coefficients zero."""
    from scipy.io import loadmat

    points = torch.from_numpy(loadmat(shared_dir / "bfm_tables" / "similarity_Lm3D_all.mat")["lm"]).double()[None]
    ours = project_points(points, crop_camera(like=points))[..., :2]
    received = official_landmarks(ours, rows="up")[0, [0, 8, 16, 30, 36, 45, 48, 54]]
    golden = [
        (41.8882, 132.9246),
        (112.2773, 26.5943),
        (181.9687, 132.8736),
        (112.3495, 107.0387),
        (67.7961, 141.9461),
        (156.2802, 141.8148),
        (85.8182, 72.4070),
        (137.7928, 72.4197),
    ]
    torch.testing.assert_close(received, torch.tensor(golden, dtype=torch.float64), rtol=0, atol=1e-3)
