"""Make a network's stated doubts the errors that it makes on drawings it never learnt from: one factor per head.

    python scripts/calibrate_doubts.py --weights runs/open/weights.safetensors --data data/held_out --out O.safetensors

The factors are found on half of the pictures; on the other half stated and actual errors are printed, before and after.
The card of the new file holds the factors, and the ratios after, among its figures.
"""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import tyro

from facewright.morphable.container import load_face_model
from facewright.regress.weights import load_weights, read_card, save_weights
from facewright.train.calibration import calibrated, measure_doubts
from facewright.train.jitter import NO_JITTER
from facewright.train.loader import BatchStream
from facewright.train.shards import load_data

BATCH = 32


@dataclass(frozen=True)
class Arguments:
    """Which weights are held against which drawings."""

    weights: Path
    """Of the run."""
    data: Path
    """Drawings that nothing was learnt from."""
    out: Path
    """Where the calibrated weights go."""
    face_model: str = "open"
    """Whom the drawings show."""
    batches: int = 32
    """How many batches of 32 pictures are looked at."""


def main(arguments: Arguments) -> None:
    """Measure, scale, measure again on other pictures, save."""
    model, card = load_face_model(arguments.face_model), read_card(arguments.weights)
    net = load_weights(
        arguments.weights, layout=model.layout, face_model=model.name, edition=model.edition, kind="rnet"
    )
    stream = BatchStream(
        [load_data(arguments.data)], batch_size=BATCH, crop_size=net.crop_size, layout=model.layout, jitter=NO_JITTER
    )
    pictures = [stream.batch(number) for number in range(arguments.batches)]
    learn, check = pictures[::2], pictures[1::2]
    before = measure_doubts(net, model, check)
    scales = calibrated(net, model, learn)
    after = measure_doubts(net, model, check)
    for name, scale in scales.items():
        print(json.dumps({"head": name, "scale": scale, "before": asdict(before[name]), "after": asdict(after[name])}))
    figures = {f"doubt_scale_{name}": round(scale, 4) for name, scale in scales.items()}
    figures |= {f"doubt_ratio_{name}": round(after[name].ratio, 4) for name in scales}
    save_weights(net, replace(card, figures=card.figures | figures), arguments.out)


if __name__ == "__main__":
    main(tyro.cli(Arguments))
