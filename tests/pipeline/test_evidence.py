"""What detections and a network's landmarks become before the fit sees them."""

import math
from dataclasses import replace

import pytest
import torch

from facewright.align import align_face, five_from_68
from facewright.errors import ReconstructionError
from facewright.fit import FitPlan, FitSettings
from facewright.geometry.frames import apply_homogeneous, crop_camera, project_points, scale_of
from facewright.morphable.container import load_face_model
from facewright.morphable.linear import FaceModel
from facewright.pipeline.evidence import (
    BELIEF_FLOOR_PX,
    BELIEF_TERM,
    CONTOUR_TERM,
    FIVE_TERM,
    MESH_TERM,
    POINTS_TERM,
    SIGMA_FIVE_PX,
    evidence_of,
)
from facewright.records import AlignedFace, FaceCoefficients, FaceDetection, LandmarkBelief, Photo

SETTINGS = FitSettings(five_share=0.4, belief_share=0.5, point_sigma_px=3.0)


@pytest.fixture(scope="module")
def head() -> FaceModel:
    return load_face_model()


@pytest.fixture(scope="module")
def head_plan(head: FaceModel) -> FitPlan:
    return FitPlan.of(head)


@pytest.fixture(scope="module")
def plan(toy_model: FaceModel) -> FitPlan:
    return FitPlan.of(toy_model)


def seen(model: FaceModel, *, mesh_score: float = 1.0) -> tuple[AlignedFace, FaceDetection]:
    """A model's mean face as a detector sees it in an empty picture; without a mesh if the model knows none."""
    pixels = 20.0 + project_points(model.mean_shape[None], crop_camera())[0]
    five = five_from_68(pixels[model.annotations.ibug68, :2])
    glue = model.annotations.mesh468
    mesh = None if glue is None else glue.of(pixels) * torch.tensor([1.0, 1.0, 101.5])
    detection = FaceDetection(torch.zeros(4), 1.0, five, mesh, 0.0 if mesh is None else mesh_score)
    return align_face(Photo(torch.zeros(3, 300, 260, dtype=torch.uint8)), five), detection


def belief_of(count: int = 68) -> LandmarkBelief:
    return LandmarkBelief(torch.rand(count, 2) * 224, torch.linspace(0.0, 9.0, count))


def turned(model: FaceModel, yaw_deg: float) -> FaceCoefficients:
    return replace(model.layout.zeros(), angles=torch.tensor([[0.0, math.radians(yaw_deg), 0.0]]))


def test_the_dense_points_come_first_and_the_five_take_over_in_doubt(head: FaceModel, head_plan: FitPlan) -> None:
    aligned, detection = seen(head)
    (mesh,) = evidence_of(aligned, detection, head_plan, SETTINGS).points
    assert detection.mesh is not None
    assert mesh.depth is not None
    T_crop_photo = torch.linalg.inv(aligned.T_photo_crop)
    torch.testing.assert_close(mesh.pixels, apply_homogeneous(T_crop_photo, detection.mesh[:, :2]))
    torch.testing.assert_close(mesh.depth, detection.mesh[:, 2] * float(scale_of(T_crop_photo)))
    trust = head.annotations.mesh468_trust
    assert trust is not None
    torch.testing.assert_close(mesh.precision, trust / 9.0)
    doubted, five = evidence_of(aligned, replace(detection, mesh_score=0.25), head_plan, SETTINGS).points
    assert (doubted.name, five.name) == (MESH_TERM, FIVE_TERM)
    torch.testing.assert_close(doubted.precision, 0.25 * mesh.precision)
    torch.testing.assert_close(five.precision, torch.full((5,), 0.75 / SIGMA_FIVE_PX**2))
    torch.testing.assert_close(five.pixels, aligned.five_crop.float(), atol=1e-3, rtol=0)


def test_dense_points_that_look_away_are_guesses_and_the_far_jaw_is_the_outline(
    head: FaceModel, head_plan: FitPlan
) -> None:
    aligned, detection = seen(head)
    evidence = evidence_of(aligned, detection, head_plan, SETTINGS)
    assert [seen.name for seen in evidence.points_in(turned(head, 10), head_plan)] == [MESH_TERM]
    mesh, contour = evidence.points_in(turned(head, 50), head_plan)
    assert contour.name == CONTOUR_TERM
    assert mesh.precision.max() <= evidence.points[0].precision.max()
    right, left = 234, 454  # cheeks: the person's left one is image right, the far side
    assert mesh.precision[right] == evidence.points[0].precision[right]
    assert mesh.precision[left] < 0.8 * evidence.points[0].precision[left]
    torch.testing.assert_close(contour.pixels[-1], mesh.pixels[356])


