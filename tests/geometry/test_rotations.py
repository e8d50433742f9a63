"""Rotations: scipy as oracle, gimbal lock, gradients."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from facewright.geometry.rotations import (
    angles_from_rotation,
    geodesic_angle,
    quaternion_from_rotation,
    rotation_from_angles,
    rotation_from_vector,
    vector_from_rotation,
)


def random_angles(rng: torch.Generator, count: int) -> torch.Tensor:
    """Radians; y keeps within 89.9 degrees of zero, x and z go all the way round."""
    reach = torch.tensor([np.pi, 1.569, np.pi], dtype=torch.float64)
    return (2 * torch.rand(count, 3, generator=rng, dtype=torch.float64) - 1) * reach


def test_matrix_equals_scipys_fixed_axes_x_y_z(rng: torch.Generator) -> None:
    angles = random_angles(rng, 200)
    expected = Rotation.from_euler("xyz", angles.numpy()).as_matrix()  # lower case: fixed axes, x first
    np.testing.assert_allclose(rotation_from_angles(angles), expected, atol=1e-14)


def test_signs_of_the_three_angles() -> None:
    nose, chin = torch.tensor([0.0, 0.0, 1.0]), torch.tensor([0.0, -1.0, 0.0])
    nod, turn, roll = rotation_from_angles(0.3 * torch.eye(3))
    assert float((nod @ nose)[1]) < 0  # the nose sinks
    assert float((turn @ nose)[0]) > 0  # the nose goes to image right
    assert float((roll @ chin)[0]) > 0  # counter-clockwise as the camera sees it: the chin goes to image right


def test_orthonormal_with_determinant_one(rng: torch.Generator) -> None:
    rotation = rotation_from_angles(random_angles(rng, 100).view(4, 25, 3))
    torch.testing.assert_close(rotation @ rotation.mT, torch.eye(3).double().expand_as(rotation), rtol=0, atol=1e-14)
    torch.testing.assert_close(torch.linalg.det(rotation), torch.ones(4, 25).double(), rtol=0, atol=1e-14)


def test_angles_come_back(rng: torch.Generator) -> None:
    angles = random_angles(rng, 500)
    torch.testing.assert_close(angles_from_rotation(rotation_from_angles(angles)), angles, rtol=0, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("y", [np.pi / 2, -np.pi / 2])
def test_gimbal_lock_gives_the_same_rotation(dtype: torch.dtype, y: float, rng: torch.Generator) -> None:
    angles = (6 * torch.rand(50, 3, generator=rng) - 3).to(dtype)
    angles[:, 1] = y
    rotation = rotation_from_angles(angles)
    again = angles_from_rotation(rotation)
    assert bool(torch.isfinite(again).all())
    tolerance = 1e-6 if dtype == torch.float32 else 1e-14
    torch.testing.assert_close(rotation_from_angles(again), rotation, rtol=0, atol=tolerance)


def test_at_exact_gimbal_lock_z_is_zero_and_gradients_are_finite() -> None:
    rotation = torch.tensor(
        [[0.0, 0.6, 0.8], [0.0, 0.8, -0.6], [-1.0, 0.0, 0.0]], dtype=torch.float64, requires_grad=True
    )
    angles = angles_from_rotation(rotation)
    torch.testing.assert_close(angles, torch.tensor([np.arctan2(0.6, 0.8), np.pi / 2, 0.0], dtype=torch.float64))
    angles.sum().backward()
    assert rotation.grad is not None
    assert bool(torch.isfinite(rotation.grad).all())


@pytest.mark.parametrize("gap", [1e-2, 1e-4, 1e-6, 1e-8, 1e-12, 1e-15])
def test_close_to_gimbal_lock(gap: float, rng: torch.Generator) -> None:
    angles = 6 * torch.rand(50, 3, generator=rng, dtype=torch.float64) - 3
    angles[:, 1] = np.pi / 2 - gap
    rotation = rotation_from_angles(angles)
    again = rotation_from_angles(angles_from_rotation(rotation))
    torch.testing.assert_close(again, rotation, rtol=0, atol=1e-14)


def test_float32_angles_come_back(rng: torch.Generator) -> None:
    angles = random_angles(rng, 500).float()
    angles[:, 1] *= 0.95
    torch.testing.assert_close(angles_from_rotation(rotation_from_angles(angles)), angles, rtol=0, atol=1e-5)


def test_geodesic_angle_is_the_rotation_vectors_length(rng: torch.Generator) -> None:
    a, b = rotation_from_angles(random_angles(rng, 100)), rotation_from_angles(random_angles(rng, 100))
    relative = Rotation.from_matrix(a.numpy()).inv() * Rotation.from_matrix(b.numpy())
    np.testing.assert_allclose(geodesic_angle(a, b), relative.magnitude(), atol=1e-12)


@pytest.mark.parametrize("angle", [0.0, 1e-9, 1e-5, 0.5, np.pi - 1e-7, np.pi])
def test_geodesic_angle_is_precise_at_its_ends(angle: float) -> None:
    a = rotation_from_angles(torch.tensor([0.4, -0.2, 1.0], dtype=torch.float64))
    b = a @ rotation_from_angles(torch.tensor([angle, 0.0, 0.0], dtype=torch.float64))
    assert float(geodesic_angle(a, b)) == pytest.approx(angle, abs=1e-14, rel=1e-7)


def test_gradients(rng: torch.Generator) -> None:
    angles = random_angles(rng, 3).mul(0.9).requires_grad_()
    assert torch.autograd.gradcheck(rotation_from_angles, angles)
    assert torch.autograd.gradcheck(lambda a: angles_from_rotation(rotation_from_angles(a)), angles)


def test_quaternions_and_vectors_are_scipys(rng: torch.Generator) -> None:
    rotation = rotation_from_angles(random_angles(rng, 300))
    turns = Rotation.from_matrix(rotation.numpy())
    np.testing.assert_allclose(quaternion_from_rotation(rotation), turns.as_quat(canonical=True), atol=1e-12)
    np.testing.assert_allclose(vector_from_rotation(rotation), turns.as_rotvec(), atol=1e-9)
    torch.testing.assert_close(rotation_from_vector(vector_from_rotation(rotation)), rotation, rtol=0, atol=1e-10)
    half = torch.diag(torch.tensor([-1.0, 1.0, -1.0], dtype=torch.float64))
    assert quaternion_from_rotation(half).tolist() == [0.0, 1.0, 0.0, 0.0]
    assert vector_from_rotation(torch.eye(3)).tolist() == [0.0, 0.0, 0.0]
