"""Draw a sheet of synthetic people for the documentation.

    python scripts/synthetic_sheet.py --out docs/images/synthetic-people.jpg

Training seeds: the held-out ones are for measuring only.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
import tyro
from PIL import Image

from facewright.export.asset import to_uint8
from facewright.export.sheets import contact_sheet
from facewright.synthetic import open_studio, photograph, plan_scene, require_training_seed
from facewright.train.synthetic import synthetic_samples


@dataclass(frozen=True)
class Arguments:
    """What is drawn."""

    out: Path
    """Picture file."""
    count: int = 18
    """People."""
    first_seed: int = 300
    """Seed of the first."""
    crops: int = 0
    """Side of training crops to draw instead of pictures, px; 0 for pictures."""


def main(arguments: Arguments) -> None:
    """Write the sheet."""
    studio = open_studio()
    tiles = []
    if arguments.crops:
        seeds = [require_training_seed(arguments.first_seed + k) for k in range(arguments.count)]
        for sample in synthetic_samples(studio, seeds, arguments.crops):
            crop = sample.window_srgb[sample.margin : -sample.margin, sample.margin : -sample.margin]
            tiles.append((sample.key, torch.from_numpy(crop.copy()).permute(2, 0, 1).float() / 255.0))
    for k in range(0 if arguments.crops else arguments.count):
        seed = require_training_seed(arguments.first_seed + k)
        scene = photograph(studio, plan_scene(studio, seed, width=240, height=240, eye_px=(38.0, 55.0)))
        title = ", ".join(scene.strata[name] for name in ("yaw", "light", "occlusion"))
        tiles.append((title, scene.photo.srgb))
    sheet = contact_sheet(tiles, columns=6, tile_px=arguments.crops or 240)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(to_uint8(sheet.permute(1, 2, 0))).save(arguments.out, quality=85)


if __name__ == "__main__":
    main(tyro.cli(Arguments))
