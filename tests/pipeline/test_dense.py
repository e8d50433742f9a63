"""What a network says of many points, their depths and its own doubts, and what the fit makes of it."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from facewright.align import align_face, five_from_68
from facewright.errors import WeightsError
from facewright.fit import FitPlan, FitSettings
from facewright.fit.points import depth_term
from facewright.geometry.frames import CROP_SIZE, crop_camera, pose_points, project_points
from facewright.morphable.container import load_face_model
from facewright.morphable.linear import FaceModel
from facewright.morphable.mirror import MirrorMap, mirror_partners
from facewright.photo import photo_from_array
from facewright.pipeline.estimator import Candidate
from facewright.pipeline.evidence import (
    BELIEF_TERM,
    DENSE_TERM,
    Seen,
    SeenPoints,
    evidence_of,
    fit_from,
    seen_points_of,
)
from facewright.pipeline.mirrored import Mirror, predicted
from facewright.pipeline.rnet_estimator import RNetEstimator
from facewright.records import AlignedFace, DenseBelief, FaceCoefficients, FaceDetection, LandmarkBelief, Photo
from facewright.regress.rnet import RNet, RNetPrediction
from facewright.train.seen_points import seen_points

SETTINGS = FitSettings(photometric_observations=0.0).refining(1)


@pytest.fixture(scope="module")
def plan(toy_model: FaceModel) -> FitPlan:
    return FitPlan.of(toy_model)


@pytest.fixture(scope="module")
def points(toy_model: FaceModel, plan: FitPlan) -> SeenPoints:
    return seen_points_of(toy_model, plan, seen_points(toy_model))


def person(model: FaceModel) -> FaceCoefficients:
    rng = torch.Generator().manual_seed(3)
    drawn = model.layout.unpack(torch.randn(1, model.layout.size, generator=rng))
    zeros = model.layout.zeros()
    return replace(zeros, id=drawn.id, exp=0.5 * drawn.exp, angles=torch.tensor([[0.1, 0.3, 0.05]]))


def pixels_and_depths(points: SeenPoints, face: FaceCoefficients) -> Tensor:
    """Column, row and depth behind the head's origin, px."""
    camera = crop_camera()
    seen = project_points(pose_points(points.points.of(face)[None], face.angles, face.translation), camera)[0]
    near = camera.distance_dm - face.translation[0, 2]
    return torch.cat([seen[:, :2], ((seen[:, 2:] - near) * camera.focal_px / near)], 1)


def believed(model: FaceModel, points: SeenPoints, face: FaceCoefficients, *, doubt: float = 0.3) -> DenseBelief:
    seen, ones = pixels_and_depths(points, face), torch.ones(len(points.expressive))
    doubts = [torch.full((k,), doubt) for k in (model.layout.id, model.layout.exp, model.layout.tex)]
    return DenseBelief(seen[:, :2], 0.5 * ones, seen[:, 2], 0.5 * ones, *doubts)


def detected(model: FaceModel, face: FaceCoefficients) -> tuple[AlignedFace, FaceDetection]:
    """Five points of an empty picture that is its own crop."""
    world = pose_points(model.shape(face.id, face.exp), face.angles, face.translation)
    marks = project_points(world[:, model.annotations.ibug68], crop_camera())[0, :, :2]
    five = five_from_68(marks)
    aligned = align_face(Photo(torch.zeros(3, CROP_SIZE, CROP_SIZE, dtype=torch.uint8)), five)
    itself = replace(aligned, T_photo_crop=torch.eye(3, dtype=aligned.T_photo_crop.dtype))
    return itself, FaceDetection(torch.zeros(4), 1.0, five)


def test_many_points_replace_the_landmarks_each_by_its_doubt(
    toy_model: FaceModel, plan: FitPlan, points: SeenPoints
) -> None:
    face = person(toy_model)
    aligned, detection = detected(toy_model, face)
    belief = believed(toy_model, points, face)
    marks = LandmarkBelief(belief.points_px[:68], belief.sigma_px[:68])
    settings = replace(SETTINGS, dense_share=0.2, expressive_share=0.5, dense_floor_px=1.0, expressive_floor_px=1.0)
    half = SeenPoints(points.points, torch.linspace(0.0, 1.0, len(points.expressive)))
    evidence = evidence_of(aligned, detection, plan, settings, marks, Seen(half, belief))
    names = [seen.name for seen in evidence.points]
    assert DENSE_TERM in names
    assert BELIEF_TERM not in names
    (dense,) = [seen for seen in evidence.points if seen.name == DENSE_TERM]
    torch.testing.assert_close(dense.precision, (0.2 + 0.3 * half.expressive) / (0.25 + 1.0))
    torch.testing.assert_close(dense.depth_precision, torch.full_like(dense.precision, 0.2 / 1.25))


