"""NoW's seven-parameter fit: known motions, analytic derivatives, invariances, the statistics of noise."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from facewright.evaluate.alignment import Similarity
from facewright.evaluate.scan_fit import _Problem, fit_to_scan
from tests.evaluate.heads import bumpy_head, moved

SEVEN = np.array([3, 40, 77, 120, 155, 200, 260])
TURN = Similarity(1.0, Rotation.from_rotvec([0.3, -0.8, 0.2]).as_matrix(), np.array([40.0, -30.0, 20.0]))


def jittered(points: np.ndarray, deviation_mm: float) -> np.ndarray:
    return points + np.random.default_rng(0).normal(size=points.shape) * deviation_mm


@pytest.mark.parametrize("metrical", [False, True])
def test_identical_mesh_scores_zero_from_poor_landmarks(head, motion, metrical):
    target = Similarity(1.0, motion.rotation, motion.translation_mm) if metrical else motion
    scan = target.apply(head.vertices_mm)
    fit = fit_to_scan(head, head.vertices_mm[SEVEN], scan, jittered(scan[SEVEN], 3.0), metrical=metrical)
    assert fit.distances_mm.max() < 1e-4
    assert fit.alignment.scale == pytest.approx(target.scale, abs=1e-6)
    np.testing.assert_allclose(fit.alignment.rotation, target.rotation, atol=1e-6)


@pytest.mark.parametrize("metrical", [False, True])
def test_derivatives_are_those_of_finite_differences(head, other_head, motion, metrical):
    problem = _Problem(head, jittered(other_head.vertices_mm, 1.0), motion, metrical)
    at = np.array([0.1, -0.2, 0.15, 0.03, 0.04, -0.02, 0.1][: 6 if metrical else 7])
    analytic = problem.jacobian(at)
    for i, step in enumerate(np.eye(len(at)) * 1e-6):
        numeric = (problem.residuals(at + step) - problem.residuals(at - step)) / 2e-6
        # Where the partner jumps between the two sides of an edge the distance has a kink.
        assert np.mean(np.abs(numeric - analytic[:, i]) < 1e-5 * (1 + np.abs(numeric))) > 0.99


def test_score_does_not_depend_on_frame_or_size(head, other_head):
    scan = other_head.vertices_mm[::3] * [1.0, 1.03, 0.98]
    points = head.vertices_mm[SEVEN]
    plain = fit_to_scan(head, points, scan, jittered(points, 2.0))
    turned = fit_to_scan(moved(head, TURN), TURN.apply(points), scan, jittered(points, 2.0))
    grown = Similarity(10.0, np.eye(3), np.zeros(3))
    large = fit_to_scan(moved(head, grown), grown.apply(points), scan, jittered(points, 2.0))
    for other in (turned, large):
        np.testing.assert_allclose(other.distances_mm, plain.distances_mm, atol=1e-4)
    metrical = fit_to_scan(moved(head, grown), grown.apply(points), scan, jittered(points, 2.0), metrical=True)
    assert metrical.distances_mm.mean() > 10


def test_noise_shows_its_half_normal_statistics():
    """Scan vertices pushed along the normal by sigma = 0.3 mm: mean 0.798 sigma, median 0.674 sigma."""
    mesh, sigma = bumpy_head(4), 0.3
    rng = np.random.default_rng(1)
    corners = mesh.vertices_mm[mesh.faces]
    weights = rng.dirichlet(np.ones(3), len(corners))
    scan = np.einsum("fc,fcd->fd", weights, corners) + sigma * rng.normal(size=(len(corners), 1)) * mesh.face_normals
    fit = fit_to_scan(mesh, mesh.vertices_mm[SEVEN], scan, jittered(mesh.vertices_mm[SEVEN], 2.0))
    assert fit.distances_mm.mean() / sigma == pytest.approx(0.798, abs=0.02)
    assert np.median(fit.distances_mm) / sigma == pytest.approx(0.674, abs=0.025)


def test_error_grows_with_the_injected_one(head):
    scores = []
    for amount in (0.0, 0.5, 1.0, 2.0):
        scan = head.vertices_mm + amount * np.sin(head.vertices_mm[:, [1]] / 8) * head.vertex_normals
        points = head.vertices_mm[SEVEN]
        scores.append(np.median(fit_to_scan(head, points, scan, points).distances_mm))
    assert scores[0] < 1e-6
    assert (np.diff(scores) > 0.1).all()
