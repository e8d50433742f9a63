"""What a brought face model gets from the open head: at every vertex it is known what would be right."""

from dataclasses import replace

import pytest
import torch

from facewright.fit.borrowing import borrowed
from facewright.fit.laying import lay_on, outer_face
from facewright.morphable.container import load_face_model
from facewright.morphable.linear import FaceModel
from tests.fit.strangers import stranger


@pytest.fixture(scope="module")
def head():
    return load_face_model()


@pytest.fixture(scope="module")
def pair(head):
    return stranger(head)


@pytest.fixture(scope="module")
def lent(head, pair):
    return borrowed(pair[0], head)


def test_the_laid_head_finds_its_own_vertices(head, pair):
    other, order = pair
    laid = lay_on(head, other)
    truth = torch.zeros_like(head.mean_shape)
    truth[order] = other.mean_shape
    face = outer_face(head) > 0
    apart_mm = 100 * (laid.places.of(other.mean_shape) - truth).norm(dim=-1)[face]
    assert float(apart_mm.mean()) < 0.5
    assert float(laid.same[face].mean()) > 0.99
    torch.testing.assert_close(laid.rotation @ laid.rotation.T, torch.eye(3), atol=1e-5, rtol=0)


def test_albedo_is_that_of_the_same_places(head, pair, lent):
    (other, order), (model, _) = pair, lent
    face = outer_face(head)[order] > 0
    assert model.layout.tex == head.layout.tex
    difference = (model.mean_albedo - head.mean_albedo[order])[face].abs()
    assert float(difference.mean()) < 0.005
    apart = (model.albedo_basis - head.albedo_basis[order])[face].norm() / head.albedo_basis[order][face].norm()
    assert float(apart) < 0.1
    assert model.albedo_space == head.albedo_space
    torch.testing.assert_close(model.id_basis, other.id_basis)


def test_marks_are_where_they_belong(head, pair, lent):
    (other, order), (model, _) = pair, lent
    glue, own = model.annotations.mesh468, head.annotations.mesh468
    assert glue is not None
    truth = torch.zeros_like(head.mean_shape)
    truth[order] = other.mean_shape
    apart_mm = 100 * (glue.of(other.mean_shape) - own.of(truth)).norm(dim=-1)
    trusted = model.annotations.mesh468_trust > 0.5
    assert int(trusted.sum()) > 250
    assert float(apart_mm[trusted].mean()) < 0.6
    rows = head.annotations.contours
    jaw, known = truth[rows.clamp_min(0)], rows >= 0
    slid_mm = 100 * (other.mean_shape[model.annotations.contours.clamp_min(0)] - jaw).norm(dim=-1)
    assert float(slid_mm[known].mean()) < 3.0  # the nearest vertex, not the place itself
    assert (model.annotations.contours[~known] == -1).all()
    lips, there = model.annotations.regions["lips"], head.annotations.regions["lips"][order]
    assert float((lips - there).abs().sum() / there.sum()) < 0.1


def test_what_a_model_knows_it_keeps(head, pair):
    other, _ = pair
    mine = torch.full((len(other.mean_shape),), 0.5)
    marks = replace(other.annotations, regions={"lips": mine})
    own = FaceModel(
        **dict(other.named_buffers())
        | {"albedo_basis": torch.ones(len(mine), 3, 2), "mean_albedo": torch.full((len(mine), 3), 0.7)},
        topology=replace(other.topology, annotations=marks),
        metadata=other.metadata,
    )
    model, notes = borrowed(own, head)
    torch.testing.assert_close(model.annotations.regions["lips"], mine)
    assert "photometric" in model.annotations.regions
    torch.testing.assert_close(model.mean_albedo, own.mean_albedo)
    assert len(notes) == 1
    assert borrowed(head, head) == (head, ())


def test_a_model_that_is_no_head_borrows_nothing(head, pair):
    nameless, notes = borrowed(stranger(head, landmarks=False)[0], head)
    assert nameless.annotations.mesh468 is None
    assert "has none; import it with them" in notes[0]
    other, _ = pair
    far = FaceModel(
        **dict(other.named_buffers()) | {"mean_shape": 30.0 * other.mean_shape},
        topology=other.topology,
        metadata=other.metadata,
    )
    model, notes = borrowed(far, head)
    assert model is far
    assert "nothing is borrowed" in notes[0]
    rough = FaceModel(
        **dict(other.named_buffers())
        | {"mean_shape": other.mean_shape + 0.2 * torch.randn(other.mean_shape.shape, generator=seeded(0))},
        topology=other.topology,
        metadata=other.metadata,
    )
    model, notes = borrowed(rough, head)
    assert model is rough
    assert "of the face alone" in notes[0]


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