def test_depth_is_counted_from_the_heads_origin_and_has_exact_derivatives(
    toy_model: FaceModel, plan: FitPlan, points: SeenPoints
) -> None:
    face = replace(person(toy_model), translation=torch.tensor([[0.2, -0.1, 0.6]]))
    face, exact = face.to(torch.float64), points.to(torch.float64)
    belief = believed(toy_model, exact, face).to(torch.float64)
    aligned, detection = detected(toy_model, face.to(torch.float32))
    evidence = evidence_of(aligned, detection, plan, SETTINGS, dense=Seen(exact, belief))
    seen, camera, unknowns = evidence.points[-1].to(torch.float64), crop_camera().to(torch.float64), plan.unknowns
    term = depth_term(seen, face, camera, unknowns)
    assert term is not None
    assert float(term.residual.abs().max()) < 1e-4
    step = torch.randn(unknowns.geometry.stop, dtype=torch.float64)
    full = torch.cat([1e-5 * step, torch.zeros(unknowns.size - len(step), dtype=torch.float64)])
    ahead, behind = (depth_term(seen, unknowns.stepped(face, sign * full), camera, unknowns) for sign in (1.0, -1.0))
    assert ahead is not None
    assert behind is not None
    slope = (ahead.residual - behind.residual) / 2e-5
    torch.testing.assert_close(slope, term.jacobian @ step, rtol=1e-4, atol=1e-4)
    assert depth_term(replace(seen, depth_precision=None), face, camera, unknowns) is None


def test_many_points_with_depth_find_a_face_that_landmarks_alone_do_not(
    toy_model: FaceModel, plan: FitPlan, points: SeenPoints
) -> None:
    face = person(toy_model)
    aligned, detection = detected(toy_model, face)
    belief = believed(toy_model, points, face, doubt=1.0)
    start = replace(toy_model.layout.zeros(), angles=face.angles, translation=face.translation)
    flat = replace(belief, depth_sigma_px=torch.full_like(belief.sigma_px, 1e4))
    shape = toy_model.shape(face.id, face.exp)

    def off(belief: DenseBelief) -> float:
        found = fit_from(start, aligned, detection, plan, SETTINGS, dense=Seen(points, belief)).coefficients
        return float((toy_model.shape(found.id, found.exp) - shape).norm(dim=-1).mean())

    deep, without = off(belief), off(flat)
    assert deep < 0.8 * without
    assert deep < 0.25 * float((toy_model.mean_shape - shape).norm(dim=-1).mean())


def test_refinement_moves_more_where_the_network_doubts_more(
    toy_model: FaceModel, plan: FitPlan, points: SeenPoints
) -> None:
    """The same evidence, the same answer: only what the network says of its own certainty differs."""
    face = person(toy_model)
    aligned, detection = detected(toy_model, face)
    start = replace(toy_model.layout.zeros(), angles=face.angles, translation=face.translation)

    def moved(id_doubt: float, exp_doubt: float) -> tuple[float, float]:
        belief = believed(toy_model, points, face)
        belief = replace(
            belief,
            id_sigma=torch.full_like(belief.id_sigma, id_doubt),
            exp_sigma=torch.full_like(belief.exp_sigma, exp_doubt),
        )
        found = fit_from(start, aligned, detection, plan, SETTINGS, dense=Seen(points, belief)).coefficients
        return float(found.id.norm()), float(found.exp.norm())

    sure, of_face, of_expression = moved(0.02, 0.02), moved(1.0, 0.02), moved(0.02, 1.0)
    assert of_face[0] > 5 * sure[0]
    assert of_expression[1] > 5 * sure[1]
    wide = replace(SETTINGS, doubt_scale=10.0)
    belief = believed(toy_model, points, face, doubt=0.02)
    found = fit_from(start, aligned, detection, plan, wide, dense=Seen(points, belief)).coefficients
    assert float(found.id.norm()) > 2 * sure[0]


def test_points_of_another_head_are_refused(toy_model: FaceModel, plan: FitPlan) -> None:
    with pytest.raises(WeightsError, match=r"see vertices 0 to \d+ of face model 'toy', received 0 to 100000"):
        seen_points_of(toy_model, plan, torch.tensor([0, 100_000]))


