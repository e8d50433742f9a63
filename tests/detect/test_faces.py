"""The whole detector on the two portraits: found, however the photo is turned, sized, spoiled or repeated."""

import math
from io import BytesIO

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from facewright.detect import FaceDetector, detect_faces, detect_faces_in_batch
from facewright.detect.dense import cut_square, squares_around
from facewright.detect.faces import distinct_faces, is_sure
from facewright.geometry.frames import apply_homogeneous
from facewright.photo import photo_from_array
from facewright.records import FaceDetection, Photo

# placed by hand on enlargements: pupils, nose tip, mouth corners
ASTRONAUT_FIVE = torch.tensor([[203.1, 101.3], [246.5, 102.8], [223.6, 126.8], [202.1, 139.5], [245.4, 140.6]])
HOPPER_FIVE = torch.tensor([[224.1, 189.2], [303.8, 185.8], [268.8, 239.5], [229.8, 277.6], [305.6, 275.1]])
MIRRORED_FIVE = [1, 0, 2, 4, 3]


def picture(srgb: Tensor) -> Photo:
    return photo_from_array(srgb.permute(1, 2, 0))


def scaled(photo: Photo, factor: float) -> Photo:
    size = (round(photo.height * factor), round(photo.width * factor))
    return picture(F.interpolate(photo.srgb[None], size, mode="bicubic", antialias=True)[0].clamp(0, 1))


def pasted(canvas: Tensor, photo: Photo, left: int, top: int) -> None:
    canvas[:, top : top + photo.height, left : left + photo.width] = photo.srgb


