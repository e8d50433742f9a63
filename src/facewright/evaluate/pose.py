"""Head pose errors. Three angles mean a rotation only with order and signs: every convention has a name. numpy."""

import warnings
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray
from scipy.spatial.transform import Rotation


@dataclass(frozen=True)
class PoseConvention:
    """How pitch, yaw and roll make a rotation of the y-up model frame into the y-up camera frame.

    Attributes:
        name: as tables quote it.
        axes: of the factors from left to right, capitals as in scipy: ``ZYX`` is Rz Ry Rx.
        signs: of pitch (about x), yaw (about y), roll (about z), relative to the right-hand rule.
    """

    name: str
    axes: str
    signs: tuple[float, float, float]

    def rotation(self, pitch_yaw_roll_deg: Float[ndarray, "*B 3"]) -> Float[ndarray, "*B 3 3"]:
        """Rotation matrices, acting on column vectors."""
        angles = np.asarray(pitch_yaw_roll_deg) * self.signs
        ordered = angles[..., ["XYZ".index(axis) for axis in self.axes]]
        flat = Rotation.from_euler(self.axes, ordered.reshape(-1, 3), degrees=True)
        return flat.as_matrix().reshape(*angles.shape[:-1], 3, 3)

    def angles_deg(self, rotation: Float[ndarray, "*B 3 3"]) -> Float[ndarray, "*B 3"]:
        """Pitch, yaw, roll of rotations; the middle factor's angle lies in -90..90 degrees.

        At 90 degrees the outer two turn about one line: the last factor's is then 0.
        """
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Gimbal lock")
            flat = Rotation.from_matrix(rotation.reshape(-1, 3, 3)).as_euler(self.axes, degrees=True)
        by_axis = flat[:, [self.axes.index(axis) for axis in "XYZ"]] * self.signs
        return by_axis.reshape(*rotation.shape[:-2], 3)


FACEWRIGHT = PoseConvention("facewright", "ZYX", (1.0, 1.0, 1.0))
"""R = Rz Ry Rx; +pitch nods down, +yaw turns the nose to image right, +roll counter-clockwise as the camera sees it."""
AFLW2000 = PoseConvention("aflw2000", "XYZ", (-1.0, -1.0, -1.0))
"""``Pose_Para`` of 300W-LP and AFLW2000-3D (there in radians): R = Rx Ry Rz, each transposed (Zhu et al. 2016)."""
CONVENTIONS = {convention.name: convention for convention in (FACEWRIGHT, AFLW2000)}


@dataclass(frozen=True)
class PoseErrors:
    """Errors of many heads.

    Attributes:
        pitch_yaw_roll_deg: absolute error per head and angle.
        geodesic_deg: angle of the rotation between predicted and true pose; the same in every convention.
        kept: heads that count (the others are excluded by the rule).
    """

    pitch_yaw_roll_deg: Float[ndarray, "N 3"]
    geodesic_deg: Float[ndarray, " N"]
    kept: Bool[ndarray, " N"]

    @property
    def mae_deg(self) -> Float[ndarray, "3"]:
        """Mean absolute error of pitch, yaw, roll over the kept heads."""
        return self.pitch_yaw_roll_deg[self.kept].mean(0)

    @property
    def mae_mean_deg(self) -> float:
        """Mean of the three."""
        return float(self.mae_deg.mean())


def pose_errors(
    predicted_deg: Float[ndarray, "N 3"],
    truth_deg: Float[ndarray, "N 3"],
    convention: PoseConvention,
    *,
    exclude_above_deg: float | None = 99.0,
) -> PoseErrors:
    """Errors of pitch, yaw, roll given in one convention.

    Args:
        predicted_deg: pitch, yaw, roll.
        truth_deg: likewise.
        convention: of both; change one by ``b.angles_deg(a.rotation(angles))``.
        exclude_above_deg: heads with a larger true angle do not count (99 leaves 1,969 of AFLW2000-3D); None keeps all.
    """
    difference = np.abs((predicted_deg - truth_deg + 180.0) % 360.0 - 180.0)
    relative = np.swapaxes(convention.rotation(truth_deg), -1, -2) @ convention.rotation(predicted_deg)
    kept = np.ones(len(truth_deg), bool)
    if exclude_above_deg is not None:
        kept &= (np.abs(truth_deg) <= exclude_above_deg).all(-1)
    return PoseErrors(difference, np.degrees(Rotation.from_matrix(relative).magnitude()), kept)
