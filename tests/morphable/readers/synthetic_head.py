"""The toy head as another model's author would store it: in any unit, turned and moved, with random modes."""

from dataclasses import dataclass

import numpy as np

from facewright.geometry.five_points import deep3d_template
from facewright.morphable.readers.frame import five_points
from facewright.morphable.toy import toy_face_model
from facewright.records import FaceCoefficients


@dataclass
class SyntheticHead:
    """In the source's unit and axes, float64."""

    mean: np.ndarray
    id_modes: np.ndarray
    exp_modes: np.ndarray
    faces: np.ndarray
    uv: np.ndarray
    faces_uv: np.ndarray
    ibug68: np.ndarray

    @property
    def count(self) -> int:
        return len(self.mean)

    def vertices(self, id_: np.ndarray, exp: np.ndarray) -> np.ndarray:
        """Shape in the source's frame, one mode at a time."""
        shape = self.mean.copy()
        for k, value in enumerate(id_):
            shape += value * self.id_modes[:, :, k]
        for k, value in enumerate(exp):
            shape += value * self.exp_modes[:, :, k]
        return shape


def turn(x: float, y: float, z: float) -> np.ndarray:
    """A rotation, from angles about the axes."""
    cos, sin = np.cos([x, y, z]), np.sin([x, y, z])
    about_x = np.array([[1, 0, 0], [0, cos[0], -sin[0]], [0, sin[0], cos[0]]])
    about_y = np.array([[cos[1], 0, sin[1]], [0, 1, 0], [-sin[1], 0, cos[1]]])
    about_z = np.array([[cos[2], -sin[2], 0], [sin[2], cos[2], 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


def synthetic_head(
    units_per_dm: float, *, num_id: int = 5, num_exp: int = 4, rotation: np.ndarray | None = None, shift_dm: float = 0.0
) -> SyntheticHead:
    """The toy head in some unit, turned, and moved by a decimetre or so."""
    model = toy_face_model()
    assert model.uv is not None
    assert model.faces_uv is not None
    assert model.annotations.ibug68 is not None
    rng = np.random.default_rng(11)
    rotation = np.eye(3) if rotation is None else rotation
    mean = model.mean_shape.double().numpy()
    modes = 0.02 * rng.standard_normal((len(mean), 3, num_id + num_exp))
    placed = units_per_dm * (mean @ rotation.T + shift_dm * np.array([1.0, -2.0, 0.5]))
    turned = units_per_dm * np.einsum("ij,vjk->vik", rotation, modes)
    return SyntheticHead(
        placed,
        turned[:, :, :num_id],
        turned[:, :, num_id:],
        model.faces.numpy(),
        model.uv.double().numpy(),
        model.faces_uv.numpy(),
        model.annotations.ibug68.numpy(),
    )


def assert_stands_in_the_deep3d_frame(mean_dm: np.ndarray, five: np.ndarray) -> None:
    """The five points lie on the template up to the head's own shape, and no small move brings them nearer."""
    points = five_points(mean_dm, five)

    def misfit(moved: np.ndarray) -> float:
        return float(((moved - deep3d_template().numpy()) ** 2).sum())

    assert np.sqrt(misfit(points) / 5) < 0.1
    for step in 0.02 * np.concatenate([np.eye(3), -np.eye(3)]):
        assert misfit(points + step) > misfit(points)
        assert misfit((points - points.mean(0)) @ turn(*step).T + points.mean(0)) > misfit(points)


def parts(coefficients: FaceCoefficients) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Identity, expression and albedo coefficients of the first face, float64."""
    return tuple(part[0].double().numpy() for part in (coefficients.id, coefficients.exp, coefficients.tex))  # pyright: ignore[reportReturnType]
