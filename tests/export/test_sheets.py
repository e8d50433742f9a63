"""Contact sheets: every picture in its place, large ones shrunk, small ones left sharp."""

import pytest
import torch

from facewright.export.pictures import BACKDROP
from facewright.export.sheets import GAP_PX, contact_sheet


def _plain(height: int, width: int, level: float) -> torch.Tensor:
    return torch.full((3, height, width), level)


def _box_of(sheet: torch.Tensor, level: float) -> tuple[int, int, int, int]:
    rows, columns = (sheet - level).abs().amax(0).lt(1e-3).nonzero().unbind(1)
    return int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1


def test_a_large_picture_shrinks_to_the_tile() -> None:
    sheet = contact_sheet([("photo", _plain(3000, 2000, 1.0))], tile_px=384)
    left, top, right, bottom = _box_of(sheet, 1.0)
    assert (right - left, bottom - top) == (256, 384)
    assert left == GAP_PX
    assert sheet.shape[2] == 2 * GAP_PX + 256


def test_a_small_picture_is_never_smoothed() -> None:
    board = ((torch.arange(30)[:, None] + torch.arange(30)) % 2).float().expand(3, 30, 30)
    sheet = contact_sheet([("large", _plain(300, 300, 0.5)), ("small", board)])
    pattern = sheet[:, :, 2 * GAP_PX + 300 :]
    left, top, right, bottom = _box_of(pattern, 1.0)
    assert (right - left, bottom - top) == (300, 300)  # ten times, in whole squares
    assert set(pattern[0, top:bottom, left:right].unique().tolist()) == {0.0, 1.0}


def test_titles_and_heading_are_drawn_and_shortened() -> None:
    tiles = [("x" * 500, _plain(200, 200, 1.0)), ("脸 ü", _plain(200, 200, 1.0))]
    bare, headed = contact_sheet(tiles), contact_sheet(tiles, heading="a heading " * 99)
    assert headed.shape[1] > bare.shape[1]
    assert headed.shape[2] == bare.shape[2]
    title_band = bare[:, : _box_of(bare, 1.0)[1]]
    assert (title_band - torch.tensor(BACKDROP)[:, None, None]).abs().max() > 0.5
    gap = title_band[:, :, GAP_PX + 200 : 2 * GAP_PX + 200]
    assert (gap - torch.tensor(BACKDROP)[:, None, None]).abs().max() < 0.01  # a long title stays over its picture


@pytest.mark.parametrize("count", [1, 2, 7, 24])
def test_all_tiles_are_on_the_sheet(count: int) -> None:
    levels = [(80 + 7 * i) / 255 for i in range(count)]
    sheet = contact_sheet([("tile", _plain(60, 50, level)) for level in levels], tile_px=64)
    boxes = [_box_of(sheet, level) for level in levels]
    assert len(set(boxes)) == count
    assert sheet.shape[2] <= 4 * sheet.shape[1]


def test_columns_are_the_callers_choice() -> None:
    tiles = [("tile", _plain(160, 160, 1.0))] * 7
    assert contact_sheet(tiles, columns=7).shape[2] == 7 * (160 + GAP_PX) + GAP_PX
    with pytest.raises(ValueError, match="at least one tile"):
        contact_sheet([])
