"""Make-up: lips, lids, liner, brows and cheeks, mixed over the albedo of the head's vertices. Linear RGB."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from facewright.synthetic.skin import SkinRig

MAKE_UP_SHARE = 0.25
Layer = tuple[str, Float[ndarray, "3"], float]


@dataclass(frozen=True)
class MakeUp:
    """What is put on.

    Attributes:
        layers: region, colour, and share of it that covers what is there.
        lip_gloss: factor of the lips' gloss.
        powder: factor of the gloss and grain of all skin.
    """

    layers: tuple[Layer, ...]
    lip_gloss: float
    powder: float


def draw_make_up(rng: np.random.Generator) -> MakeUp | None:
    """Mostly none; else from a touch of lipstick to a whole face.

    Args:
        rng: random state; it advances.
    """
    if rng.random() >= MAKE_UP_SHARE:
        return None
    boldness = rng.beta(1.5, 2.5)
    red = np.array([0.38, 0.06, 0.08]) * np.exp(rng.normal(0.0, [0.35, 0.6, 0.5]))
    shadow = np.array([0.12, 0.09, 0.09]) * np.exp(0.5 * rng.standard_normal(3))
    dark = rng.uniform(0.01, 0.05) * np.array([1.1, 1.0, 0.95])
    chances = rng.random(5)
    layers: list[Layer] = []
    if chances[0] < 0.85:
        layers.append(("lips", red.clip(0.01, 0.7), float(rng.uniform(0.2, 0.9))))
    if chances[1] < 0.6:
        layers.append(("eyelids", shadow, float(0.15 + 0.5 * boldness * rng.random())))
    if chances[2] < 0.7:
        layers.append(("lid_rim", dark, float(0.3 + 0.6 * rng.random())))
    if chances[3] < 0.5:
        layers.append(("brows", 2.0 * dark, float(0.2 + 0.5 * rng.random())))
    if chances[4] < 0.5:
        layers.append(("cheeks", np.array([0.5, 0.2, 0.18]), float(0.14 * rng.random())))
    return MakeUp(tuple(layers), float(rng.uniform(1.0, 3.0)), float(rng.uniform(0.5, 1.0)))


def make_up(
    worn: MakeUp, rig: SkinRig, albedo: Float[Tensor, "V 3"], gloss: Float[Tensor, " V"]
) -> tuple[Float[Tensor, "V 3"], Float[Tensor, " V"]]:
    """Albedo and gloss of a made-up head.

    Args:
        worn: the make-up.
        rig: of the model.
        albedo: without it.
        gloss: without it.
    """
    powdered = np.where(rig.masks["skin"] > 0.5, worn.powder, 1.0)
    albedo, gloss = albedo.clone(), gloss * torch.from_numpy(powdered).to(gloss)
    for region, color, cover in worn.layers:
        mask = rig.masks.get(region)
        if mask is None:
            continue
        ids = np.flatnonzero(mask > 0.01)
        share = torch.from_numpy(cover * mask[ids, None]).to(albedo)
        where = torch.from_numpy(ids).to(albedo.device)
        albedo[where] = albedo[where] * (1.0 - share) + share * torch.from_numpy(color).to(albedo)
    lips = torch.from_numpy(rig.masks["lips"]).to(gloss)
    return albedo, gloss * (1.0 + (worn.lip_gloss / worn.powder - 1.0) * lips)
