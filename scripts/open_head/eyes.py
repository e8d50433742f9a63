"""Eyeballs: spheres with vertex rings on the pupil's and the iris's rim, moved by the source's coarse helper eyes."""

from dataclasses import dataclass

import numpy as np

PUPIL_RADIUS = 0.0185
"""dm; a 3.7 mm pupil, as in office light."""
IRIS_RADIUS = 0.0589
"""dm; the visible iris is 11.8 mm wide in adults of both sexes and all populations, within 0.4 mm."""
SEGMENTS = 24


@dataclass(frozen=True)
class Eyeball:
    """The left eyeball.

    Attributes:
        follow: (N, 72) affine map from the helper eye's vertices; rows sum to one.
        faces: (F, 3) vertex ids, counter-clockwise from outside.
        angle: (N,) radians from the gaze axis (+z).
        azimuth: (N,) radians about it.
    """

    follow: np.ndarray
    faces: np.ndarray
    angle: np.ndarray
    azimuth: np.ndarray


def build_eyeball(helper: np.ndarray) -> Eyeball:
    """A sphere in place of a helper eye.

    Args:
        helper: (72, 3) vertices of the left helper eye, dm.
    """
    centre, radius = fit_sphere(helper)
    rings = np.concatenate([_iris_rings(radius), np.radians([34.0, 48.0, 64.0, 82.0, 104.0, 130.0, 156.0])])
    azimuths = (np.arange(SEGMENTS) + 0.5) * 2.0 * np.pi / SEGMENTS
    angle = np.concatenate([[0.0], np.repeat(rings, SEGMENTS), [np.pi]])
    azimuth = np.concatenate([[0.0], np.tile(azimuths, len(rings)), [0.0]])
    directions = np.stack([np.sin(angle) * np.cos(azimuth), np.sin(angle) * np.sin(azimuth), np.cos(angle)], 1)
    sphere = centre + radius * directions
    # Affine in the helper's vertices: whatever moves, scales or shears the helper does the same to the sphere.
    follow = np.c_[sphere, np.ones(len(sphere))] @ np.linalg.pinv(np.c_[helper, np.ones(len(helper))])
    return Eyeball(follow, _faces(len(rings)), angle, azimuth)


def fit_sphere(points: np.ndarray) -> tuple[np.ndarray, float]:
    """Centre and radius of the least-squares sphere, dm."""
    system = np.c_[2.0 * points, np.ones(len(points))]
    solution = np.linalg.lstsq(system, (points**2).sum(1), rcond=None)[0]
    centre = solution[:3]
    return centre, float(np.sqrt(solution[3] + centre @ centre))


def _iris_rings(radius: float) -> np.ndarray:
    """Angles of the rings from the pupil to just outside the iris; doubled on both rims, so that colours end there."""
    rim = 0.0035
    widths = [
        0.55 * PUPIL_RADIUS,
        PUPIL_RADIUS - rim / 2,
        PUPIL_RADIUS + rim / 2,
        0.5 * (PUPIL_RADIUS + IRIS_RADIUS),
        IRIS_RADIUS - 2.0 * rim,
        IRIS_RADIUS - rim / 2,
        IRIS_RADIUS + rim / 2,
    ]
    return np.arcsin(np.array(widths) / radius)


def _faces(num_rings: int) -> np.ndarray:
    k = np.arange(SEGMENTS)
    nxt = (k + 1) % SEGMENTS
    front = np.stack([np.zeros_like(k), 1 + k, 1 + nxt], 1)
    faces = [front]
    for ring in range(num_rings - 1):
        a, b = 1 + ring * SEGMENTS, 1 + (ring + 1) * SEGMENTS
        faces.append(np.stack([a + k, b + k, b + nxt], 1))
        faces.append(np.stack([a + k, b + nxt, a + nxt], 1))
    last = 1 + (num_rings - 1) * SEGMENTS
    faces.append(np.stack([last + k, np.full_like(k, last + SEGMENTS), last + nxt], 1))
    return np.concatenate(faces)
