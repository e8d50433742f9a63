"""Non-rigid registration: the published system solved densely, stiff and soft ends, keypoints."""

import numpy as np
import pytest

from facewright.evaluate.nonrigid import Keypoints, _System, deform_onto
from facewright.evaluate.regions import cut_out
from facewright.evaluate.surfaces import Surface, point_to_surface_mm
from tests.evaluate.heads import bumpy_head

UNIT_MM = 9.0


@pytest.fixture(scope="module")
def patch() -> Surface:
    """The front of a coarse head, in units of 9 mm."""
    front = cut_out(bumpy_head(3), bumpy_head(3).vertices_mm[:, 2] > 15)[0]
    return Surface(front.vertices_mm / UNIT_MM, front.faces)


@pytest.fixture(scope="module")
def bent() -> Surface:
    """The whole finer head, smoothly changed."""
    head = bumpy_head(4, turn_seed=2)
    wave = 3.0 * np.sin(head.vertices_mm[:, [1, 2, 0]] / 25)
    return Surface((head.vertices_mm + wave) / UNIT_MM, head.faces)


def test_a_step_is_the_published_least_squares_problem():
    """Stack alpha M x G, W D and beta D_L as in the paper and solve by a dense method."""
    rng = np.random.default_rng(0)
    vertices, faces = rng.normal(size=(6, 3)), np.array([[0, 1, 2], [1, 3, 2], [2, 3, 4], [3, 5, 4]])
    targets, pull, alpha, gamma = rng.normal(size=(6, 3)), np.array([1.0, 1, 0, 1, 1, 1]), 0.7, 0.5
    keypoints = Keypoints(np.array([0, 4]), rng.normal(size=(2, 3)), 3.0)
    edges = sorted({tuple(sorted((int(f[i]), int(f[i - 1])))) for f in faces for i in range(3)})
    rows, right = [], []
    for i, j in edges:
        for k in range(4):
            row = np.zeros(24)
            weight = np.sqrt(alpha) * (gamma if k == 3 else 1)
            row[4 * i + k], row[4 * j + k] = -weight, weight
            rows.append(row)
            right.append(np.zeros(3))
    pairs = [(i, targets[i], pull[i]) for i in range(6)]
    pairs += [(int(i), t, keypoints.weight) for i, t in zip(keypoints.vertex_ids, keypoints.targets, strict=True)]
    for i, target, weight in pairs:
        row = np.zeros(24)
        row[4 * i : 4 * i + 4] = np.sqrt(weight) * np.append(vertices[i], 1)
        rows.append(row)
        right.append(np.sqrt(weight) * target)
    solution = np.linalg.lstsq(np.array(rows), np.array(right), rcond=None)[0].reshape(6, 4, 3)
    expected = np.einsum("ik,ikd->id", np.concatenate([vertices, np.ones((6, 1))], 1), solution)
    found = _System(Surface(vertices, faces), keypoints, gamma).solve(alpha, pull, targets)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_mesh_that_fits_already_stays(patch):
    np.testing.assert_allclose(deform_onto(patch, patch, [50.0, 5.0]), patch.vertices_mm, atol=1e-6)


def test_softer_means_closer_and_stiff_means_affine(patch, bent):
    gaps = [point_to_surface_mm(deform_onto(patch, bent, s), bent).mean() for s in ([1e9], [50.0], [50.0, 5.0, 0.5])]
    assert gaps[0] > 2 * gaps[1] > 4 * gaps[2]
    stiff = deform_onto(patch, bent, [1e9])
    homogeneous = np.concatenate([patch.vertices_mm, np.ones((len(stiff), 1))], 1)
    affine = homogeneous @ np.linalg.lstsq(homogeneous, stiff, rcond=None)[0]
    np.testing.assert_allclose(stiff, affine, atol=1e-3)


def test_keypoints_pull_along_the_surface(patch):
    """On the same shape closest points ask for no motion at all: only keypoints tell of sliding."""
    ids = np.array([5, 30, 60])
    targets = patch.vertices_mm[ids] + 0.3 * np.roll(patch.vertex_normals[ids], 1, axis=1)
    keypoints = Keypoints(ids, targets, 50.0)
    moved = deform_onto(patch, patch, [5.0, 0.5], keypoints=keypoints, keypoint_step_stiffness=150.0)
    assert np.linalg.norm(moved[ids] - targets, axis=1).max() < 0.1
    assert np.linalg.norm(moved - patch.vertices_mm, axis=1).mean() > 0.02
