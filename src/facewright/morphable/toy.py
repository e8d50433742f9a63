"""A small procedural head, so that everything runs and is tested without a licensed file.

An ellipsoid with a nose, eye sockets, lips around an open mouth and two eyeballs; open at the back. It is drawn in a
plane (the head unrolled around the axis of the gaze), one half only; the other half is its mirror image to the bit.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from scipy.spatial import Delaunay
from torch import Tensor

from facewright.geometry.ibug68 import FIVE_OF_68, MIRROR_68
from facewright.morphable.linear import FaceModel
from facewright.records import Annotations, Topology

_SEMI_AXES_DM = np.array([0.76, 1.08, 0.95])
_CENTRE_DM = np.array([0.0, 0.05, -0.55])
_EYE_CENTRE_DM, _EYE_RADIUS_DM = np.array([-0.31, 0.29, 0.05]), 0.15
_OPEN_BACK = 2.6  # radians from the gaze axis at which the head ends

# Frontal position (x, y) of drawn points in dm, by iBUG-68 number: the subject's right (image left) and the midline.
_RIGHT_POINTS_DM = {
    **{i: (-0.70 * np.cos(i * np.pi / 16), 0.18 - 1.02 * np.sin(i * np.pi / 16)) for i in range(8)},
    **{8: (0.0, -0.84)},
    **{17 + i: (-0.56 + 0.11 * i, 0.42 + 0.07 * np.sin(i * np.pi / 4)) for i in range(5)},
    **{27: (0.0, 0.30), 28: (0.0, 0.18), 29: (0.0, 0.06), 30: (0.0, -0.05)},
    **{31: (-0.14, -0.13), 32: (-0.07, -0.155), 33: (0.0, -0.165)},
    **{36: (-0.425, 0.285), 37: (-0.35, 0.335), 38: (-0.27, 0.335)},
    **{39: (-0.195, 0.285), 40: (-0.27, 0.245), 41: (-0.35, 0.245)},
    **{48: (-0.25, -0.38), 49: (-0.15, -0.335), 50: (-0.06, -0.315), 51: (0.0, -0.325)},
    **{57: (0.0, -0.48), 58: (-0.07, -0.475), 59: (-0.16, -0.445)},
    **{60: (-0.21, -0.382), 61: (-0.07, -0.368), 62: (0.0, -0.37), 66: (0.0, -0.398), 67: (-0.07, -0.396)},
    **{68: (-0.14, -0.373), 69: (-0.14, -0.391)},  # no landmarks: they hold the mouth's corner open
}
_EYE_LOOP, _MOUTH_LOOP = (36, 37, 38, 39, 40, 41), (60, 68, 61, 62, 66, 67, 69)

# Bumps on the front: centre |x|, y; width x, y; height along z (all dm).
_RELIEF_DM = {
    "nose tip": (0.0, -0.07, 0.09, 0.12, 0.17),
    "nose bridge": (0.0, 0.14, 0.07, 0.13, 0.09),
    "eye socket": (0.26, 0.29, 0.12, 0.09, -0.15),
    "brow ridge": (0.30, 0.44, 0.20, 0.06, 0.03),
    "lips": (0.0, -0.40, 0.17, 0.07, 0.06),
    "chin": (0.0, -0.74, 0.20, 0.12, 0.16),
}


def toy_face_model(*, exp_prior: Literal["normal", "box"] = "normal") -> FaceModel:
    """The toy head in the Deep3D frame: 4 identity, 3 expression and 4 albedo modes, annotated but for ``mesh468``.

    Args:
        exp_prior: meaning of the expression coefficients: standard-normal modes, or weights in 0..1 of blendshapes.
    """
    sheet = _build_sheet()
    mean_albedo, albedo_basis = _albedo(sheet)
    return FaceModel(
        mean_shape=_tensor(sheet.vertices),
        id_basis=_tensor(_identity_modes(sheet.vertices)),
        exp_basis=_tensor(_expression_modes(sheet)),
        mean_albedo=_tensor(mean_albedo),
        albedo_basis=_tensor(albedo_basis),
        topology=Topology(
            torch.from_numpy(sheet.faces),
            _tensor(sheet.uv),
            torch.from_numpy(sheet.faces.copy()),
            _annotations(sheet),
            ("jawOpen", "mouthPucker", "browInnerUp"),
        ),
        metadata={
            "name": "toy",
            "version": 1,
            "licence": "Apache-2.0",
            "source": "procedural",
            "albedo_space": "linear",
            "exp_prior": exp_prior,
        },
    )


def _tensor(values: ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values)).to(torch.float32)


@dataclass(frozen=True)
class _Sheet:
    """The head and its eyes.

    Attributes:
        plane: unrolled position: angle from the gaze axis times direction, radians (eyeballs: from their own axis).
        vertices: dm.
        faces: counter-clockwise from outside.
        uv: 0..1.
        ibug68: vertex ids.
        mirror: partner of each vertex.
        is_eye: vertices of the eyeballs.
    """

    plane: Float[ndarray, "V 2"]
    vertices: Float[ndarray, "V 3"]
    faces: Int[ndarray, "F 3"]
    uv: Float[ndarray, "V 2"]
    ibug68: Int[ndarray, "68"]
    mirror: Int[ndarray, " V"]
    is_eye: Bool[ndarray, " V"]


def _build_sheet() -> _Sheet:
    """The right half of everything, then the mirror image of all that is off the midline."""
    half, number_of = _right_half_plane()
    eye = _rings(np.linspace(0.0, 1.9, 5), around=2 * np.pi)
    plane = np.concatenate([half, eye])
    vertices = np.concatenate([_head_surface(half), _eye_surface(eye)])
    head_faces = _cut_openings(_triangulate(half), number_of)
    faces = np.concatenate([head_faces, _triangulate(eye) + len(half)])
    uv = np.concatenate([0.5 + half / (2.05 * _OPEN_BACK), 0.07 + eye / 32.0])
    is_eye = np.arange(len(vertices)) >= len(half)

    paired = np.flatnonzero(vertices[:, 0] < 0)
    partner = np.arange(len(vertices))
    partner[paired] = len(vertices) + np.arange(len(paired))
    ibug68 = np.zeros(68, dtype=np.int64)
    for number, vertex in ((n, v) for n, v in number_of.items() if n < 68):
        ibug68[number] = vertex
        ibug68[MIRROR_68[number]] = partner[vertex]
    return _Sheet(
        plane=np.concatenate([plane, plane[paired] * [-1, 1]]),
        vertices=np.concatenate([vertices, vertices[paired] * [-1, 1, 1]]),
        faces=np.concatenate([faces, partner[faces][:, ::-1]]),
        uv=np.concatenate([uv, np.column_stack([1.0 - uv[paired, 0], uv[paired, 1]])]),
        ibug68=ibug68,
        mirror=np.concatenate([partner, paired]),
        is_eye=np.concatenate([is_eye, is_eye[paired]]),
    )


def _right_half_plane() -> tuple[Float[ndarray, "N 2"], dict[int, int]]:
    """Landmarks first, then rings of points that keep their distance from them; and each landmark's vertex."""
    frontal = np.array(list(_RIGHT_POINTS_DM.values()))
    direction = (frontal - _CENTRE_DM[:2]) / _SEMI_AXES_DM[:2]
    sine = np.linalg.norm(direction, axis=1, keepdims=True)
    landmarks = direction * np.arcsin(sine) / sine
    grid = _rings(np.linspace(0.0, _OPEN_BACK, 14), around=np.pi)
    clearance = np.linalg.norm(grid[:, None] - landmarks[None], axis=-1).min(1)
    points = np.concatenate([landmarks, grid[clearance > 0.075]])
    return points, {number: vertex for vertex, number in enumerate(_RIGHT_POINTS_DM)}


