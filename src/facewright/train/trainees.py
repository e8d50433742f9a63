"""The networks that can be trained: a line each."""

from typing import Any

from facewright.errors import TrainingError
from facewright.train.cnet_training import CNET_TRAINEE
from facewright.train.course import Trainee
from facewright.train.morphable_training import MORPHABLE_TRAINEE
from facewright.train.parsing_training import PARSING_TRAINEE
from facewright.train.prnet_training import PRNET_TRAINEE
from facewright.train.rnet_training import RNET_TRAINEE

TRAINEES: dict[str, Trainee[Any]] = {
    "rnet": RNET_TRAINEE,
    "prnet": PRNET_TRAINEE,
    "cnet": CNET_TRAINEE,
    "parsing": PARSING_TRAINEE,
    "3dmm-cnn": MORPHABLE_TRAINEE,
}
"""By the name in ``facewright train NAME``. A new one is a file here that ends in a ``Trainee``, and a line."""


def crop_size_for(preset: str) -> int:
    """Side of the crops that a preset's network sees, px; of the largest where several trainees know the name.

    Raises:
        TrainingError: nobody knows it.
    """
    sizes = [
        trainee.crop_size(trainee.presets[preset].network) for trainee in TRAINEES.values() if preset in trainee.presets
    ]
    if not sizes:
        known = sorted({name for trainee in TRAINEES.values() for name in trainee.presets})
        raise TrainingError(f"expected a preset of {', '.join(known)}; received {preset!r}")
    return max(sizes)
