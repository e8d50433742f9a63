"""The crop: official numbers, official pixels, an exact way back, a camera that draws in place."""

import math
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from facewright.align import align_face, deep3d_template
from facewright.align.crop import crop_by_trans_params, fit_trans_params
from facewright.align.official import official_points_from_pixels, photo_points_from_mat
from facewright.align.resample import ResizedPart, resized_window, resized_window_by_pillow
from facewright.errors import ReconstructionError
from facewright.geometry.frames import apply_homogeneous, pose_points, project_points
from facewright.geometry.rotations import rotation_from_angles
from facewright.geometry.turning import turned_pose
from facewright.morphable.linear import FaceModel
from facewright.photo import photo_from_array, read_photo
from facewright.records import AlignedFace, Camera, Photo, Pose

# Numbers of the official alignment on twelve of its example photographs: s0, s, tx, ty, w, h, left, up.
OFFICIAL = {
    "000002": (139.8459, 0.729374, 196.6142, 355.0627, 308, 433, 31, 62),
    "000006": (99.8247, 1.021791, 220.3559, 401.3249, 418, 606, 112, 84),
    "000007": (121.8012, 0.837430, 172.5554, 272.5183, 279, 418, 32, 78),
    "000031": (183.4681, 0.555955, 212.8086, 222.2668, 264, 277, 5, 41),
    "000033": (63.0854, 1.616856, 138.6861, 150.9375, 404, 423, 112, 67),
    "000037": (97.0002, 1.051544, 165.0319, 159.9819, 296, 370, 61, 89),
    "000050": (86.5296, 1.178787, 171.4116, 135.8974, 346, 300, 89, 28),
    "000055": (151.3342, 0.674005, 165.0588, 215.5345, 247, 304, 0, 47),
    "000114": (107.4213, 0.949532, 253.2404, 324.1084, 564, 473, 128, 53),
    "vd006": (101.9731, 1.000263, 154.6408, 188.4666, 321, 341, 42, 40),
    "vd025": (135.9847, 0.750084, 230.4076, 218.3393, 337, 270, 60, -5),
    "vd026": (197.2485, 0.517114, 239.5159, 304.7563, 274, 320, 11, 50),
}


def template_seen(scale: float, angles: tuple[float, float, float], at: tuple[float, float]) -> torch.Tensor:
    """The template's points under a scaled-orthographic camera: pixels, y down."""
    turned = deep3d_template() @ rotation_from_angles(torch.tensor([angles], dtype=torch.float64))[0].T
    return torch.stack([at[0] + scale * turned[:, 0], at[1] - scale * turned[:, 1]], -1)