def _rings(radii: Float[ndarray, " R"], *, around: float) -> Float[ndarray, "N 2"]:
    """Points on arcs that start at the upper pole and run over the side x < 0; evenly spread along and across."""
    step = radii[1] - radii[0]
    points = [np.zeros((1, 2))]
    for radius in radii[1:]:
        angle = np.linspace(0.0, around, max(4, round(around * radius / step)), endpoint=around < 2 * np.pi)
        points.append(radius * np.column_stack([-np.sin(angle), np.cos(angle)]))
    ring = np.concatenate(points)
    ring[np.abs(ring[:, 0]) < 1e-9, 0] = 0.0  # the midline is exactly that
    return ring


def _triangulate(plane: Float[ndarray, "N 2"]) -> Int[ndarray, "F 3"]:
    """Counter-clockwise triangles that fill the points' convex hull, without slivers along its straight side."""
    faces = Delaunay(plane).simplices.astype(np.int64)
    a, b, c = (plane[faces[:, i]] for i in range(3))
    doubled_area = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]
    faces = np.where(doubled_area[:, None] < 0, faces[:, ::-1], faces)
    return faces[np.abs(doubled_area) > 1e-6]


def _cut_openings(faces: Int[ndarray, "F 3"], number_of: dict[int, int]) -> Int[ndarray, "G 3"]:
    """Remove the triangles between the eyelids and between the lips: no vertex lies inside of these convex loops."""
    loops = [[number_of[number] for number in loop] for loop in (_EYE_LOOP, _MOUTH_LOOP)]
    return faces[~np.any([np.isin(faces, loop).all(1) for loop in loops], axis=0)]


