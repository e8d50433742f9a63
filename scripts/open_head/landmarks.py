"""Where the iBUG-68 points, the five alignment points and the sliding jaw contours lie on the head.

Placed by eye on front, half and side views of the neutral head, beside the 68 points of the Deep3D mean face
(`similarity_Lm3D_all`, docs/deep3d.md section 1.4), whose jaw line (ear to ear along the mandible) it follows.
"""

import numpy as np
from open_head.topology import HeadTopology

from facewright.geometry.ibug68 import FIVE_OF_68

IBUG68_MIDLINE = {8: 5296, 27: 133, 28: 131, 29: 201, 30: 5054, 33: 317, 51: 455, 57: 492, 62: 474, 66: 493}
IBUG68_LEFT = {
    **{9: 11899, 10: 7593, 11: 7462, 12: 7460, 13: 7613, 14: 7571, 15: 12011, 16: 12048},
    **{22: 6983, 23: 6980, 24: 6998, 25: 6999, 26: 7030},
    **{34: 7076, 35: 7096},
    **{42: 13365, 43: 13359, 44: 13353, 45: 13377, 46: 13372, 47: 13368},
    **{52: 7210, 53: 7170, 54: 7249, 55: 7166, 56: 7241},
    **{63: 7227, 64: 7192, 65: 7242},
}
"""Landmark number -> vertex of `base.obj`: the subject's left half (image right); the right half mirrors it."""

MIRRORED_NUMBER = {
    **{i: 16 - i for i in range(17)},
    **{i: 43 - i for i in range(17, 27)},
    **{i: i for i in range(27, 31)},
    **{i: 66 - i for i in range(31, 36)},
    **dict(zip((36, 37, 38, 39, 40, 41), (45, 44, 43, 42, 47, 46), strict=True)),
    **dict(zip((42, 43, 44, 45, 46, 47), (39, 38, 37, 36, 41, 40), strict=True)),
    **{i: 102 - i for i in range(48, 55)},
    **{i: 114 - i for i in range(55, 60)},
    **{i: 124 - i for i in range(60, 65)},
    **{i: 132 - i for i in range(65, 68)},
}
"""Landmark number -> number of its left-right partner."""

CONTOUR_STATIONS = np.radians([-42.0, -35.0, -28.0, -21.0, -14.0, -7.0, 0.0, 6.0, 12.0])
"""Steps along a sliding contour, seen from the head's middle: from the cheek over the landmark towards the back."""
CHIN_FIRST_STATION = 3
"""On the chin the first few would lie on the mouth; they are left out there, and fewer towards the ears."""
LAST_BEFORE_EAR = 13
"""From this jaw landmark on, nothing behind it: there is the ear."""


def ibug68_vertices(topology: HeadTopology) -> np.ndarray:
    """(68,) model vertex ids."""
    place = {int(source): vertex for vertex, source in enumerate(topology.source_ids) if source >= 0}
    ids = np.full(68, -1)
    for number, source in IBUG68_MIDLINE.items():
        ids[number] = place[source]
    for number, source in IBUG68_LEFT.items():
        ids[number] = place[source]
        ids[MIRRORED_NUMBER[number]] = topology.mirror[place[source]]
    return ids


def five_vertices(ibug68: np.ndarray) -> np.ndarray:
    """(5, 2) vertex ids whose mean is each alignment point, padded with -1."""
    return np.array([[*ibug68[list(group)], -1][:2] for group in FIVE_OF_68])


def contour_vertices(topology: HeadTopology, vertices: np.ndarray, ibug68: np.ndarray) -> np.ndarray:
    """(17, N) per jaw landmark the vertices over which the visible outline slides, from front to back, -1 padded.

    Seen from a point in the head's middle, a row runs along the great circle through the gaze and the landmark: on the
    far side of a turned head the outline lies on the cheek, in front of the jaw's own landmark; when the chin is raised
    it lies below it.

    Args:
        topology: of the head.
        vertices: (V, 3) mean head, dm.
        ibug68: landmark vertices.
    """
    skin = np.flatnonzero(topology.vertex_mask("head") & ~topology.vertex_mask("mouth_socket"))
    centre = np.array([0.0, vertices[ibug68[30], 1] - 0.1, vertices[ibug68[[0, 16]], 2].mean() + 0.1])
    directions = vertices[skin] - centre
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    rows = np.full((17, len(CONTOUR_STATIONS)), -1)
    for number in range(8, 17):
        landmark = vertices[ibug68[number]] - centre
        across = landmark * [1.0, 1.0, 0.0] / np.linalg.norm(landmark[:2])
        angle = np.arctan2(np.linalg.norm(landmark[:2]), landmark[2])
        side = directions[:, 0] > -1e-9 if number > 8 else np.abs(directions[:, 0]) < 1e-9
        stations = angle + CONTOUR_STATIONS
        wanted = np.sin(stations)[:, None] * across + np.cos(stations)[:, None] * [0.0, 0.0, 1.0]
        ids = skin[side][(wanted @ directions[side].T).argmax(1)]
        ids[CONTOUR_STATIONS == 0.0] = ibug68[number]
        first = max(0, CHIN_FIRST_STATION - (number - 8))
        last = len(ids) if number < LAST_BEFORE_EAR else int(np.flatnonzero(CONTOUR_STATIONS == 0.0)[0]) + 1
        ordered = list(dict.fromkeys(ids[first:last].tolist()))
        rows[number, : len(ordered)] = ordered
        rows[16 - number, : len(ordered)] = topology.mirror[ordered]
    return rows
