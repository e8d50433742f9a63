"""The detector and the two portraits, read once."""

import pytest

from facewright.assets import embedded_path
from facewright.detect import FaceDetector, load_face_detector
from facewright.photo import read_photo
from facewright.records import Photo


@pytest.fixture(scope="session")
def detector() -> FaceDetector:
    return load_face_detector()


@pytest.fixture(scope="session")
def astronaut() -> Photo:
    return read_photo(embedded_path("photos/astronaut.jpg"))


@pytest.fixture(scope="session")
def hopper() -> Photo:
    return read_photo(embedded_path("photos/grace_hopper.jpg"))
