"""A drawn head that moves: followed without the detector, lost when it leaves, found again elsewhere."""

import cv2
import numpy as np
import pytest
import torch

from facewright.errors import SettingsError
from facewright.photo import photo_from_array
from facewright.pipeline import tracking
from facewright.pipeline.flow import Reconstructor, load_reconstructor
from facewright.pipeline.tracking import FaceTracker
from facewright.records import Photo
from facewright.synthetic import open_studio, photograph, plan_plain_scene

FRAME = (300, 420)
GREY = 90


@pytest.fixture(scope="module")
def flow() -> Reconstructor:
    return load_reconstructor(weights="fast", refine=0)


@pytest.fixture(scope="module")
def person() -> tuple[np.ndarray, np.ndarray]:
    """A drawn head and its landmarks."""
    studio = open_studio()
    scene = photograph(studio, plan_plain_scene(studio, 4, size=200), oversampling=1)
    return scene.photo.pixels.permute(1, 2, 0).numpy(), scene.landmarks[:, :2].numpy()


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one whenever the detector is asked."""
    asked: list[int] = []
    detect = tracking.detect_faces_in_batch

    def counted(*arguments, **named):
        asked.append(1)
        return detect(*arguments, **named)

    monkeypatch.setattr(tracking, "detect_faces_in_batch", counted)
    return asked


def frame(person: tuple[np.ndarray, np.ndarray], x: float, y: float, turn_deg: float) -> tuple[Photo, torch.Tensor]:
    """The head moved and rolled before a grey wall, and where its landmarks are."""
    pixels, points = person
    turn = cv2.getRotationMatrix2D((100.0, 100.0), turn_deg, 1.0)
    turn[:, 2] += (x, y)
    size = (FRAME[1], FRAME[0])
    moved = cv2.warpAffine(pixels, turn, size, borderMode=cv2.BORDER_CONSTANT, borderValue=(GREY, GREY, GREY))
    return photo_from_array(moved), torch.from_numpy(points @ turn[:, :2].T + turn[:, 2]).float()


def empty() -> Photo:
    return photo_from_array(np.full((*FRAME, 3), GREY, np.uint8))


def error(face: tracking.TrackedFace, truth: torch.Tensor) -> float:
    """Mean distance as a share of the face's size."""
    size = (truth.amax(0) - truth.amin(0)).prod().sqrt()
    return float((face.landmarks - truth).norm(dim=-1).mean() / size)


def test_a_moving_head_is_followed_lost_and_found(
    flow: Reconstructor, person: tuple[np.ndarray, np.ndarray], looks: list[int]
) -> None:
    tracker = FaceTracker(flow)
    for k in range(8):
        photo, truth = frame(person, 20.0 + 14.0 * k, 30.0 + 6.0 * k, 2.0 * k)
        face = tracker.follow(photo)
        assert face is not None
        assert face.detected == (k == 0)
        assert error(face, truth) < 0.06
    assert len(looks) == 1

    assert tracker.follow(empty()) is None
    assert len(looks) == 2
    photo, truth = frame(person, 200.0, 60.0, -10.0)
    face = tracker.follow(photo)
    assert face is not None
    assert face.detected
    assert error(face, truth) < 0.06
    assert len(looks) == 3


def test_the_detector_is_asked_every_so_often(
    flow: Reconstructor, person: tuple[np.ndarray, np.ndarray], looks: list[int]
) -> None:
    tracker = FaceTracker(flow, look_every=2)
    photo, _ = frame(person, 60.0, 40.0, 0.0)
    faces = [tracker.follow(photo) for _ in range(5)]
    assert [face is not None and face.detected for face in faces] == [True, False, False, False, False]
    assert len(looks) == 3  # the first frame, the third and the fifth


def test_what_is_no_face_any_more_is_given_up(
    flow: Reconstructor, person: tuple[np.ndarray, np.ndarray], looks: list[int]
) -> None:
    tracker = FaceTracker(flow, most_doubt=10.0, look_every=1)  # so sure of itself that it never loses anything
    assert tracker.follow(frame(person, 0.0, 40.0, 0.0)[0]) is not None
    photo, truth = frame(person, 220.0, 60.0, 0.0)
    face = tracker.follow(photo)
    assert face is not None
    assert face.detected
    assert error(face, truth) < 0.06


def test_a_followed_face_becomes_a_reconstruction(flow: Reconstructor, person: tuple[np.ndarray, np.ndarray]) -> None:
    tracker = FaceTracker(flow)
    photo, truth = frame(person, 60.0, 40.0, 0.0)
    face = tracker.follow(photo)
    assert face is not None
    found = tracker.reconstruction(face)
    assert found.photo is face.photo
    size = (truth.amax(0) - truth.amin(0)).prod().sqrt()
    assert float((found.landmarks - truth).norm(dim=-1).mean() / size) < 0.08


def test_only_networks_that_see_landmarks_can_follow() -> None:
    with pytest.raises(SettingsError, match="sees landmarks"):
        FaceTracker(load_reconstructor(method="fit"))


def test_looking_every_no_frames_is_refused(flow: Reconstructor) -> None:
    with pytest.raises(SettingsError, match="look_every"):
        FaceTracker(flow, look_every=0)
