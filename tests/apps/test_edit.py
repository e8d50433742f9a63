from dataclasses import fields

import pytest
import torch

from facewright.apps.edit import frontalise, light_from_direction, neutralise, relight, transfer_expression
from facewright.errors import CoefficientsError
from facewright.geometry.frames import pose_points
from facewright.records import CoefficientLayout, FaceCoefficients
from facewright.render.lighting import sh_shading

LAYOUT = CoefficientLayout(4, 3, 2)


def faces(batch: int, layout: CoefficientLayout = LAYOUT) -> FaceCoefficients:
    return layout.unpack(torch.randn(batch, layout.size))


def assert_only_changed(before: FaceCoefficients, after: FaceCoefficients, *changed: str) -> None:
    for entry in fields(before):
        same = torch.equal(getattr(before, entry.name), getattr(after, entry.name))
        assert same != (entry.name in changed), entry.name


def test_transfer_takes_the_expression_and_nothing_else():
    target, source = faces(2), faces(2)
    edited = transfer_expression(target, source)
    assert_only_changed(target, edited, "exp")
    assert torch.equal(edited.exp, source.exp)
    with_pose = transfer_expression(target, source, with_pose=True)
    assert_only_changed(target, with_pose, "exp", "angles")
    assert torch.equal(with_pose.angles, source.angles)


def test_transfer_there_and_back_is_the_original():
    target, source = faces(1), faces(1)
    assert_only_changed(target, transfer_expression(transfer_expression(target, source), target))


def test_one_expression_serves_many_faces_and_one_face_many_expressions():
    one, many = faces(1), faces(5)
    assert torch.equal(transfer_expression(many, one).exp, one.exp.expand(5, -1))
    puppet = transfer_expression(one, many)
    assert torch.equal(puppet.exp, many.exp)
    assert torch.equal(puppet.id, one.id.expand(5, -1))
    assert one.id.shape == (1, 4)  # arguments are left alone


def test_faces_that_do_not_match_are_refused():
    with pytest.raises(CoefficientsError, match="expected 3 expression coefficients, received 7"):
        transfer_expression(faces(1), faces(1, CoefficientLayout(4, 7, 2)))
    with pytest.raises(CoefficientsError, match="one face or as many"):
        transfer_expression(faces(2), faces(3))
    with pytest.raises(CoefficientsError, match="one face or as many"):
        relight(faces(2), torch.zeros(3, 9, 3))


def test_a_neutral_face_decodes_to_its_identity_alone(toy_model):
    face = toy_model.layout.unpack(torch.randn(1, toy_model.layout.size))
    neutral = neutralise(face)
    assert_only_changed(face, neutral, "exp")
    expected = toy_model.mean_shape + (toy_model.id_basis * face.id[0]).sum(-1)
    torch.testing.assert_close(toy_model.decode(neutral).vertices[0], expected, rtol=1e-5, atol=1e-5)


def test_a_frontal_face_looks_at_the_camera_and_stays_in_place():
    face = faces(3)
    frontal = frontalise(face)
    assert_only_changed(face, frontal, "angles")
    nose = torch.tensor([[[0.0, 0.0, 1.0]]]).expand(3, -1, -1)
    forward = pose_points(nose, frontal.angles, frontal.translation)[:, 0] - frontal.translation
    torch.testing.assert_close(forward, nose[:, 0])


def test_relighting_replaces_the_light_for_all_faces():
    face, light = faces(3), torch.randn(1, 9, 3)
    lit = relight(face, light)
    assert_only_changed(face, lit, "sh")
    assert torch.equal(lit.sh, light.expand(3, -1, -1))


def test_light_from_a_direction_is_a_cosine_lobe_as_far_as_nine_functions_go():
    """Second-order Legendre expansion of max(0, c): 1/4 + c/2 + 5/32 (3 c^2 - 1), off by 3/32 at most."""
    directions = torch.tensor([[0.0, 0.0, 3.0], [1.0, 0.0, 0.0], [-1.0, 2.0, 0.5]], dtype=torch.float64)
    normals = torch.nn.functional.normalize(torch.randn(3, 4000, 3, dtype=torch.float64), dim=-1)
    sh = light_from_direction(directions, strength=0.7, ambient=0.2)
    c = torch.einsum("bnc,bc->bn", normals, torch.nn.functional.normalize(directions, dim=-1))
    expansion = 0.25 + c / 2 + 5 / 32 * (3 * c.square() - 1)
    shading = sh_shading(normals, sh)
    torch.testing.assert_close(shading, (0.2 + 0.7 * expansion)[..., None].expand(-1, -1, 3))
    assert (shading[..., 0] - (0.2 + 0.7 * c.clamp_min(0.0))).abs().max() < 0.7 * 3 / 32 + 1e-9
