"""Photographs to training samples: the bundled portrait and what is done to it, official folders, refusals by name."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from facewright.align import five_from_68
from facewright.assets import embedded_path
from facewright.errors import LandmarksError, NoFaceFoundError, PhotoError, TrainingDataError
from facewright.export.png import write_png
from facewright.geometry.five_points import deep3d_template
from facewright.geometry.ibug68 import MESH_TO_IBUG68
from facewright.photo import read_photo
from facewright.train.make import Rejection, make_data
from facewright.train.photo_folders import open_photo_folder, open_photo_folders, read_given_face, read_skin_mask
from facewright.train.prepare import JAW_TRUST, PhotoSampler, PrepareSettings, mesh_trust, photo_card
from facewright.train.quality import QualityLimits, blur_px
from facewright.train.samples import TrainingSample

PORTRAIT = embedded_path("photos/astronaut.jpg")
EYES_PX = 102 * 128 / 224 * 0.62
"""Eye distance of the template in a stored crop, px."""


@pytest.fixture(scope="module")
def portrait() -> np.ndarray:
    """Bytes, RGB."""
    return (read_photo(PORTRAIT).srgb.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)


def write(path: Path, rgb: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.ascontiguousarray(rgb[..., ::-1]))
    return path


def sampled(path: Path, settings: PrepareSettings | None = None) -> TrainingSample | Rejection:
    (found,) = PhotoSampler(path.parent, settings or PrepareSettings())(path.name)
    return found


@pytest.fixture(scope="module")
def sample() -> TrainingSample:
    """The portrait, prepared."""
    found = sampled(PORTRAIT)
    assert isinstance(found, TrainingSample)
    return found


def test_a_face_is_cut_where_the_template_says(sample: TrainingSample) -> None:
    assert (sample.key, sample.window_srgb.shape, sample.margin) == ("astronaut.jpg#0", (160, 160, 3), 16)
    assert sample.truth is None
    five = five_from_68(torch.from_numpy(sample.landmarks)).numpy()
    drawn = deep3d_template().numpy() @ np.diag([1.0, -1.0, 1.0])  # the scaled template, y down, from the middle
    expected = 63.5 + drawn[:, :2] * 102 * 128 / 224
    assert np.abs(five - expected).max() < 0.3 * EYES_PX  # she lowers her head a little
    assert np.linalg.norm(five[1] - five[0]) == pytest.approx(EYES_PX, rel=0.15)
    assert sample.points.min() > 5
    assert sample.points.max() < 123


def test_points_are_lifted_with_trust_where_it_is_due(sample: TrainingSample) -> None:
    beside = np.linalg.norm(sample.points[MESH_TO_IBUG68] - sample.landmarks, axis=1)
    # The same features by another definition; the largest difference follows the fitted head.
    assert beside[17:].max() < 0.13 * EYES_PX
    assert beside[17:].mean() < 0.05 * EYES_PX
    assert sample.landmark_weights[17:].mean() > 0.6
    assert 0.0 < sample.landmark_weights[:17].max() <= JAW_TRUST
    assert sample.point_weights.max() > 0.8
    jaw, chin = sample.landmarks[:17], sample.landmarks[8]
    assert jaw[0, 0] < sample.landmarks[36, 0] < sample.landmarks[45, 0] < jaw[16, 0]
    assert chin[1] == sample.landmarks[:, 1].max()


def test_trust_falls_with_doubt_and_with_yaw() -> None:
    trusts = [mesh_trust(score, 0.0) for score in (0.0, 0.5, 0.9, 0.99, 0.9999, 1.0)]
    assert trusts == sorted(trusts)
    assert trusts[-1] == 1.0
    turned = [mesh_trust(1.0, yaw) for yaw in (0.0, 40.0, -60.0, 80.0, -90.0)]
    assert turned == sorted(turned, reverse=True)
    assert (turned[0], turned[-1]) == (1.0, 0.03)
    assert mesh_trust(0.5, 90.0) == 0.03


def test_skin_is_inside_the_face(sample: TrainingSample) -> None:
    skin = sample.skin.astype(float) / 255
    inside = (
        cv2.fillConvexPoly(np.zeros_like(sample.skin), cv2.convexHull((sample.points + 16).astype(np.int32)), 1) > 0
    )
    assert skin[inside].mean() > 0.7
    assert skin[~cv2.dilate(inside.astype(np.uint8), np.ones((11, 11))).astype(bool)].max() == 0.0


SPOILT: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "small": lambda rgb: cv2.resize(rgb, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA),
    "blurred": lambda rgb: cv2.GaussianBlur(rgb, (0, 0), 3.5),
    "dark": lambda rgb: (rgb * 0.045).astype(np.uint8),
    "bright": lambda rgb: cv2.convertScaleAbs(rgb, alpha=2.5),
    "tilted": lambda rgb: np.ascontiguousarray(np.rot90(rgb)),
    "cut": lambda rgb: rgb[:, 225:],
}


@pytest.mark.parametrize("reason", SPOILT)
def test_faces_that_are_no_good_are_refused_by_reason(reason: str, portrait: np.ndarray, tmp_path: Path) -> None:
    limits = QualityLimits(min_score=0.0, min_mesh_score=0.0)  # what the detector would refuse first
    found = sampled(
        write(tmp_path / "a.png", SPOILT[reason](portrait)), PrepareSettings(faces="largest", limits=limits)
    )
    assert isinstance(found, Rejection)
    assert (found.key, found.reason) == ("a.png#0", reason)
    assert "expected" in found.detail
    assert "received" in found.detail


def test_doubtful_faces_are_refused(portrait: np.ndarray, tmp_path: Path) -> None:
    path = write(tmp_path / "a.png", portrait)
    for name, reason in (("min_score", "unsure face"), ("min_mesh_score", "unsure points")):
        found = sampled(path, PrepareSettings(limits=QualityLimits(**{name: 1.01})))
        assert isinstance(found, Rejection)
        assert found.reason == reason


@pytest.mark.parametrize("sigma", [1.0, 2.0, 4.0])
def test_blur_is_measured(sigma: float, sample: TrainingSample) -> None:
    everywhere = np.ones((160, 160), bool)
    sharp, noise = sample.window_srgb, np.random.default_rng(0).normal(0, 4, (160, 160, 3))
    blurred = (cv2.GaussianBlur(sharp, (0, 0), sigma) + noise).clip(0, 255).astype(np.uint8)  # grain is no sharpness
    assert blur_px(blurred, everywhere) == pytest.approx(sigma, rel=0.3, abs=0.25)


def test_bad_photos_cost_the_good_one_nothing(portrait: np.ndarray, tmp_path: Path) -> None:
    good = write(tmp_path / "photos" / "sub" / "good.jpg", portrait)
    again = write(tmp_path / "photos" / "good.jpg", portrait)  # the same name elsewhere
    (tmp_path / "photos" / "empty.jpg").touch()
    (tmp_path / "photos" / "truncated.jpg").write_bytes(good.read_bytes()[:20_000])
    (tmp_path / "photos" / ".hidden.jpg").write_bytes(b"no picture")
    (tmp_path / "photos" / "notes.txt").write_text("no picture")
    write(tmp_path / "photos" / "grey.png", np.full((64, 64, 3), 128, np.uint8))
    folder = open_photo_folder(tmp_path / "photos")
    assert folder.names == ("empty.jpg", "good.jpg", "grey.png", "sub/good.jpg", "truncated.jpg")
    report = make_data(tmp_path / "data", photo_card(PrepareSettings()), folder.names, PhotoSampler(folder.root))
    assert {failure.job: failure.error.split(":")[0] for failure in report.failed} == {
        "empty.jpg": PhotoError.__name__,
        "grey.png": NoFaceFoundError.__name__,
        "truncated.jpg": PhotoError.__name__,
    }
    assert [entry.key for entry in report.data.samples()] == ["good.jpg#0", "sub/good.jpg#0"]
    again.unlink()


# ------------------------------------------------------------------------------------------- official folders


def official(folder: Path, rgb: np.ndarray, landmarks: np.ndarray | None, five: np.ndarray) -> Path:
    """A photo with what the official preparation writes beside it; the mask is white left of column 200."""
    photo = write(folder / "face.png", rgb)
    for name in ("detections", "landmarks", "mask"):
        (folder / name).mkdir()
    np.savetxt(folder / "detections" / "face.txt", five)
    if landmarks is not None:
        np.savetxt(folder / "landmarks" / "face.txt", np.stack([landmarks[:, 0], len(rgb) - 1 - landmarks[:, 1]], -1))
        mask = np.zeros_like(rgb)
        mask[:, :200] = 255
        write(folder / "mask" / "face.png", mask)
    return photo


def test_official_points_and_masks_are_taken_as_they_are(portrait: np.ndarray, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    marks = rng.uniform((180, 60), (270, 180), (68, 2))
    five = np.array([[203.0, 101.0], [246.0, 103.0], [224.0, 129.0], [201.0, 139.0], [246.0, 141.0]])
    for points, group in zip(five, ((36, 39), (42, 45), (30,), (48,), (54,)), strict=True):
        marks[list(group)] = points
    found = sampled(official(tmp_path, portrait, marks, five + 1))
    assert isinstance(found, TrainingSample)
    assert (found.landmark_weights == 1).all()
    scale = np.polyfit(marks[:, 0], found.landmarks[:, 0], 1)
    np.testing.assert_allclose(np.polyval(scale, marks[:, 0]), found.landmarks[:, 0], atol=1e-3)  # an exact map ...
    down = np.polyfit(marks[:, 1], found.landmarks[:, 1], 1)
    assert down[0] == pytest.approx(scale[0], rel=0.02)  # ... not upside down
    edge = float(np.polyval(scale, 199.5)) + found.margin  # the mask moved with the photo
    assert abs(np.flatnonzero(found.skin[80] < 128)[0] - 0.5 - edge) < 0.6
    assert found.point_weights.max() > 0.8  # the detector saw this face too


def test_five_given_points_are_enough(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    noise = cv2.resize(rng.integers(0, 255, (30, 30, 3), np.uint8), (240, 240))
    five = np.array([[90.0, 100.0], [150.0, 100.0], [120.0, 130.0], [97.0, 165.0], [143.0, 165.0]])
    found = sampled(official(tmp_path, noise, None, five), PrepareSettings(limits=QualityLimits(max_blur=1.0)))
    assert isinstance(found, TrainingSample)
    assert np.flatnonzero(found.landmark_weights).tolist() == [30, 48, 54]
    assert not found.point_weights.any()
    assert found.landmarks[54, 0] - found.landmarks[48, 0] == pytest.approx(46 / 60 * EYES_PX, rel=0.15)


def test_official_folders_are_searched_for_photos_alone(portrait: np.ndarray, tmp_path: Path) -> None:
    official(tmp_path / "a", portrait, np.full((68, 2), 100.0), np.zeros((5, 2)))
    write(tmp_path / "b" / "mask" / "photo_of_a_mask.jpg", portrait)  # no preparation made this folder
    (tmp_path / "a" / "remove").mkdir()
    write(tmp_path / "a" / "remove" / "no_points.jpg", portrait)
    assert open_photo_folder(tmp_path).names == ("a/face.png", "b/mask/photo_of_a_mask.jpg")
    with pytest.raises(TrainingDataError, match="expected photographs"):
        open_photo_folder(tmp_path / "a" / "detections")


def test_a_folder_of_the_tensorflow_program_is_read(portrait: np.ndarray, tmp_path: Path) -> None:
    """What ``preprocess_img.py`` leaves: crops, with ``lm/`` (y up), ``lm_bin/`` and ``mask/``; no ``detections/``."""
    marks = np.random.default_rng(0).uniform((180, 60), (270, 180), (68, 2))
    for points, group in zip(
        np.array([[203.0, 101.0], [246.0, 103.0], [224.0, 129.0], [201.0, 139.0], [246.0, 141.0]]),
        ((36, 39), (42, 45), (30,), (48,), (54,)),
        strict=True,
    ):
        marks[list(group)] = points
    write(tmp_path / "face.png", portrait)
    (tmp_path / "lm").mkdir()
    np.savetxt(tmp_path / "lm" / "face.txt", np.stack([marks[:, 0], len(portrait) - 1 - marks[:, 1]], -1))
    mask = np.zeros_like(portrait)
    mask[:, :200] = 255
    write(tmp_path / "mask" / "face.png", mask)
    assert open_photo_folder(tmp_path).names == ("face.png",)
    found = sampled(tmp_path / "face.png")
    assert isinstance(found, TrainingSample)
    assert (found.landmark_weights == 1).all()
    scale = np.polyfit(marks[:, 0], found.landmarks[:, 0], 1)
    np.testing.assert_allclose(np.polyval(scale, marks[:, 0]), found.landmarks[:, 0], atol=1e-3)
    assert np.polyfit(marks[:, 1], found.landmarks[:, 1], 1)[0] == pytest.approx(scale[0], rel=0.02)
    assert abs(np.flatnonzero(found.skin[80] < 128)[0] - 0.5 - float(np.polyval(scale, 199.5)) - found.margin) < 0.6


def test_a_mask_alone_is_skin_and_no_photo(portrait: np.ndarray, tmp_path: Path) -> None:
    """Images beside ``mask/``, without any points: the detector's points, the given skin."""
    write(tmp_path / "mask" / "face.png", np.zeros_like(portrait))
    photo = write(tmp_path / "face.png", portrait)
    assert open_photo_folder(tmp_path).names == ("face.png",)
    found = sampled(photo)
    assert isinstance(found, TrainingSample)
    assert not found.skin.any()
    photo.unlink()
    (tmp_path / "lm").mkdir()
    with pytest.raises(TrainingDataError, match="found none; 1 are masks"):
        open_photo_folder(tmp_path)


