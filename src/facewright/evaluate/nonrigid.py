"""Non-rigid registration by locally affine steps (Amberg, Romdhani, Vetter 2007), with SciPy's sparse solver. numpy."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from scipy import sparse
from scipy.sparse.linalg import splu

from facewright.evaluate.surfaces import Surface, closest_points, on_rim


@dataclass(frozen=True)
class Keypoints:
    """Vertices that must go to known places.

    Attributes:
        vertex_ids: of the mesh that is deformed.
        targets: where they should go.
        weight: of each pair against the weight 1 of a closest-point pair.
    """

    vertex_ids: Int[ndarray, " L"]
    targets: Float[ndarray, "L 3"]
    weight: float


def deform_onto(
    source: Surface,
    target: Surface,
    stiffness: Sequence[float],
    *,
    keypoints: Keypoints | None = None,
    keypoint_step_stiffness: float | None = None,
    gamma: float = 1.0,
    inner_steps: int = 3,
    tolerance: float = 1e-3,
) -> Float[ndarray, "V 3"]:
    """Deform a mesh onto another; each vertex has its own affine map, neighbours' maps are held together.

    Minimises sum |X_i v_i - u_i|^2 + stiffness sum over edges |(X_i - X_j) G|^2 + keypoints, where u_i is the closest
    point of the target and G = diag(1, 1, 1, gamma) weighs turning against shifting. Stiffness depends on the unit of
    the coordinates. Vertices whose partner lies on the target's rim feel no pull.

    Args:
        source: mesh to deform.
        target: mesh to reach.
        stiffness: one value per outer step, falling.
        keypoints: pulls besides the closest points.
        keypoint_step_stiffness: if given, a first step is driven by the keypoints alone at this stiffness.
        gamma: see above.
        inner_steps: at most so many steps per stiffness.
        tolerance: a stiffness is done when vertices move less than this on average.
    """
    system = _System(source, keypoints, gamma)
    places = source.vertices_mm
    nothing = np.zeros(len(places))
    if keypoint_step_stiffness is not None:
        places = system.solve(keypoint_step_stiffness, nothing, places)
    for alpha in stiffness:
        for _ in range(inner_steps):
            found = closest_points(places, target)
            pull = (~on_rim(found, target)).astype(np.float64)
            before, places = places, system.solve(alpha, pull, found.points_mm)
            if np.linalg.norm(places - before, axis=1).mean() < tolerance:
                break
    return places


class _System:
    """The normal equations of one mesh: the part that stays between steps is built once."""

    def __init__(self, source: Surface, keypoints: Keypoints | None, gamma: float) -> None:
        count = len(source.vertices_mm)
        edges = np.sort(np.concatenate([source.faces[:, [0, 1]], source.faces[:, [1, 2]], source.faces[:, [2, 0]]]), 1)
        edges = np.unique(edges, axis=0)
        rows = np.repeat(np.arange(len(edges)), 2)
        incidence = sparse.csr_matrix(
            (np.tile([-1.0, 1.0], len(edges)), (rows, edges.ravel())), shape=(len(edges), count)
        )
        metric = sparse.diags_array([1.0, 1.0, 1.0, gamma**2])
        self.smoothness: Any = sparse.kron(incidence.T @ incidence, metric, format="csc")
        homogeneous = np.concatenate([source.vertices_mm, np.ones((count, 1))], 1)
        columns = np.arange(4 * count)
        self.places: Any = sparse.csr_matrix(
            (homogeneous.ravel(), (np.repeat(np.arange(count), 4), columns)), shape=(count, 4 * count)
        )
        self.rest = np.tile(np.eye(4, 3), (count, 1))
        self.keypoints = keypoints

    def solve(self, alpha: float, pull: ndarray, targets: ndarray) -> ndarray:
        """New places of the vertices."""
        weight, wanted = pull.copy(), pull[:, None] * targets
        if self.keypoints is not None:
            np.add.at(weight, self.keypoints.vertex_ids, self.keypoints.weight)
            np.add.at(wanted, self.keypoints.vertex_ids, self.keypoints.weight * self.keypoints.targets)
        data: Any = self.places.T @ sparse.diags_array(weight) @ self.places
        # A trace of "stay as you are" makes the matrix regular where nothing pulls.
        keep = 1e-8 * (alpha + 1.0)
        matrix = alpha * self.smoothness + data + keep * sparse.eye_array(self.rest.shape[0])
        factors = splu(matrix.tocsc(), permc_spec="MMD_AT_PLUS_A", options=dict(SymmetricMode=True))
        return self.places @ factors.solve(self.places.T @ wanted + keep * self.rest)
