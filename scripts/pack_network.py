"""Turn the weights of a training run into an embedded file: float16, with a card that says how they were made.

    python scripts/pack_network.py --weights runs/open/weights.safetensors --name open \
        --recipe "..." --figures figures.json

``figures.json`` holds measured results, name -> number.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import tyro

from facewright.regress.weights import EMBEDDED_WEIGHTS, load_weights, read_card, save_weights

ASSETS = Path(__file__).resolve().parents[1] / "src" / "facewright" / "assets"
LICENCE = "CC0-1.0"


@dataclass(frozen=True)
class Arguments:
    """Which weights become which embedded file."""

    weights: Path
    """Of the run."""
    name: str
    """``open``, ``fast``, ``prnet``, ``cnet`` or ``parsing``."""
    recipe: str
    """How they were trained, in a sentence or two."""
    commit: str
    """Of the code that trained them."""
    start: str = "features of dlib's face recognition network (CC0), which have seen photographs from the web"
    """What the trunk had seen before."""
    figures: Path | None = None
    """JSON of measured results."""


def main(arguments: Arguments) -> None:
    """Write the file and say how large it is."""
    figures = {} if arguments.figures is None else json.loads(arguments.figures.read_text(encoding="utf-8"))
    card = read_card(arguments.weights)
    card = replace(
        card,
        training_data=f"{card.training_data}; {arguments.start}",
        recipe=arguments.recipe,
        commit=arguments.commit,
        licence=LICENCE,
        figures={name: round(float(value), 4) for name, value in figures.items()},
    )
    path = ASSETS / EMBEDDED_WEIGHTS[arguments.name]
    save_weights(load_weights(arguments.weights), card, path, half=True)
    print(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main(tyro.cli(Arguments))
