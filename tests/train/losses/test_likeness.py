"""Identity in millimetres: blind to what pose explains, by hand on small cases, alike over pictures and mirrors."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from facewright.geometry.frames import crop_camera, pose_points, project_points
from facewright.geometry.mesh import vertex_normals
from facewright.geometry.resection import project_by, projection_from_points
from facewright.geometry.rotations import rotation_from_angles
from facewright.morphable.linear import FaceModel
from facewright.morphable.mirror import MirrorMap, mirror_partners
from facewright.records import FaceCoefficients
from facewright.regress.rnet import RNetPrediction
from facewright.render.lighting import sh_shading
from facewright.train.losses.dense import FAR, coefficient_likelihood, depth_likelihood
from facewright.train.losses.likeness import (
    HIDDEN_SHARE,
    FaceSample,
    likeness_error,
    people_of,
    same_person_error,
    sample_face,
    spread_error,
)
from facewright.train.losses.likeness_terms import FaceRig, likeness_terms, make_rig, mirror_term, wanted_points
from facewright.train.samples import TrainingBatch
from facewright.train.seen_points import seen_points

SIZE, FACES = 64, 4


@pytest.fixture(scope="module")
def rig(toy_model: FaceModel) -> FaceRig:
    return make_rig(toy_model, seen_points(toy_model))


@pytest.fixture(scope="module")
def one_way() -> FaceSample:
    """Two points, each moved by a code of its own along x, 1 mm a unit; one looks ahead, one back."""
    basis = torch.zeros(2, 3, 2)
    basis[0, 0, 0] = basis[1, 0, 1] = 1.0
    return FaceSample(torch.arange(2), basis, torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, -1.0]]))


def faces_of(model: FaceModel, count: int, seed: int = 0) -> FaceCoefficients:
    rng = torch.Generator().manual_seed(seed)
    return model.layout.unpack(0.3 * torch.randn(count, model.layout.size, generator=rng))


def batch_of(model: FaceModel, truth: FaceCoefficients, distance_dm: float = 10.0) -> TrainingBatch:
    """Pictures by a camera that may stand elsewhere than the crop's."""
    camera = crop_camera(size=SIZE)
    camera = replace(camera, distance_dm=distance_dm, focal_px=camera.focal_px * distance_dm / 10.0)
    world = pose_points(model.shape(truth.id, truth.exp), truth.angles, truth.translation)
    assert model.annotations.ibug68 is not None
    marks = project_points(world[:, model.annotations.ibug68], camera)[..., :2]
    known, count = torch.ones(len(world), dtype=torch.bool), len(world)
    return TrainingBatch(
        torch.zeros(count, 3, SIZE, SIZE),
        torch.zeros(count, SIZE, SIZE),
        marks,
        torch.ones(count, 68),
        torch.zeros(count, 468, 2),
        torch.zeros(count, 468),
        truth,
        known,
    )


def test_pose_and_size_are_no_likeness(toy_model: FaceModel) -> None:
    """What turns, moves or grows the head is taken out of the basis: at right angles to all seven motions."""
    sample = sample_face(toy_model, 60)
    place = toy_model.mean_shape[sample.ids]
    place = place - place.mean(0)
    axes = torch.eye(3)
    motions = [axis.expand_as(place) for axis in axes]
    motions += [torch.linalg.cross(axis.expand_as(place), place) for axis in axes] + [place]
    for motion in motions:
        along = torch.einsum("nc,nck->k", motion, sample.basis_mm) / motion.norm()
        assert along.abs().max() < 1e-3 * sample.basis_mm.square().sum((0, 1)).sqrt().max()
    explained = 100.0 * toy_model.id_basis[sample.ids] - sample.basis_mm
    stacked = torch.stack([motion.flatten() for motion in motions], -1).double()
    outside = explained.flatten(0, 1).double() - stacked @ torch.linalg.pinv(stacked) @ explained.flatten(0, 1).double()
    assert outside.abs().max() < 1e-4 * explained.abs().max()
    assert len(set(sample.ids.tolist())) == len(sample.ids) == 60


