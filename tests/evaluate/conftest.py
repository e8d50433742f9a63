"""Meshes that the tests of the evaluation room share."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from facewright.evaluate.alignment import Similarity
from facewright.evaluate.surfaces import Surface
from tests.evaluate.heads import bumpy_head


@pytest.fixture(scope="session")
def head() -> Surface:
    return bumpy_head(4)


@pytest.fixture(scope="session")
def other_head() -> Surface:
    """The head again, with other vertices."""
    return bumpy_head(4, turn_seed=1)


@pytest.fixture(scope="session")
def motion() -> Similarity:
    return Similarity(1.07, Rotation.from_rotvec([0.1, 0.2, -0.1]).as_matrix(), np.array([3.0, 5.0, -2.0]))
