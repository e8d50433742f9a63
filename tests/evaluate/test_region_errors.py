"""REALY's pipeline: zero for the same face in any frame, regions on their own, and sliding that nearest points miss."""

import numpy as np
import pytest

from facewright.evaluate.region_errors import REGION_RULES, RealyScan, mean_of_regions, realy_errors
from facewright.evaluate.regions import cut_out
from facewright.evaluate.surfaces import Surface, point_to_surface_mm
from tests.evaluate.heads import bumpy, bumpy_head, moved, on_front

UNIT_MM = 9.0


def sphere_places() -> np.ndarray:
    """Where the 85 points are in front of the unit sphere: each region's points together."""
    rng = np.random.default_rng(0)
    centres = {"nose": (0.0, -0.05), "mouth": (0.05, -0.5), "forehead": (0.0, 0.45)}
    places = rng.uniform(-0.55, 0.55, size=(85, 2))
    for name, centre in centres.items():
        numbers = list(REGION_RULES[name].rigid_keypoints)
        places[numbers] = centre + rng.uniform(-0.2, 0.2, size=(len(numbers), 2))
    return places


@pytest.fixture(scope="module")
def scan() -> RealyScan:
    whole, keypoints = bumpy_head(4, turn_seed=3), on_front(sphere_places())
    regions = {}
    for name, rule in REGION_RULES.items():
        marks = keypoints[list(rule.rigid_keypoints)]
        near = np.linalg.norm(whole.vertices_mm[:, None] - marks, axis=-1).min(1) < 14
        regions[name], _ = cut_out(whole, near)
    return RealyScan(regions, keypoints, UNIT_MM)


def warped(warp) -> tuple[Surface, np.ndarray]:
    """A prediction: the head of warped directions, with its keypoints."""
    head, marks = bumpy_head(4), on_front(sphere_places())
    return Surface(warp(head.vertices_mm), head.faces), warp(marks)


def test_same_face_scores_nearly_zero_in_any_frame(scan, motion):
    prediction, keypoints = warped(lambda p: p)
    errors = realy_errors(moved(prediction, motion), motion.apply(keypoints), scan)
    assert set(errors) == {"nose", "mouth", "forehead", "cheek"}
    assert max(error.error_mm for error in errors.values()) < 0.25
    assert mean_of_regions(errors) == pytest.approx(np.mean([error.error_mm for error in errors.values()]))
    for name, error in errors.items():
        assert len(error.distances_mm) == len(scan.regions[name].vertices_mm)


def test_a_wrong_region_stands_out(scan):
    """A 4 mm bump on the mouth raises the mouth, and leaves the forehead as it was."""
    mouth = on_front(np.array([[0.05, -0.5]]))[0]

    def bump(p: np.ndarray) -> np.ndarray:
        return p + 4.0 * np.exp(-np.square(p - mouth).sum(1, keepdims=True) / 2 / 8**2) * [0, 0, 1]

    plain, raised = realy_errors(*warped(lambda p: p), scan), realy_errors(*warped(bump), scan)
    assert raised["mouth"].error_mm > plain["mouth"].error_mm + 0.5
    assert raised["forehead"].error_mm < plain["forehead"].error_mm + 0.2  # the seven points move the whole a little


def test_sliding_is_seen_where_nearest_points_are_blind(scan):
    """A stretch of the forehead's points along the surface: the shape is nearly the same, its parts are elsewhere."""

    def slide(p: np.ndarray) -> np.ndarray:
        directions = p / np.array([0.8, 1.1, 0.9])
        directions = directions / np.linalg.norm(directions, axis=1, keepdims=True)
        directions = directions + 0.12 * np.sin(6 * directions[:, [1]]) * [1, 0, 0] * (directions[:, [2]] > 0)
        return bumpy(directions / np.linalg.norm(directions, axis=1, keepdims=True))

    prediction, keypoints = warped(slide)
    errors = realy_errors(prediction, keypoints, scan)
    region = scan.regions["forehead"]
    nearest = point_to_surface_mm(region.vertices_mm, moved(prediction, errors["forehead"].alignment)).mean()
    assert errors["forehead"].error_mm > 2 * nearest