def test_likeness_counts_what_is_seen(one_way: FaceSample) -> None:
    ahead = torch.zeros(1, 3)
    found = torch.tensor([[2.0, 0.0]])
    first = likeness_error(one_way, found, torch.zeros(1, 2), ahead)
    other = likeness_error(one_way, found.flip(-1), torch.zeros(1, 2), ahead)
    seen, hidden = 1 / (1 + HIDDEN_SHARE), HIDDEN_SHARE / (1 + HIDDEN_SHARE)
    torch.testing.assert_close(first, torch.tensor([2.0 * seen]), atol=0.02, rtol=0)
    torch.testing.assert_close(other, torch.tensor([2.0 * hidden]), atol=0.02, rtol=0)
    turned = torch.tensor([[0.0, math.pi, 0.0]])
    torch.testing.assert_close(likeness_error(one_way, found, torch.zeros(1, 2), turned), other)


def test_same_person_is_the_distance_from_the_persons_mean(one_way: FaceSample) -> None:
    codes = torch.tensor([[1.0, 0.0], [3.0, 0.0], [7.0, 7.0]])
    people = people_of(torch.tensor([[0.5, 0.1], [0.5, 0.1], [0.4, 0.1]]))
    assert people[0] == people[1] != people[2]
    found = same_person_error(one_way, codes, people)
    torch.testing.assert_close(found, torch.tensor([1.0, 1.0, 0.0]) / 2**0.5, atol=1e-3, rtol=0)  # one of two points


def test_spread_asks_for_true_distances_between_people_alone(one_way: FaceSample) -> None:
    truth = torch.tensor([[0.0, 0.0], [0.0, 0.0], [4.0, 0.0]])
    people = people_of(truth)
    assert spread_error(one_way, truth + 9.0, truth, people).abs().max() < 1e-5  # all moved alike
    shrunk = spread_error(one_way, 0.5 * truth, truth, people)
    torch.testing.assert_close(shrunk, torch.full((3,), 2.0 / 2**0.5), atol=1e-3, rtol=0)
    apart = truth + torch.tensor([[0.0, 0.0], [0.0, 3.0], [0.0, 0.0]])  # the same person's distance is not asked about
    assert float(spread_error(one_way, apart, truth, people)[0]) < 1e-5
    alone = spread_error(one_way, truth[:2], truth[:2], people[:2])
    assert float(alone.abs().max()) == 0.0
    # it pushes people apart, and has a slope where all answers are the same
    flat = (torch.zeros(3, 2) + 1e-3 * torch.arange(6.0).view(3, 2)).requires_grad_()
    spread_error(one_way, flat, truth, people).sum().backward()
    assert flat.grad is not None
    assert bool(flat.grad.isfinite().all())
    assert float((flat.grad[2] - flat.grad[0]) @ (flat.detach()[2] - flat.detach()[0])) < 0


def test_stated_doubts_are_best_where_they_are_the_errors() -> None:
    error = torch.tensor([[0.3, -0.3]], requires_grad=True)
    sigma = torch.tensor([[0.3, 0.6]], requires_grad=True)
    coefficient_likelihood(error, sigma, torch.ones(2)).sum().backward()
    assert sigma.grad is not None
    assert error.grad is None
    assert float(sigma.grad[0, 0]) == pytest.approx(0.0, abs=1e-6)
    assert float(sigma.grad[0, 1]) > 0.1
    heavy = coefficient_likelihood(error, sigma, torch.tensor([1.0, 0.0]))
    assert float(heavy.detach()) == pytest.approx(math.log(0.3) + 0.5)


def test_depth_likelihood_is_a_gaussians_and_linear_far_off() -> None:
    one, sigma = torch.ones(1, 1), torch.tensor([[2.0]], requires_grad=True)

    def at(distance: float) -> Tensor:
        return depth_likelihood(torch.tensor([[distance]]), sigma, torch.zeros(1, 1), one, 100)

    at(2.0).backward()
    assert sigma.grad is not None
    assert float(sigma.grad) == pytest.approx(0.0, abs=1e-6)
    density = torch.distributions.Normal(0.0, 2.0)
    expected = density.log_prob(torch.tensor(1.0)) - density.log_prob(torch.tensor(3.0))
    assert float((at(3.0) - at(1.0)).detach()) == pytest.approx(float(expected))
    assert float((at(40.0) - at(38.0)).detach()) == pytest.approx(FAR, rel=1e-4)


