"""Protocols: zero for the same head, what each is blind to, hand-made offsets, and every stated choice at work."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from facewright.evaluate.alignment import Similarity
from facewright.evaluate.scan_protocol import (
    DENG2019,
    GENOVA2018,
    SCAN_PROTOCOLS,
    TRAN2017,
    FacePoints,
    scan_errors,
    vertex_errors,
)
from facewright.evaluate.surfaces import Surface
from facewright.geometry.ibug68 import NOSE_TIP
from tests.evaluate.heads import bumpy_head, face_points, moved

POSE = Similarity(1.0, Rotation.from_rotvec([0.2, -0.3, 0.1]).as_matrix(), np.array([30.0, -20.0, 15.0]))


def moved_points(points: FacePoints, similarity: Similarity) -> FacePoints:
    return FacePoints(similarity.apply(points.seven_mm), similarity.apply(points.nose_tip_mm[None])[0])


def narrower(surface: Surface) -> Surface:
    """Another person: 6 % narrower."""
    return Surface(surface.vertices_mm * [0.94, 1.0, 1.0], surface.faces)


@pytest.fixture(scope="module")
def scan() -> Surface:
    return bumpy_head(5, turn_seed=1)


@pytest.mark.parametrize("name", SCAN_PROTOCOLS)
def test_same_head_scores_nearly_zero_wherever_it_is(head, scan, name):
    """Other vertices, another pose: what is left is the coarse prediction's facets."""
    result = scan_errors(
        moved(head, POSE),
        moved_points(face_points(), POSE),
        scan,
        face_points(),
        SCAN_PROTOCOLS[name],
        global_scale=1.0,
    )
    assert result.error_mm < 0.15
    assert result.icp.converged


@pytest.mark.parametrize("name", SCAN_PROTOCOLS)
def test_scale_counts_as_the_protocol_says(head, scan, name):
    protocol = SCAN_PROTOCOLS[name]
    grown = Similarity(1.05, np.eye(3), np.zeros(3))
    prediction, points = moved(narrower(head), grown), moved_points(face_points(), grown)
    as_given = scan_errors(narrower(head), face_points(), scan, face_points(), protocol, global_scale=1.0)
    larger = scan_errors(prediction, points, scan, face_points(), protocol, global_scale=1 / 1.05)
    if protocol.scale == "none":
        assert larger.error_mm != pytest.approx(as_given.error_mm, abs=0.1)
    else:
        assert larger.error_mm == pytest.approx(as_given.error_mm, abs=0.02)
    assert as_given.error_mm > 0.2


def test_global_scale_must_be_given(head, scan):
    with pytest.raises(ValueError, match="global scale"):
        scan_errors(head, face_points(), scan, face_points(), GENOVA2018)


def test_counted_vertices_are_the_crop_s(head, scan):
    result = scan_errors(head, face_points(), scan, face_points(), TRAN2017)
    far = np.linalg.norm(scan.vertices_mm - face_points().nose_tip_mm, axis=1)
    assert far[result.vertex_ids].max() <= 95
    assert len(result.vertex_ids) == pytest.approx((far <= 95).sum(), rel=0.02)  # those without a face are left out
    assert len(result.distances_mm) == len(result.vertex_ids)
    cut = scan_errors(head, face_points(), scan, face_points(), DENG2019)
    assert set(cut.vertex_ids) < set(result.vertex_ids)


def test_root_mean_square_exceeds_the_mean_and_the_surface_exceeds_the_plane(head, scan):
    def error(**changes: str) -> float:
        protocol = replace(TRAN2017, **changes)  # pyright: ignore[reportArgumentType] - literals
        return scan_errors(narrower(head), face_points(), scan, face_points(), protocol).error_mm

    assert error(reduce="rmse") > error(reduce="mean")
    assert error(distance="point") > error(distance="surface") > error(distance="plane") - 0.05
    one, other = error(direction="truth_to_prediction"), error(direction="prediction_to_truth")
    assert error(direction="symmetric") == pytest.approx((one + other) / 2, rel=0.05)


def test_points_from_68():
    points = np.random.default_rng(0).normal(size=(68, 3))
    chosen = FacePoints.from_ibug68(points)
    np.testing.assert_array_equal(chosen.nose_tip_mm, points[NOSE_TIP])
    np.testing.assert_array_equal(chosen.eight_mm[:4], points[[36, 39, 42, 45]])


def test_vertex_errors_of_one_topology(head, motion):
    """Zero where only pose (and scale, if free) differ; a known offset of one half of the vertices."""
    prediction = POSE.apply(head.vertices_mm)
    assert vertex_errors(prediction, head.vertices_mm).rmse_mm == pytest.approx(0, abs=1e-9)
    scaled = motion.apply(head.vertices_mm)
    assert vertex_errors(scaled, head.vertices_mm, scale=None).mean_mm == pytest.approx(0, abs=1e-9)
    assert vertex_errors(scaled, head.vertices_mm).mean_mm > 1
    pair = np.array([[-50.0, 0, 0], [50, 0, 0], [0, 50, 0], [0, -50, 0]])
    wider = pair * [1.02, 1, 1]
    result = vertex_errors(wider, pair)
    assert (result.mean_mm, result.rmse_mm) == pytest.approx((0.5, np.sqrt(0.5)))


def test_vertex_weights_choose_the_region(head):
    """A wrong region of no weight neither counts nor disturbs the alignment."""
    prediction = POSE.apply(head.vertices_mm + 9.0 * (head.vertices_mm[:, [2]] < 0))
    weights = (head.vertices_mm[:, 2] >= 0).astype(float)
    assert vertex_errors(prediction, head.vertices_mm, weights=weights).mean_mm == pytest.approx(0, abs=1e-9)
    assert vertex_errors(prediction, head.vertices_mm).mean_mm > 1
