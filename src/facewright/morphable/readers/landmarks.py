"""Landmarks of other models: vertex ids, points inside triangles, named points."""

from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import KDTree

from facewright.errors import FaceModelError
from facewright.morphable.readers.arrays import ids_from_zero, shaped, vector
from facewright.untrusted import read_text, reading

_MOST_BYTES = 100_000


def read_landmark_ids(path: Path, count: int) -> Int[np.ndarray, "68"]:
    """The 68 vertex ids of a text file, from 0, in iBUG order, separated by white space or commas.

    Args:
        path: of the text file.
        count: number of vertices of the model.

    Raises:
        FaceModelError: other numbers of ids, or ids that the model does not have.
    """
    with reading(path.name, FaceModelError, "68 vertex ids", "separate them by white space or commas"):
        ids = np.array(read_text(path, most=_MOST_BYTES).replace(",", " ").split(), np.float64)
    return ids_from_zero(vector(ids, 68, f"{path.name}: landmarks"), count, f"{path.name}: landmarks")


def heaviest_corners(
    corners: Int[np.ndarray, "L 3"], weights: Float[np.ndarray, "L 3"], what: str
) -> Int[np.ndarray, " L"]:
    """The vertex nearest to each point that lies inside a triangle.

    Raises:
        FaceModelError: the weights are no barycentric weights.
    """
    weights = shaped(weights, corners.shape, what).astype(np.float64)
    if not np.allclose(weights.sum(1), 1.0, atol=1e-2):
        raise FaceModelError(f"{what}: expected barycentric weights that sum to 1, received sums {weights.sum(1)[:5]}")
    return np.take_along_axis(corners, weights.argmax(1)[:, None], 1)[:, 0]


def nearest_vertices(
    points: Float[np.ndarray, "L 3"], vertices: Float[np.ndarray, "V 3"], *, within: float, what: str
) -> Int[np.ndarray, " L"]:
    """Ids of the vertices nearest to points.

    Raises:
        FaceModelError: a point is further than ``within`` (in the vertices' unit) from every vertex.
    """
    distance, nearest = KDTree(vertices).query(points)
    if not np.all(distance <= within):
        raise FaceModelError(
            f"{what}: expected points on the mean shape, received points up to {np.max(distance):.3g} from it; "
            "is their unit the model's?"
        )
    return np.asarray(nearest)


def jaw_in_order(ids_68: Int[np.ndarray, "68"], mean_shape: Float[np.ndarray, "V 3"]) -> Int[np.ndarray, "68"]:
    """The same landmarks, the jaw line running from ear to chin to ear: each half sorted by height.

    Some published lists hold the jaw points of one side in another order.

    Args:
        ids_68: vertex ids in iBUG order, but for the order within 0..7 and 9..16.
        mean_shape: y up, any unit.
    """
    height = mean_shape[ids_68, 1]
    order = np.arange(68)
    order[:8] = np.argsort(-height[:8], kind="stable")
    order[9:17] = 9 + np.argsort(height[9:17], kind="stable")
    return ids_68[order]
