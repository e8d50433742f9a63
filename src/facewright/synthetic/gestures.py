"""What faces do before cameras: lids, brows and mouths by tables of gestures with shares, gaze apart. ARKit's names.

A face is either a whole one (a laugh, a scream, a yawn: everything moves together) or is put together from what lids,
brows and mouth do for themselves. Names without a side mean both sides; sides differ a little, and one-sided gestures
leave the other side alone.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from facewright.synthetic.dice import picked

Span = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Gesture:
    """Weights that belong together.

    Attributes:
        name: what it is called.
        share: how often it is drawn within its table.
        weights: name of an expression, with or without its side -> least and greatest weight; one strength moves all.
        one_sided: only the left or only the right side does it.
    """

    name: str
    share: float
    weights: dict[str, Span]
    one_sided: bool = False


LIDS: tuple[Gesture, ...] = (
    Gesture("open", 0.46, {"eyeBlink": (0.0, 0.12)}),
    Gesture("blink", 0.11, {"eyeBlink": (0.9, 1.0)}),
    Gesture("wink", 0.055, {"eyeBlink": (0.9, 1.0), "cheekSquint": (0.2, 0.9)}, one_sided=True),
    Gesture("half shut", 0.10, {"eyeBlink": (0.2, 0.75)}),
    Gesture("squint", 0.15, {"eyeSquint": (0.4, 1.0), "cheekSquint": (0.1, 0.7)}),
    Gesture("wide", 0.125, {"eyeWide": (0.4, 1.0)}),
)
"""Lids that do something for themselves."""

BROWS: tuple[Gesture, ...] = (
    Gesture("at rest", 0.48, {}),
    Gesture("raised", 0.16, {"browInnerUp": (0.3, 1.0), "browOuterUp": (0.3, 1.0)}),
    Gesture("one raised", 0.08, {"browOuterUp": (0.5, 1.0), "browInnerUp": (0.1, 0.5)}, one_sided=True),
    Gesture("worried", 0.10, {"browInnerUp": (0.4, 1.0), "browDown": (0.0, 0.4)}),
    Gesture("frown", 0.18, {"browDown": (0.4, 1.0)}),
)
"""Brows that do something for themselves."""

MOUTHS: tuple[Gesture, ...] = (
    Gesture("at rest", 0.10, {}),
    Gesture("slight smile", 0.10, {"mouthSmile": (0.2, 0.6), "cheekSquint": (0.0, 0.3)}),
    Gesture(
        "smile with teeth", 0.20,
        {"mouthSmile": (0.55, 1.0), "mouthUpperUp": (0.25, 0.7), "mouthLowerDown": (0.05, 0.5), "jawOpen": (0.02, 0.25),
         "cheekSquint": (0.2, 0.9), "eyeSquint": (0.0, 0.5)},
    ),
    Gesture("smirk", 0.06, {"mouthSmile": (0.4, 1.0), "mouthDimple": (0.0, 0.5)}, one_sided=True),
    Gesture("pucker", 0.08, {"mouthPucker": (0.5, 1.0), "mouthFunnel": (0.0, 0.3)}),
    Gesture("pressed", 0.06, {"mouthPress": (0.3, 1.0), "mouthRollLower": (0.0, 0.6), "mouthRollUpper": (0.0, 0.6)}),
    Gesture("jaw open", 0.07, {"jawOpen": (0.5, 1.0)}),
    Gesture("turned down", 0.06, {"mouthFrown": (0.4, 1.0), "mouthShrugLower": (0.2, 0.9)}),
    Gesture("pulled aside", 0.03, {"mouth": (0.3, 1.0), "jaw": (0.0, 0.5)}, one_sided=True),
    Gesture("cheeks blown", 0.02, {"cheekPuff": (0.5, 1.0), "mouthPress": (0.1, 0.4)}),
    Gesture("tongue out", 0.02, {"tongueOut": (0.6, 1.0), "jawOpen": (0.3, 0.6)}),
    Gesture("says a", 0.04, {"jawOpen": (0.3, 0.7), "mouthLowerDown": (0.1, 0.4)}),
    Gesture("says e", 0.04, {"jawOpen": (0.1, 0.3), "mouthStretch": (0.3, 0.8), "mouthLowerDown": (0.2, 0.6),
                             "mouthUpperUp": (0.0, 0.4)}),
    Gesture("says o", 0.04, {"jawOpen": (0.15, 0.5), "mouthFunnel": (0.4, 1.0)}),
    Gesture("says u", 0.03, {"jawOpen": (0.05, 0.2), "mouthPucker": (0.3, 0.8), "mouthFunnel": (0.2, 0.6)}),
    Gesture("says f", 0.025, {"jawOpen": (0.05, 0.2), "mouthRollLower": (0.2, 0.5), "mouthUpperUp": (0.1, 0.4)}),
    Gesture("says m", 0.025, {"mouthPress": (0.1, 0.5), "mouthRollLower": (0.2, 0.6), "mouthRollUpper": (0.2, 0.6)}),
)  # fmt: skip
"""Mouths: resting, smiling, talking, and doing what mouths do."""

WHOLE_FACES: tuple[Gesture, ...] = (
    Gesture(
        "laugh", 0.30,
        {"mouthSmile": (0.7, 1.0), "jawOpen": (0.25, 0.65), "mouthUpperUp": (0.3, 0.8), "mouthLowerDown": (0.1, 0.5),
         "cheekSquint": (0.5, 1.0), "eyeSquint": (0.3, 0.9), "eyeBlink": (0.0, 0.5)},
    ),
    Gesture(
        "scream", 0.14,
        {"jawOpen": (0.75, 1.0), "mouthUpperUp": (0.2, 0.8), "mouthLowerDown": (0.2, 0.8), "mouthStretch": (0.2, 0.8),
         "browDown": (0.3, 1.0), "eyeSquint": (0.3, 1.0), "cheekSquint": (0.3, 1.0), "noseSneer": (0.2, 0.9)},
    ),
    Gesture(
        "surprise", 0.18,
        {"jawOpen": (0.25, 0.9), "browInnerUp": (0.5, 1.0), "browOuterUp": (0.5, 1.0), "eyeWide": (0.5, 1.0),
         "mouthFunnel": (0.0, 0.4)},
    ),
    Gesture(
        "disgust", 0.10,
        {"noseSneer": (0.5, 1.0), "mouthUpperUp": (0.3, 0.9), "browDown": (0.3, 0.9), "eyeSquint": (0.3, 0.9),
         "mouthFrown": (0.0, 0.6)},
    ),
    Gesture(
        "anger", 0.10,
        {"browDown": (0.6, 1.0), "eyeWide": (0.0, 0.5), "noseSneer": (0.2, 0.8), "mouthPress": (0.2, 0.9),
         "mouthFrown": (0.2, 0.8), "jawForward": (0.0, 0.5)},
    ),
    Gesture(
        "sadness", 0.10,
        {"browInnerUp": (0.5, 1.0), "mouthFrown": (0.4, 1.0), "mouthShrugLower": (0.3, 0.9), "eyeBlink": (0.1, 0.5)},
    ),
    Gesture("yawn", 0.04, {"jawOpen": (0.8, 1.0), "eyeBlink": (0.7, 1.0), "browInnerUp": (0.1, 0.6)}),
    Gesture("kiss", 0.04, {"mouthPucker": (0.7, 1.0), "eyeBlink": (0.8, 1.0), "cheekSquint": (0.0, 0.4)}),
)  # fmt: skip
"""Faces in which everything moves together."""

WHOLE_SHARE = 0.22
"""How often a face is a whole one."""
LOOSE_SHARE, LOOSE_WEIGHT = 0.12, 0.25
"""Every expression besides may twitch: how often, and how much at most."""
GAZE_SIGMA = 0.4
FULL = 0.9
"""From this weight on a lid counts as shut."""


def expression_weights(rng: np.random.Generator, names: tuple[str, ...]) -> tuple[Float[Tensor, "1 K"], str]:
    """Draw what a face does.

    Args:
        rng: random state; it advances.
        names: of the expressions of a model whose weights are within 0..1.

    Returns:
        The weights, and the names of the gestures they come from, joined by ``" + "``.
    """
    loose = np.where(rng.random(len(names)) < LOOSE_SHARE, LOOSE_WEIGHT * rng.random(len(names)) ** 2, 0.0)
    weights = {
        name: float(weight)
        for name, weight in zip(names, loose, strict=True)
        if weight and not name.startswith(("eye", "jaw", "tongue", "mouthClose"))
    }
    tables = (WHOLE_FACES,) if rng.random() < WHOLE_SHARE else (LIDS, BROWS, MOUTHS)
    gestures = [_chosen(rng, table) for table in tables]
    for gesture in gestures:
        for name, weight in _played(rng, gesture, names).items():
            weights[name] = max(weights.get(name, 0.0), weight)
    for name, weight in _gaze(rng).items():
        weights[name] = weight
    _keep_possible(weights)
    row = [weights.get(name, 0.0) for name in names]
    return torch.tensor([row], dtype=torch.float32), " + ".join(gesture.name for gesture in gestures)


def _chosen(rng: np.random.Generator, table: tuple[Gesture, ...]) -> Gesture:
    return picked(rng, _odds(table))


@cache
def _odds(table: tuple[Gesture, ...]) -> dict[Gesture, float]:
    total = sum(gesture.share for gesture in table)
    return {gesture: gesture.share / total for gesture in table}


def _played(rng: np.random.Generator, gesture: Gesture, names: tuple[str, ...]) -> dict[str, float]:
    """Weights by full name: one strength for all with a little of each expression's own, sides nearly alike."""
    strength, side = rng.random(), ("Left", "Right")[int(rng.integers(2))]
    asymmetry = rng.normal(0.0, 0.08) if rng.random() < 0.7 else rng.normal(0.0, 0.25)
    played = {}
    for name, (low, high) in gesture.weights.items():
        weight = low + (high - low) * np.clip(strength + rng.normal(0.0, 0.2), 0.0, 1.0)
        if name in names:
            played[name] = float(weight)
            continue
        tilt = 0.0 if name == "eyeBlink" else asymmetry
        for place, sign in (("Left", 1.0), ("Right", -1.0)):
            if not gesture.one_sided or place == side:
                played[name + place] = float(np.clip(weight * (1.0 + sign * tilt), 0.0, 1.0))
    return played


def _gaze(rng: np.random.Generator) -> dict[str, float]:
    """Both eyes look the same way; mostly about ahead, sometimes far aside."""
    aside, up = np.clip(GAZE_SIGMA * rng.standard_normal(2), -1.0, 1.0) * (rng.random() < 0.8)
    gaze = {"eyeLookOutLeft": aside, "eyeLookInRight": aside, "eyeLookInLeft": -aside, "eyeLookOutRight": -aside}
    gaze |= {f"eyeLook{way}{side}": value for way, value in (("Up", up), ("Down", -up)) for side in ("Left", "Right")}
    return {name: float(max(value, 0.0)) for name, value in gaze.items()}


def _keep_possible(weights: dict[str, float]) -> None:
    """Lids stop where they meet: what lowers the upper or lifts the lower lid adds up to no more than shut."""
    for side in ("Left", "Right"):
        blink = weights.get("eyeBlink" + side, 0.0)
        for name, share in (("eyeWide", 1.0), ("eyeSquint", 1.0), ("eyeLookDown", 0.6), ("eyeLookUp", 0.6)):
            weight = weights.get(name + side, 0.0)
            weights[name + side] = weight * (1.0 - share * blink)
