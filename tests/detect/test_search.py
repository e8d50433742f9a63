"""Views know where they come from; windows cover everything."""

import pytest
import torch
from torch import Tensor

from facewright.detect import FaceDetector
from facewright.detect.search import (
    View,
    framed,
    resized,
    small_candidates,
    turned,
    views_of,
    whole,
    windows,
)
from facewright.geometry.frames import apply_homogeneous
from facewright.photo import photo_from_array
from facewright.records import Photo


def ramp_photo(width: int, height: int) -> Photo:
    """Red tells the column, green the row, blue is 1."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return Photo(torch.stack([columns, rows, torch.full_like(rows, 255)]).clamp(max=255).byte())


def shown_places(view: View, photo: Photo) -> tuple[Tensor, Tensor]:
    """Photo px per the view's map and per the picture, at view px well inside of the photo."""
    _, height, width = view.image.shape
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    places = apply_homogeneous(view.T_photo_view, torch.stack([columns, rows], -1) + 0.5)
    seen = 255 * view.image[:2].permute(1, 2, 0)
    edge = 2 * view.T_photo_view[:2, :2].abs().max()
    size = torch.tensor([photo.width, photo.height])
    inside = ((places > edge) & (places < size - 1 - edge)).all(-1)
    assert inside.sum() > 100
    return places[inside], seen[inside]


@pytest.mark.parametrize("size", [(256, 160), (160, 256), (101, 97)])
@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_a_view_shows_what_its_map_says(size: tuple[int, int], turns: int) -> None:
    photo = ramp_photo(*size)
    views = views_of(photo)
    for view in (views.far, views.short, views.coarse, views.fine):
        expected, seen = shown_places(turned(view, turns), photo)
        torch.testing.assert_close(seen, expected, rtol=0, atol=0.1)  # a triangle filter is off by up to 0.08 px


def test_views_have_the_sizes_that_networks_take() -> None:
    views = views_of(ramp_photo(1000, 430))
    assert views.far.image.shape == views.short.image.shape == (3, 128, 128)
    assert views.coarse.image.shape == (3, 192, 192)
    assert views.fine.image.shape == (3, 192, 384)
    assert views.fine.image[2, 0, 0] == 0, "the frame is black"
    assert views_of(ramp_photo(5, 3)).fine.image.shape == (3, 128, 192), "tiny photos are enlarged to the home size"


def test_windows_cover_the_view_and_know_their_place() -> None:
    photo = ramp_photo(250, 240)
    view = framed(whole(photo, 250))
    parts = windows(view, 128, 32)
    assert all(part.image.shape == (3, 128, 128) for part in parts)
    covered = torch.zeros(view.image.shape[1:], dtype=torch.bool)
    for part in parts:
        left, top = (part.T_photo_view - view.T_photo_view)[:2, 2].long().tolist()
        covered[top : top + 128, left : left + 128] = True
        expected, seen = shown_places(part, photo)
        torch.testing.assert_close(seen, expected, rtol=0, atol=0.05)
    assert covered.all()
    assert len(windows(view, 512, 32)) == 1


def test_a_windowed_search_finds_what_a_whole_one_finds(
    detector: FaceDetector, astronaut: Photo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A face that windows share or cut is still one face, in the same place."""
    small = resized(whole(astronaut, 300), 300).image
    canvas = torch.zeros(3, 416, 640)
    canvas[:, 40:340, 200:500] = small
    photo = photo_from_array(canvas.permute(1, 2, 0))
    expected = small_candidates(photo, 16.0, detector)
    monkeypatch.setattr("facewright.detect.search.WINDOW_SIZE", 352)
    assert len(windows(framed(whole(photo, 640)), 352, 160)) > 2
    found = small_candidates(photo, 16.0, detector)
    assert (expected.scores > 0.5).sum() == (found.scores > 0.5).sum() == 1
    size = expected.boxes[0, 2] - expected.boxes[0, 0]
    assert (found.boxes[0] - expected.boxes[0]).abs().max() < 0.15 * size


def test_large_photos_are_averaged_first_and_stay_in_place() -> None:
    photo = ramp_photo(256, 160)
    view = whole(photo, 21)
    assert view.image.shape == (3, 53, 85)
    expected, seen = shown_places(view, photo)
    torch.testing.assert_close(seen, expected, rtol=0, atol=0.01)
