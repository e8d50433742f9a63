"""Caps, beanies, hats, headbands, hoods and headscarves over the skull and its hair. Frame: model, dm."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from facewright.synthetic.backdrops import thing_color
from facewright.synthetic.dice import picked
from facewright.synthetic.hair import CENTRE, POLAR_LIMIT, HairStyle, Outline, skull_sheet
from facewright.synthetic.shells import Shell, grid_faces, joined, make_shell

HeadwearKind = Literal["cap", "beanie", "hat", "headband", "hood", "scarf"]
HEADWEAR_SHARE = 0.13
HEADWEAR_KINDS: dict[HeadwearKind, float] = {
    "cap": 0.28,
    "beanie": 0.2,
    "hat": 0.14,
    "headband": 0.12,
    "hood": 0.12,
    "scarf": 0.14,
}
"""What heads are covered with, and how often among those that are."""
ROWS, COLUMNS = 12, 48
UNDER_DM = 0.05
"""Hair under a hat is this thick at most."""


@dataclass(frozen=True)
class Headwear:
    """Something on the head.

    Attributes:
        kind: what.
        rim: polar angle of its rim at the face, radians; for hoods and scarves how wide their opening is.
        thickness: of the cloth over hair, dm.
        reach: of a visor or brim, dm.
        droop: how far that hangs or is pulled, radians.
        color: linear albedo.
        rough: grain of the cloth.
        turned: whether a cap's visor is at the back.
    """

    kind: HeadwearKind
    rim: float
    thickness: float
    reach: float
    droop: float
    color: Float[ndarray, "3"]
    rough: float
    turned: bool


def draw_headwear(rng: np.random.Generator) -> Headwear | None:
    """Mostly nothing.

    Args:
        rng: random state; it advances.
    """
    if rng.random() >= HEADWEAR_SHARE:
        return None
    kind = picked(rng, HEADWEAR_KINDS)
    opening = kind in ("hood", "scarf")
    return Headwear(
        kind,
        float(np.radians(rng.uniform(38.0, 50.0) if opening else rng.uniform(36.0, 56.0))),
        float(rng.uniform(0.1, 0.3) if kind == "hood" else rng.uniform(0.08, 0.16)),
        float(rng.uniform(0.4, 0.75)),
        float(rng.uniform(-0.1, 0.5)),
        thing_color(rng, most=0.8, tint=0.3),
        float(rng.uniform(0.03, 0.25)),
        bool(kind == "cap" and rng.random() < 0.2),
    )


def hair_under(worn: Headwear, hair: HairStyle) -> HairStyle:
    """A haircut pressed flat by what is worn over it; what hangs stays, except under hoods and scarves."""
    covered = worn.kind in ("hood", "scarf")
    if worn.kind == "headband":
        return hair
    hang = np.zeros_like(hair.hang) if covered else hair.hang
    thickness = np.minimum(hair.thickness, UNDER_DM)
    line = np.minimum(hair.hairline, worn.rim) if covered else hair.hairline
    return replace(hair, thickness=thickness, hang=hang, hairline=line, knot=(0.0, 0.0, 0.0))


def headwear_shell(worn: Headwear, outline: Outline, hair_dm: float) -> Shell:
    """What is worn, on a person's skull.

    Args:
        worn: what.
        outline: of the person, by ``outlines_of``.
        hair_dm: thickness of the hair below.
    """
    azimuth = np.broadcast_to(np.linspace(-np.pi, np.pi, COLUMNS, endpoint=False), (ROWS, COLUMNS))
    rows = np.linspace(0.0, 1.0, ROWS)[:, None]
    if worn.kind in ("hood", "scarf"):
        return _wrapped(worn, outline, azimuth, rows)
    behind = 0.5 - 0.5 * np.cos(azimuth)  # 0 at the face, 1 at the back
    line = worn.rim + behind * np.radians({"beanie": 62.0, "headband": 35.0}.get(worn.kind, 48.0))
    polar = rows * line
    thickness = worn.thickness + hair_dm * np.ones_like(polar)
    if worn.kind == "headband":
        polar = line - np.radians(14.0) * (1.0 - rows)
    elif worn.kind == "beanie":
        thickness = thickness + worn.reach * 0.5 * (1.0 - rows) ** 2
    else:
        thickness = thickness + 0.25 * worn.reach * np.sin(np.pi * rows.clip(0.0, 0.9))
    sheet = skull_sheet(outline, azimuth, polar, thickness)
    parts = [(sheet.reshape(-1, 3), grid_faces(ROWS, COLUMNS, closed=True))]
    if worn.kind in ("cap", "hat"):
        parts.append(_brim(worn, sheet[-1]))
    vertices, faces = joined(parts)
    ribs = 8.0 if worn.kind == "beanie" else 3.0
    return make_shell(vertices, faces, worn.color, places=ribs * vertices, grain=worn.rough, gloss=0.3)


def _brim(worn: Headwear, rim: Float[ndarray, "A 3"]) -> tuple[ndarray, ndarray]:
    """A visor before (or behind) a cap, or a brim all around a hat."""
    outward = (rim - rim.mean(0)) * [1.0, 0.0, 1.0]
    outward = outward / np.linalg.norm(outward, axis=1, keepdims=True).clip(1e-6)
    reach = np.full(len(rim), worn.reach)
    if worn.kind == "cap":
        facing = -outward[:, 2] if worn.turned else outward[:, 2]
        reach = 1.2 * worn.reach * ((facing - 0.45) / 0.55).clip(0.0, 1.0) ** 0.5
    steps = np.linspace(0.0, 1.0, 4)[:, None, None]
    down = np.array([0.0, -1.0, 0.0]) * np.sin(worn.droop) - np.array([0.0, 0.15, 0.0])
    sheet = rim + steps * reach[:, None] * (outward + steps * down)
    return sheet.reshape(-1, 3), grid_faces(4, len(rim), closed=True)


def _wrapped(
    worn: Headwear,
    outline: Outline,
    around: Float[ndarray, "R A"],
    rows: Float[ndarray, "R 1"],
) -> Shell:
    """A sheet with an opening for the face, all about the head and down the neck."""
    # An angle about the axis that looks out of the face: 0 up, pi down; and one away from that axis.
    below = 0.5 - 0.5 * np.cos(around)
    opening = worn.rim + np.radians(14.0) * np.sin(around) ** 2 + np.radians(26.0) * below
    away = opening + rows * (np.radians(178.0) - opening)
    toward = np.stack([np.sin(away) * np.sin(around), np.sin(away) * np.cos(around), np.cos(away)], -1)
    azimuth = np.arctan2(toward[..., 0], toward[..., 2])
    polar = np.arccos(toward[..., 1].clip(-1.0, 1.0))
    folds = 1.0 + 0.25 * np.sin(9.0 * around + 5.0 * worn.droop) * rows
    loose = worn.thickness * folds * (1.0 + (1.5 * below if worn.kind == "hood" else 0.3 * below))
    sheet = skull_sheet(outline, azimuth, polar.clip(0.0, POLAR_LIMIT), loose + 0.03)
    sheet[..., 1] -= 1.2 * (polar - POLAR_LIMIT).clip(0.0)  # falls onto the shoulders
    sheet = np.where((polar > np.radians(125.0))[..., None], CENTRE + (sheet - CENTRE) * [1.25, 1.0, 1.25], sheet)
    vertices = sheet.reshape(-1, 3)
    faces = grid_faces(ROWS, COLUMNS, closed=True)
    return make_shell(vertices, faces, worn.color, places=3.0 * vertices, grain=worn.rough, gloss=0.2)