def noise_photo(width: int, height: int, seed: int = 0) -> Photo:
    return photo_from_array(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def as_bytes(crop: torch.Tensor) -> np.ndarray:
    return (crop.permute(1, 2, 0) * 255).round().byte().numpy()


def official_crop(photo: Photo, face: AlignedFace, size: int = 224) -> tuple[np.ndarray, tuple[int, int, int, int]]:
    """Whole-photo resize, then cut: the published recipe."""
    width, height, s, tx, ty = face.trans_params.tolist()
    w, h = int(width * s), int(height * s)
    left, up = int(w / 2 - size / 2 + (tx - width / 2) * s), int(h / 2 - size / 2 + (height / 2 - ty) * s)
    whole = Image.fromarray(as_bytes(photo.srgb)).resize((w, h), Image.Resampling.BICUBIC)
    return np.asarray(whole.crop((left, up, left + size, up + size))), (w, h, left, up)


# -------------------------------------------------------------------------------------------- official numbers


@pytest.mark.parametrize("name", OFFICIAL)
def test_published_photos_give_the_official_numbers_and_pixels(shared_dir: Path, name: str) -> None:
    path = next((shared_dir / "photos").glob(f"{name}.[jp][pn]g"))
    photo = read_photo(path)
    face = align_face(photo, torch.from_numpy(np.loadtxt(path.with_suffix(".txt"))))
    s0, s, tx, ty, *window = OFFICIAL[name]
    np.testing.assert_allclose(face.trans_params[2:], [s, tx, ty], atol=1e-3)
    np.testing.assert_allclose(102.0 / face.trans_params[2], s0, atol=1e-3)
    crop, measured = official_crop(photo, face)
    assert list(measured) == window
    np.testing.assert_array_equal(as_bytes(face.crop), crop)


def test_scale_and_centre_of_a_known_view_are_found() -> None:
    five = template_seen(150.0, (0.2, -0.5, 0.3), (310.0, 205.0))
    params = fit_trans_params(five, 640, 480, template=deep3d_template())
    rows = 150.0 * rotation_from_angles(torch.tensor([[0.2, -0.5, 0.3]], dtype=torch.float64))[0, :2]
    expected = [640, 480, 102.0 / float(rows.norm(dim=1).mean()), 310.0, 480 - 1 - 205.0]
    np.testing.assert_allclose(params, expected, rtol=1e-12)


def test_fit_is_the_least_squares_solution(rng: torch.Generator) -> None:
    template = deep3d_template().numpy()
    for _ in range(20):
        five = template_seen(80.0, (0.0, 0.4, 0.0), (100.0, 90.0)) + 3 * torch.randn(5, 2, generator=rng).double()
        params = fit_trans_params(five, 200, 180, template=deep3d_template())
        # The published form: ten equations in eight unknowns.
        design = np.zeros((10, 8))
        design[0::2, :3], design[0::2, 3], design[1::2, 4:7], design[1::2, 7] = template, 1, template, 1
        target = np.stack([five[:, 0], 180 - 1 - five[:, 1]], -1).ravel()
        k = np.linalg.lstsq(design, target, rcond=None)[0]
        s0 = float(np.linalg.norm(k[:3]) + np.linalg.norm(k[4:7])) / 2
        np.testing.assert_allclose(params, [200, 180, 102 / s0, float(k[3]), float(k[7])], rtol=1e-10)


# --------------------------------------------------------------------------------------------- official pixels


@pytest.mark.parametrize("scale", [9.0, 37.0, 101.3, 204.0, 333.0])
@pytest.mark.parametrize("at", [(0.5, 0.5), (0.05, 0.1), (0.98, 0.9), (0.5, 1.02)])
def test_window_equals_whole_resize_to_the_bit(scale: float, at: tuple[float, float]) -> None:
    photo = noise_photo(301, 223)
    face = align_face(photo, template_seen(scale, (0.1, 0.2, 0.3), (at[0] * 301, at[1] * 223)))
    np.testing.assert_array_equal(as_bytes(face.crop), official_crop(photo, face)[0])


@pytest.mark.parametrize(("scale", "corner"), [(0.31, (-40, 3)), (0.5, (60, 20)), (1.0, (0, 0)), (1.7, (200, 90))])
def test_the_compiled_window_equals_pillows(scale: float, corner: tuple[int, int]) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (233, 310, 3), dtype=np.uint8)
    resized = int(310 * scale), int(233 * scale)
    window = ResizedPart(
        (310, 233), resized, max(corner[0], 0), corner[1], min(corner[0] + 150, resized[0]), min(120, resized[1])
    )

    def region(x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
        return pixels[y0:y1, x0:x1]

    assert np.array_equal(resized_window(region, window), resized_window_by_pillow(region, window))


@pytest.mark.parametrize(("scale", "degrees"), [(40.0, 0.0), (102.0, 0.0), (230.0, 10.0), (230.0, 60.0)])
def test_a_crop_in_one_warp_is_the_official_one_to_little_more_than_rounding(scale: float, degrees: float) -> None:
    """On a picture without steps, that is: at those the filters differ."""
    rng = np.random.default_rng(2)
    smooth = cv2.resize(rng.integers(40, 220, (12, 15, 3), dtype=np.uint8), (1000, 900), interpolation=cv2.INTER_CUBIC)
    photo = photo_from_array(smooth)  # larger than any of the crops: its border is a step
    points = template_seen(scale, (0.1, 0.2, math.radians(degrees)), (500.0, 450.0))
    exact, quick = align_face(photo, points), align_face(photo, points, exact=False)
    assert torch.equal(exact.T_photo_crop, quick.T_photo_crop)
    inside = slice(2, -2)
    apart = (exact.crop - quick.crop)[:, inside, inside].abs() * 255
    assert float(apart.mean()) < 1.0
    assert float(apart.max()) < 8.0


def test_outside_of_the_photo_is_black() -> None:
    photo = photo_from_array(np.full((120, 120, 3), 255, np.uint8))
    face = align_face(photo, template_seen(101.0, (0.0, 0.0, 0.0), (0.0, 60.0)))
    assert float(face.crop[:, :, :100].max()) == 0.0
    assert float(face.crop[:, 80:140, 130:200].min()) == 1.0


def test_inputs_are_left_alone_and_dtype_follows_the_photo() -> None:
    photo, five = noise_photo(260, 240), template_seen(100.0, (0.0, 0.0, 0.0), (130.0, 120.0))
    srgb, points = photo.srgb.clone(), five.clone()
    face = align_face(photo, five)
    assert torch.equal(photo.srgb, srgb)
    assert torch.equal(five, points)
    assert face.crop.dtype == face.camera_photo.focal_px.dtype == face.five_crop.dtype == torch.float32
    assert face.T_photo_crop.dtype == face.trans_params.dtype == torch.float64
    assert face.crop.shape == (3, 224, 224)


# ------------------------------------------------------------------------------------------------ the way back


def test_way_back_is_exact_to_the_resampled_picture() -> None:
    # Red is the column, green the row: bicubic filters keep straight ramps, so each crop pixel tells where it is from.
    columns, rows = np.meshgrid(np.arange(256), np.arange(250))
    photo = photo_from_array(np.stack([columns, rows, 0 * rows], -1).astype(np.uint8))
    for scale in (61.0, 150.0, 260.0):
        face = align_face(photo, template_seen(scale, (0.0, 0.0, 0.0), (128.0, 120.0)))
        ys, xs = np.mgrid[20:204:3, 20:204:3]
        crop_points = torch.from_numpy(np.stack([xs, ys], -1).reshape(-1, 2)).double()
        place = apply_homogeneous(face.T_photo_crop, crop_points)
        inside = (place > 8).all(1) & (place[:, 0] < 247) & (place[:, 1] < 241)
        told = face.crop[:2, ys.ravel(), xs.ravel()].T.double() * 255
        error = (told - place)[inside]
        assert int(inside.sum()) > 300
        assert float(error.mean(0).abs().max()) < 0.05  # half a pixel of confusion would show as 0.5 |1 - step|
        assert float(error.abs().max()) < 1.1  # two roundings to 8 bits


def test_five_points_travel_there_and_back() -> None:
    five = template_seen(71.7, (0.1, 0.5, -0.2), (150.0, 117.0))
    face = align_face(noise_photo(311, 227), five)
    back = apply_homogeneous(face.T_photo_crop, face.five_crop.double())
    torch.testing.assert_close(back, five, rtol=0, atol=1e-4)


def test_origin_lands_in_the_middle_and_the_face_at_its_size() -> None:
    for at in ((100.2, 140.7), (160.0, 90.0)):
        face = align_face(noise_photo(301, 223), template_seen(77.0, (0.0, 0.0, 0.0), at))
        middle = apply_homogeneous(torch.linalg.inv(face.T_photo_crop), torch.tensor([at]).double())
        assert float((middle - 111.5).abs().max()) < 1.5  # truncation of size and offset
        eyes = float(face.five_crop[1, 0] - face.five_crop[0, 0])
        assert eyes == pytest.approx(102.0 * float(deep3d_template()[1, 0] - deep3d_template()[0, 0]), rel=0.01)


# -------------------------------------------------------------------------------------------------- the cameras


def posed_head(toy_model: FaceModel) -> torch.Tensor:
    angles, translation = torch.tensor([[0.1, -0.4, 0.15]]), torch.tensor([[0.05, -0.1, 0.3]])
    return pose_points(toy_model.mean_shape[None], angles, translation).double()


def test_photo_camera_equals_crop_camera_then_way_back(toy_model: FaceModel) -> None:
    points = posed_head(toy_model)
    photo = noise_photo(240, 240)  # a square photo is resized alike in both directions
    face = align_face(photo, template_seen(63.0, (0.0, 0.0, 0.0), (120.3, 117.9))).to(torch.float64)
    in_crop = project_points(points, face.camera_crop)[0, :, :2]
    in_photo = project_points(points, face.camera_photo)[0, :, :2]
    torch.testing.assert_close(in_photo, apply_homogeneous(face.T_photo_crop, in_crop), rtol=0, atol=1e-4)


def test_photo_camera_is_true_to_a_third_of_a_crop_pixel(toy_model: FaceModel) -> None:
    points = posed_head(toy_model)
    ids = toy_model.annotations.ibug68
    worst = 0.0
    for width, height in ((301, 223), (223, 301), (640, 230), (400, 399)):
        for scale in np.linspace(40.0, 160.0, 25):
            photo = photo_from_array(np.zeros((height, width, 3), np.uint8))
            face = align_face(photo, template_seen(scale, (0, 0, 0), (width / 2, height / 2))).to(torch.float64)
            in_crop = project_points(points[:, ids], face.camera_crop)[0, :, :2]
            in_photo = project_points(points[:, ids], face.camera_photo)[0, :, :2]
            back = apply_homogeneous(torch.linalg.inv(face.T_photo_crop), in_photo)
            worst = max(worst, float((back - in_crop).norm(dim=1).max()))
    assert 0.0 < worst < 0.3  # 0.242 was measured


def test_crop_camera_is_the_deep3d_one() -> None:
    face = align_face(noise_photo(240, 240), template_seen(90.0, (0, 0, 0), (120, 120)))
    camera = face.camera_crop
    assert (camera.focal_px.item(), camera.cx.item(), camera.cy.item()) == (1015.0, 111.5, 111.5)
    assert (camera.width, camera.height, camera.distance_dm) == (224, 224, 10.0)
    assert (face.camera_photo.width, face.camera_photo.height) == (240, 240)
    assert face.camera_photo.focal_px.item() == pytest.approx(1015.0 * 240 / int(240 * float(face.trans_params[2])))


def test_size_and_rescale_of_eg3d() -> None:
    face = align_face(noise_photo(300, 280), template_seen(100.0, (0, 0, 0), (150, 140)), size=1024, rescale=300.0)
    assert face.crop.shape == (3, 1024, 1024)
    assert face.camera_crop.focal_px.item() == pytest.approx(2985.29, abs=0.01)
    eyes = float(face.five_crop[1, 0] - face.five_crop[0, 0])
    assert eyes == pytest.approx(300.0 * float(deep3d_template()[1, 0] - deep3d_template()[0, 0]), rel=0.01)
    assert float((face.five_crop.mean(0) - 511.5).norm()) < 40


def test_a_faces_own_template_can_be_given(toy_model: FaceModel) -> None:
    five = toy_model.annotations.five
    assert five is not None
    template = torch.stack([toy_model.mean_shape[row[row >= 0]].mean(0) for row in five])
    seen = torch.stack([200 + 90 * template[:, 0], 190 - 90 * template[:, 1]], -1)
    params = align_face(noise_photo(400, 380), seen, template=template).trans_params
    np.testing.assert_allclose(params[2:], [102 / 90, 200, 380 - 1 - 190], rtol=1e-5)


# -------------------------------------------------------------------------------------------------- bad points


def test_sixty_eight_points_are_reduced_to_five(toy_model: FaceModel) -> None:
    ids = toy_model.annotations.ibug68
    points = toy_model.mean_shape[ids, :2].double() * torch.tensor([100.0, -100.0]) + torch.tensor([150.0, 140.0])
    photo = noise_photo(300, 280)
    of_five = torch.stack(
        [(points[36] + points[39]) / 2, (points[42] + points[45]) / 2, points[30], points[48], points[54]]
    )
    assert torch.equal(align_face(photo, points).trans_params, align_face(photo, of_five).trans_params)


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (torch.full((5, 2), math.nan), "finite"),
        (torch.tensor([[1.0, 2], [math.inf, 3], [4, 5], [6, 7], [8, 9]]), "finite"),
        (torch.full((5, 2), 50.0), "span a face"),
        (torch.tensor([[10.0 * i, 20.0 * i + 3] for i in range(5)]), "span a face"),
        (torch.tensor([[60.0, 50], [90, 50], [75, 50], [65, 50], [85, 50]]), "span a face"),
        (torch.zeros(4, 2), "5 or 68 points"),
        (template_seen(0.5, (0, 0, 0), (50, 50)), "span a face"),
        (template_seen(100.0, (0, 0, 0), (5000, 50)), "inside the photo"),
        (template_seen(100.0, (0, 0, 0), (50, -5000)), "inside the photo"),
    ],
)
def test_points_that_are_no_face(points: torch.Tensor, message: str) -> None:
    with pytest.raises(ReconstructionError, match=message):
        align_face(noise_photo(120, 100), points)


