"""A bumpy closed head with no symmetry, so that every alignment has one answer; mm."""

import numpy as np
import trimesh
from numpy import ndarray
from scipy.spatial.transform import Rotation

from facewright.evaluate.alignment import Similarity
from facewright.evaluate.surfaces import Surface


def bumpy(directions: ndarray) -> ndarray:
    x, y, z = directions[:, :1], directions[:, 1:2], directions[:, 2:]
    radius = 80 * (1 + 0.15 * x * y + 0.1 * np.sin(3 * z) + 0.12 * y**3 + 0.1 * np.exp(-9 * (x**2 + (y + 0.1) ** 2)))
    return directions * radius * np.array([0.8, 1.1, 0.9])


def bumpy_head(subdivisions: int, turn_seed: int | None = None) -> Surface:
    """The same shape for every seed; another seed, other vertices on it."""
    ball = trimesh.creation.icosphere(subdivisions)
    turn = np.eye(3) if turn_seed is None else Rotation.random(random_state=turn_seed).as_matrix()
    return Surface(bumpy(np.asarray(ball.vertices) @ turn.T), np.asarray(ball.faces))


def moved(surface: Surface, similarity: Similarity) -> Surface:
    return Surface(similarity.apply(surface.vertices_mm), surface.faces)
