"""Similarity alignment: scipy and brute force as oracles, mirrored and weighted points."""

import numpy as np
import pytest
import torch
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from facewright.geometry.rotations import rotation_from_angles
from facewright.geometry.similarity import apply_similarity, similarity_from_points


def cloud(rng: torch.Generator, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=rng, dtype=torch.float64)


def test_a_known_similarity_is_found(rng: torch.Generator) -> None:
    source, angles = cloud(rng, 7, 20, 3), cloud(rng, 7, 3)
    scale, translation = torch.rand(7, generator=rng, dtype=torch.float64) + 0.1, 10 * cloud(rng, 7, 3)
    rotation = rotation_from_angles(angles)
    target = apply_similarity(source, scale, rotation, translation)
    found = similarity_from_points(source, target)
    for got, expected in zip(found, (scale, rotation, translation), strict=True):
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
def test_rotation_equals_scipys_for_noisy_points(weighted: bool, rng: torch.Generator) -> None:
    for _ in range(20):
        source, target = cloud(rng, 9, 3), cloud(rng, 9, 3)
        weights = torch.rand(9, generator=rng, dtype=torch.float64) if weighted else None
        _, rotation, _ = similarity_from_points(source, target, weights=weights, with_scale=False)
        w = np.ones(9) if weights is None else weights.numpy()
        a = source.numpy() - np.average(source.numpy(), axis=0, weights=w)
        b = target.numpy() - np.average(target.numpy(), axis=0, weights=w)
        expected = Rotation.align_vectors(b, a, weights=w)[0].as_matrix()
        np.testing.assert_allclose(rotation, expected, atol=1e-9)


@pytest.mark.parametrize("with_scale", [False, True])
def test_nothing_near_fits_better(with_scale: bool, rng: torch.Generator) -> None:
    source = cloud(rng, 15, 3)
    turned = source @ rotation_from_angles(cloud(rng, 3)).T
    target = 1.7 * turned + cloud(rng, 3) + 0.3 * cloud(rng, 15, 3)
    weights = torch.rand(15, generator=rng, dtype=torch.float64)
    scale, rotation, translation = similarity_from_points(source, target, weights=weights, with_scale=with_scale)

    def residuals(p: np.ndarray) -> np.ndarray:
        s = np.exp(p[6]) if with_scale else 1.0
        moved = s * source.numpy() @ Rotation.from_rotvec(p[:3]).as_matrix().T + p[3:6]
        return (np.sqrt(weights.numpy())[:, None] * (moved - target.numpy())).ravel()

    rotvec = Rotation.from_matrix(rotation.numpy()).as_rotvec()
    start = np.concatenate([rotvec + 0.1, translation.numpy() + 0.1, [0.1]])
    best = least_squares(residuals, start, xtol=1e-15, ftol=1e-15, gtol=1e-15)
    closed_form = residuals(np.concatenate([rotvec, translation.numpy(), [np.log(float(scale))]]))
    assert (closed_form**2).sum() == pytest.approx((best.fun**2).sum(), rel=1e-9)


def test_mirrored_points_get_a_rotation_not_a_reflection(rng: torch.Generator) -> None:
    source = cloud(rng, 30, 3)
    target = source * torch.tensor([-1.0, 1.0, 1.0])
    scale, rotation, translation = similarity_from_points(source, target)
    assert float(torch.linalg.det(rotation)) == pytest.approx(1.0, abs=1e-12)
    fitted = apply_similarity(source, scale, rotation, translation)
    error = float((fitted - target).square().sum())
    for _ in range(300):  # no other rotation with its best scale does better
        other = rotation_from_angles(3 * cloud(rng, 3))
        a = (source - source.mean(0)) @ other.T
        b = target - target.mean(0)
        s = ((a * b).sum() / a.square().sum()).clamp_min(0)
        assert float((s * a - b).square().sum()) > error - 1e-9


def test_planar_points_in_space_and_points_of_a_plane(rng: torch.Generator) -> None:
    flat = torch.cat([cloud(rng, 12, 2), torch.zeros(12, 1).double()], -1)
    rotation = rotation_from_angles(torch.tensor([0.3, 0.4, 0.5], dtype=torch.float64))
    found = similarity_from_points(flat, flat @ rotation.T)[1]
    torch.testing.assert_close(found, rotation, rtol=0, atol=1e-12)
    turn = rotation_from_angles(torch.tensor([0.0, 0.0, 0.7], dtype=torch.float64))[:2, :2]
    scale, found, _ = similarity_from_points(flat[:, :2], 3 * flat[:, :2] @ turn.T + 1)
    torch.testing.assert_close(found, turn, rtol=0, atol=1e-12)
    assert float(scale) == pytest.approx(3.0)


def test_zero_weights_leave_points_out_and_weights_scale_freely(rng: torch.Generator) -> None:
    source, target = cloud(rng, 10, 3), cloud(rng, 10, 3)
    weights = torch.rand(10, generator=rng, dtype=torch.float64)
    weights[4:] = 0
    target[4:] += 100
    of_all = similarity_from_points(source, target, weights=17 * weights)
    of_four = similarity_from_points(source[:4], target[:4], weights=weights[:4])
    for a, b in zip(of_all, of_four, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-10)


def test_fixed_scale_is_one(rng: torch.Generator) -> None:
    source = cloud(rng, 2, 8, 3)
    scale, rotation, translation = similarity_from_points(source, 5 * source + 2, with_scale=False)
    assert scale.tolist() == [1.0, 1.0]
    torch.testing.assert_close(rotation, torch.eye(3).double().expand(2, 3, 3), rtol=0, atol=1e-12)
    torch.testing.assert_close(translation, 2 + 4 * source.mean(1), rtol=0, atol=1e-12)


def test_gradient(rng: torch.Generator) -> None:
    source, target = cloud(rng, 6, 3), cloud(rng, 6, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda t: similarity_from_points(source, t), target)
