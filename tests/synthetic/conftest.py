"""The studio is loaded once."""

import pytest

from facewright.synthetic import Studio, open_studio


@pytest.fixture(scope="session")
def studio() -> Studio:
    return open_studio()
