"""Soft vertex masks of the head's regions: the source's painted masks, and outlines drawn on the unrolled neutral head.

The unrolled head: azimuth about the vertical line x = 0, z = 0.5 dm in degrees (0 in front, 90 at the ear, 180 behind,
the same on both sides) against height y in dm, both in the source's frame.
"""

import io

import numpy as np
from open_head.source import TEXTURES, AnnyWheel
from open_head.topology import HeadTopology
from PIL import Image
from scipy import sparse
from scipy.spatial import KDTree

AXIS_Z = 0.5
DM_PER_DEGREE = 0.014
"""Length of a degree of azimuth on the face, used to measure distances on the unrolled head."""

JAW_EDGE = [(0, 6.30), (20, 6.31), (35, 6.37), (50, 6.45), (65, 6.56), (75, 6.70), (82, 6.85)]
BELOW_JAW = [(azimuth, height - 0.04) for azimuth, height in JAW_EDGE]
HAIR_LINE = [(0, 8.04), (18, 8.05), (28, 7.98), (38, 7.86), (45, 7.80), (52, 7.72), (58, 7.55), (66, 7.42)]
NAPE_LINE = [(122, 6.85), (150, 6.70), (180, 6.65), (220, 6.65)]

OUTLINES: dict[str, tuple[float, list[tuple[float, float]]]] = {
    "scalp": (0.08, [(-60, 9), (-60, 8.04), *HAIR_LINE, (72, 7.28), (72, 7.10), (79, 7.10), (81, 7.30), (88, 7.42),
                     (98, 7.44), (106, 7.36), (110, 7.20), (112, 7.0), *NAPE_LINE, (220, 9)]),
    "neck": (0.06, [(-60, 5), (-60, 6.30), *JAW_EDGE, (105, 6.88), *NAPE_LINE, (220, 5)]),
    "face": (0.06, [(-60, 8.03), *HAIR_LINE[:-1], (66, 7.38), (74, 7.25), (80, 7.05), (81, 6.85), *BELOW_JAW[-2::-1],
                    (-60, 6.26)]),
    "photometric": (0.06, [(-60, 7.86), (0, 7.86), (20, 7.84), (34, 7.74), (45, 7.58), (54, 7.47), (63, 7.25),
                           (69, 7.08), (74, 6.85), (68, 6.64), (50, 6.50), (35, 6.42), (20, 6.36), (0, 6.34),
                           (-60, 6.34)]),
    "forehead": (0.08, [(-60, 7.62), (0, 7.62), (15, 7.64), (30, 7.62), (42, 7.55), (48, 7.62), (50, 7.72), (44, 7.80),
                        (36, 7.86), (27, 7.97), (17, 8.03), (0, 8.03), (-60, 8.03)]),
    "brows": (0.06, [(6, 7.475), (12, 7.495), (20, 7.51), (28, 7.508), (36, 7.475), (41, 7.44), (43, 7.465),
                     (37, 7.545), (28, 7.595), (20, 7.60), (12, 7.58), (6.5, 7.55)]),
    "nose": (0.05, [(-60, 7.44), (3, 7.44), (5, 7.30), (7, 7.15), (10, 7.06), (12.2, 6.99), (12, 6.93), (9.5, 6.885),
                    (5, 6.87), (-60, 6.87)]),
    "nose_tip": (0.08, [(-60, 7.06), (5, 7.04), (11.5, 7.0), (11.5, 6.94), (5, 6.90), (-60, 6.90)]),
    "under_eye": (0.05, [(10, 7.31), (14, 7.25), (21, 7.205), (29, 7.235), (33, 7.30), (28, 7.29), (20, 7.28),
                         (13, 7.29)]),
    "cheeks": (0.16, [(20, 7.10), (28, 7.18), (42, 7.17), (50, 7.05), (46, 6.92), (34, 6.84), (22, 6.92)]),
    "moustache": (0.05, [(-60, 6.87), (8, 6.87), (13, 6.81), (18, 6.72), (19, 6.62), (15, 6.66), (8, 6.72),
                         (-60, 6.72)]),
    "beard": (0.08, [(-60, 6.87), (8, 6.87), (13, 6.81), (19, 6.72), (32, 6.72), (45, 6.78), (58, 6.88), (68, 7.02),
                     (72, 7.10), (79, 7.10), (82, 6.85), (76, 6.68), (65, 6.50), (50, 6.38), (35, 6.30), (20, 6.22),
                     (0, 6.18), (-60, 6.18)]),
}  # fmt: skip
"""Region -> width over which it fades, dm, and its outline on the unrolled head; -60 degrees is past the middle."""

INSIDE_OF_LIDS_U = 0.2
"""The source's texture coordinates of the inner side of the lids have a smaller u, all other skin's a larger one."""
NOSTRIL_CENTRE, NOSTRIL_RADII = np.array([0.093, 6.952, 1.487]), np.array([0.034, 0.026, 0.042])


