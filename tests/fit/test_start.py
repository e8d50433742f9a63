"""Fits that begin where a network saw the face: what its say is worth, and what it cannot spoil."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from facewright.align import align_face, five_from_68
from facewright.fit import FitPlan, FitSettings, around, prior_of
from facewright.geometry.color import srgb_from_linear
from facewright.geometry.frames import apply_homogeneous, crop_camera, project_points
from facewright.geometry.pose import posed_mesh
from facewright.geometry.rotations import geodesic_angle, rotation_from_angles
from facewright.morphable.container import load_face_model
from facewright.morphable.linear import FaceModel
from facewright.morphable.sample import sample_coefficients
from facewright.morphable.toy import toy_face_model
from facewright.photo import photo_from_array
from facewright.pipeline.evidence import BELIEF_TERM, fit_from
from facewright.records import AlignedFace, FaceCoefficients, FaceDetection, LandmarkBelief, Photo
from facewright.render.renderer import render

BACKDROP = 0.2
OFF_DEG = (6.0, 9.0, 4.0)
"""By how much a network's pose is wrong."""


@pytest.fixture(scope="module")
def head() -> FaceModel:
    return load_face_model()


@pytest.fixture(scope="module")
def plan(head: FaceModel) -> FitPlan:
    return FitPlan.of(head)


def turned_person(head: FaceModel, seed: int, yaw_deg: float) -> FaceCoefficients:
    drawn = sample_coefficients(head, torch.Generator().manual_seed(seed), expressions=True)
    angles = torch.deg2rad(torch.tensor([[5.0, yaw_deg, 3.0]]))
    return replace(drawn, angles=angles, sh=torch.zeros(1, 9, 3), translation=torch.zeros(1, 3))


def photo_of(head: FaceModel, truth: FaceCoefficients) -> tuple[Photo, Tensor]:
    """A picture, and the landmarks in it."""
    mesh, camera = posed_mesh(head.decode(truth), truth.pose), crop_camera()
    drawn = render(mesh, camera, truth.sh)
    linear = drawn.image + (1.0 - drawn.mask) * BACKDROP
    marks = project_points(mesh.vertices[:, head.annotations.ibug68], camera)[0, :, :2]
    return photo_from_array(srgb_from_linear(linear)[0].clamp(0, 1).permute(1, 2, 0)), marks


def lost_detection(head: FaceModel, truth: FaceCoefficients) -> FaceDetection:
    """What a detector says in profile, and is fairly sure of: the same face, turned by five sevenths as much."""
    less = replace(truth, angles=truth.angles * torch.tensor([1.0, 5 / 7, 1.0]))
    vertices = posed_mesh(head.decode(less), less.pose).vertices
    assert head.annotations.mesh468 is not None
    dense = project_points(head.annotations.mesh468.of(vertices), crop_camera())[0]
    in_pixels = torch.cat([dense[:, :2], 101.5 * (dense[:, 2:] - 10.0)], 1)
    marks = project_points(vertices[:, head.annotations.ibug68], crop_camera())[0, :, :2]
    return FaceDetection(torch.cat([marks.amin(0), marks.amax(0)]), 1.0, five_from_68(marks), in_pixels, 0.8)


def nearly(truth: FaceCoefficients, head: FaceModel) -> FaceCoefficients:
    """A network's answer: the mean person, turned and placed a little wrong."""
    return replace(
        head.layout.zeros(),
        angles=truth.angles + torch.deg2rad(torch.tensor([OFF_DEG])) * -truth.angles.sign(),
        translation=truth.translation + torch.tensor([[0.05, -0.05, 0.2]]),
    )


def believed(aligned: AlignedFace, marks: Tensor, rng: torch.Generator) -> LandmarkBelief:
    """Nearly true landmarks, in the crop."""
    seen = apply_homogeneous(torch.linalg.inv(aligned.T_photo_crop), marks)
    return LandmarkBelief(seen + 0.7 * torch.randn(68, 2, generator=rng), torch.full((68,), 1.0))


def off_deg(found: FaceCoefficients, truth: FaceCoefficients) -> float:
    turns = (rotation_from_angles(c.angles) for c in (found, truth))
    return float(torch.rad2deg(geodesic_angle(*turns)))


@pytest.mark.parametrize(("seed", "yaw_deg"), [(0, 70.0), (2, -75.0)])
def test_a_networks_landmarks_rescue_a_profile_that_the_detector_lost(
    head: FaceModel, plan: FitPlan, rng: torch.Generator, seed: int, yaw_deg: float
) -> None:
    truth = turned_person(head, seed, yaw_deg)
    photo, marks = photo_of(head, truth)
    aligned = align_face(photo, five_from_68(marks))
    detection, start = lost_detection(head, truth), nearly(truth, head)
    alone, helped = (
        fit_from(start, aligned, detection, plan, FitSettings().refining(1), belief)
        for belief in (None, believed(aligned, marks, rng))
    )
    assert off_deg(start, truth) > 8.0
    assert off_deg(helped.coefficients, truth) < 2.0
    assert off_deg(alone.coefficients, truth) > 10.0
    assert BELIEF_TERM in helped.residuals
    assert BELIEF_TERM not in alone.residuals
    c = helped.coefficients
    seen = posed_mesh(head.decode(c), c.pose).vertices[:, head.annotations.ibug68]
    assert float((project_points(seen, aligned.camera_photo)[0, :, :2] - marks).norm(dim=-1).mean()) < 1.5


