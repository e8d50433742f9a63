"""Hair as one lit sheet over the skull that may cover the forehead and ears and may hang down. Frame: model, dm.

The sheet is a grid in azimuth (0 is the face) and polar angle (0 is up) about a centre inside the skull. It starts at
the crown and ends at the hairline; columns at the sides and behind may hang on from there.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.ndimage import gaussian_filter1d

from facewright.synthetic.dice import picked
from facewright.synthetic.shells import Shell, grid_faces, joined, make_shell

HairKind = Literal["none", "short", "medium", "long", "curly", "tied"]
HAIR_KINDS: dict[HairKind, float] = {
    "none": 0.12,
    "short": 0.33,
    "medium": 0.16,
    "long": 0.21,
    "curly": 0.08,
    "tied": 0.10,
}
"""Lengths of hair and how often they are drawn; ``none`` shows what the model's own albedo paints."""

CENTRE = np.array([0.0, 0.35, -0.55])
COLUMNS, ROWS, HANGING_ROWS = 64, 18, 10
POLAR_LIMIT = np.radians(150.0)
FRINGED = {"short": 0.25, "medium": 0.4, "long": 0.3, "curly": 0.15, "tied": 0.15}
"""How often hair falls over the forehead."""
BODIES_DM = {
    "short": (0.03, 0.2),
    "medium": (0.08, 0.28),
    "long": (0.06, 0.28),
    "curly": (0.2, 0.7),
    "tied": (0.02, 0.08),
}
"""How thick it lies."""
DYES = ((0.42, 0.27, 0.12), (0.30, 0.17, 0.07), (0.22, 0.07, 0.025), (0.012, 0.010, 0.010), (0.10, 0.02, 0.02))
"""Blond, dark blond, red, black, wine: people's hair is not always what their brows are."""
_TABLE = (31, COLUMNS)
_HAIRLINE_AT = np.radians([0.0, 30.0, 53.0, 75.0, 95.0, 118.0, 180.0])
_HAIRLINE = np.radians([46.0, 50.0, 60.0, 86.0, 84.0, 120.0, 130.0])
AZIMUTHS = -np.pi + 2.0 * np.pi * np.arange(COLUMNS) / COLUMNS
_ROWS = np.linspace(0.0, 1.0, ROWS)[:, None]
_USUAL_LINE = np.interp(np.abs(AZIMUTHS), _HAIRLINE_AT, _HAIRLINE)
Outline = Float[ndarray, "T O 4"]
"""Of a person's head around ``CENTRE``: how far it reaches, and how far from the mean head it lies, dm."""


@dataclass(frozen=True)
class HairRig:
    """The mean head's outline around ``CENTRE``.

    Attributes:
        radius: how far it reaches, by polar angle (0 to ``POLAR_LIMIT``) and azimuth (-pi to pi), dm.
        vertex_ids: the vertex that reaches farthest there: it tells how a person differs.
    """

    radius: Float[ndarray, "T A"]
    vertex_ids: Int[ndarray, "T A"]

    @classmethod
    def of(cls, vertices: Float[ndarray, "V 3"], ids: Int[ndarray, " N"]) -> "HairRig":
        """Measure a mean head; ``ids`` are the vertices of its outside."""
        polar, azimuth = np.meshgrid(np.linspace(0, POLAR_LIMIT, _TABLE[0]), AZIMUTHS, indexing="ij")
        offsets = vertices[ids] - CENTRE
        lengths = np.linalg.norm(offsets, axis=1)
        rays = _directions(azimuth, polar).reshape(-1, 3)
        along = rays @ offsets.T
        along[along / lengths < np.cos(np.radians(9.0))] = 0.0
        best = along.argmax(1)
        radius = along[np.arange(len(rays)), best].reshape(_TABLE)
        return cls(_soften(radius, 1.0), ids[best].reshape(_TABLE))


