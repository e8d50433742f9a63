"""MATLAB files: shapes, frames and ranges of the official results, read back by scipy."""

import math
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch

from facewright.align import align_face
from facewright.align.crop import turned_frame
from facewright.errors import ExportError
from facewright.export.mat import official_mat, write_mat
from facewright.geometry.frames import apply_homogeneous, crop_camera, project_points
from facewright.pipeline.outputs import official_five
from facewright.records import CoefficientLayout, Photo

LAYOUT = CoefficientLayout(80, 64, 80)


@pytest.fixture
def contents(rng: torch.Generator) -> dict[str, np.ndarray]:
    points = 0.5 * torch.randn(1, 68, 3, generator=rng)
    landmarks = project_points(points, crop_camera())[0, :, :2]
    return official_mat(
        coefficients=LAYOUT.unpack(torch.arange(257.0)[None]),
        vertices_world=torch.randn(40, 3, generator=rng),
        albedo_srgb=torch.rand(40, 3, generator=rng),
        colors_srgb=torch.rand(40, 3, generator=rng),
        landmarks_crop=landmarks,
        five_crop=landmarks[:5],
        crop=torch.rand(3, 224, 224, generator=rng),
        rendering_srgb=torch.full((3, 224, 224), 0.5),
        mask=torch.ones(1, 224, 224),
        trans_params=torch.tensor([423.0, 594.0, 0.729374, 196.6142, 355.0627], dtype=torch.float64),
    ) | {"points": points.numpy()}


def test_shapes_and_dtypes_are_the_official_ones(contents: dict[str, np.ndarray], tmp_path: Path) -> None:
    write_mat(tmp_path / "face.mat", contents)
    read = scipy.io.loadmat(tmp_path / "face.mat")
    shapes = {
        "cropped_img": (224, 224, 3),
        "recon_img": (224, 224, 4),
        "coeff": (1, 257),
        "face_shape": (40, 3),
        "face_texture": (40, 3),
        "face_color": (40, 3),
        "lm_68p": (68, 2),
        "lm_5p": (5, 2),
        "id": (1, 80),
        "exp": (1, 64),
        "tex": (1, 80),
        "angle": (1, 3),
        "gamma": (1, 27),
        "trans": (1, 3),
        "lm68": (1, 68, 2),
        "trans_params": (1, 5),
    }
    assert {name: read[name].shape for name in shapes} == shapes
    assert read["cropped_img"].dtype == np.uint8
    assert read["recon_img"].dtype == np.float32
    assert read["recon_img"][0, 0].tolist() == [127.5, 127.5, 127.5, 1.0]
    np.testing.assert_array_equal(read["coeff"][0], np.arange(257))
    np.testing.assert_array_equal(read["angle"][0], [224, 225, 226])
    np.testing.assert_array_equal(read["gamma"][0], np.arange(227, 254))
    np.testing.assert_array_equal(read["trans"][0], [254, 255, 256])
    for name, array in contents.items():
        np.testing.assert_array_equal(read[name], array)


def test_landmarks_follow_the_official_camera(contents: dict[str, np.ndarray]) -> None:
    x, y, z = contents["points"][0].T.astype(np.float64)
    u, v_up = 1015.0 * x / (10.0 - z) + 112.0, 1015.0 * y / (10.0 - z) + 112.0
    np.testing.assert_allclose(contents["lm_68p"], np.stack([u, v_up], 1), atol=1e-4)
    np.testing.assert_allclose(contents["lm68"][0], np.stack([u, 223.0 - v_up], 1), atol=1e-4)


def test_same_content_same_bytes_and_no_clock(contents: dict[str, np.ndarray], tmp_path: Path) -> None:
    write_mat(tmp_path / "a.mat", contents)
    write_mat(tmp_path / "b.mat", contents)
    assert (tmp_path / "a.mat").read_bytes() == (tmp_path / "b.mat").read_bytes()
    assert b"Created on" not in (tmp_path / "a.mat").read_bytes()


def test_numbers_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="coeff"):
        write_mat(tmp_path / "face.mat", {"coeff": torch.tensor([float("nan")])})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("roll", [0.0, 0.9])
def test_the_five_points_are_where_the_official_program_maps_them(roll: float) -> None:
    """``lm_5p``: its own formula (docs/deep3d.md section 4), not the pixels of the picture that it cut."""
    five = torch.tensor([[97.3, 83.1], [151.2, 88.7], [121.9, 120.4], [99.6, 141.2], [147.7, 145.3]])
    photo = Photo(torch.full((3, 321, 255), 128, dtype=torch.uint8))
    if roll:  # the same face, its head rolled
        middle, (c, s) = torch.tensor([127.0, 160.0]), (math.cos(roll), math.sin(roll))
        five = middle + (five - middle) @ torch.tensor([[c, -s], [s, c]])
    aligned = align_face(photo, five)
    assert (aligned.roll != 0.0) == (roll != 0.0)
    width, height, s, tx, ty = aligned.trans_params.tolist()
    T_photo_turned, *_ = turned_frame(photo.width, photo.height, aligned.roll)
    x, y = apply_homogeneous(torch.linalg.inv(T_photo_turned), five.double()).unbind(-1)
    u = (x - tx + width / 2) * s - (int(width * s) / 2 - 112)
    v_up = (height - 1 - y - ty + height / 2) * s - (int(height * s) / 2 - 112)
    found = official_five(aligned)
    torch.testing.assert_close(found, torch.stack([u, 223 - v_up], -1), atol=1e-3, rtol=0)
    assert 0.2 < float((found - aligned.five_crop).norm(dim=-1).max()) < 2.0