@pytest.mark.parametrize("distance_dm", [5.0, 10.0, 30.0])
def test_points_are_wanted_where_the_camera_that_took_the_picture_sees_them(
    toy_model: FaceModel, distance_dm: float
) -> None:
    """Though the crop's own camera stands elsewhere, and the crop was turned, moved and resized afterwards."""
    truth = faces_of(toy_model, FACES)
    batch = batch_of(toy_model, truth, distance_dm)
    points = seen_points(toy_model)
    camera = crop_camera(size=SIZE)
    camera = replace(camera, distance_dm=distance_dm, focal_px=camera.focal_px * distance_dm / 10.0)
    world = pose_points(toy_model.points(points, truth.id, truth.exp), truth.angles, truth.translation)
    expected = project_points(world, camera)
    away = distance_dm - truth.translation[:, 2:]
    depth = (expected[..., 2] - away) * camera.focal_px / away
    turn = torch.tensor([[0.96, -0.28], [0.28, 0.96]])
    moved = replace(batch, landmarks=1.2 * batch.landmarks @ turn.T + 3.0)
    wanted, weights = wanted_points(moved, toy_model, points)
    torch.testing.assert_close(wanted[..., :2], 1.2 * expected[..., :2] @ turn.T + 3.0, atol=2e-2, rtol=0)
    torch.testing.assert_close(wanted[..., 2], 1.2 * depth, atol=5e-2, rtol=0)
    assert bool((weights == 1).all())
    photographs = replace(moved, truth_known=torch.zeros(FACES, dtype=torch.bool))
    wanted, weights = wanted_points(photographs, toy_model, points)
    torch.testing.assert_close(wanted[:, :68, :2], moved.landmarks)
    assert float(weights[:, 68:].sum()) == 0.0


def test_a_projection_is_found_again(toy_model: FaceModel) -> None:
    truth = faces_of(toy_model, FACES)
    world = pose_points(toy_model.shape(truth.id, truth.exp), truth.angles, truth.translation)
    camera = crop_camera(size=SIZE)
    pixels = project_points(world, camera)
    weights = torch.ones(pixels.shape[:2])
    weights[:, ::3] = 0.0
    wrong = pixels[..., :2] + 50.0 * (1.0 - weights[..., None])  # what weighs nothing says nothing
    found = projection_from_points(toy_model.shape(truth.id, truth.exp), wrong, weights)
    seen = found @ torch.cat([toy_model.mean_shape, torch.ones_like(toy_model.mean_shape[:, :1])], 1).T
    mean = toy_model.mean_shape.expand(FACES, -1, -1)
    there = project_points(pose_points(mean, truth.angles, truth.translation), camera)
    torch.testing.assert_close(seen[:, 2], there[..., 2], atol=0.05, rtol=0)
    torch.testing.assert_close(project_by(found, mean)[..., :2], there[..., :2], atol=1e-2, rtol=0)


def perfect(model: FaceModel, truth: FaceCoefficients, batch: TrainingBatch, rig: FaceRig) -> RNetPrediction:
    assert rig.points is not None
    wanted, _ = wanted_points(batch, model, rig.points)
    ones = torch.ones(wanted.shape[:2])
    doubts = [torch.full_like(part, 0.1) for part in (truth.id, truth.exp, truth.tex)]
    return RNetPrediction(truth, wanted[..., :2], ones, wanted[..., 2], ones, *doubts)


def test_terms_are_smallest_at_the_truth_and_have_gradients(toy_model: FaceModel, rig: FaceRig) -> None:
    truth = faces_of(toy_model, FACES)
    truth = replace(truth, id=truth.id[[0, 0, 1, 2]])  # two pictures of one person
    batch = batch_of(toy_model, truth)
    right = perfect(toy_model, truth, batch, rig)
    best = likeness_terms(right, batch, toy_model, rig)
    assert set(best) == {"likeness", "same_person", "spread", "skin", "shaded", "doubts", "points", "depth"}
    for name in ("likeness", "same_person", "spread", "skin", "shaded"):
        assert float(best[name]) < 0.02, name
    shift = toy_model.layout.unpack(0.2 * torch.randn(FACES, toy_model.layout.size))
    off = FaceCoefficients(*(getattr(truth, n) + getattr(shift, n) for n in truth.__dataclass_fields__))
    assert right.points_px is not None
    assert right.depth_px is not None
    wrong = replace(right, coefficients=off, points_px=right.points_px + 2.0, depth_px=right.depth_px + 2.0)
    assert wrong.points_px is not None
    assert wrong.depth_px is not None
    codes = [part.requires_grad_() for part in (off.id, off.tex, off.sh, wrong.points_px, wrong.depth_px)]
    worse = likeness_terms(wrong, batch, toy_model, rig)
    for name, value in worse.items():
        assert float(value.detach()) > float(best[name]) + 0.01, name
    gradients = torch.autograd.grad(sum(worse.values(), start=torch.zeros(())), codes)
    assert all(bool(g.isfinite().all()) and float(g.abs().sum()) > 0 for g in gradients)