@dataclass(frozen=True)
class HairStyle:
    """A haircut.

    Attributes:
        kind: how long.
        hairline: polar angle of the rim per column, radians.
        thickness: over the skin, per row and column, dm.
        hang: how far each column hangs on below the rim, dm; 0 for none.
        sway: sideways waves of hanging hair, dm.
        knot: azimuth, polar angle and radius (dm) of a bun or of tied hair; radius 0 for none.
        color: linear albedo.
        strand_seed: of the streaks.
    """

    kind: HairKind
    hairline: Float[ndarray, " A"]
    thickness: Float[ndarray, "R A"]
    hang: Float[ndarray, " A"]
    sway: float
    knot: tuple[float, float, float]
    color: Float[ndarray, "3"]
    strand_seed: int


def draw_hair(rng: np.random.Generator, painted: Float[ndarray, "3"]) -> HairStyle | None:
    """A random haircut, or None.

    Args:
        rng: random state; it advances.
        painted: linear albedo of the person's own hair, as the model paints it.
    """
    kind = picked(rng, HAIR_KINDS)
    if kind == "none":
        return None
    azimuth = AZIMUTHS
    side = np.abs(azimuth)
    line = _USUAL_LINE.copy()
    line += np.radians(rng.uniform(1.0, 5.0)) * _ripple(rng, 1.2) + np.radians(1.5) * _ripple(rng, 0.3)
    line -= np.radians(rng.uniform(0.0, 8.0)) * np.exp(-((side / 0.7) ** 2))
    if kind == "short" and rng.random() < 0.25:  # receding beside the middle
        line -= np.radians(rng.uniform(6.0, 20.0)) * np.exp(-(((side - 0.55) / 0.3) ** 2))
    if kind in ("medium", "long"):  # over the ears
        line += np.radians(rng.uniform(5.0, 30.0)) * np.exp(-(((side - 1.6) / 0.5) ** 2))
    if rng.random() < FRINGED[kind]:
        lean = rng.normal(0.0, 0.35)  # a fringe, combed to one side, in strands
        fringe = np.radians(rng.uniform(8.0, 30.0)) * np.exp(-(((azimuth - lean) / rng.uniform(0.4, 0.8)) ** 4))
        line += fringe * (1.0 + 0.25 * _ripple(rng, 0.3))
    body = rng.uniform(*BODIES_DM[kind])
    rows = _ROWS
    noise = _soften(rng.standard_normal((ROWS, COLUMNS)), rng.uniform(0.7, 1.5) if kind == "curly" else 2.5)
    noise = noise / noise.std() * np.minimum(1.0, 4.0 * rows)  # one height at the crown, where all columns meet
    lump = 0.2 if kind == "curly" else 0.4
    thickness = body * (1.0 + lump * noise) * (1.0 - 0.75 * rows**4)
    if kind != "curly" and rng.random() < 0.5:  # parted: combed away from a line from the crown to the brow
        part = rng.normal(0.0, 0.5)
        thickness = thickness * (1.0 - 0.55 * rows * np.exp(-(((azimuth - part) / 0.12) ** 2)))
    hang = np.zeros(COLUMNS)
    if kind == "long":
        start = rng.uniform(0.75, 1.4)
        hang = rng.uniform(0.8, 2.6) * np.clip((side - start) / 0.35, 0.0, 1.0) * (1.0 + 0.1 * _ripple(rng, 1.0))
    knot = (0.0, 0.0, 0.0)
    if kind == "tied":
        knot = (float(np.pi + rng.normal(0.0, 0.2)), float(rng.uniform(0.1, 1.6)), float(rng.uniform(0.2, 0.45)))
    color = painted * rng.uniform(0.4, 1.1)
    dyed = rng.random()
    if dyed < 0.08:  # grey to white
        color = np.full(3, rng.uniform(0.15, 0.5)) * [1.0, 0.99, 0.96]
    elif dyed < 0.16:
        color = np.array(DYES[int(rng.integers(len(DYES)))]) * rng.uniform(0.6, 1.3)
    return HairStyle(
        kind,
        line.clip(0.3, POLAR_LIMIT),
        thickness.clip(0.02),
        hang.clip(0.0),
        float(rng.uniform(0.0, 0.12)),
        knot,
        color.clip(0.004, 0.6),
        int(rng.integers(2**31)),
    )