def test_own_pictures_are_no_photos(portrait: np.ndarray, tmp_path: Path) -> None:
    write(tmp_path / "face.png", portrait)
    write_png(tmp_path / "face_overlay.png", torch.rand(3, 8, 8), kind="overlay")
    assert open_photo_folder(tmp_path).names == ("face.png",)


def test_several_folders_are_one(portrait: np.ndarray, tmp_path: Path) -> None:
    paths = [write(tmp_path / name / "face.png", portrait).parent for name in ("b", "a")]
    both = open_photo_folders(paths)
    assert (both.root, both.names) == (tmp_path, ("b/face.png", "a/face.png"))
    assert open_photo_folders(paths[:1]) == open_photo_folder(paths[0])


def lists(root: Path, **lines: list[str]) -> Path:
    folder = root / "datalist" / "train"
    folder.mkdir(parents=True, exist_ok=True)
    for name, paths in lines.items():
        (folder / f"{name}.txt").write_text("".join(f"{path}\n" for path in paths))
    return folder


def test_official_lists_name_the_photos(tmp_path: Path) -> None:
    photos = ["data/CelebAMask-HQ/2.jpg", "data/other/1.png"]  # a folder with "mask" in its name
    masks, marks = ["data/CelebAMask-HQ/mask/2.jpg", "data/other/mask/1.png"], ["data/CelebAMask-HQ/landmarks/2.txt"]
    folder = lists(tmp_path, masks=masks)
    assert open_photo_folder(folder).names == tuple(photos)
    assert open_photo_folder(folder / "masks.txt").path(photos[0]) == tmp_path / photos[0]
    lists(tmp_path, images=photos)
    assert open_photo_folder(folder).names == tuple(photos)
    lists(tmp_path, landmarks=marks)
    with pytest.raises(TrainingDataError, match="name the same 2 photos"):
        open_photo_folder(folder)


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (lambda folder: (folder / "landmarks" / "face.txt").write_text("1 2\n"), LandmarksError, "expected 5 or 68"),
        (lambda folder: np.savetxt(folder / "landmarks" / "face.txt", np.ones((5, 2))), LandmarksError, "68 points"),
        (lambda folder: np.savetxt(folder / "landmarks" / "face.txt", np.full((68, 2), 9e3)), LandmarksError, "inside"),
        (lambda folder: write(folder / "mask" / "face.png", np.ones((9, 9, 3), np.uint8)), PhotoError, "skin mask of"),
    ],
    ids=["malformed", "too few", "of another photo", "mask of another size"],
)
def test_official_files_that_do_not_fit_are_named(
    portrait: np.ndarray, tmp_path: Path, spoil: Callable[[Path], object], error: type[Exception], message: str
) -> None:
    photo = official(tmp_path, portrait, np.full((68, 2), 100.0), np.full((5, 2), 100.0))
    assert read_given_face(read_photo(photo)) is not None
    assert read_skin_mask(read_photo(photo)) is not None
    spoil(tmp_path)
    with pytest.raises(error, match=message):
        PhotoSampler(tmp_path)(photo.name)
