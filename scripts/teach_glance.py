"""Teach an R-Net a second glance, and hold all else of it: minutes of a CPU.

    python scripts/teach_glance.py --weights open --data data --out glancing.safetensors

Drawings are cut as in training, a little off, and looked at in a mirror too. Then `scripts/calibrate_doubts.py`.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import tyro

from facewright.morphable.container import load_face_model
from facewright.regress.rnet import RNet
from facewright.regress.weights import load_weights, read_card, save_weights
from facewright.train.glancing import Glanced, glanced, joined, teach_glance
from facewright.train.loader import BatchStream
from facewright.train.losses.likeness_terms import make_rig
from facewright.train.shards import load_data

BATCH = 64


@dataclass(frozen=True)
class Arguments:
    """Who learns what."""

    weights: str
    """An R-Net that sees dense points: `open`, or a file."""
    data: tuple[Path, ...]
    """Drawings."""
    out: Path
    """Where the weights go."""
    epochs: int = 4
    """How often each picture is shown, beside its mirror image."""
    seed: int = 0
    """Of the order."""


def main(arguments: Arguments) -> None:
    """Look at all pictures once, learn, save."""
    card = read_card(arguments.weights)
    model = load_face_model(card.face_model)
    start: RNet = load_weights(arguments.weights, layout=model.layout, edition=model.edition, kind="rnet")
    net = RNet(
        start.layout,
        architecture=start.architecture,
        width=start.width,
        crop_size=start.crop_size,
        input_coding=start.input_coding,
        points=start.point_ids,
        glance=True,
    ).eval()
    net.load_state_dict(start.state_dict(), strict=False)
    stored, begun = [load_data(folder) for folder in arguments.data], time.process_time()
    stream = BatchStream(stored, batch_size=BATCH, crop_size=net.crop_size, layout=model.layout, seed=arguments.seed)
    rig, steps = make_rig(model, net.point_ids), sum(len(data) for data in stored) // BATCH

    def looked() -> Iterator[Glanced]:
        for step in range(steps):
            yield from glanced(net, model, rig, stream.batch(step).to(torch.device("cpu")))

    seen = joined(looked())
    print(f"{len(seen)} looks, {time.process_time() - begun:.0f} s of CPU")
    teach_glance(
        net,
        model,
        seen,
        epochs=arguments.epochs,
        seed=arguments.seed,
        told=lambda epoch, loss: print(f"epoch {epoch + 1}: {loss:.3f}, {time.process_time() - begun:.0f} s of CPU"),
    )
    recipe = (
        f"{card.recipe}; a second glance by scripts/teach_glance.py, {steps * BATCH} drawings, seed {arguments.seed}"
    )
    save_weights(net, replace(card, recipe=recipe), arguments.out)


if __name__ == "__main__":
    main(tyro.cli(Arguments))
