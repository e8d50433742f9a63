"""NoW's alignment: seven points, then seven parameters that bring the predicted surface to the scan. numpy, mm."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from facewright.evaluate.alignment import Similarity, procrustes
from facewright.evaluate.surfaces import Surface, closest_points


@dataclass(frozen=True)
class ScanFit:
    """A prediction fitted to a scan.

    Attributes:
        alignment: moves the prediction onto the scan.
        distances_mm: of each (cropped) scan vertex to the moved prediction's surface.
        evaluations: of the residuals.
    """

    alignment: Similarity
    distances_mm: Float[ndarray, " N"]
    evaluations: int


def fit_to_scan(
    prediction: Surface,
    seven_prediction_mm: Float[ndarray, "7 3"],
    scan_mm: Float[ndarray, "N 3"],
    seven_scan_mm: Float[ndarray, "7 3"],
    *,
    metrical: bool = False,
    max_evaluations: int = 100,
) -> ScanFit:
    """Scan-to-mesh least squares over scale, rotation vector and translation (Sanyal et al. 2019).

    The sum of squared unsigned distances from each scan vertex to the predicted surface is minimised from the
    Procrustes fit of the seven points, where a mirrored fit is allowed as in the benchmark. A negative scale costs
    100 (|s| - s). Differs from the official program in the solver alone (SciPy's dog-leg in a box with our own
    derivatives, instead of chumpy's).

    Args:
        prediction: neutral mesh.
        seven_prediction_mm: its seven points (``ibug68.SEVEN_OF_68``).
        scan_mm: scan vertices inside ``regions.now_region``.
        seven_scan_mm: the scan's seven points.
        metrical: the scale stays 1 (the prediction is in mm).
        max_evaluations: of the residuals.
    """
    start = procrustes(seven_prediction_mm, seven_scan_mm, scale=1.0 if metrical else None, reflection=True)
    problem = _Problem(prediction, scan_mm, start, metrical)
    first = np.zeros(6) if metrical else np.zeros(7)
    solved = least_squares(
        problem.residuals,
        first,
        jac=problem.jacobian,  # pyright: ignore[reportArgumentType] - a function is allowed
        method="dogbox",
        ftol=1e-10,
        xtol=1e-9,
        gtol=1e-12,
        max_nfev=max_evaluations,
    )
    alignment = problem.alignment(solved.x)
    return ScanFit(alignment, problem.distances_mm(solved.x), int(solved.nfev))


class _Problem:
    """Residuals over (rotation vector, translation / size, scale / start scale - 1), all about the scan's middle."""

    def __init__(self, prediction: Surface, scan_mm: ndarray, start: Similarity, metrical: bool) -> None:
        self.prediction, self.scan, self.start, self.metrical = prediction, scan_mm, start, metrical
        self.middle = scan_mm.mean(0)
        self.size = float(np.linalg.norm(scan_mm - self.middle, axis=1).mean())

    def alignment(self, parameters: ndarray) -> Similarity:
        turn = Rotation.from_rotvec(parameters[:3]).as_matrix()
        grow = 1.0 if self.metrical else 1.0 + float(parameters[6])
        shift = self.middle + parameters[3:6] * self.size - grow * (turn @ self.middle)
        return Similarity(grow, turn, shift).after(self.start)

    def _offsets(self, parameters: ndarray) -> tuple[ndarray, ndarray]:
        """From each scan vertex's closest point on the moved prediction to the vertex; and that point."""
        alignment = self.alignment(parameters)
        found = closest_points(alignment.inverse().apply(self.scan), self.prediction)
        touched = alignment.apply(found.points_mm)
        return self.scan - touched, touched

    def distances_mm(self, parameters: ndarray) -> ndarray:
        return np.linalg.norm(self._offsets(parameters)[0], axis=-1)

    def residuals(self, parameters: ndarray) -> ndarray:
        distances = self.distances_mm(parameters)
        if self.metrical:
            return distances
        scale = (1.0 + parameters[6]) * self.start.scale
        return np.append(distances, 100.0 * (abs(scale) - scale))

    def jacobian(self, parameters: ndarray) -> ndarray:
        """The closest point slides without changing the distance to first order: only the surface's motion counts."""
        offsets, touched = self._offsets(parameters)
        length = np.linalg.norm(offsets, axis=-1, keepdims=True)
        along = np.divide(offsets, length, out=np.zeros_like(offsets), where=length > 0)
        arm = touched - self.middle - parameters[3:6] * self.size
        # Rotation vectors near zero: the derivative of the turned arm is the cross product, corrected by the left
        # Jacobian of the rotation group, so that larger turns are right too.
        left = _left_jacobian(parameters[:3])
        columns = [-(np.cross(arm, along) @ left), -along * self.size]
        if not self.metrical:
            columns.append(-((arm / (1.0 + parameters[6])) * along).sum(-1, keepdims=True))
        jacobian = np.concatenate(columns, 1)
        if self.metrical:
            return jacobian
        scale = (1.0 + parameters[6]) * self.start.scale
        penalty = np.zeros((1, 7))
        penalty[0, 6] = 100.0 * self.start.scale * (np.sign(scale) - 1.0)
        return np.concatenate([jacobian, penalty])


def _left_jacobian(vector: ndarray) -> ndarray:
    """d(turn)/d(vector): a small change v of the rotation vector turns by ``left @ v`` on the left."""
    angle = float(np.linalg.norm(vector))
    x, y, z = vector
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    if angle < 1e-6:
        return np.eye(3) + cross / 2.0
    return np.eye(3) + (1.0 - np.cos(angle)) / angle**2 * cross + (angle - np.sin(angle)) / angle**3 * (cross @ cross)