def build_regions(topology: HeadTopology, wheel: AnnyWheel) -> dict[str, np.ndarray]:
    """Name -> (V,) mask 0..1, exactly symmetric.

    Named: skin, lips, brows, eyes (eyeballs), eyelids, lid_rim (the wet edge and what lies behind it), under_eye, nose,
    nose_tip, nostrils, ears, scalp (where hair may grow), neck, mouth_inside, face (front of the face: hair line to
    jaw, ear to ear), photometric (skin that pictures may be compared on), forehead, cheeks, moustache, beard.
    """
    head = topology.vertex_mask("head")
    inner = topology.vertex_mask("mouth_socket", "upper_teeth", "lower_teeth", "tongue")
    eyes = topology.vertex_mask("right_eye", "left_eye")
    flat = unrolled(topology.vertices)
    masks = {name: head * soft_outline(flat, points, width) for name, (width, points) in OUTLINES.items()}
    for name, texture in {"lips": "lips", "ears": "ears", "eyelids": "eyelids"}.items():
        masks[name] = head * painted_mask(topology, wheel, texture)
    masks["lid_rim"] = head * lid_rim(topology)
    masks["eyelids"] = np.maximum(masks["eyelids"], masks["lid_rim"])
    away = np.linalg.norm((mirrored_left(topology.vertices) - NOSTRIL_CENTRE) / NOSTRIL_RADII, axis=1)
    masks["nostrils"] = head * (1.0 - smoothstep(away, 0.75, 1.25))
    masks["eyes"], masks["mouth_inside"] = eyes.astype(float), inner.astype(float)
    not_ear, not_lips = 1.0 - masks["ears"], 1.0 - masks["lips"]
    masks["skin"] = head * (1.0 - inner) * not_lips
    for name in ("scalp", "neck", "face", "photometric", "cheeks"):
        masks[name] *= not_ear
    masks["neck"] *= 1.0 - masks["scalp"]
    for name in ("moustache", "beard", "nose"):
        masks[name] *= not_lips
    masks["photometric"] *= (1.0 - masks["nostrils"]) * (1.0 - masks["lid_rim"]) * (1.0 - inner) * outer_lips(topology)
    return {name: 0.5 * (mask + mask[topology.mirror]) for name, mask in sorted(masks.items())}


def unrolled(vertices: np.ndarray) -> np.ndarray:
    """(V, 2) azimuth, degrees, and height, dm."""
    azimuth = np.degrees(np.arctan2(np.abs(vertices[:, 0]), vertices[:, 2] - AXIS_Z))
    return np.stack([azimuth, vertices[:, 1]], 1)


def mirrored_left(vertices: np.ndarray) -> np.ndarray:
    """The vertices, those of the right half reflected to the left (+x)."""
    return np.abs(vertices[:, :1]) * [[1.0, 0.0, 0.0]] + vertices * [0.0, 1.0, 1.0]


def smoothstep(value: np.ndarray, low: float, high: float) -> np.ndarray:
    """0 below ``low``, 1 above ``high``, a cubic between."""
    t = np.clip((value - low) / (high - low), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def soft_outline(points: np.ndarray, outline: list[tuple[float, float]], width: float) -> np.ndarray:
    """1 inside of a polygon on the unrolled head, 0 outside, fading over ``width`` dm across its edge."""
    scale = np.array([DM_PER_DEGREE, 1.0])
    start = np.array(outline) * scale
    here, side = points[:, None] * scale, np.roll(start, -1, axis=0) - start
    offset = here - start
    along = np.clip((offset * side).sum(-1) / (side**2).sum(-1), 0.0, 1.0)
    distance = np.linalg.norm(offset - along[..., None] * side, axis=-1).min(1)
    above = offset[..., 1] >= 0.0
    beyond = above != np.roll(above, -1, axis=1)
    crossing = offset[..., 0] * side[:, 1] - offset[..., 1] * side[:, 0]
    inside = (beyond & ((crossing < 0.0) == (side[:, 1] > 0.0))).sum(1) % 2 == 1
    return smoothstep(np.where(inside, distance, -distance), -0.5 * width, 0.5 * width)


def painted_mask(topology: HeadTopology, wheel: AnnyWheel, name: str) -> np.ndarray:
    """(V,) a painted mask of the source, read at each vertex's texture coordinates (the largest over its corners)."""
    with Image.open(io.BytesIO(wheel.read(f"{TEXTURES}mpfb_{name}.jpg"))) as picture:
        texels = np.asarray(picture.convert("L"), float) / 255.0
    height, width = texels.shape
    column = np.clip(np.rint(topology.uv[..., 0] * width - 0.5), 0, width - 1).astype(int)
    row = np.clip(np.rint((1.0 - topology.uv[..., 1]) * height - 0.5), 0, height - 1).astype(int)
    mask = np.zeros(len(topology.vertices))
    np.maximum.at(mask, topology.faces, smoothstep(texels[row, column], 0.05, 0.95))
    return mask


def lid_rim(topology: HeadTopology) -> np.ndarray:
    """(V,) the lids' wet edge and what lies behind it."""
    return np.select([rings_from_eyeball(topology) <= ring for ring in (2, 3)], [1.0, 0.4], 0.0)


def rings_from_eyeball(topology: HeadTopology) -> np.ndarray:
    """(V,) edges between a vertex and the inside of the lids: 2 on the wet edge, 4 at the lashes, 99 far off."""
    skin = topology.faces[topology.face_mask("head")]
    count = len(topology.vertices)
    edges = (np.ones(skin.size), (skin.ravel(), np.roll(skin, 1, axis=1).ravel()))
    linked = sparse.csr_matrix(edges, (count, count))
    linked = linked + linked.T + sparse.identity(count)
    inside = topology.face_mask("head") & (topology.uv[..., 0].max(1) < INSIDE_OF_LIDS_U)
    reached = np.isin(np.arange(count), topology.faces[inside]).astype(float)
    rings = np.where(reached > 0, 0, 99)
    for ring in range(1, 9):
        reached = linked @ reached
        rings = np.where(reached > 0, np.minimum(rings, ring), 99)
    return rings


def outer_lips(topology: HeadTopology) -> np.ndarray:
    """(V,) 0 on the inner side of the lips, where they face the teeth, else 1."""
    socket = topology.vertices[topology.vertex_mask("mouth_socket") & topology.vertex_mask("head")]
    return smoothstep(distance_to(socket, topology.vertices), 0.02, 0.06)


def distance_to(points: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """(Q,) from each query to the nearest point."""
    return np.asarray(KDTree(points).query(queries)[0])