def test_answers_with_a_mirror_are_those_of_the_mirrored_picture(toy_model: FaceModel) -> None:
    ids = seen_points(toy_model)
    codes, partners = MirrorMap.of(toy_model), mirror_partners(toy_model, ids)
    assert codes is not None
    assert partners is not None
    net = RNet(toy_model.layout, architecture="dlib_resnet21", width=0.125, crop_size=64, points=ids).eval()
    for name, parameter in net.named_parameters():
        if not name.startswith("backbone."):
            torch.nn.init.normal_(parameter, std=0.3)
    mirror, crops = Mirror(codes, partners), torch.rand(3, 3, 64, 64)
    with torch.no_grad():
        once, other = predicted(net, crops, mirror), predicted(net, crops.flip(-1), mirror)
        plain = predicted(net, crops, None)
    back = codes.faces(other.coefficients)
    for name in ("id", "exp", "tex", "angles", "translation", "sh"):
        torch.testing.assert_close(getattr(back, name), getattr(once.coefficients, name), atol=1e-3, rtol=1e-3)
        assert (getattr(plain.coefficients, name) - getattr(once.coefficients, name)).abs().max() > 0.01
    assert once.points_px is not None
    assert other.points_px is not None
    flipped = torch.cat([63 - other.points_px[..., :1], other.points_px[..., 1:]], -1)[:, partners]
    torch.testing.assert_close(once.points_px, flipped, atol=1e-3, rtol=0)
    assert other.depth_px is not None
    torch.testing.assert_close(once.depth_px, other.depth_px[:, partners], atol=1e-3, rtol=0)


class WatchedNet(RNet):
    """Keeps what it was shown."""

    def predict(self, crops: Tensor) -> RNetPrediction:
        self.shown = [*getattr(self, "shown", []), crops]
        return super().predict(crops)


def test_every_look_is_at_the_mirror_image_too(toy_model: FaceModel) -> None:
    ids = seen_points(toy_model)
    codes, partners = MirrorMap.of(toy_model), mirror_partners(toy_model, ids)
    assert codes is not None
    assert partners is not None
    net = WatchedNet(toy_model.layout, architecture="dlib_resnet21", width=0.125, crop_size=64, points=ids).eval()
    mirror = Mirror(codes, partners)
    estimator = RNetEstimator(net, toy_model, FitPlan.of(toy_model), SETTINGS, looks=2, mirror=mirror)
    photo = photo_from_array(torch.rand(300, 300, 3))
    _, detection = detected(toy_model, person(toy_model))
    estimator.answers([Candidate(photo, detection, estimator.crop(photo, detection.five))])
    assert len(net.shown) == 2
    for pictures in net.shown:
        torch.testing.assert_close(pictures[1], pictures[0].flip(-1))


@pytest.fixture(scope="module")
def head() -> FaceModel:
    return load_face_model()


@pytest.mark.parametrize(
    "shown",
    [
        {"eyeBlinkLeft": 1.0, "eyeBlinkRight": 1.0},
        {"eyeBlinkLeft": 1.0},
        {"jawOpen": 0.9},
        {"mouthSmileLeft": 0.9, "mouthSmileRight": 0.9},
    ],
    ids=["blink", "wink", "wide mouth", "smile"],
)
def test_lids_and_lips_close_an_eye_and_open_a_mouth_that_the_answer_did_not(
    head: FaceModel, shown: dict[str, float], rng: torch.Generator
) -> None:
    """The network says neutral, a little unsure, and sees points to a pixel: what they show is found."""
    plan, neutral = FitPlan.of(head), head.layout.zeros()
    points = seen_points_of(head, plan, seen_points(head))
    exp = torch.tensor([[shown.get(name, 0.0) for name in head.exp_names]])
    aligned, detection = detected(head, neutral)
    belief = believed(head, points, replace(neutral, exp=exp))
    belief = replace(
        belief,
        points_px=belief.points_px + torch.randn(belief.points_px.shape, generator=rng),
        sigma_px=torch.ones_like(belief.sigma_px),
        exp_sigma=torch.full_like(belief.exp_sigma, 0.25),
    )
    found = fit_from(neutral, aligned, detection, plan, SETTINGS, dense=Seen(points, belief)).coefficients
    for name, weight in shown.items():
        assert abs(float(found.exp[0, head.exp_names.index(name)]) - weight) < 0.25, name
    others = [k for k, name in enumerate(head.exp_names) if name not in shown]
    assert float(found.exp[0, others].abs().mean()) < 0.05
