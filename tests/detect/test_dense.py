"""Squares, their pixels, and the points read in them."""

import itertools
import math

import pytest
import torch

from facewright.detect import FaceDetector, dense, detect_faces
from facewright.detect.dense import cut_square, read_mesh, squares_around, squares_of_points
from facewright.detect.suppression import Candidates
from facewright.geometry.frames import apply_homogeneous
from facewright.photo import photo_from_array
from facewright.records import Photo


def test_squares_are_turned_along_the_eye_line() -> None:
    angle = math.radians(30)
    T_photo_square = squares_around(
        torch.tensor([[50.0, 70]]), torch.tensor([40.0]), torch.tensor([[5 * math.cos(angle), 5 * math.sin(angle)]])
    )[0]
    centre, right, below = apply_homogeneous(T_photo_square, torch.tensor([[0.5, 0.5], [1, 0.5], [0.5, 1]]))
    torch.testing.assert_close(centre, torch.tensor([50.0, 70]))
    torch.testing.assert_close(right - centre, 20 * torch.tensor([math.cos(angle), math.sin(angle)]))
    torch.testing.assert_close(below - centre, 20 * torch.tensor([-math.sin(angle), math.cos(angle)]))


def test_a_square_of_points_holds_them_in_its_middle(rng: torch.Generator) -> None:
    points = torch.rand(2, 468, 3, generator=rng) * 100
    points[:, 33], points[:, 263] = torch.tensor([20.0, 40, 0]), torch.tensor([80.0, 60, 0])
    for T_photo_square, flat in zip(squares_of_points(points), points[..., :2], strict=True):
        inside = (flat - T_photo_square[:2, 2]) @ T_photo_square[:2, :2].inverse().T
        low, high = inside.amin(0), inside.amax(0)
        torch.testing.assert_close((low + high) / 2, torch.full((2,), 0.5))
        assert (high - low).amax() == pytest.approx(1 / 1.5, abs=1e-5)


@pytest.mark.parametrize("side", [40.0, 192.0, 430.0, 900.0])
@pytest.mark.parametrize("angle", [0.0, 0.4, 2.0])
def test_a_cut_square_shows_a_ramp_exactly(side: float, angle: float) -> None:
    """Resampling keeps straight ramps straight, at any size and turn; so every pixel tells its place."""
    rows, columns = torch.meshgrid(torch.arange(1100.0), torch.arange(1300.0), indexing="ij")
    whole = torch.stack([columns, rows, torch.full_like(rows, 255)]).int()
    low, high = Photo((whole % 256).byte()), Photo((whole // 256).byte())
    eye_line = torch.tensor([[math.cos(angle), math.sin(angle)]])
    T_photo_square = squares_around(torch.tensor([[640.3, 555.8]]), torch.tensor([side]), eye_line)[0]
    # Resampling is linear, so high and low bytes may go their ways alone.
    crop = 255 * (cut_square(low, T_photo_square, 192) + 256 * cut_square(high, T_photo_square, 192))
    steps = (torch.arange(192) + 0.5) / 192
    expected = apply_homogeneous(T_photo_square, torch.stack(torch.meshgrid(steps, steps, indexing="xy"), -1))
    inside = crop[2] > 255 * (1 - 1e-5)
    assert inside.float().mean() > (0.999 if side < 600 else 0.85)
    torch.testing.assert_close(crop[:2].permute(1, 2, 0)[inside], expected[inside], rtol=0, atol=0.02)


def test_outside_of_the_photo_is_black() -> None:
    photo = Photo(torch.full((3, 50, 60), 255, dtype=torch.uint8))
    away = squares_around(torch.tensor([[-200.0, 20]]), torch.tensor([100.0]), torch.tensor([[1.0, 0]]))[0]
    assert cut_square(photo, away, 32).abs().max() == 0
    half = squares_around(torch.tensor([[-0.5, 25]]), torch.tensor([40.0]), torch.tensor([[1.0, 0]]))[0]
    crop = cut_square(photo, half, 40)
    assert crop[:, :, :19].max() == 0
    assert crop[:, :, 21:].min() == 1


def test_reading_in_a_mirror_is_symmetric(detector: FaceDetector, hopper: Photo) -> None:
    """Points averaged over a mirror are the mirrored points of the mirrored photo."""
    from facewright.detect import MESH_MIRROR

    (face,) = detect_faces(hopper, detector)
    assert face.mesh is not None
    T_photo_square = squares_of_points(face.mesh[None])
    flipped = Photo(hopper.pixels.flip(-1))
    T_flipped = T_photo_square.clone()
    # the square of the mirrored photo: its corners are the mirrored corners, left and right exchanged
    T_flipped[:, 0] = torch.tensor([0.0, 0, hopper.width - 1]) - T_photo_square[:, 0]
    T_flipped = T_flipped @ torch.tensor([[-1.0, 0, 1], [0, 1, 0], [0, 0, 1]])
    points, presence = read_mesh([hopper], T_photo_square, detector.mesh, mirrored=True)
    mirrored, mirrored_presence = read_mesh([flipped], T_flipped, detector.mesh, mirrored=True)
    back = mirrored[:, MESH_MIRROR] * torch.tensor([-1.0, 1, 1]) + torch.tensor([hopper.width - 1.0, 0, 0])
    torch.testing.assert_close(back, points, rtol=0, atol=0.02)
    torch.testing.assert_close(mirrored_presence, presence)


def test_points_stay_when_read_again(detector: FaceDetector, astronaut: Photo) -> None:
    (face,) = detect_faces(astronaut, detector)
    assert face.mesh is not None
    again, presence = read_mesh([astronaut], squares_of_points(face.mesh[None]), detector.mesh, mirrored=True)
    eye_distance = (face.five[1] - face.five[0]).norm()
    assert (again[0] - face.mesh)[:, :2].norm(dim=-1).mean() < 0.01 * eye_distance
    assert presence.item() > 0.9999


@pytest.mark.parametrize(("grows", "upside_down", "sure"), [(1.2, True, False), (1.0, True, True), (1.2, False, True)])
def test_a_turned_face_whose_square_still_moves_is_not_sure(
    monkeypatch: pytest.MonkeyPatch, detector: FaceDetector, grows: float, upside_down: bool, sure: bool
) -> None:
    """However sure the network: another orientation may read it better. Upright faces are not asked."""
    mesh = torch.rand(1, 468, 3, generator=torch.Generator().manual_seed(0)) * 100.0
    right, left = dense.EYE_OUTER_CORNERS
    mesh[0, right, :2], mesh[0, left, :2] = torch.tensor([20.0, 40.0]), torch.tensor([80.0, 40.0])
    mesh = -mesh if upside_down else mesh
    readings = itertools.count()

    def read(photos: list[Photo], *_: object, **__: object) -> tuple[torch.Tensor, torch.Tensor]:
        return mesh * grows ** next(readings), torch.ones(len(photos))

    monkeypatch.setattr(dense, "read_mesh", read)
    candidates = Candidates(torch.tensor([[0.0, 0, 100, 100]]), torch.rand(1, 6, 2) * 100, torch.ones(1))
    photo = photo_from_array(torch.zeros(8, 8, 3, dtype=torch.uint8))
    ((_, presence),) = dense.read_candidates([photo], [candidates], detector.mesh, passes=3, mirrored=False)
    assert (presence.item() > dense.RESTING_PRESENCE) == sure
