"""The 68 points of iBUG, by number: subsets, mirror partners, lines, and their neighbours in other point sets.

Jaw 0..16, brows 17..26, nose 27..35, eyes 36..47, lips 48..67, each from the person's right (image left) to the left.
"""

import numpy as np

ALL_68 = np.arange(68)
INNER_51 = np.arange(17, 68)
"""All but the jaw."""
NOSE_TIP = 30
SEVEN_OF_68 = np.array([36, 39, 42, 45, 33, 48, 54])
"""Seven points of NoW, REALY and FG2018: eye corners (subject's right first), nose bottom, mouth corners."""

FIVE_OF_68 = ((36, 39), (42, 45), (30,), (48,), (54,))
"""iBUG-68 points whose mean is each of the five; an eye is the middle of its two corners, not of its lids."""

AFLW_21_OF_68 = (
    *([17], [19], [21], [22], [24], [26]),
    *([36], [36, 37, 38, 39, 40, 41], [39], [42], [42, 43, 44, 45, 46, 47], [45]),
    *([2], [31], [30], [35], [14]),
    *([48], [60, 61, 62, 63, 64, 65, 66, 67], [54], [8]),
)
"""The 21 points of AFLW as means of iBUG-68 points, as the published AFLW tables read them: brows (outer, middle,
inner, inner, middle, outer), eyes (corner, centre, corner, twice), ear lobe as jaw 2, nose (right, tip, left), ear lobe
as jaw 14, mouth (right, centre, left), chin."""

LINES_OF_68 = (
    (range(17), False),  # jaw
    (range(17, 22), False),  # right brow
    (range(22, 27), False),  # left brow
    (range(27, 31), False),  # nose ridge
    (range(31, 36), False),  # nose base
    (range(36, 42), True),  # right eye
    (range(42, 48), True),  # left eye
    (range(48, 60), True),  # outer lips
    (range(60, 68), True),  # inner lips
)
"""Runs of the 68 landmarks that are drawn as one line, and whether the line is closed."""

# fmt: off
MIRROR_68 = np.array([
    *range(16, -1, -1),  # jaw
    *range(26, 16, -1), 27, 28, 29, 30, *range(35, 30, -1),  # brows, nose
    45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40,  # eyes
    *range(54, 47, -1), *range(59, 54, -1), *range(64, 59, -1), *range(67, 64, -1),  # lips: upper to lower, outer first
])
"""The point that each becomes in a mirror; its own where it lies on the midline."""

MESH_TO_IBUG68 = [
    127, 234, 93, 132, 58, 136, 150, 176, 152, 400, 379, 365, 288, 361, 323, 454, 356,  # jaw, right to left
    70, 63, 105, 66, 107, 336, 296, 334, 293, 300,  # brows
    168, 197, 5, 4, 98, 97, 2, 326, 327,  # nose: bridge, base
    33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380,  # eyes
    61, 40, 37, 0, 267, 270, 291, 405, 314, 17, 84, 181,  # outer lips
    78, 81, 13, 311, 308, 402, 14, 178,  # inner lips
]
"""Mesh point per iBUG-68 landmark. The jaw line (the first 17) means something else: the mesh's is the fixed outline of
its own template, not the visible or the 3D jaw of iBUG."""
# fmt: on
