"""Official files and numbers: y up, two half-pixel rules, nested arrays."""

from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch

from facewright.align import align_face, deep3d_template
from facewright.align.official import (
    official_back_mapping,
    official_crop_points,
    official_points_from_pixels,
    photo_points_from_mat,
    pixels_from_official_points,
    trans_params_from_mat,
    write_points,
)
from facewright.detect import read_landmarks
from facewright.errors import ExportError, ReconstructionError
from facewright.geometry.frames import apply_homogeneous
from facewright.photo import photo_from_array

PARAMS = torch.tensor([301.0, 223.0, 1.3437, 150.3, 104.9], dtype=torch.float64)
FIVE = torch.tensor([[127.1, 93.2], [171.9, 92.8], [150.5, 116.4], [132.0, 140.3], [168.4, 141.0]], dtype=torch.float64)


def test_forward_map_is_the_published_formula() -> None:
    width, height, s, tx, ty = PARAMS.tolist()
    w, h = int(width * s), int(height * s)
    for x, y in FIVE.tolist():
        expected = [(x - tx + width / 2) * s - (w / 2 - 112), (height - 1 - y - ty + height / 2) * s - (h / 2 - 112)]
        np.testing.assert_allclose(
            official_crop_points(torch.tensor([[x, y]], dtype=torch.float64), PARAMS)[0], expected, rtol=1e-12
        )


@pytest.mark.parametrize("size", [224, 1024])
def test_back_mapping_undoes_it(size: int, rng: torch.Generator) -> None:
    points = 300 * torch.rand(3, 50, 2, generator=rng, dtype=torch.float64)
    there = official_crop_points(points, PARAMS, size=size)
    torch.testing.assert_close(official_back_mapping(there, PARAMS, size=size), points, rtol=0, atol=1e-9)


def test_official_labels_stay_within_a_pixel_or_so_of_the_picture() -> None:
    photo = photo_from_array(np.zeros((223, 301, 3), np.uint8))
    worst = 0.0
    for scale in np.linspace(50.0, 200.0, 40):
        five = torch.tensor([150.3, 117.2]) + scale * deep3d_template()[:, :2] * torch.tensor([1.0, -1.0])
        face = align_face(photo, five)
        label = pixels_from_official_points(official_crop_points(five, face.trans_params), rule="landmark")
        exact = apply_homogeneous(torch.linalg.inv(face.T_photo_crop), five)
        worst = max(worst, float((label - exact).abs().max()))
    assert 0.3 < worst < 2.0


def test_two_half_pixel_rules() -> None:
    axis = torch.tensor([[112.0, 112.0], [0.0, 0.0]])
    assert pixels_from_official_points(axis, rule="renderer").tolist() == [[111.5, 111.5], [-0.5, 223.5]]
    assert pixels_from_official_points(axis, rule="landmark").tolist() == [[112.0, 111.0], [0.0, 223.0]]
    for rule in ("renderer", "landmark"):
        pixels = torch.tensor([[3.0, 7.25], [100.0, 220.0]])
        there = official_points_from_pixels(pixels, rule=rule)
        assert torch.equal(pixels_from_official_points(there, rule=rule), pixels)


def test_written_points_are_what_the_detectors_room_reads(tmp_path: Path) -> None:
    write_points(tmp_path / "five.txt", FIVE)
    assert (tmp_path / "five.txt").read_text().splitlines()[0] == "127.100\t93.200"
    torch.testing.assert_close(read_landmarks(tmp_path / "five.txt").five.double(), FIVE, rtol=0, atol=5e-4)


def test_points_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ExportError):
        write_points(tmp_path / "file" / "five.txt", FIVE)


def test_trans_params_of_every_nesting(tmp_path: Path) -> None:
    nested = np.zeros((1, 5), dtype=object)
    for i, value in enumerate(PARAMS.tolist()):
        nested[0, i] = np.array([[value]])
    for stored in (PARAMS.numpy(), PARAMS.numpy()[None], nested):
        scipy.io.savemat(tmp_path / "face.mat", {"trans_params": stored})
        torch.testing.assert_close(trans_params_from_mat(scipy.io.loadmat(tmp_path / "face.mat")), PARAMS)


@pytest.mark.parametrize(
    "contents",
    [
        {},
        {"trans_params": np.zeros((1, 5))},
        {"trans_params": np.ones(4)},
        {"trans_params": np.array([1.0, 2.0, np.nan, 4.0, 5.0])},
        {"trans_params": "text"},
    ],
)
def test_bad_trans_params(contents: dict[str, object]) -> None:
    with pytest.raises(ReconstructionError, match="expected"):
        trans_params_from_mat(contents)


def test_landmarks_of_both_official_spellings_come_back_to_the_photo() -> None:
    crop_up = official_crop_points(FIVE, PARAMS)
    crop_down = torch.stack([crop_up[:, 0], 223 - crop_up[:, 1]], -1)
    for key, stored in (("lm_5p", crop_down), ("lm68", crop_down[None]), ("lm_68p", crop_up)):
        points = photo_points_from_mat({"trans_params": PARAMS.numpy()[None], key: stored.numpy()})
        torch.testing.assert_close(points, FIVE, rtol=0, atol=1e-9)
    with pytest.raises(ReconstructionError, match="lm68"):
        photo_points_from_mat({"trans_params": PARAMS.numpy()})