def test_pictures_without_truth_change_nothing(toy_model: FaceModel, rig: FaceRig) -> None:
    truth = faces_of(toy_model, FACES)
    batch = batch_of(toy_model, truth)
    guess = replace(perfect(toy_model, truth, batch, rig), coefficients=faces_of(toy_model, FACES, seed=3))
    known = torch.tensor([True, True, False, False])
    half = replace(batch, truth_known=known, landmark_weights=batch.landmark_weights * known[:, None])
    expected = likeness_terms(guess, half, toy_model, rig)
    assert guess.points_px is not None
    moved = torch.where(known[:, None, None], guess.points_px, guess.points_px + 9.0)
    codes = torch.where(known[:, None], guess.coefficients.id, 5.0)
    other = replace(guess, points_px=moved, coefficients=replace(guess.coefficients, id=codes))
    for name, value in likeness_terms(other, half, toy_model, rig).items():
        torch.testing.assert_close(value, expected[name], msg=name)
    none = replace(half, truth_known=torch.zeros(4, dtype=torch.bool), landmark_weights=torch.zeros(4, 68))
    for name, value in likeness_terms(guess, none, toy_model, rig).items():
        assert float(value) == 0.0, name


def test_seen_points_lie_in_pairs_in_their_regions(toy_model: FaceModel) -> None:
    points = seen_points(toy_model)
    marks = toy_model.annotations
    assert marks.ibug68 is not None
    assert marks.mirror is not None
    torch.testing.assert_close(points[:68], marks.ibug68)
    assert len(points) > 68
    assert len(set(points[68:].tolist())) == len(points) - 68
    partners = mirror_partners(toy_model, points)
    assert partners is not None
    torch.testing.assert_close(partners[partners], torch.arange(len(points)))
    torch.testing.assert_close(points[partners][68:], marks.mirror[points][68:])
    torch.testing.assert_close(seen_points(toy_model), points)


def test_a_mirrored_face_has_the_mirrored_codes(toy_model: FaceModel, rig: FaceRig) -> None:
    truth = faces_of(toy_model, FACES)
    mirror = MirrorMap.of(toy_model)
    assert mirror is not None
    assert mirror.explained > 0.999
    other, partner = mirror.faces(truth), toy_model.annotations.mirror
    flip = torch.tensor([-1.0, 1.0, 1.0])
    world = pose_points(toy_model.shape(truth.id, truth.exp), truth.angles, truth.translation)
    there = pose_points(toy_model.shape(other.id, other.exp), other.angles, other.translation)
    torch.testing.assert_close(there, world[:, partner] * flip, atol=1e-3, rtol=0)
    normals = vertex_normals(world, toy_model.faces)
    lit = sh_shading(normals, truth.sh) * toy_model.albedo(truth.tex)
    twin = sh_shading(vertex_normals(there, toy_model.faces), other.sh) * toy_model.albedo(other.tex)
    torch.testing.assert_close(twin, lit[:, partner], atol=1e-2, rtol=0)
    torch.testing.assert_close(
        rotation_from_angles(other.angles), flip[:, None] * rotation_from_angles(truth.angles) * flip
    )


def test_the_mirror_term_is_zero_for_mirrored_answers_alone(toy_model: FaceModel, rig: FaceRig) -> None:
    truth = faces_of(toy_model, FACES)
    assert rig.mirror is not None
    batch, twin = batch_of(toy_model, truth), rig.mirror.faces(truth)
    straight = perfect(toy_model, truth, batch, rig)
    mirrored = perfect(toy_model, twin, batch_of(toy_model, twin), rig)
    assert float(mirror_term(straight, mirrored, SIZE, rig)) < 0.15
    assert float(mirror_term(straight, straight, SIZE, rig)) > 1.0
