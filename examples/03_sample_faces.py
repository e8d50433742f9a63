"""People who do not exist.

A face model is also a distribution: identity and albedo coefficients are standard normal, expressions are weights
from 0 to 1, few of them at a time. The same seed gives the same people on every machine.
"""

from pathlib import Path

import torch
import tyro

import facewright
from facewright.apps.edit import light_from_direction, relight
from facewright.apps.edited_files import lit_asset, picture
from facewright.export.png import write_png
from facewright.export.sheets import contact_sheet
from facewright.morphable.sample import sample_coefficients


def main(count: int = 8, seed: int = 1, out: Path = Path("out/examples")) -> None:
    """Draw random people; write a sheet of all and a mesh of the first.

    Args:
        count: how many.
        seed: other seeds are other people.
        out: folder for the results.
    """
    model = facewright.load_face_model("open")
    people = sample_coefficients(model, torch.Generator().manual_seed(seed), count)
    people = relight(people, light_from_direction(torch.tensor([[-0.4, 0.6, 1.0]]), strength=1.4))
    out.mkdir(parents=True, exist_ok=True)
    tiles = [(f"seed {seed}, {k}", picture(model, people.one(k), size_px=256)) for k in range(count)]
    write_png(out / "people.png", contact_sheet(tiles, columns=4))
    facewright.export_mesh(lit_asset(model, people.one(0), name="person"), out / "person.glb")
    distance = people.id.norm(dim=1)
    print(f"{count} people, {distance.min():.1f} to {distance.max():.1f} deviations from the mean head")


if __name__ == "__main__":
    tyro.cli(main)
