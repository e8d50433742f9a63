"""Another expression on the same person.

Identity, expression, albedo, light and pose are separate coefficients, so each can be changed while the others stay.
The open head's expressions have names (the 52 of ARKit) and weights from 0 to 1. Edits are pure functions: they give
a new record and leave the old one alone.

Run example 01 first: this one starts from the `.json` it writes.
"""

from dataclasses import replace
from pathlib import Path

import torch
import tyro

import facewright
from facewright.apps.edit import frontalise, light_from_direction, neutralise, relight, transfer_expression
from facewright.apps.edited_files import lit_asset, picture
from facewright.export.png import write_png
from facewright.export.sheets import contact_sheet
from facewright.pipeline.coefficient_files import read_coefficients

EXPRESSIONS = {
    "smile": {"mouthSmileLeft": 0.8, "mouthSmileRight": 0.8, "cheekSquintLeft": 0.5, "cheekSquintRight": 0.5},
    "wink": {"eyeBlinkLeft": 1.0, "mouthSmileLeft": 0.4},
    "surprise": {"jawOpen": 0.5, "browInnerUp": 0.8, "eyeWideLeft": 0.7, "eyeWideRight": 0.7},
}


def named_expression(model: facewright.FaceModel, weights: dict[str, float]) -> torch.Tensor:
    """Weights by name as a row of expression coefficients."""
    row = torch.zeros(1, model.layout.exp)
    for name, weight in weights.items():
        row[0, model.exp_names.index(name)] = weight
    return row


def main(face: Path = Path("out/examples/astronaut.json"), out: Path = Path("out/examples")) -> None:
    """Draw a face with other expressions and save one of them.

    Args:
        face: coefficients of a reconstructed face.
        out: folder for the results.
    """
    model = facewright.load_face_model("open")
    studio = light_from_direction(torch.tensor([[-0.4, 0.6, 1.0]]), strength=1.4)
    found = relight(frontalise(read_coefficients(face, model)), studio)
    looks = {"as found": found, "at rest": neutralise(found)}
    for title, weights in EXPRESSIONS.items():
        actor = replace(model.layout.zeros(), exp=named_expression(model, weights))
        looks[title] = transfer_expression(found, actor)
    out.mkdir(parents=True, exist_ok=True)
    tiles = [(title, picture(model, look, size_px=256)) for title, look in looks.items()]
    write_png(out / "expressions.png", contact_sheet(tiles, columns=len(tiles)))
    facewright.export_mesh(lit_asset(model, looks["smile"], name="smile"), out / "smile.glb")
    print(f"{len(looks)} expressions: {', '.join(looks)}")


if __name__ == "__main__":
    tyro.cli(main)
