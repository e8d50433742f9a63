"""One face-first texture atlas: the head's chart fills the square, the small parts lie in its two lower corners.

The whole atlas is its own mirror image: texel (u, v) of the left half and (1 - u, v) of the right belong to partner
points of the head. So parts that cross the middle (mouth socket, teeth, tongue) are cut there into halves.
"""

from dataclasses import dataclass

import numpy as np
from open_head.flatten import (
    Flattening,
    boundary_loops,
    fill_holes,
    signed_areas,
    triangles_in_plane,
    tutte_embedding,
)
from open_head.topology import HeadTopology

HEAD_BOX = (0.006, 0.03, 0.994, 0.994)
"""u, v of the lower left and the upper right corner of what the head's chart may fill."""
HALF_CHARTS = {
    "left_eye": (0.94, 0.06, 0.11),
    "mouth_socket": (0.828, 0.05, 0.09),
    "tongue": (0.735, 0.035, 0.08),
    "upper_teeth": (0.955, 0.155, 0.07),
    "lower_teeth": (0.874, 0.14, 0.07),
}
"""Where the parts of the subject's left half lie: centre u, v and the longer side of the chart's box."""
PARTNER = {"left_eye": "right_eye"}


@dataclass(frozen=True)
class Chart:
    """Some faces laid out in the plane.

    Attributes:
        faces: (f,) ids of mesh faces.
        corners: (f, 3) ids into ``uv``.
        uv: (t, 2).
    """

    faces: np.ndarray
    corners: np.ndarray
    uv: np.ndarray


def build_uv(topology: HeadTopology) -> tuple[np.ndarray, np.ndarray]:
    """Texture coordinates of the head model.

    Returns:
        uv: (T, 2) origin bottom-left, 0..1.
        faces_uv: (F, 3) ids into ``uv`` per face corner.
    """
    charts = [head_chart(topology)]
    twin = mirrored_corners(topology)
    for part, (u, v, size) in HALF_CHARTS.items():
        left = eye_chart(topology, part) if part in PARTNER else half_chart(topology, part)
        left = Chart(left.faces, left.corners, _fit(left.uv, size) + np.array([u, v]))
        # The right half: partner faces run the other way round, so corners are looked up through the partner's.
        face, corner = twin[left.faces, :, 0], twin[left.faces, :, 1]
        order = np.argsort(corner, axis=1)
        right = Chart(face[:, 0], np.take_along_axis(left.corners, order, 1), left.uv * [-1.0, 1.0] + [1.0, 0.0])
        charts += [left, right]
    uv = np.concatenate([chart.uv for chart in charts])
    faces_uv = np.full(topology.faces.shape, -1)
    start = 0
    for chart in charts:
        faces_uv[chart.faces] = chart.corners + start
        start += len(chart.uv)
    assert faces_uv.min() >= 0
    return uv, faces_uv


def mirrored_corners(topology: HeadTopology) -> np.ndarray:
    """(F, 3, 2) the face and the corner (0..2) that are each face corner's left-right partner."""
    faces = topology.faces
    place = {tuple(sorted(face)): k for k, face in enumerate(faces.tolist())}
    partner = topology.mirror[faces]
    found = np.array([place[tuple(sorted(face))] for face in partner.tolist()])
    corner = (faces[found][:, None, :] == partner[:, :, None]).argmax(2)
    return np.stack([np.repeat(found[:, None], 3, 1), corner], -1)


def head_chart(topology: HeadTopology) -> Chart:
    """Skin, cut open along the back's midline from the crown to the neck; the face larger than it is."""
    vertices, mirror = topology.vertices, topology.mirror
    chosen = np.flatnonzero(topology.face_mask("head"))
    middle = np.intersect1d(np.flatnonzero(mirror == np.arange(len(mirror))), topology.faces[chosen])
    crown = int(middle[vertices[middle, 1].argmax()])
    cut = middle[vertices[middle, 2] < vertices[crown, 2]]
    copy = np.arange(len(vertices))
    copy[cut] = len(vertices) + np.arange(len(cut))
    origin = np.concatenate([np.arange(len(vertices)), cut])
    on_right = vertices[topology.faces[chosen]].mean(1)[:, 0] < 0.0
    faces = np.where(on_right[:, None], copy[topology.faces[chosen]], topology.faces[chosen])
    used, corners = np.unique(faces, return_inverse=True)
    corners, origin = corners.reshape(-1, 3), origin[used]
    uv = flatten(
        vertices[origin], corners, head_density(vertices[origin]), start=int(np.flatnonzero(origin == crown)[0])
    )
    partner = _chart_partner(corners, topology, chosen)
    uv = 0.5 * (uv + uv[partner] * [-1.0, 1.0])
    left, bottom, right, top = HEAD_BOX
    uv *= ((right - left, top - bottom) / np.ptp(uv, axis=0)).min()
    return Chart(chosen, corners, uv + np.array([0.5, top - uv[:, 1].max()]))