def hair_shell(style: HairStyle, outline: Outline) -> Shell:
    """The sheet on a person's skull.

    Args:
        style: the haircut.
        outline: of the person, by ``outlines_of``.
    """
    rng = np.random.default_rng(style.strand_seed)
    sheet = skull_sheet(outline, AZIMUTHS, _ROWS * style.hairline, style.thickness)
    streak = np.exp(0.25 * _ripple(rng, 0.5) + 0.05 * rng.standard_normal(COLUMNS))
    color = np.broadcast_to(style.color * streak[:, None], (ROWS, COLUMNS, 3))
    faces = grid_faces(ROWS, COLUMNS, closed=True)
    if style.hang.any():
        sheet, faces = _with_hanging(sheet, faces, style)
        color = np.concatenate([color, np.broadcast_to(color[-1:], (HANGING_ROWS, COLUMNS, 3))])
    if style.knot[2] > 0.0:
        return _with_knot(sheet, faces, color, style, rng)
    rows = len(sheet)
    along = 0.1 * rows * np.linspace(0.0, 1.0, rows)[:, None]
    strand = np.broadcast_to(np.arange(COLUMNS) * 0.5, (rows, COLUMNS)) + rng.uniform(0, 50)
    places = np.stack([strand, np.broadcast_to(along, strand.shape), np.full(strand.shape, rng.uniform())], -1)
    look = {"grain": 0.4, "gloss": 0.9}
    return make_shell(
        sheet.reshape(-1, 3), faces, color.reshape(-1, 3), places=places.reshape(-1, 3), **look, part="hair"
    )


def outlines_of(rig: HairRig, offsets: Float[ndarray, "B V 3"]) -> Float[ndarray, "B T A 4"]:
    """The outlines of a batch of people: the mean head's radius, and how far (dm) each person's skull lies from it.

    Args:
        rig: of the model.
        offsets: the people's vertices minus the mean head's, dm.
    """
    moved = offsets[:, rig.vertex_ids]
    down, around = _blur(_TABLE[0], 1.5, closed=False), _blur(COLUMNS, 1.5, closed=True)
    moved = around @ (down @ moved.reshape(len(moved), _TABLE[0], -1)).reshape(*moved.shape)
    return np.concatenate([np.broadcast_to(rig.radius[..., None], (*moved.shape[:3], 1)), moved], -1)


def skull_sheet(
    outline: Outline,
    azimuth: Float[ndarray, "*around S"],
    polar: Float[ndarray, "R S"],
    thickness: Float[ndarray, "R S"],
) -> Float[ndarray, "R S 3"]:
    """Places over a person's skin, dm.

    Args:
        outline: of the person, by ``outlines_of``.
        azimuth: radians about ``CENTRE``, 0 is the face.
        polar: radians from straight up, at most ``POLAR_LIMIT``.
        thickness: distance from the skin.
    """
    row = polar.clip(0.0, POLAR_LIMIT) * ((_TABLE[0] - 1) / POLAR_LIMIT)
    column = np.round((azimuth + np.pi) * (COLUMNS / (2.0 * np.pi)), 9)  # whole for those of the table
    upper, left = np.minimum(row.astype(int), _TABLE[0] - 2), np.floor(column).astype(int)
    down, right = (row - upper)[..., None], (column - left)[..., None]
    flat, first = outline.reshape(-1, 4), upper * COLUMNS + left % COLUMNS
    read = flat.take(first, 0)
    read += down * (flat.take(first + COLUMNS, 0) - read)
    if right.any():
        beside = first + ((left + 1) % COLUMNS - left % COLUMNS)
        other = flat.take(beside, 0)
        read += right * (other + down * (flat.take(beside + COLUMNS, 0) - other) - read)
    return CENTRE + (read[..., :1] + thickness[..., None]) * _directions(azimuth, polar) + read[..., 1:]