def test_a_model_without_the_dense_points_gets_the_68_and_one_without_landmarks_nothing(
    head: FaceModel, head_plan: FitPlan
) -> None:
    aligned, detection = seen(head)
    (points,) = evidence_of(aligned, detection, replace(head_plan, dense=None), SETTINGS).points
    assert points.name == POINTS_TERM
    assert len(points.pixels) == 68
    assert points.precision[:17].max() < points.precision[17:].min()  # the mesh's jaw line is not iBUG's
    with pytest.raises(ReconstructionError, match="import it with landmarks"):
        evidence_of(aligned, detection, replace(head_plan, dense=None, ibug68=None), SETTINGS)
    with pytest.raises(ReconstructionError, match="import it with landmarks"):
        evidence_of(aligned, replace(detection, mesh=None), replace(head_plan, five=None), SETTINGS)


def test_doubt_weighs_a_belief(toy_model: FaceModel, plan: FitPlan) -> None:
    """Share / (σ² + floor²), the floor in pixels of the 224 crop: a crop twice as large says the same."""
    aligned, detection = seen(toy_model)
    belief = belief_of()
    target = evidence_of(aligned, detection, plan, SETTINGS, belief).points[-1]
    assert target.name == BELIEF_TERM
    torch.testing.assert_close(target.precision, 0.5 / (belief.sigma_px**2 + BELIEF_FLOOR_PX**2))
    assert torch.equal(target.pixels, belief.points_px)
    mean = toy_model.layout.zeros()
    torch.testing.assert_close(target.points.of(mean), toy_model.mean_shape[toy_model.annotations.ibug68])
    twice = replace(aligned, camera_crop=crop_camera(size=448))
    larger = evidence_of(
        twice, detection, plan, SETTINGS, LandmarkBelief(2 * belief.points_px, 2 * belief.sigma_px)
    ).points[-1]
    torch.testing.assert_close(larger.precision, target.precision / 4.0)
    names = [
        points.name for points in evidence_of(aligned, detection, replace(plan, ibug68=None), SETTINGS, belief).points
    ]
    assert names == [POINTS_TERM]


def test_five_points_beside_a_network(head: FaceModel, head_plan: FitPlan) -> None:
    """With their share beside its landmarks; what the mesh network doubts comes on top."""
    aligned, detection = seen(head)
    for score, share in ((1.0, 0.4), (0.5, 0.9)):
        found = evidence_of(aligned, replace(detection, mesh_score=score), head_plan, SETTINGS, belief_of())
        mesh, five, belief = found.points
        assert (mesh.name, five.name, belief.name) == (MESH_TERM, FIVE_TERM, BELIEF_TERM)
        torch.testing.assert_close(five.precision, torch.full((5,), share / SIGMA_FIVE_PX**2))
        expected = five_from_68(head.mean_shape[head.annotations.ibug68])
        torch.testing.assert_close(five.points.of(head.layout.zeros()), expected)
    for settings, plan in ((replace(SETTINGS, five_share=0.0), head_plan), (SETTINGS, replace(head_plan, five=None))):
        found = evidence_of(aligned, detection, plan, settings, belief_of())
        assert [points.name for points in found.points] == [MESH_TERM, BELIEF_TERM]


@pytest.mark.parametrize(("yaw_deg", "kept"), [(25, 1.0), (45, 0.5), (60, 0.0), (80, 0.0)])
def test_the_detectors_points_fade_toward_the_profile(
    head: FaceModel, head_plan: FitPlan, yaw_deg: float, kept: float
) -> None:
    """Beside a network, either way alike; the network's own and those that a user gave do not."""
    aligned, detection = seen(head, mesh_score=0.5)
    believed = evidence_of(aligned, detection, head_plan, SETTINGS, belief_of())
    alone = evidence_of(aligned, detection, head_plan, SETTINGS)
    brought = evidence_of(aligned, replace(detection, mesh=None), head_plan, SETTINGS, belief_of())
    for side in (1.0, -1.0):
        pose = turned(head, side * yaw_deg)
        mesh, five, belief, contour = believed.points_in(pose, head_plan)
        mesh_alone, _, contour_alone = alone.points_in(pose, head_plan)
        torch.testing.assert_close(mesh.precision, kept * mesh_alone.precision)
        torch.testing.assert_close(contour.precision, kept * contour_alone.precision)
        torch.testing.assert_close(five.precision, kept * believed.points[1].precision)
        assert torch.equal(belief.precision, believed.points[2].precision)
        for points, before in zip(brought.points_in(pose, head_plan), brought.points, strict=True):
            assert torch.equal(points.precision, before.precision)
