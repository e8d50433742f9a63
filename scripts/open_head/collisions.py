"""Do lids and lips meet, and do eyeballs and teeth stay behind the skin, with expressions at full weight?

python scripts/open_head/collisions.py --people 10
python scripts/open_head/collisions.py --people 10 --sheet sheet.png

Prints the worst of all people per expression: gaps between the lids and between the lips, how far the outer skin of the
lids dives into the eyeball, mm; and the areas of eyeball and of teeth that a camera in front sees, mm^2.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from jaxtyping import Float
from open_head.head_sheet import EXPRESSIONS, portraits, sheet_of, written
from torch import Tensor

from facewright.morphable.container import load_face_model
from facewright.morphable.linear import FaceModel
from facewright.morphable.sample import sample_coefficients
from facewright.records import FaceCoefficients
from facewright.render.rasterizers import rasterize

MM = 100.0
LIDS = {"right": ((37, 41), (38, 40)), "left": ((43, 47), (44, 46))}
LIPS = ((61, 67), (62, 66), (63, 65))
"""Landmarks of the upper and the lower edge."""
WINDOW_PX, WINDOW_DM = 1024, 1.6
"""The picture in which what is seen is counted: parallel rays from the front."""
COLUMNS = ("lids left", "lids right", "in eyeball", "eyeball left", "eyeball right", "lips", "teeth seen")


def figures(model: FaceModel, people: FaceCoefficients) -> dict[str, Float[Tensor, " N"]]:
    """Column -> figure of each person, mm or mm^2."""
    vertices = model.shape(people.id, people.exp)
    ids = model.annotations.ibug68
    assert ids is not None
    marks = vertices[:, ids] * MM
    found = {}
    for side, pairs in LIDS.items():
        found[f"lids {side}"] = torch.stack([marks[:, a, 1] - marks[:, b, 1] for a, b in pairs]).amax(0)
    found["lips"] = torch.stack([marks[:, a, 1] - marks[:, b, 1] for a, b in LIPS]).amax(0)
    found["in eyeball"] = torch.stack([_dive(model, vertices, sign) for sign in (1.0, -1.0)]).amax(0)
    seen = seen_parts(model, vertices)
    found |= {"eyeball left": seen["left eye"], "eyeball right": seen["right eye"], "teeth seen": seen["teeth"]}
    return {name: found[name] for name in COLUMNS}


def seen_parts(model: FaceModel, vertices: Float[Tensor, "N V 3"]) -> dict[str, Float[Tensor, " N"]]:
    """Area of the eyeballs and of the teeth that is seen from the front, mm^2."""
    parts = model.annotations.face_parts
    left = model.mean_shape[model.faces].mean(1)[:, 0] > 0
    groups = {"left eye": parts["eyes"] & left, "right eye": parts["eyes"] & ~left, "teeth": parts["teeth"]}
    area = (WINDOW_DM / WINDOW_PX * MM) ** 2
    middle = model.mean_shape[model.annotations.ibug68].mean(0)
    seen: dict[str, list[Tensor]] = {name: [] for name in groups}
    for head in vertices:  # one at a time: the picture is large
        place = (head - middle) / (0.5 * WINDOW_DM)
        clip = torch.stack([place[:, 0], -place[:, 1], -0.1 * place[:, 2], torch.ones_like(place[:, 0])], 1)
        index = rasterize(clip[None], model.faces, (WINDOW_PX, WINDOW_PX)).face_index
        for name, faces in groups.items():
            seen[name].append(faces[index[index >= 0]].sum() * area)
    return {name: torch.stack(values) for name, values in seen.items()}


def _dive(model: FaceModel, vertices: Float[Tensor, "N V 3"], sign: float) -> Float[Tensor, " N"]:
    """How deep the outer skin of one eye's lids (without the wet edge) lies in the eyeball at most, mm."""
    regions, parts = model.annotations.regions, model.annotations.face_parts
    outer = torch.isin(torch.arange(len(model.mean_shape)), model.faces[parts["head"]])
    lids = outer & (regions["eyelids"] - regions["lid_rim"] > 0.5) & (sign * model.mean_shape[:, 0] > 0)
    ball = (regions["eyes"] > 0.5) & (sign * model.mean_shape[:, 0] > 0)
    centre = 0.5 * (vertices[:, ball].amax(1) + vertices[:, ball].amin(1))
    radius = (vertices[:, ball] - centre[:, None]).norm(dim=2).mean(1)
    return (radius - (vertices[:, lids] - centre[:, None]).norm(dim=2).amin(1)) * MM


def posed(model: FaceModel, people: FaceCoefficients, names: tuple[str, ...]) -> FaceCoefficients:
    """The same people with expressions at full weight."""
    exp = torch.zeros_like(people.exp)
    exp[:, [model.exp_names.index(name) for name in names]] = 1.0
    return replace(people, exp=exp)


def table(model: FaceModel, people: FaceCoefficients) -> list[str]:
    """Lines of Markdown: per expression, the worst person of each column."""
    lines = ["| full weight of | " + " | ".join(COLUMNS) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    for names in EXPRESSIONS:
        worst = [f"{float(values.max()):.2f}" for values in figures(model, posed(model, people, names)).values()]
        lines.append(f"| {' + '.join(names) or 'nothing'} | " + " | ".join(worst) + " |")
    return lines


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--face-model", default="open")
    parser.add_argument("--people", type=int, default=10)
    parser.add_argument("--seed", type=int, default=4)
    parser.add_argument("--sheet", help="draw them all, a person a row")
    given = parser.parse_args()
    model = load_face_model(given.face_model)
    people = sample_coefficients(model, torch.Generator().manual_seed(given.seed), given.people, expressions=False)
    print("\n".join(table(model, people)))
    if given.sheet:
        views = [portraits(model, posed(model, people, names), 0.0) for names in EXPRESSIONS]
        written(sheet_of(torch.stack(views, 1).flatten(0, 1), given.people, len(EXPRESSIONS)), given.sheet)


if __name__ == "__main__":
    main()
