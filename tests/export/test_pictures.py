"""Pictures: PNG round trip, overlays, drawn marks and false colours where they belong."""

import io
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from facewright.errors import ExportError
from facewright.export import png
from facewright.export.pictures import (
    BACKDROP,
    crop_around,
    depth_picture,
    draw_landmarks,
    draw_outline,
    draw_points,
    normals_picture,
    on_backdrop,
    overlay,
)
from facewright.export.png import write_png
from facewright.geometry.ibug68 import LINES_OF_68


@pytest.fixture
def disc() -> torch.Tensor:
    rows, columns = torch.meshgrid(torch.arange(60.0), torch.arange(80.0), indexing="ij")
    return ((columns - 40) ** 2 + (rows - 30) ** 2 < 20**2).float()[None]


def test_png_keeps_bytes_and_clamps(tmp_path: Path) -> None:
    levels = torch.arange(256.0).reshape(1, 16, 16).expand(3, 16, 16) / 255
    write_png(tmp_path / "a.png", levels)
    with Image.open(tmp_path / "a.png") as read:
        assert read.mode == "RGB"
        np.testing.assert_array_equal(np.asarray(read)[..., 0].ravel(), np.arange(256))
    write_png(tmp_path / "a.png", torch.tensor([-0.5, 0.0, 1.5])[:, None, None])
    with Image.open(tmp_path / "a.png") as read:
        assert np.asarray(read).tolist() == [[[0, 0, 255]]]
    with pytest.raises(ExportError, match="finite"):
        write_png(tmp_path / "b.png", torch.full((3, 2, 2), float("nan")))
    assert not (tmp_path / "b.png").exists()


def test_overlay_is_the_photo_outside_and_the_rendering_inside(disc: torch.Tensor) -> None:
    photo, rendering = torch.full((3, 60, 80), 0.2), torch.full((3, 60, 80), 1.7)
    inside = disc.bool().expand(3, -1, -1)
    assert torch.equal(overlay(photo, rendering, disc)[~inside], photo[~inside])
    assert (overlay(photo, rendering, disc)[inside] == 1.0).all()
    quarter = overlay(photo, rendering, disc, opacity=0.25)[inside]
    torch.testing.assert_close(quarter, torch.full_like(quarter, 0.4))
    assert torch.equal(overlay(photo, rendering, 0 * disc), photo)


def test_backdrop_and_normals(disc: torch.Tensor) -> None:
    normals = torch.tensor([0.0, 0.0, 1.0])[:, None, None].expand(3, 60, 80)
    picture = normals_picture(normals, disc)
    torch.testing.assert_close(picture[:, 30, 40], torch.tensor([0.5, 0.5, 1.0]))
    torch.testing.assert_close(picture[:, 0, 0], torch.tensor(BACKDROP))
    torch.testing.assert_close(on_backdrop(normals, 0 * disc)[:, 30, 40], torch.tensor(BACKDROP))


def test_nearer_is_brighter(disc: torch.Tensor) -> None:
    depth = 9.0 + torch.linspace(0, 1, 80).expand(1, 60, 80)
    brightness = depth_picture(depth, disc).mean(0)[30, 25:56]
    assert (brightness[:-4] > brightness[4:]).all()
    assert depth_picture(torch.zeros(1, 60, 80), disc).isfinite().all()
    torch.testing.assert_close(depth_picture(depth, 0 * disc)[:, 30, 40], torch.tensor(BACKDROP))


def test_dots_sit_on_their_points_and_leave_the_picture_alone() -> None:
    picture = torch.full((3, 60, 80), 0.5)
    drawn = draw_points(picture, torch.tensor([[20.0, 10.0], [-500.0, 1e9]]), color=(1.0, 0.0, 0.0))
    torch.testing.assert_close(drawn[:, 10, 20], torch.tensor([1.0, 0.0, 0.0]))
    changed = ((drawn - 0.5).abs().sum(0) > 0.01).nonzero().float()
    torch.testing.assert_close(changed.mean(0), torch.tensor([10.0, 20.0]), atol=0.2, rtol=0)
    assert (changed - torch.tensor([10.0, 20.0])).norm(dim=1).max() < 5
    assert (picture == 0.5).all()


def test_landmark_lines_take_every_point_once() -> None:
    assert [i for run, _ in LINES_OF_68 for i in run] == list(range(68))
    landmarks = torch.stack([torch.arange(68.0) * 2 + 10, torch.full((68,), 30.0)], 1)
    drawn = draw_landmarks(torch.zeros(3, 60, 160), landmarks)
    assert (drawn[:, 30, landmarks[:, 0].long()].amax(0) > 0.5).all()
    assert drawn[:, :20].sum() == 0


@pytest.mark.parametrize("scale", [1, 20])
def test_outline_follows_the_mask_and_grows_with_the_picture(disc: torch.Tensor, scale: int) -> None:
    mask = disc.repeat_interleave(scale, 1).repeat_interleave(scale, 2)
    drawn = draw_outline(torch.zeros(3, 60 * scale, 80 * scale), mask, color=(1.0, 1.0, 1.0))
    rows, columns = (drawn[0] > 0.5).nonzero().float().unbind(1)
    middle_row, middle_column = 30 * scale + (scale - 1) / 2, 40 * scale + (scale - 1) / 2
    radius = ((rows - middle_row) ** 2 + (columns - middle_column) ** 2).sqrt() / scale
    assert radius.min() > 17.5
    assert radius.max() < 21
    assert len(rows) > 5.5 * 19 * scale  # a closed line: the octagonal perimeter of the disc


def test_crop_is_square_around_the_face_and_cut_at_the_border() -> None:
    ramp = torch.arange(200.0).expand(3, 100, 200) / 200
    crop = crop_around(ramp, torch.tensor([90.0, 40.0, 110.0, 60.0]), margin=0.5)
    assert crop.shape == (3, 41, 41)
    torch.testing.assert_close(crop[0, 0, 20] * 200, torch.tensor(100.0))
    assert crop_around(ramp, torch.tensor([180.0, 80.0, 220.0, 120.0])).shape == (3, 40, 40)
    assert crop_around(ramp, torch.tensor([500.0, 500.0, 510.0, 510.0])).shape == ramp.shape


def test_a_png_reads_back_to_the_byte_with_and_without_isal(monkeypatch: pytest.MonkeyPatch) -> None:
    picture = torch.randint(0, 256, (3, 7, 5), generator=torch.Generator().manual_seed(1)) / 255.0
    expected = (picture * 255).round().byte().permute(1, 2, 0).numpy()
    for installed in (True, False):
        png._deflate.cache_clear()
        monkeypatch.setattr(png, "find_spec", lambda name, installed=installed: find_spec(name) if installed else None)
        with Image.open(io.BytesIO(png.png_bytes(picture, kind="sheet"))) as read:
            np.testing.assert_array_equal(np.asarray(read), expected)
            assert read.info["Software"] == "facewright sheet"
    png._deflate.cache_clear()
