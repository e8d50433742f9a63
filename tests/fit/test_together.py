"""The joint fit: several photos of one toy person give one identity that no photo alone can give."""

import weakref
from dataclasses import replace

import pytest
import torch

from facewright.fit import Evidence, FitPlan, FitSettings, PhotoEvidence, PointEvidence, around, fit_together, prior_of
from facewright.geometry.frames import crop_camera, pose_points, project_points

NOISE_PX = 0.5


@pytest.fixture(scope="module")
def plan(toy_model):
    return FitPlan.of(toy_model)


@pytest.fixture(scope="module")
def settings():
    return FitSettings(photometric_observations=0.0)


def person(toy_model, yaws, seed=0):
    """True faces of one identity, each with an expression and a pose of its own."""
    dice = torch.Generator().manual_seed(seed)
    layout = toy_model.layout
    identity = torch.randn(1, layout.id, generator=dice)
    faces = []
    for yaw in yaws:
        exp = 0.4 * torch.rand(1, layout.exp, generator=dice)
        angles = torch.deg2rad(torch.tensor([[3.0, yaw, -2.0]]))
        faces.append(replace(layout.zeros(), id=identity, exp=exp, angles=angles))
    return faces


def seen_points(plan, toy_model, face, seed):
    """Noisy pixels of all landmarks in a front view; of half of them when the head is turned."""
    camera = crop_camera()
    world = pose_points(toy_model.shape(face.id, face.exp), face.angles, face.translation)
    ids = toy_model.annotations.ibug68
    pixels = project_points(world[:, ids], camera)[0, :, :2]
    dice = torch.Generator().manual_seed(seed)
    pixels = pixels + NOISE_PX * torch.randn(pixels.shape, generator=dice)
    precision = torch.full((68,), NOISE_PX**-2)
    return Evidence(camera, (PointEvidence("points_px", plan.ibug68, pixels, precision),))


def evidence_of_person(plan, toy_model, settings, faces):
    start = toy_model.layout.zeros()
    photos = []
    for k, face in enumerate(faces):
        begin = replace(start, angles=face.angles + 0.05, translation=face.translation + 0.02)
        prior = around(prior_of(plan, settings), begin, plan.unknowns, id=1.0, exp=0.3)
        photos.append(PhotoEvidence(lambda k=k, face=face: seen_points(plan, toy_model, face, k), begin, prior))
    return photos


def error_mm(toy_model, found, faces):
    moved = toy_model.shape(found.id - faces[0].id, found.exp * 0.0) - toy_model.mean_shape
    return 100.0 * float(moved.square().sum(-1).mean().sqrt())


def test_more_photos_of_more_sides_give_a_better_identity(plan, toy_model, settings):
    faces = person(toy_model, (0.0, 40.0, -40.0, 20.0, -25.0))
    photos = evidence_of_person(plan, toy_model, settings, faces)
    shared = toy_model.layout.zeros()
    together = fit_together(photos, plan, shared, settings)
    alone = [fit_together([photo], plan, shared, settings)[0] for photo in photos]
    joint = error_mm(toy_model, together[0].coefficients, faces)
    single = [error_mm(toy_model, one.coefficients, faces) for one in alone]
    assert joint < 0.75 * sum(single) / len(single)
    assert joint < min(single)
    for result, face in zip(together, faces, strict=True):
        assert result.coefficients.id.equal(together[0].coefficients.id)
        assert (result.coefficients.angles - face.angles).abs().max() < 0.05
    assert not together[0].coefficients.exp.equal(together[1].coefficients.exp)


def test_the_order_does_not_matter_and_each_photo_is_asked_in_its_turn(plan, toy_model, settings):
    faces = person(toy_model, (0.0, 30.0, -30.0), seed=4)
    photos = evidence_of_person(plan, toy_model, settings, faces)
    looks, alive = [], []

    def watched(photo):
        def look():
            alive.append(sum(look() is not None for look in looks))  # of all photos before
            found = replace(photo.look())
            looks.append(weakref.ref(found))
            return found

        return replace(photo, look=look)

    shared = toy_model.layout.zeros()
    straight = fit_together([watched(photo) for photo in photos], plan, shared, settings)
    turned = fit_together(photos[::-1], plan, shared, settings)
    torch.testing.assert_close(straight[0].coefficients.id, turned[0].coefficients.id, atol=1e-4, rtol=0)
    torch.testing.assert_close(straight[0].coefficients.exp, turned[2].coefficients.exp, atol=1e-4, rtol=0)
    assert len(alive) == 9
    assert max(alive) == 0  # what one photo shows is gone before the next is asked


def test_a_photo_twice_is_a_photo_of_twice_the_say(plan, toy_model, settings):
    """All terms of all photos are summed: an album of copies is the photo itself."""
    faces = person(toy_model, (15.0,), seed=2)
    photos = evidence_of_person(plan, toy_model, settings, faces)
    shared = toy_model.layout.zeros()
    once = fit_together(photos, plan, shared, settings, rounds=4)[0]
    thrice = fit_together(photos * 3, plan, shared, settings, rounds=4)[0]
    torch.testing.assert_close(once.coefficients.id, thrice.coefficients.id, atol=2e-3, rtol=0)


def test_what_the_prior_holds_is_held(plan, toy_model, settings):
    faces = person(toy_model, (0.0, 20.0), seed=5)
    held = replace(settings, id_sigma=0.0)
    photos = [
        replace(photo, prior=prior_of(plan, held)) for photo in evidence_of_person(plan, toy_model, settings, faces)
    ]
    shared = replace(toy_model.layout.zeros(), id=torch.full((1, toy_model.layout.id), 0.3))
    found = fit_together(photos, plan, shared, settings)
    assert found[0].coefficients.id.equal(shared.id)
