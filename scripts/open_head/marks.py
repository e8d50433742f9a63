"""Lines of age and specks of the skin, as masks: what folds shade, freckles, spots of the sun.

Lines are drawn on the unrolled head (regions.py). Vertices lie millimetres apart: a line is the soft shade of a fold.
"""

import numpy as np
from open_head.regions import DM_PER_DEGREE, unrolled
from open_head.topology import HeadTopology

LINE_WIDTH = 0.030
"""dm; where the shade of a line has fallen to 1/e."""
LINES: dict[str, tuple[float, list[list[tuple[float, float]]]]] = {
    "nasolabial": (0.30, [[(12.5, 6.97), (16, 6.91), (19.5, 6.83), (22, 6.75), (23, 6.68)]]),
    "marionette": (0.20, [[(20.5, 6.65), (21.5, 6.57), (20, 6.49)]]),
    "forehead_lines": (0.16, [[(-60, y), (0, y), (16, y + 0.015), (26, y - 0.02)] for y in (7.69, 7.79, 7.89)]),
    "frown": (0.18, [[(4, 7.47), (4.5, 7.60)]]),
    "crows_feet": (0.18, [[(36, 7.33), (44, 7.40)], [(36, 7.31), (45, 7.31)], [(36, 7.29), (44, 7.22)]]),
    "eye_bags": (0.24, [[(11, 7.25), (17, 7.19), (23, 7.175), (30, 7.20), (34, 7.26)]]),
}
"""Line -> share of the light that it loses at its deepest, and its strokes (azimuth, degrees; height, dm)."""
BROW = np.array([(6.0, 7.51), (20.0, 7.555), (28.0, 7.55), (36.0, 7.51), (43.0, 7.455)])
BROW_HALF_HEIGHT = 0.045
"""The middle of the brow (azimuth, degrees; height, dm), and dm from it to the edges."""
FRECKLED, SPOTTED, SEED = 0.35, 0.06, 11
"""Shares of the vertices that are freckles and spots."""


def line_masks(topology: HeadTopology, skin: np.ndarray) -> dict[str, np.ndarray]:
    """Name -> (V,) share of the light lost where the line is deep, on the skin (V,) only."""
    flat = unrolled(topology.vertices) * [DM_PER_DEGREE, 1.0]
    masks = {}
    for name, (depth, strokes) in LINES.items():
        away = np.min([_distance(flat, np.array(stroke) * [DM_PER_DEGREE, 1.0]) for stroke in strokes], axis=0)
        masks[name] = depth * np.exp(-((away / LINE_WIDTH) ** 2)) * skin
    return masks


def speck_masks(topology: HeadTopology, regions: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """(V,) freckles, thickest on nose and cheeks; and (V,) fewer and darker spots all over the face; 0..1."""
    rng = np.random.default_rng(SEED)
    skin = regions["skin"] * (1.0 - regions["scalp"]) * (1.0 - regions["lid_rim"]) * (1.0 - regions["nostrils"])
    count = len(topology.vertices)
    likely = np.clip(0.25 * regions["face"] + regions["cheeks"] + regions["nose"], 0.0, 1.0)
    freckles = (rng.uniform(0.0, 1.0, count) < FRECKLED) * rng.uniform(0.4, 1.0, count) * likely * skin
    spots = (rng.uniform(0.0, 1.0, count) < SPOTTED) * regions["face"] * skin
    return freckles, spots


def brow_height(topology: HeadTopology) -> np.ndarray:
    """(V,) -1 on the brow's lower edge and below .. 1 on its upper edge and above."""
    flat = unrolled(topology.vertices)
    return np.clip((flat[:, 1] - np.interp(flat[:, 0], *BROW.T)) / BROW_HALF_HEIGHT, -1.0, 1.0)


def _distance(points: np.ndarray, stroke: np.ndarray) -> np.ndarray:
    """(V,) from points (V, 2) to the nearest point of a stroke (S, 2)."""
    start, side = stroke[:-1], np.diff(stroke, axis=0)
    offset = points[:, None] - start
    along = np.clip((offset * side).sum(-1) / (side**2).sum(-1), 0.0, 1.0)
    return np.linalg.norm(offset - along[..., None] * side, axis=-1).min(1)