def _with_knot(
    sheet: Float[ndarray, "R A 3"], faces: ndarray, color: ndarray, style: HairStyle, rng: np.random.Generator
) -> Shell:
    """A ball of hair where it is tied."""
    azimuth, polar, radius = style.knot
    toward = _directions(np.array(azimuth), np.array(polar))
    middle = CENTRE + toward * (np.linalg.norm(sheet - CENTRE, axis=-1).max() + 0.4 * radius)
    turn, tilt = np.meshgrid(np.linspace(0, 2 * np.pi, 12, endpoint=False), np.linspace(0, np.pi, 8))
    ball = middle + radius * (1.0 + 0.08 * rng.standard_normal(turn.shape))[..., None] * _directions(turn, tilt)
    vertices, all_faces = joined([(sheet.reshape(-1, 3), faces), (ball.reshape(-1, 3), grid_faces(8, 12, closed=True))])
    colors = np.concatenate([color.reshape(-1, 3), np.broadcast_to(style.color, (ball[..., 0].size, 3))])
    return make_shell(vertices, all_faces, colors, places=4.0 * vertices, grain=0.35, gloss=0.8, part="hair")


def _with_hanging(sheet: ndarray, faces: ndarray, style: HairStyle) -> tuple[ndarray, ndarray]:
    """Continue columns straight down."""
    rim = sheet[-1]
    share = np.linspace(0.0, 1.0, HANGING_ROWS + 1)[1:, None, None]
    down = np.array([0.0, -1.0, 0.0]) * style.hang[:, None]
    outward = rim - CENTRE
    outward = outward * [1.0, 0.0, 1.0] / np.linalg.norm(outward[:, ::2], axis=1, keepdims=True).clip(1e-6)
    wave = style.sway * np.sin(6.0 * share * style.hang[:, None] + np.arange(COLUMNS)[:, None] * 0.4)
    hanging = rim + share * down + (wave + 0.06 * np.sqrt(share)) * outward * (style.hang[:, None] > 0)
    extra = grid_faces(HANGING_ROWS + 1, COLUMNS, closed=True)
    longer = style.hang > 0.02
    extra = extra[longer[extra % COLUMNS].all(1)] + (ROWS - 1) * COLUMNS
    return np.concatenate([sheet, hanging]), np.concatenate([faces, extra])


def _directions(azimuth: ndarray, polar: ndarray) -> ndarray:
    level = np.sin(polar)
    return np.stack([level * np.sin(azimuth), np.broadcast_to(np.cos(polar), level.shape), level * np.cos(azimuth)], -1)


def _soften(table: Float[ndarray, "R A"], sigma: float) -> Float[ndarray, "R A"]:
    """Blur rows that end and columns that go around."""
    rows, columns = table.shape
    return _blur(rows, sigma, closed=False) @ table @ _blur(columns, sigma, closed=True).T


@lru_cache(64)
def _blur(count: int, sigma: float, *, closed: bool) -> Float[ndarray, "N N"]:
    """``gaussian_filter1d`` of so many numbers as a matrix: one product costs less than a call of the filter."""
    return gaussian_filter1d(np.eye(count), sigma, axis=0, mode="wrap" if closed else "nearest")


def _ripple(rng: np.random.Generator, smooth: float) -> Float[ndarray, " A"]:
    """Periodic noise around the head, deviation 1."""
    noise = _blur(COLUMNS, smooth, closed=True) @ rng.standard_normal(COLUMNS)
    return noise / max(float(noise.std()), 1e-9)