def test_points_with_y_up_are_noticed(caplog: pytest.LogCaptureFixture) -> None:
    five = template_seen(60.0, (0, 0, 0), (60, 50))
    align_face(noise_photo(120, 100), five)
    assert caplog.text == ""
    align_face(replace(noise_photo(120, 100), path="me.jpg"), torch.stack([five[:, 0], 99 - five[:, 1]], -1))
    assert "me.jpg: the five points look mirrored" in caplog.text


def test_parameters_of_another_photo_are_refused() -> None:
    five = template_seen(60.0, (0, 0, 0), (60, 50))
    params = fit_trans_params(five, 120, 100, template=deep3d_template())
    with pytest.raises(ReconstructionError, match="120 x 100"):
        crop_by_trans_params(noise_photo(100, 120), params, five)


# ------------------------------------------------------------------------------------------------------ turned heads


def ramp_photo(width: int = 250, height: int = 240) -> Photo:
    """Red is the column, green the row."""
    columns, rows = np.meshgrid(np.arange(width), np.arange(height))
    return photo_from_array(np.stack([columns, rows, 0 * rows], -1).astype(np.uint8))


@pytest.mark.parametrize("roll", [0.7, -1.0, math.pi / 2, -math.pi / 2, 2.5, math.pi])
@pytest.mark.parametrize("scale", [40.0, 90.0, 190.0])
def test_a_rolled_head_is_cut_upright_and_finds_back(roll: float, scale: float) -> None:
    five = template_seen(scale, (0.0, 0.0, roll), (125.0, 120.0))
    face = align_face(ramp_photo(), five)
    assert math.remainder(face.roll - roll, 2 * math.pi) == pytest.approx(0.0, abs=1e-6)
    upright = face.five_crop[1] - face.five_crop[0]
    assert abs(float(upright[1])) < 0.2
    assert float(upright[0]) > 60.0
    torch.testing.assert_close(apply_homogeneous(face.T_photo_crop, face.five_crop.double()), five, rtol=0, atol=1e-4)
    ys, xs = np.mgrid[30:194:5, 30:194:5]
    crop_points = torch.from_numpy(np.stack([xs, ys], -1).reshape(-1, 2)).double()
    place = apply_homogeneous(face.T_photo_crop, crop_points)
    inside = (place > 14).all(1) & (place[:, 0] < 235) & (place[:, 1] < 225)
    told = face.crop[:2, ys.ravel(), xs.ravel()].T.double() * 255
    error = (told - place)[inside]
    assert int(inside.sum()) > 100
    assert float(error.mean(0).abs().max()) < 0.1
    assert float(error.abs().max()) < 1.7  # three roundings to 8 bits