def background(height: int, width: int, rng: torch.Generator) -> Tensor:
    """Clutter without faces: coarse and fine noise."""
    coarse = F.interpolate(torch.rand(1, 3, height // 60, width // 60, generator=rng), (height, width), mode="bicubic")
    fine = F.interpolate(torch.rand(1, 3, height // 7, width // 7, generator=rng), (height, width), mode="bilinear")
    return (0.6 * coarse + 0.4 * fine)[0].clamp(0, 1)


def moved(points: Tensor, expected: Tensor, face: FaceDetection) -> float:
    """Mean distance of five points as a share of the face's size (square root of the box area)."""
    return ((points - expected).norm(dim=-1).mean() / (face.box[2:] - face.box[:2]).prod().sqrt()).item()


@pytest.fixture(scope="module")
def hopper_face(detector: FaceDetector, hopper: Photo) -> FaceDetection:
    (face,) = detect_faces(hopper, detector)
    return face


@pytest.fixture(scope="module")
def astronaut_face(detector: FaceDetector, astronaut: Photo) -> FaceDetection:
    (face,) = detect_faces(astronaut, detector)
    return face


def test_points_lie_where_a_person_puts_them(astronaut_face: FaceDetection, hopper_face: FaceDetection) -> None:
    for face, truth in ((astronaut_face, ASTRONAUT_FIVE), (hopper_face, HOPPER_FIVE)):
        eye_distance = (truth[1] - truth[0]).norm()
        errors = (face.five - truth).norm(dim=-1) / eye_distance
        assert errors.max() < 0.09
        assert errors.mean() < 0.05
        assert face.score > 0.8
        assert is_sure(face)
        assert face.mesh is not None
        assert (face.mesh[:, :2].amax(0) <= face.box[2:]).all()
        assert (face.box[:2] < truth.amin(0)).all()
        assert (face.box[2:] > truth.amax(0)).all()


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_turned_photos_are_found(detector: FaceDetector, hopper: Photo, hopper_face: FaceDetection, turns: int) -> None:
    photo = Photo(hopper.pixels.rot90(turns, (1, 2)))
    (face,) = detect_faces(photo, detector)
    x, y = face.five.unbind(-1)
    back = {
        1: torch.stack([photo.height - 1 - y, x], -1),
        2: torch.stack([photo.width - 1 - x, photo.height - 1 - y], -1),
        3: torch.stack([y, photo.width - 1 - x], -1),
    }
    assert moved(back[turns], hopper_face.five, hopper_face) < 0.01


@pytest.mark.parametrize("degrees", [40, 75, 200])
def test_photos_turned_by_any_angle_are_found(
    detector: FaceDetector, hopper: Photo, hopper_face: FaceDetection, degrees: int
) -> None:
    angle = math.radians(degrees)
    middle, eye_line = torch.tensor([[261.0, 245]]), torch.tensor([[math.cos(angle), math.sin(angle)]])
    T_photo_square = squares_around(middle, torch.tensor([420.0]), eye_line)[0]
    (face,) = detect_faces(picture(cut_square(hopper, T_photo_square, 420)), detector)
    back = apply_homogeneous(T_photo_square, (face.five + 0.5) / 420)
    assert moved(back, hopper_face.five, hopper_face) < 0.01


@pytest.mark.parametrize("factor", [0.7, 1.5])
def test_scaled_photos_keep_their_points(
    detector: FaceDetector, hopper: Photo, hopper_face: FaceDetection, factor: float
) -> None:
    photo = scaled(hopper, factor)
    (face,) = detect_faces(photo, detector)
    back = (face.five + 0.5) * torch.tensor([hopper.width / photo.width, hopper.height / photo.height]) - 0.5
    assert moved(back, hopper_face.five, hopper_face) < 0.005


def test_shifted_photos_keep_their_points(
    detector: FaceDetector, astronaut: Photo, astronaut_face: FaceDetection
) -> None:
    shifted = F.pad(astronaut.srgb, (37, 0, 0, 23))[:, 11:]
    (face,) = detect_faces(picture(shifted), detector)
    assert moved(face.five - torch.tensor([37.0, -11]), astronaut_face.five, astronaut_face) < 0.005


def test_mirrored_photos_have_mirrored_points(
    detector: FaceDetector, hopper: Photo, hopper_face: FaceDetection
) -> None:
    (face,) = detect_faces(Photo(hopper.pixels.flip(-1)), detector)
    back = face.five[MIRRORED_FIVE] * torch.tensor([-1.0, 1]) + torch.tensor([hopper.width - 1.0, 0])
    assert moved(back, hopper_face.five, hopper_face) < 0.005


def test_compressed_photos_keep_their_points(
    detector: FaceDetector, astronaut: Photo, astronaut_face: FaceDetection
) -> None:
    stream = BytesIO()
    image = Image.fromarray((astronaut.srgb.permute(1, 2, 0) * 255).round().byte().numpy())
    image.save(stream, "JPEG", quality=40)
    srgb = torch.from_numpy(np.asarray(Image.open(stream)).copy()).permute(2, 0, 1).float() / 255
    (face,) = detect_faces(picture(srgb), detector)
    assert moved(face.five, astronaut_face.five, astronaut_face) < 0.01


def test_several_faces_come_largest_first(
    detector: FaceDetector, astronaut: Photo, hopper: Photo, hopper_face: FaceDetection, rng: torch.Generator
) -> None:
    canvas = background(900, 1500, rng)
    pasted(canvas, scaled(hopper, 0.5), 40, 60)
    pasted(canvas, hopper, 900, 200)
    pasted(canvas, scaled(astronaut, 0.6), 420, 300)
    faces = detect_faces(picture(canvas), detector)
    assert len(faces) == 3
    sizes = [(face.box[2:] - face.box[:2]).prod().item() for face in faces]
    assert sizes == sorted(sizes, reverse=True)
    assert moved(faces[0].five - torch.tensor([900.0, 200]), hopper_face.five, hopper_face) < 0.01
    (largest,) = detect_faces(picture(canvas), detector, max_faces=1)
    torch.testing.assert_close(largest.five, faces[0].five)


def test_a_small_face_in_a_large_photo_is_found(
    detector: FaceDetector, astronaut: Photo, astronaut_face: FaceDetection, rng: torch.Generator
) -> None:
    """24 px between the eyes, 4000 px across."""
    factor = 24 / 43.2
    canvas = background(300, 400, rng).repeat_interleave(10, 1).repeat_interleave(10, 2)
    small = scaled(astronaut, factor)
    pasted(canvas, small, 3100, 520)
    (face,) = detect_faces(picture(canvas), detector, try_turned=False)
    back = (face.five - torch.tensor([3100.0, 520]) + 0.5) * 512 / small.width - 0.5
    assert moved(back, astronaut_face.five, astronaut_face) < 0.02


def test_a_small_face_beside_a_large_one_is_found_when_asked_for(
    detector: FaceDetector, astronaut: Photo, hopper: Photo
) -> None:
    canvas = torch.full((3, 1200, 2000), 0.4)
    pasted(canvas, scaled(hopper, 2.0), 0, 0)
    pasted(canvas, scaled(astronaut, 0.45), 1500, 700)
    assert len(detect_faces(picture(canvas), detector)) == 1
    assert len(detect_faces(picture(canvas), detector, min_face_px=35.0)) == 2


def test_a_face_that_fills_the_photo_is_found(
    detector: FaceDetector, hopper: Photo, hopper_face: FaceDetection
) -> None:
    left, top, right, bottom = hopper_face.box.long().tolist()
    (face,) = detect_faces(Photo(hopper.pixels[:, top:bottom, left:right]), detector)
    back = face.five + torch.tensor([left, top])
    assert moved(back, hopper_face.five, hopper_face) < 0.04


def test_no_face_is_an_empty_list(detector: FaceDetector, rng: torch.Generator) -> None:
    noise = picture(torch.rand(3, 200, 300, generator=rng))
    clutter = picture(background(600, 700, rng))
    grey, dot, line = (picture(torch.full(size, 0.5)) for size in ((3, 240, 320), (3, 1, 1), (3, 1, 3000)))
    assert detect_faces_in_batch([noise, clutter, grey, dot, line], detector) == [[]] * 5
    assert detect_faces_in_batch([], detector) == []


def test_a_batch_equals_single_photos(detector: FaceDetector, astronaut: Photo, hopper: Photo) -> None:
    upside_down = Photo(astronaut.pixels.rot90(2, (1, 2)))
    photos = [astronaut, picture(torch.zeros(3, 90, 400)), hopper, scaled(hopper, 0.8), upside_down]
    together = detect_faces_in_batch(photos, detector)
    assert [len(faces) for faces in together] == [1, 0, 1, 1, 1]
    for photo, faces in zip(photos, together, strict=True):
        for one, same in zip(detect_faces(photo, detector), faces, strict=True):
            assert one.mesh is not None
            assert same.mesh is not None
            torch.testing.assert_close(one.mesh, same.mesh, rtol=0, atol=0.02)
            assert one.score == pytest.approx(same.score, abs=1e-4)


def test_options(detector: FaceDetector, hopper: Photo, hopper_face: FaceDetection) -> None:
    upside_down = Photo(hopper.pixels.rot90(2, (1, 2)))
    turned_too = detect_faces(upside_down, detector)
    upright_only = detect_faces(upside_down, detector, try_turned=False)
    assert turned_too[0].mesh_score > max([face.mesh_score for face in upright_only], default=0.0)
    (quick,) = detect_faces(hopper, detector, mesh_passes=1, mirrored=False)
    assert moved(quick.five, hopper_face.five, hopper_face) < 0.03
    assert detect_faces(hopper, detector, min_score=0.999) == []


def test_detections_need_no_gradient_and_leave_the_photo_alone(detector: FaceDetector, hopper: Photo) -> None:
    before = hopper.pixels.clone()
    (face,) = detect_faces(hopper, detector)
    assert not face.five.requires_grad
    assert face.five.dtype == torch.float32
    assert torch.equal(hopper.pixels, before)


def test_one_face_is_reported_once() -> None:
    def face(box: list[float], score: float, mesh_score: float = 1.0) -> FaceDetection:
        return FaceDetection(torch.tensor(box), score, torch.zeros(5, 2), mesh_score=mesh_score)

    whole, again, fragment = face([0.0, 0, 100, 100], 0.9), face([5.0, 0, 104, 98], 0.8), face([40.0, 40, 60, 60], 0.7)
    beside, unsure = face([90.0, 0, 190, 100], 0.6), face([0.0, 20, 100, 120], 0.99, mesh_score=0.9)
    kept = distinct_faces([fragment, unsure, again, beside, whole])
    assert [entry.score for entry in kept] == [0.9, 0.6]
    assert distinct_faces([]) == []
