"""Small training data: pictures with dots at their points. As a program: make some, slowly, to be killed meanwhile."""

import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from facewright.records import CoefficientLayout
from facewright.train.make import Rejection, make_data
from facewright.train.samples import DataCard, TrainingSample

LAYOUT = CoefficientLayout(4, 3, 2)
SYNTHETIC = DataCard("synthetic", 32, 4, face_model="toy", layout=LAYOUT, source="dots")
PHOTOGRAPHS = DataCard("photographs", 48, 6, source="dots")
SHARD_SIZE = 10


@dataclass(frozen=True)
class Dots:
    """Samples of a smooth picture, different for every seed, the same for equal seeds."""

    card: DataCard = SYNTHETIC
    seconds: float = 0.0

    def __call__(self, job: int | str) -> list[TrainingSample | Rejection]:
        time.sleep(self.seconds)
        return [dotted_sample(int(job), self.card)]


def dotted_sample(seed: int, card: DataCard) -> TrainingSample:
    """Points anywhere in the crop; a waving picture; skin for even seeds."""
    rng = np.random.default_rng(seed)
    side = card.crop_size + 2 * card.margin
    row, column = np.mgrid[:side, :side] / side
    waves = [np.sin(2 * np.pi * (a * row + b * column + c)) for a, b, c in rng.uniform(0, 1.5, (3, 3))]
    return TrainingSample(
        key=f"dots-{seed}",
        window_srgb=(127.5 + 100 * np.stack(waves, -1)).astype(np.uint8),
        skin=rng.integers(0, 256, (side, side), np.uint8) * (seed % 2 == 0),
        margin=card.margin,
        landmarks=rng.uniform(0, card.crop_size, (68, 2)).astype(np.float32),
        landmark_weights=rng.random(68, np.float32),
        points=rng.uniform(0, card.crop_size, (468, 2)).astype(np.float32),
        point_weights=rng.random(468, np.float32),
        truth=None if card.layout is None else rng.standard_normal(card.layout.size).astype(np.float32),
    )


def tell(message: str, _done: float) -> None:
    """To whoever waits for the right moment to kill."""
    sys.stdout.write(f"{message}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    make_data(
        Path(sys.argv[1]),
        SYNTHETIC,
        range(int(sys.argv[2])),
        Dots(seconds=0.002),
        shard_size=SHARD_SIZE,
        progress=tell,
    )
