"""A bumpy closed head with no symmetry, so that every alignment has one answer; mm."""

import numpy as np
import trimesh
from numpy import ndarray
from scipy.spatial.transform import Rotation

from facewright.evaluate.alignment import Similarity
from facewright.evaluate.scan_protocol import FacePoints
from facewright.evaluate.surfaces import Surface


def bumpy(directions: ndarray) -> ndarray:
    x, y, z = directions[:, :1], directions[:, 1:2], directions[:, 2:]
    radius = 80 * (1 + 0.15 * x * y + 0.1 * np.sin(3 * z) + 0.12 * y**3 + 0.1 * np.exp(-9 * (x**2 + (y + 0.1) ** 2)))
    return directions * radius * np.array([0.8, 1.1, 0.9])


def bumpy_head(subdivisions: int, turn_seed: int | None = None) -> Surface:
    """The same shape for every seed; another seed, other vertices on it."""
    ball = trimesh.creation.icosphere(subdivisions)
    turn = Rotation.from_rotvec([0.0, 0.0, 0.0] if turn_seed is None else [turn_seed, 0.5, -0.3]).as_matrix()
    return Surface(bumpy(np.asarray(ball.vertices) @ turn.T), np.asarray(ball.faces))


def moved(surface: Surface, similarity: Similarity) -> Surface:
    return Surface(similarity.apply(surface.vertices_mm), surface.faces)


def face_points() -> FacePoints:
    """Seven points and a nose tip on the front of the head, off its vertices."""
    seven = [[-0.6, 0.3], [-0.2, 0.27], [0.18, 0.3], [0.58, 0.33], [0.02, -0.25], [-0.3, -0.5], [0.31, -0.48]]
    return FacePoints(on_front(np.array(seven)), on_front(np.array([[0.0, -0.1]]))[0])


def on_front(across: ndarray) -> ndarray:
    """Places on the head in front of (x, y) of the unit sphere."""
    return bumpy(np.column_stack([across, np.sqrt(1 - np.square(across).sum(1))]))