def test_refining_is_deterministic_and_leaves_its_arguments_alone(
    head: FaceModel, plan: FitPlan, rng: torch.Generator
) -> None:
    truth = turned_person(head, 3, 30.0)
    photo, marks = photo_of(head, truth)
    aligned = align_face(photo, five_from_68(marks))
    start, belief = nearly(truth, head), believed(aligned, marks, rng)
    before = head.layout.pack(start), belief.points_px.clone()
    once, again = (
        fit_from(start, aligned, lost_detection(head, truth), plan, FitSettings().refining(2), belief) for _ in range(2)
    )
    assert torch.equal(*(head.layout.pack(result.coefficients) for result in (once, again)))
    assert once.residuals == again.residuals
    assert torch.equal(head.layout.pack(start), before[0])
    assert torch.equal(belief.points_px, before[1])


def test_refined_blendshapes_stay_in_their_box_wherever_they_start(rng: torch.Generator) -> None:
    """A network knows no bounds."""
    model = toy_face_model(exp_prior="box")
    truth = replace(model.layout.zeros(), exp=torch.tensor([[0.6, 0.0, 0.3]]))
    photo, marks = photo_of(model, truth)
    five = five_from_68(marks)
    aligned = align_face(photo, five)
    detection = FaceDetection(torch.cat([marks.amin(0), marks.amax(0)]), 1.0, five)
    start = replace(truth, exp=torch.tensor([[1.6, -0.5, 0.3]]))
    for belief in (None, believed(aligned, marks, rng)):
        found = fit_from(start, aligned, detection, FitPlan.of(model), FitSettings().refining(1), belief)
        assert found.coefficients.exp.min() >= 0
        assert found.coefficients.exp.max() <= 1


def test_a_refining_fit_takes_few_steps_on_sharp_pixels() -> None:
    settings = FitSettings(blurs_px=(2.0, 0.7), refine_iterations=3, id_sigma=0.4)
    fewer = settings.refining(2)
    assert fewer.blurs_px == (0.7, 0.7)
    assert fewer.photometric_iterations == 3
    assert fewer.point_iterations < settings.point_iterations
    assert fewer.point_rounds < settings.point_rounds
    assert fewer.id_sigma == 0.4


@pytest.mark.parametrize("exp_prior", ["normal", "box"])
def test_the_prior_around_a_start_expects_its_shape_alone(exp_prior: str, rng: torch.Generator) -> None:
    model = toy_face_model(exp_prior=exp_prior)  # pyright: ignore[reportArgumentType] - parametrised by the kinds
    plan = FitPlan.of(model)
    unknowns, exp_sigmas = plan.unknowns, torch.tensor([0.1, 0.2, 0.4])
    start = model.layout.unpack(torch.rand(1, model.layout.size, generator=rng))
    plain = prior_of(plan, FitSettings())
    before = copy.deepcopy(plain)
    prior = around(plain, start, unknowns, id=0.5, exp=exp_sigmas)
    for part, sigmas in (("id", torch.full((model.layout.id,), 0.5)), ("exp", exp_sigmas)):
        columns = getattr(unknowns, part)
        torch.testing.assert_close(prior.mean[columns], getattr(start, part)[0])
        torch.testing.assert_close(prior.precision[columns], sigmas**-2)
    rest = torch.ones(unknowns.size, dtype=torch.bool)
    rest[unknowns.id], rest[unknowns.exp] = False, False
    assert torch.equal(prior.precision[rest], plain.precision[rest])
    assert torch.equal(prior.mean[rest], plain.mean[rest])
    assert not prior.slope.any()  # a network says how strong an expression is: it need not be sparse
    assert torch.equal(prior.lower, plain.lower)
    assert torch.equal(prior.upper, plain.upper)
    assert all(torch.equal(getattr(plain, name), getattr(before, name)) for name in ("precision", "mean", "slope"))
    assert prior.cost(unknowns.values(start)) < plain.cost(unknowns.values(start))


def test_a_skin_far_too_dark_becomes_the_photos(head: FaceModel, plan: FitPlan) -> None:
    """Light and albedo have six steps of their own: with two, the residual stays four times as large."""
    truth = turned_person(head, 3, 10.0)
    photo, marks = photo_of(head, truth)
    five = five_from_68(marks)
    aligned = align_face(photo, five)
    dark = torch.zeros(1, 9, 3)
    dark[:, 0] = -0.79  # of the 0.8 that the default light has
    start = replace(truth, tex=torch.full_like(truth.tex, -1.5), sh=dark)
    detection = FaceDetection(torch.cat([marks.amin(0), marks.amax(0)]), 1.0, five)
    found = fit_from(start, aligned, detection, plan, FitSettings().refining(1))
    assert found.residuals["photometric"] < 0.008
