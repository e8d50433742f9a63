"""ICP finds motions that are known, in each mode that is promised."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from facewright.evaluate.alignment import Similarity
from facewright.evaluate.icp import icp
from facewright.evaluate.regions import cut_out
from facewright.evaluate.surfaces import Surface, point_to_surface_mm
from tests.evaluate.heads import moved

RIGID = Similarity(1.0, Rotation.from_rotvec([0.1, -0.15, 0.08]).as_matrix(), np.array([4.0, -3.0, 2.0]))


def face_of(surface: Surface) -> Surface:
    """The front, as a scan is."""
    return cut_out(surface, surface.vertices_mm[:, 2] > -10)[0]


@pytest.mark.parametrize("direction", ["truth_to_prediction", "prediction_to_truth", "symmetric"])
@pytest.mark.parametrize("scale", [None, 1.07])
def test_known_motion_is_found(head, other_head, motion, direction, scale):
    """Other vertices on the same shape, moved and scaled; coarse facets leave about 0.1 mm."""
    result = icp(head, moved(face_of(other_head), motion), scale=scale, direction=direction)
    assert result.converged
    assert result.alignment.scale == pytest.approx(1.07, abs=2e-3 if scale is None else 1e-12)
    np.testing.assert_allclose(result.alignment.rotation, motion.rotation, atol=2e-3)
    np.testing.assert_allclose(result.alignment.translation_mm, motion.translation_mm, atol=0.15)
    assert result.mean_mm < 0.15


def test_point_steps_arrive_at_the_same_place_slowly(head, other_head):
    """Minimising pair distances needs many more steps; near the answer it ends beside the plane's result."""
    near = Similarity(1.0, Rotation.from_rotvec([0.01, -0.01, 0.01]).as_matrix(), np.array([0.4, -0.3, 0.2]))
    truth = moved(face_of(other_head), near)
    plane = icp(head, truth)
    point = icp(head, truth, residual="point", tolerance_mm=1e-5, max_iterations=300)
    assert point.iterations > 3 * plane.iterations
    assert point.mean_mm == pytest.approx(plane.mean_mm, abs=0.01)


def test_result_does_not_depend_on_where_the_truth_is(head, other_head, motion):
    """Moving the truth moves the alignment with it: distances stay."""
    truth = face_of(other_head)
    here = icp(head, truth, scale=None)
    there = icp(head, moved(truth, RIGID), start=RIGID, scale=None)
    assert there.mean_mm == pytest.approx(here.mean_mm, abs=2e-3)
    np.testing.assert_allclose(
        there.alignment.apply(head.vertices_mm), RIGID.after(here.alignment).apply(head.vertices_mm), atol=0.02
    )


def test_own_scale_makes_the_score_blind_to_scale(head, other_head):
    truth = face_of(other_head)
    large = moved(head, Similarity(1.2, np.eye(3), np.zeros(3)))
    start = Similarity(1 / 1.2, np.eye(3), np.zeros(3))
    assert icp(large, truth, start=start, scale=None).mean_mm == pytest.approx(
        icp(head, truth, scale=None).mean_mm, abs=1e-3
    )
    assert icp(large, truth, scale=1.0).mean_mm > 2


def test_fixed_scale_replaces_that_of_the_start(head, other_head):
    start = Similarity(1.3, np.eye(3), np.zeros(3))
    assert icp(head, face_of(other_head), start=start, scale=1.0).alignment.scale == pytest.approx(1.0)


def test_coarse_stage_changes_nothing_but_time(head, other_head):
    truth = moved(face_of(other_head), RIGID)
    fine, coarse = icp(head, truth, coarse_points=10**6), icp(head, truth, coarse_points=300)
    np.testing.assert_allclose(
        fine.alignment.apply(head.vertices_mm), coarse.alignment.apply(head.vertices_mm), atol=0.03
    )


def test_overlap_alone_counts_where_asked(head, other_head):
    """A prediction that ends at the cheeks, against a scan that goes on: rim pairs would pull it."""
    small = cut_out(head, head.vertices_mm[:, 2] > 25)[0]
    truth = moved(face_of(other_head), RIGID)
    with_rim = icp(small, truth, overlap_only=False).alignment
    without = icp(small, truth, overlap_only=True).alignment
    errors = [point_to_surface_mm(a.apply(small.vertices_mm), truth).mean() for a in (without, with_rim)]
    assert errors[0] < 0.15
    assert errors[0] < errors[1] / 3


def test_steps_stop_at_the_limit(head, other_head):
    result = icp(head, moved(other_head, RIGID), residual="point", max_iterations=3, coarse_points=10**6)
    assert (result.iterations, result.converged) == (3, False)


def test_meshes_apart_are_refused(head):
    patch = cut_out(head, head.vertices_mm[:, 2] > 55)[0]
    far = moved(patch, Similarity(1.0, np.eye(3), np.array([0.0, 0.0, 5000.0])))
    away = moved(cut_out(head, head.vertices_mm[:, 2] < -55)[0], Similarity(1.0, np.eye(3), np.array([900.0, 0, 0])))
    with pytest.raises(ValueError, match="overlapping"):
        icp(far, away)