def _bump(vertices: Float[ndarray, "V 3"], x: float, y: float, width_x: float, width_y: float) -> Float[ndarray, " V"]:
    """A Gaussian hill of height 1 on the front of the head, left and right alike."""
    squared = ((np.abs(vertices[:, 0]) - x) / width_x) ** 2 + ((vertices[:, 1] - y) / width_y) ** 2
    return np.exp(-0.5 * squared) * (vertices[:, 2] > _CENTRE_DM[2])


def _head_surface(plane: Float[ndarray, "V 2"]) -> Float[ndarray, "V 3"]:
    angle = np.linalg.norm(plane, axis=1)
    across = plane * np.sinc(angle / np.pi)[:, None]
    vertices = _CENTRE_DM + _SEMI_AXES_DM * np.column_stack([across, np.cos(angle)])
    relief = sum(height * _bump(vertices, *place) for *place, height in _RELIEF_DM.values())
    return vertices + np.outer(relief, [0, 0, 1])


def _eye_surface(plane: Float[ndarray, "V 2"]) -> Float[ndarray, "V 3"]:
    angle = np.linalg.norm(plane, axis=1)
    across = plane * np.sinc(angle / np.pi)[:, None]
    return _EYE_CENTRE_DM + _EYE_RADIUS_DM * np.column_stack([across, np.cos(angle)])


def _identity_modes(vertices: Float[ndarray, "V 3"]) -> Float[ndarray, "V 3 4"]:
    """Width, height, length of the nose, weight of the jaw: dm per standard deviation."""
    x, y = vertices[:, 0], vertices[:, 1]
    nothing = np.zeros_like(x)
    below_nose = np.clip(-0.1 - y, 0.0, None)
    width = np.stack([0.06 * x, nothing, nothing], -1)
    height = np.stack([nothing, 0.06 * (y - _CENTRE_DM[1]), nothing], -1)
    nose = np.stack([nothing, nothing, 0.05 * _bump(vertices, 0.0, -0.05, 0.10, 0.16)], -1)
    jaw = np.stack([0.15 * x * below_nose, -0.04 * below_nose, 0.06 * below_nose], -1)
    return np.stack([width, height, nose, jaw], -1)


def _expression_modes(sheet: _Sheet) -> Float[ndarray, "V 3 3"]:
    """Open jaw, pucker, raised inner brows: dm at weight one. Eyeballs stay."""
    vertices = sheet.vertices
    x, y = vertices[:, 0], vertices[:, 1]
    skin = (~sheet.is_eye).astype(float)
    below_lip_line = np.clip((-0.378 - y) / 0.018, 0.0, 1.0) * np.exp(-((x / 0.5) ** 2)) * (vertices[:, 2] > -0.5)
    lips = _bump(vertices, 0.0, -0.39, 0.18, 0.10) * skin
    brows = _bump(vertices, 0.16, 0.44, 0.12, 0.09) * skin
    nothing = np.zeros_like(x)
    jaw_open = np.stack([nothing, -0.18 * below_lip_line, -0.05 * below_lip_line], -1)
    pucker = np.stack([-0.4 * x * lips, nothing, 0.08 * lips], -1)
    brow_up = np.stack([nothing, 0.08 * brows, nothing], -1)
    return np.stack([jaw_open, pucker, brow_up], -1)


