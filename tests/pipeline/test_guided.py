"""A face model without a network, fitted to what the open head's network sees."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import Tensor

from facewright.align import align_face, five_from_68
from facewright.fit import FitPlan, FitSettings
from facewright.fit.borrowing import borrowed
from facewright.fit.laying import LaidHead, lay_on
from facewright.geometry.frames import crop_camera, pose_points, project_points
from facewright.morphable.container import load_face_model, save_face_model
from facewright.morphable.linear import FaceModel
from facewright.photo import photo_from_array
from facewright.pipeline.estimator import Candidate, Estimate
from facewright.pipeline.evidence import SeenPoints, seen_points_of
from facewright.pipeline.flow import load_reconstructor
from facewright.pipeline.guided_estimator import GuidedEstimator, seen_on
from facewright.pipeline.rnet_estimator import RNetAnswer, RNetEstimator
from facewright.records import DenseBelief, FaceCoefficients, FaceDetection, LandmarkBelief
from facewright.regress.rnet import RNet
from facewright.synthetic import open_studio, photograph, plan_plain_scene
from facewright.train.seen_points import seen_points
from tests.fit.strangers import stranger

SETTINGS = FitSettings(photometric_observations=0.0)


@pytest.fixture(scope="module")
def head() -> FaceModel:
    return load_face_model()


@pytest.fixture(scope="module")
def pair(head: FaceModel) -> tuple[FaceModel, Tensor]:
    return stranger(head, modes=30)


@pytest.fixture(scope="module")
def laid(head: FaceModel, pair: tuple[FaceModel, Tensor]) -> LaidHead:
    return lay_on(head, pair[0])


@pytest.fixture(scope="module")
def seen(head: FaceModel, pair: tuple[FaceModel, Tensor], laid: LaidHead) -> SeenPoints:
    ids = seen_points(head)
    return seen_on(laid, seen_points_of(head, FitPlan.of(head), ids), ids, FitPlan.of(pair[0]))


@dataclass(frozen=True, kw_only=True)
class Knowing(RNetEstimator):
    """A network that knows the truth."""

    truth: RNetAnswer

    def answers(self, candidates: Sequence[Candidate]) -> list[RNetAnswer]:
        return [self.truth] * len(candidates)


def guided(head: FaceModel, other: FaceModel, laid: LaidHead, seen: SeenPoints, truth: RNetAnswer) -> GuidedEstimator:
    rnet = RNet(head.layout, architecture="dlib_resnet29", width=0.1, crop_size=112)
    guide = Knowing(rnet, head, FitPlan.of(head), SETTINGS, truth=truth)
    return GuidedEstimator(guide, other, FitPlan.of(other), SETTINGS, laid, seen)


def person(head: FaceModel, yaw: float) -> FaceCoefficients:
    """Somebody in the span of the stranger: its own mean moved by nothing, with an open mouth."""
    face = head.layout.zeros()
    exp = face.exp.clone()
    exp[0, head.exp_names.index("jawOpen")] = 0.6
    person = 0.7 * torch.randn(head.layout.id, generator=_as_in_stranger(head))
    return replace(face, id=person[None], exp=exp, angles=torch.tensor([[0.1, yaw, 0.05]]))


def _as_in_stranger(head: FaceModel) -> torch.Generator:
    generator = torch.Generator().manual_seed(1)
    torch.randperm(len(head.mean_shape), generator=generator)
    torch.randn(head.layout.id, head.layout.id, generator=generator)
    return generator


def answer_about(head: FaceModel, face: FaceCoefficients) -> tuple[RNetAnswer, Candidate]:
    """What a perfect network says of the head in a crop, and the candidate that it was asked about."""
    camera, ids = crop_camera(), seen_points(head)
    posed = pose_points(head.points(ids, face.id, face.exp), face.angles, face.translation)
    pixels = project_points(posed, camera)[0]
    near = camera.distance_dm - face.translation[0, 2]
    depth = (pixels[:, 2] - near) * camera.focal_px[0] / near
    ones = torch.ones(len(ids))
    dense = DenseBelief(
        pixels[:, :2], 0.3 * ones, depth, 0.3 * ones, *(torch.ones_like(c[0]) for c in (face.id, face.exp, face.tex))
    )
    five = five_from_68(pixels[:68, :2])
    photo = photo_from_array(np.full((224, 224, 3), 128, np.uint8))
    aligned = replace(align_face(photo, five), camera_crop=camera, T_photo_crop=torch.eye(3))
    belief = LandmarkBelief(pixels[:68, :2], 0.3 * torch.ones(68))
    box = torch.cat([pixels[:, :2].amin(0), pixels[:, :2].amax(0)])
    candidate = Candidate(photo, FaceDetection(box=box, score=1.0, five=five), aligned)
    return RNetAnswer(aligned, face, belief, dense), candidate


def test_the_start_puts_the_laid_head_where_the_answer_has_it(head, pair, laid, seen) -> None:
    face = person(head, 0.5)
    answer, _ = answer_about(head, face)
    start = guided(head, pair[0], laid, seen, answer).start(face)
    ours = pose_points(laid.vertices[None], start.angles, start.translation)
    flat = (laid.vertices - laid.origin) @ laid.rotation  # back in the frame of the head
    torch.testing.assert_close(ours, pose_points(flat[None], face.angles, face.translation), atol=1e-4, rtol=0)


@pytest.mark.parametrize("yaw", [0.0, 1.0])
def test_what_is_seen_of_one_head_shapes_another(head, pair, laid, seen, yaw: float) -> None:
    order = pair[1]
    face = person(head, yaw)
    answer, candidate = answer_about(head, face)
    estimate = guided(head, pair[0], laid, seen, answer).estimates([candidate])[0]
    assert isinstance(estimate, Estimate)
    found = pose_points(estimate.mesh.vertices, estimate.pose.angles, estimate.pose.translation)[0]
    truth = pose_points(head.shape(face.id, face.exp), face.angles, face.translation)[0][order]
    region = head.annotations.regions["face"][order] > 0.5
    apart = (found - truth)[region]
    assert float(apart.mean(0).abs().max()) < 0.05  # dm: how far away a face is hardly shows
    assert float(100 * (apart - apart.mean(0)).norm(dim=-1).mean()) < 0.6


def test_depths_count_from_the_fitted_models_origin(head, pair, laid, seen) -> None:
    """The same fit with its frame moved: what a model calls its origin must change nothing."""
    other, _ = pair
    moved = FaceModel(
        **dict(other.named_buffers()) | {"mean_shape": other.mean_shape + torch.tensor([0.0, 0.2, 0.5])},
        topology=other.topology,
        metadata=other.metadata,
    )
    face = person(head, 0.6)
    answer, candidate = answer_about(head, face)
    posed = []
    for model in (other, moved):
        lying, ids = lay_on(head, model), seen_points(head)
        points = seen_on(lying, seen_points_of(head, FitPlan.of(head), ids), ids, FitPlan.of(model))
        estimate = guided(head, model, lying, points, answer).estimates([candidate])[0]
        assert isinstance(estimate, Estimate)
        posed.append(pose_points(estimate.mesh.vertices, estimate.pose.angles, estimate.pose.translation))
    apart = posed[0] - posed[1]
    assert float(apart.mean((0, 1)).abs().max()) < 0.05  # dm: how far away a face is hardly shows
    assert float(100 * (apart - apart.mean(1)).norm(dim=-1).mean()) < 0.4


def test_a_brought_model_is_guided_unless_the_fit_alone_is_asked_for(head, pair, tmp_path) -> None:
    save_face_model(pair[0], tmp_path / "stranger.npz")
    save_face_model(stranger(head, landmarks=False)[0], tmp_path / "nameless.npz")
    brought = tmp_path / "stranger.npz"
    assert load_reconstructor(face_model=brought, weights="open").estimator.method == "guided"
    assert load_reconstructor(face_model=brought, method="fit").estimator.method == "fit"
    assert load_reconstructor(face_model=tmp_path / "nameless.npz").estimator.method == "fit"


def test_a_photo_is_reconstructed_with_a_brought_model(head, pair, tmp_path) -> None:
    studio = open_studio()
    scene = photograph(studio, plan_plain_scene(studio, 3, size=300), oversampling=1)
    save_face_model(borrowed(pair[0], head)[0], tmp_path / "stranger.npz")
    flow = load_reconstructor(face_model=tmp_path / "stranger.npz")
    assert flow.estimator.method == "guided"
    face = flow.faces_in(scene.photo)[0]
    size = (scene.landmarks[:, :2].amax(0) - scene.landmarks[:, :2].amin(0)).prod().sqrt()
    apart = (face.landmarks - scene.landmarks[:, :2]).norm(dim=-1).mean() / size
    assert float(apart) < 0.04
    assert face.coefficients.tex.abs().max() > 0.01  # its borrowed skin was fitted
