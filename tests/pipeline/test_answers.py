"""An answer is held against what was seen."""

import math
from dataclasses import replace

import pytest
import torch

from facewright.geometry.five_points import deep3d_template
from facewright.geometry.rotations import rotation_from_angles
from facewright.pipeline.answers import (
    FRONT_PRESENCE,
    FRONT_YAW,
    IDENTITY_DOUBT,
    MOST_ANSWER_DOUBT,
    MOST_POINT_ERROR,
    SURE_DOUBT,
    SURE_PRESENCE,
    SURE_SCORE,
    contradiction,
    no_person,
    point_error,
    speaks_against,
)
from facewright.records import DenseBelief, FaceDetection, LandmarkBelief
from tests.pipeline.known_faces import looking


def seen(angles: tuple[float, float, float], scale: float = 90.0) -> torch.Tensor:
    turned = deep3d_template().float() @ rotation_from_angles(torch.tensor([angles]))[0].T
    return torch.stack([200 + scale * turned[:, 0], 150 - scale * turned[:, 1]], -1)


def test_the_error_is_a_share_of_the_eye_distance_at_any_size() -> None:
    for scale in (20.0, 400.0):
        five = seen((0.0, 0.0, 0.0), scale)
        eyes = (five[1] - five[0]).norm()
        assert point_error(five + torch.tensor([0.1, 0.0]) * eyes, five) == pytest.approx(0.1, rel=0.05)


def test_what_was_seen_passes_and_an_upright_head_on_a_turned_face_does_not() -> None:
    for yaw in (0.0, 0.8, 1.4):
        upright = seen((0.1, yaw, 0.0))
        assert contradiction(upright + 2.0, upright, doubt=0.01) is None
        for roll in (math.pi / 2, math.pi, -math.pi / 2):
            turned = seen((0.1, yaw, roll))
            found = contradiction(upright - upright.mean(0) + turned.mean(0), turned)
            assert found is not None
            assert found.point_error > MOST_POINT_ERROR
            assert "within 20%" in found.reason


def test_doubt_and_nonsense_are_no_answers() -> None:
    five = seen((0.0, 0.0, 0.0))
    found = contradiction(five, five, doubt=1.5 * MOST_ANSWER_DOUBT)
    assert found is not None
    assert "doubt" in found.reason
    assert contradiction(five, five, doubt=math.nan) is not None
    assert contradiction(five * math.nan, five) is not None
    assert contradiction(five * math.nan, five, doubt=0.0) is not None


def test_a_network_that_is_sure_may_contradict_the_detector() -> None:
    five = seen((0.0, 1.3, 0.0))
    away = five + 0.4 * (five[3] - five[0]).norm()
    assert contradiction(away, five, doubt=0.9 * SURE_DOUBT) is None
    assert contradiction(away, five, doubt=1.1 * SURE_DOUBT) is not None
    assert contradiction(away, five) is not None


@pytest.mark.parametrize(
    ("presence", "score", "believed"),
    [(0.99, 0.5, True), (0.1, 0.8, True), (0.85, 0.55, False)],
)
def test_what_neither_network_of_the_detector_is_sure_of_needs_a_third(
    presence: float, score: float, believed: bool
) -> None:
    """Of a method that says no doubts, the fit above all: it agrees with whatever the detector saw."""
    assert (presence < SURE_PRESENCE and score < SURE_SCORE) != believed
    known = looking(0.0, 60.0)
    seen = FaceDetection(known.detection.box, score, known.five_points, torch.zeros(468, 3), presence)
    face = replace(known, detection=seen)
    against = speaks_against(face)
    assert (against is None) == believed
    if against is not None:
        assert "received 85% and 55%" in against
    sure = LandmarkBelief(torch.zeros(68, 2), torch.ones(68))
    assert speaks_against(replace(face, belief=sure)) is None
    assert (
        speaks_against(replace(face, detection=replace(seen, mesh=None, mesh_score=0.0))) is None
    )  # a person's points


@pytest.mark.parametrize("yaw_deg", [0.0, 25.0, -25.0])
def test_what_looks_here_and_is_hardly_a_face_is_no_person(yaw_deg: float) -> None:
    """An animal or a drawing: every method, however sure, would make a person of it."""
    known = looking(0.0, yaw_deg)
    assert abs(float(known.pose.angles[0, 1])) < FRONT_YAW
    sure = LandmarkBelief(torch.zeros(68, 2), torch.ones(68))
    for belief in (None, sure):
        for presence in (1.1 * FRONT_PRESENCE - 0.1, 0.5 + 0.5 * FRONT_PRESENCE):
            seen = FaceDetection(known.detection.box, 0.9, known.five_points, torch.zeros(468, 3), presence)
            against = speaks_against(replace(known, detection=seen, belief=belief))
            assert (against is not None) == (presence < FRONT_PRESENCE)
            if against is not None:
                assert "expected a person's face" in against
                assert "--landmarks" in against
        points_of_a_person = replace(seen, mesh=None, mesh_score=0.0)
        assert speaks_against(replace(known, detection=points_of_a_person, belief=belief)) is None


def test_a_network_that_read_nobody_says_that_nobody_is_there() -> None:
    """Of weights whose doubts are known, and instead of the detector's; not where a person marked the points."""
    known = looking(0.0, 25.0)
    seen = FaceDetection(known.detection.box, 0.9, known.five_points, torch.zeros(468, 3), 0.5 * FRONT_PRESENCE)
    marks, many = torch.zeros(68, 2), torch.zeros(70, 2)
    for change in (-0.01, 0.01):
        sigma = torch.full((8,), IDENTITY_DOUBT["open"] + change)
        dense = DenseBelief(many, many[:, 0] + 1, many[:, 0], many[:, 0] + 1, sigma, sigma, sigma)
        face = replace(known, detection=seen, belief=LandmarkBelief(marks, torch.ones(68)), dense=dense, weights="open")
        said = no_person(face)
        assert (said is not None) == (change > 0)
        assert speaks_against(face) == said
        assert no_person(replace(face, detection=replace(seen, mesh=None, mesh_score=0.0))) is None
        other = no_person(replace(face, weights="mine.safetensors"))
        assert other is not None
        assert "mesh network is sure" in other


def test_a_profile_may_be_read_less_surely() -> None:
    known = looking(0.0, 60.0)
    seen = FaceDetection(known.detection.box, 0.9, known.five_points, torch.zeros(468, 3), 0.3)
    assert speaks_against(replace(known, detection=seen)) is None