def head_density(points: np.ndarray) -> np.ndarray:
    """Wished-for texture length per length of skin: most about eyes, nose and mouth, least on the nape."""
    away = points - [0.0, 7.0, 0.5]
    angle = np.degrees(np.arctan2(np.hypot(away[:, 0], away[:, 1]), away[:, 2]))
    under_jaw = np.interp(points[:, 1] - 0.35 * points[:, 2], [5.5, 5.9], [0.2, 1.0])
    return np.interp(angle, [15.0, 45.0, 75.0, 110.0, 180.0], [1.5, 1.15, 0.6, 0.28, 0.22]) * under_jaw


def half_chart(topology: HeadTopology, part: str) -> Chart:
    """The subject's left half of a part that crosses the middle, its longer side upright."""
    faces = topology.faces
    chosen = np.flatnonzero(topology.face_mask(part) & (topology.vertices[faces].mean(1)[:, 0] > 0.0))
    used, corners = np.unique(faces[chosen], return_inverse=True)
    corners, points = corners.reshape(-1, 3), topology.vertices[used]
    uv = flatten(points, corners, np.ones(len(points)), start=None)
    return Chart(chosen, corners, uv)


def eye_chart(topology: HeadTopology, part: str) -> Chart:
    """An eyeball as a disc about the pupil, seen from the front; what the lids may uncover takes most of it."""
    chosen = np.flatnonzero(topology.face_mask(part))
    used, corners = np.unique(topology.faces[chosen], return_inverse=True)
    corners = corners.reshape(-1, 3)
    angle, azimuth = topology.eye_angle[used], topology.eye_azimuth[used]
    radius = np.interp(np.degrees(angle), [0.0, 60.0, 180.0], [0.0, 0.75, 1.0])
    uv = radius[:, None] * np.stack([np.cos(azimuth), np.sin(azimuth)], 1)
    # The back pole is a circle in this chart: one copy per triangle that meets it, at the triangle's own azimuth.
    pole = int(angle.argmax())
    at_pole = np.argwhere(corners == pole)
    outward = uv[corners[at_pole[:, 0]]].sum(1) - uv[pole]
    copies = outward / np.linalg.norm(outward, axis=1, keepdims=True)
    corners[at_pole[:, 0], at_pole[:, 1]] = len(uv) + np.arange(len(copies))
    kept, corners = np.unique(corners, return_inverse=True)
    return Chart(chosen, corners.reshape(-1, 3), np.concatenate([uv, copies])[kept])


def flatten(points: np.ndarray, faces: np.ndarray, density: np.ndarray, *, start: int | None) -> np.ndarray:
    """(N, 2) low-distortion layout of a chart whose holes stay open; ``start`` of its rim comes out on top."""
    fans, holes = fill_holes(faces, len(points))
    all_faces = np.concatenate([faces, fans])
    every = np.concatenate([points, *[points[hole].mean(0, keepdims=True) for hole in holes]])
    every_density = np.concatenate([density, *[density[hole].mean(keepdims=True) for hole in holes]])
    rim = boundary_loops(faces)[0]
    rim = np.roll(rim, -int((rim == (rim.min() if start is None else start)).argmax()))
    steps = np.linalg.norm(np.roll(points[rim], -1, axis=0) - points[rim], axis=1)
    turn = np.pi / 2.0 + 2.0 * np.pi * (steps.cumsum() - steps) / steps.sum()
    uv = tutte_embedding(all_faces, len(every), rim, np.stack([np.cos(turn), np.sin(turn)], 1))
    rest = triangles_in_plane(every[all_faces]) * every_density[all_faces].mean(1)[:, None, None]
    area = signed_areas(rest)
    uv *= np.sqrt(area.sum() / signed_areas(uv[all_faces]).sum())
    wish = every_density[all_faces].mean(1) ** 2
    wish[len(faces) :] *= 0.05  # keeps lips and lids apart, without a say in their shape
    return Flattening(all_faces, rest, area * wish, len(every)).minimise(uv, steps=60)[: len(points)]


def _chart_partner(corners: np.ndarray, topology: HeadTopology, chosen: np.ndarray) -> np.ndarray:
    """(t,) chart ids of the mirrored chart vertices, for a chart that holds both halves."""
    twin = mirrored_corners(topology)[chosen]
    row = np.full(len(topology.faces), -1)
    row[chosen] = np.arange(len(chosen))
    partner = np.zeros(corners.max() + 1, int)
    partner[corners] = corners[row[twin[..., 0]], twin[..., 1]]
    return partner


def _fit(uv: np.ndarray, size: float) -> np.ndarray:
    """Turned so that its longer axis is horizontal, centred on zero, its longer side ``size``."""
    centred = uv - uv.mean(0)
    axis = np.linalg.svd(centred, full_matrices=False)[2][0]
    axis *= np.where(axis[np.abs(axis).argmax()] < 0.0, -1.0, 1.0)
    turned = centred @ np.stack([axis, [-axis[1], axis[0]]]).T
    turned -= 0.5 * (turned.max(0) + turned.min(0))
    return turned * (size / np.ptp(turned, axis=0).max())