@pytest.mark.parametrize("scale", [500.0, 1100.0])
def test_a_large_rolled_head_is_made_smaller_first_and_finds_back(scale: float) -> None:
    columns, rows = np.meshgrid(np.arange(2500) // 10, np.arange(2000) // 10)
    photo = photo_from_array(np.stack([columns, rows, 0 * rows], -1).astype(np.uint8))
    face = align_face(photo, template_seen(scale, (0.0, 0.0, 1.2), (1250.0, 1000.0)))
    ys, xs = np.mgrid[40:184:5, 40:184:5]
    crop_points = torch.from_numpy(np.stack([xs, ys], -1).reshape(-1, 2)).double()
    place = apply_homogeneous(face.T_photo_crop, crop_points)
    inside = (place > 100).all(1) & (place[:, 0] < 2400) & (place[:, 1] < 1900)
    told = face.crop[:2, ys.ravel(), xs.ravel()].T.double() * 255
    error = (told - (place - 4.5) / 10)[inside]
    assert int(inside.sum()) > 300
    assert float(error.mean(0).abs().max()) < 0.05
    assert float(error.abs().max()) < 1.7


def test_small_rolls_and_parity_keep_the_official_rule() -> None:
    photo = noise_photo(300, 280)
    for degrees in (-34.0, 10.0, 34.0):
        five = template_seen(80.0, (0.0, 0.0, math.radians(degrees)), (150.0, 140.0))
        assert align_face(photo, five).roll == 0.0
    five = template_seen(80.0, (0.0, 0.0, math.radians(36.0)), (150.0, 140.0))
    assert align_face(photo, five).roll != 0.0
    official = align_face(photo, five, turn="never")
    assert official.roll == 0.0
    np.testing.assert_array_equal(as_bytes(official.crop), official_crop(photo, official)[0])


@pytest.mark.parametrize("roll", [1.3, -2.0, math.pi])
def test_a_turned_crops_face_is_drawn_in_place_by_the_photos_camera(toy_model: FaceModel, roll: float) -> None:
    face = align_face(noise_photo(300, 240), template_seen(63.0, (0.0, 0.0, roll), (150.3, 117.9)))
    in_crop = Pose(torch.tensor([[0.1, -0.4, 0.15]]), torch.tensor([[0.05, -0.1, 0.3]]))
    in_photo = turned_pose(in_crop, face.roll)

    def seen(pose: Pose, camera: Camera) -> torch.Tensor:
        return project_points(pose_points(toy_model.mean_shape[None], pose.angles, pose.translation), camera)[0, :, :2]

    there = apply_homogeneous(face.T_photo_crop, seen(in_crop, face.camera_crop).double())
    # One focal length for a crop that is stretched a little differently in x and y.
    torch.testing.assert_close(seen(in_photo, face.camera_photo).double(), there, rtol=0, atol=0.6)


def test_points_of_a_turned_crops_file_come_back_to_the_photo() -> None:
    face = align_face(noise_photo(300, 240), template_seen(63.0, (0.0, 0.0, 2.0), (150.3, 117.9)))
    points = torch.rand(68, 2, generator=torch.Generator().manual_seed(0)).double() * 200
    stored = {
        "trans_params": face.trans_params.numpy()[None],
        "lm_68p": official_points_from_pixels(points).numpy(),
        "T_photo_crop": face.T_photo_crop.numpy(),
    }
    torch.testing.assert_close(photo_points_from_mat(stored), apply_homogeneous(face.T_photo_crop, points))


def test_crops_between_pixels_are_mirrored_with_their_photo() -> None:
    """The official rule cuts fractions off, which moves a crop and that of the mirror image apart by up to a pixel."""
    pixels = torch.rand(3, 90, 121, generator=torch.Generator().manual_seed(0))
    smooth = torch.nn.functional.avg_pool2d(pixels[None], 9, 1, 4)[0].mul(255).byte()
    five = torch.tensor([[44.3, 41.2], [74.9, 39.6], [58.8, 55.1], [47.7, 70.4], [72.2, 69.3]])
    flipped = five.clone()
    flipped[:, 0] = 120 - five[:, 0]
    flipped = flipped[[1, 0, 2, 4, 3]]
    seen = [
        align_face(Photo(picture), points, size=64, rescale=29.3, turn="never", exact=False, whole_pixels=False)
        for picture, points in ((smooth, five), (smooth.flip(-1), flipped))
    ]
    torch.testing.assert_close(seen[1].crop.flip(-1), seen[0].crop, atol=0.02, rtol=0)
    official = align_face(Photo(smooth), five, size=64, rescale=29.3, turn="never")
    moved = seen[0].T_photo_crop @ torch.tensor([31.5, 31.5, 1.0]).double()
    moved -= official.T_photo_crop @ torch.tensor([31.5, 31.5, 1.0]).double()
    assert moved.abs().max() < 2.0 * float(official.T_photo_crop[0, 0])
    with pytest.raises(ValueError, match="exact=False"):
        align_face(Photo(smooth), five, whole_pixels=False)