def _regions(sheet: _Sheet) -> dict[str, Float[ndarray, " V"]]:
    vertices, head = sheet.vertices, ~sheet.is_eye
    x, y, z = np.abs(vertices[:, 0]), vertices[:, 1], vertices[:, 2]
    front = np.clip((z + 0.6) / 0.3, 0.0, 1.0) * head
    lips = np.isin(np.arange(len(vertices)), sheet.ibug68[48:68]).astype(float)
    brows = np.isin(np.arange(len(vertices)), sheet.ibug68[17:27]).astype(float)
    photometric = front * (y < 0.75)
    return {
        "skin": photometric * (1 - lips) * (1 - brows),
        "lips": lips,
        "brows": brows,
        "eyes": sheet.is_eye.astype(float),
        "nose": ((x < 0.2) & (y > -0.2) & (y < 0.32) & (z > 0)) * front,
        "scalp": np.clip((y - 0.7) / 0.2 - z, 0.0, 1.0) * head,
        "photometric": np.maximum(photometric, sheet.is_eye),
    }


def _albedo(sheet: _Sheet) -> tuple[Float[ndarray, "V 3"], Float[ndarray, "V 3 4"]]:
    """Linear RGB: skin with lips, brows, dark hair and iris; modes of melanin, blood, lip colour and brow darkness."""
    regions = _regions(sheet)
    iris = sheet.is_eye & (np.linalg.norm(sheet.plane, axis=1) < 0.6)
    mean = np.tile([0.48, 0.29, 0.21], (len(sheet.vertices), 1))
    for name, colour in {"scalp": [0.05, 0.035, 0.03], "lips": [0.40, 0.14, 0.12], "brows": [0.07, 0.05, 0.04]}.items():
        mean += regions[name][:, None] * (colour - mean)
    mean[sheet.is_eye] = 0.75
    mean[iris] = [0.06, 0.05, 0.04]
    covering = 1.0 - regions["eyes"] - regions["brows"]
    modes = [
        covering[:, None] * [-0.10, -0.08, -0.07],
        regions["skin"][:, None] * [0.03, -0.02, -0.02],
        regions["lips"][:, None] * [0.05, -0.03, -0.02],
        regions["brows"][:, None] * [0.04, 0.03, 0.02],
    ]
    return mean, np.stack(modes, -1)


def _contours(sheet: _Sheet) -> Int[ndarray, "17 N"]:
    """Per jaw landmark the vertices nearest to the line that runs through it away from the face's middle."""
    rows = np.full((17, 6), -1, dtype=np.int64)
    head = np.flatnonzero(~sheet.is_eye)
    for number in range(9):
        landmark = sheet.plane[sheet.ibug68[number]]
        radius = np.linalg.norm(landmark)
        stations = landmark * (1.0 + np.array([-0.36, -0.18, 0.0, 0.18, 0.36, 0.54])[:, None] / radius)
        side = head if number < 8 else head[sheet.vertices[head, 0] == 0]
        nearest = side[np.linalg.norm(sheet.plane[side][None] - stations[:, None], axis=-1).argmin(1)]
        ordered = list(dict.fromkeys(nearest.tolist()))
        rows[number, : len(ordered)] = ordered
        rows[16 - number, : len(ordered)] = sheet.mirror[ordered]
    return rows


def _annotations(sheet: _Sheet) -> Annotations:
    five = [[*sheet.ibug68[list(group)], -1][:2] for group in FIVE_OF_68]
    eye_faces = sheet.is_eye[sheet.faces].all(1)
    return Annotations(
        ibug68=torch.from_numpy(sheet.ibug68),
        five=torch.tensor(five),
        contours=torch.from_numpy(_contours(sheet)),
        regions={name: _tensor(mask) for name, mask in _regions(sheet).items()},
        face_parts={"head": torch.from_numpy(~eye_faces), "eyes": torch.from_numpy(eye_faces)},
        mirror=torch.from_numpy(sheet.mirror),
    )
