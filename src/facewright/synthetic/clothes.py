"""Neck opening and shoulders in clothes. Frame: model, dm."""

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from facewright.synthetic.backdrops import thing_color
from facewright.synthetic.shells import Shell, grid_faces, make_shell

NECK_BASE = np.array([0.0, -1.15, -0.62])
AROUND, LEVELS = 48, 18
_HEIGHT = np.array([0.1, 0.0, -0.15, -0.3, -0.45, -0.7, -1.2, -2.2, -3.5])
_WIDE = np.array([0.53, 0.60, 0.78, 1.22, 1.7, 2.0, 2.05, 1.95, 1.9])
_DEEP = np.array([0.58, 0.63, 0.7, 0.8, 0.9, 1.0, 1.1, 1.1, 1.1])


def _usual_body() -> Float[ndarray, "N 3"]:
    """Level by level, of middling build."""
    heights = np.concatenate([np.linspace(0.1, -0.7, LEVELS - 4), [-1.0, -1.5, -2.4, -3.5]])
    wide, deep = (np.interp(-heights, -_HEIGHT, row)[:, None] for row in (_WIDE, _DEEP))
    turn = 2.0 * np.pi * np.arange(AROUND) / AROUND
    x = wide * np.sin(turn)
    return np.stack([x, np.broadcast_to(heights[:, None], x.shape), deep * np.cos(turn)], -1).reshape(-1, 3)


_UPRIGHT = _usual_body()


def torso(rng: np.random.Generator, body_from_head: Float[ndarray, "3 3"], skin: Float[ndarray, "3"]) -> Shell:
    """Neck opening and shoulders in clothes; the body need not face where the head does.

    Args:
        rng: random state; it advances.
        body_from_head: rotation of the body relative to the head's frame.
        skin: linear albedo of what the clothes leave bare.
    """
    body = _UPRIGHT * [rng.uniform(0.9, 1.15), 1.0, rng.uniform(0.9, 1.1)]
    body[:, 1] += 0.02 * rng.standard_normal()
    color, grain = _dressed(rng, body, skin)
    vertices = body @ body_from_head.T + NECK_BASE
    shell = make_shell(vertices, grid_faces(LEVELS, AROUND, closed=True), color, places=3 * body, grain=grain)
    return shell


def _dressed(
    rng: np.random.Generator, body: Float[ndarray, "N 3"], skin: Float[ndarray, "3"]
) -> tuple[Float[ndarray, "N 3"], float]:
    """Colours: a jumper, a shirt with a collar, a jacket over a shirt with a tie, or little; and how rough cloth is."""
    cloth, under = thing_color(rng, most=0.7, tint=0.15), thing_color(rng, least=0.1, most=0.85, tint=0.08)
    aside, front, height = np.abs(body[:, 0]), body[:, 2] > 0.0, body[:, 1]
    color = np.broadcast_to(cloth, body.shape).copy()
    if rng.random() < 0.25:  # stripes or checks
        across = np.sin(body[:, int(rng.integers(2))] * rng.uniform(10.0, 30.0)) > rng.uniform(-0.5, 0.8)
        color[across] = thing_color(rng, most=0.8)
    opening = rng.uniform(0.1, 0.6)
    kind = rng.random()
    if kind < 0.3:  # jacket, shirt, perhaps a tie
        inner = front & (aside < opening * (height + 1.6).clip(0.0, 1.5))
        color[inner] = under
        if rng.random() < 0.5:
            color[front & (aside < 0.09)] = thing_color(rng, tint=0.5)
        color[(height > 0.0)] = under
        color[(height > 0.03) & (rng.random() < 0.3)] = skin
    elif kind < 0.85:  # round or pointed neckline, from high to low
        low = rng.choice([0.04, -0.05, -0.15, rng.uniform(-0.9, -0.2)])
        pointed = rng.choice([0.0, rng.uniform(0.3, 1.5)])
        line = np.where(front, low + pointed * aside, np.maximum(low, -0.12))
        color[height > np.minimum(line, 0.08)] = skin
    return color, float(rng.uniform(0.03, 0.2))
