"""The networks that can be trained: a line each."""

from typing import Any

from facewright.train.course import Trainee
from facewright.train.rnet_training import RNET_TRAINEE

TRAINEES: dict[str, Trainee[Any]] = {
    "rnet": RNET_TRAINEE,
}
"""By the name in ``facewright train NAME``. A new one is a file here that ends in a ``Trainee``, and a line."""
