"""The open head, loaded once."""

import pytest

from facewright.morphable.container import load_face_model
from facewright.morphable.linear import FaceModel


@pytest.fixture(scope="session")
def open_head() -> FaceModel:
    return load_face_model("open").requires_grad_(False)
