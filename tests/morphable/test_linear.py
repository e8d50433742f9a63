"""Decoding of linear models: against loops in float64, linearity, and what does not fit."""

import copy
import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from facewright.morphable.linear import FaceModel, MorphableFace
from facewright.records import Annotations, Embedding, FaceCoefficients, Topology


def random_coefficients(model: FaceModel, generator: torch.Generator, batch: int = 3) -> FaceCoefficients:
    layout = model.layout
    return dataclasses.replace(
        layout.zeros(batch),
        id=torch.randn(batch, layout.id, generator=generator),
        exp=torch.randn(batch, layout.exp, generator=generator),
        tex=torch.randn(batch, layout.tex, generator=generator),
    )


def test_zero_coefficients_are_the_mean_face(toy_model: FaceModel) -> None:
    mesh = toy_model.decode(toy_model.layout.zeros(2))
    torch.testing.assert_close(mesh.vertices, toy_model.mean_shape.expand(2, -1, -1))
    torch.testing.assert_close(mesh.albedo, toy_model.mean_albedo.expand(2, -1, -1))


def test_decoding_equals_a_plain_loop(toy_model: FaceModel, rng: torch.Generator) -> None:
    c = random_coefficients(toy_model, rng, 2)
    mesh = toy_model.decode(c)
    arrays = {name: value.double().numpy() for name, value in toy_model.named_buffers()}
    for k in range(2):
        shape, albedo = arrays["mean_shape"].copy(), arrays["mean_albedo"].copy()
        for i in range(toy_model.layout.id):
            shape += arrays["id_basis"][:, :, i] * float(c.id[k, i])
        for i in range(toy_model.layout.exp):
            shape += arrays["exp_basis"][:, :, i] * float(c.exp[k, i])
        for i in range(toy_model.layout.tex):
            albedo += arrays["albedo_basis"][:, :, i] * float(c.tex[k, i])
        np.testing.assert_allclose(mesh.vertices[k].numpy(), shape, atol=2e-6)
        np.testing.assert_allclose(mesh.albedo[k].numpy(), albedo, atol=2e-6)


def test_shape_is_affine_in_identity_and_expression(toy_model: FaceModel, rng: torch.Generator) -> None:
    a, b = random_coefficients(toy_model, rng), random_coefficients(toy_model, rng)
    middle = toy_model.shape(0.5 * (a.id + b.id), 0.5 * (a.exp + b.exp))
    expected = 0.5 * (toy_model.shape(a.id, a.exp) + toy_model.shape(b.id, b.exp))
    torch.testing.assert_close(middle, expected, atol=1e-6, rtol=0)


def test_single_points_are_those_of_the_whole_shape(toy_model: FaceModel, rng: torch.Generator) -> None:
    c = random_coefficients(toy_model, rng)
    ids = torch.tensor([5, 0, 5, 17])
    torch.testing.assert_close(toy_model.points(ids, c.id, c.exp), toy_model.shape(c.id, c.exp)[:, ids])


def test_gradients_are_exact(toy_model: FaceModel, rng: torch.Generator) -> None:
    parts: dict[str, Any] = {name: getattr(toy_model, name)[:6] for name in toy_model.state_dict()}
    model = FaceModel(**parts, topology=Topology(torch.tensor([[0, 1, 2]]))).double()
    id_coeff = torch.randn(1, model.layout.id, generator=rng, dtype=torch.float64, requires_grad=True)
    exp_coeff = torch.randn(1, model.layout.exp, generator=rng, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(model.shape, (id_coeff, exp_coeff))


def test_other_counts_are_refused(toy_model: FaceModel) -> None:
    c = toy_model.layout.zeros(1)
    with pytest.raises(ValueError, match=r"'toy' expects .*id=4.* received .*id=5"):
        toy_model.decode(dataclasses.replace(c, id=torch.zeros(1, 5)))


def test_a_model_moves_as_a_whole(toy_model: FaceModel) -> None:
    model = copy.deepcopy(toy_model).double()
    mesh = model.decode(model.layout.zeros(1).to(torch.float64))
    assert mesh.vertices.dtype == torch.float64
    assert mesh.faces.dtype == torch.int64
    assert all(mask.dtype == torch.float64 for mask in model.annotations.regions.values())
    elsewhere = copy.deepcopy(toy_model).to("meta")
    notes = elsewhere.annotations
    moved = [elsewhere.mean_shape, elsewhere.faces, elsewhere.uv, elsewhere.faces_uv, notes.ibug68, notes.mirror]
    moved += [*notes.regions.values(), *notes.face_parts.values()]
    assert {str(tensor.device) for tensor in moved if tensor is not None} == {"meta"}


def test_a_face_moves_with_its_model_and_leaves_it_to_others(toy_model: FaceModel) -> None:
    face = MorphableFace(toy_model, toy_model.layout.zeros())
    finer = face.to(torch.float64)
    assert finer.model.mean_shape.dtype == finer.model.annotations.regions["skin"].dtype == torch.float64
    assert toy_model.mean_shape.dtype == toy_model.annotations.regions["skin"].dtype == torch.float32
    assert finer.model.decode(finer.coefficients).vertices.dtype == torch.float64
    same = face.to("cpu").model  # costs nothing where nothing moves
    assert all(torch.equal(value, other) for value, other in zip(same.buffers(), toy_model.buffers(), strict=True))
    assert same.mean_shape.data_ptr() == toy_model.mean_shape.data_ptr()


def test_metadata_decides_priors_and_colour(toy_model: FaceModel) -> None:
    buffers: dict[str, Any] = dict(toy_model.named_buffers())
    plain = FaceModel(**buffers, topology=toy_model.topology)
    assert (plain.name, plain.albedo_space, plain.exp_is_box) == ("unnamed", "linear", False)
    special = FaceModel(
        **buffers, topology=toy_model.topology, metadata={"name": "b", "albedo_space": "display", "exp_prior": "box"}
    )
    assert (special.name, special.albedo_space, special.exp_is_box) == ("b", "display", True)
    assert special.decode(special.layout.zeros()).albedo_space == "display"


def test_embedded_points_are_barycentric_means(toy_model: FaceModel, rng: torch.Generator) -> None:
    weights = torch.rand(5, 3, generator=rng)
    weights = weights / weights.sum(1, keepdim=True)
    embedding = Embedding(toy_model.faces[:5], weights)
    batch = toy_model.shape(torch.randn(2, 4, generator=rng), torch.zeros(2, 3))
    found = embedding.of(batch)
    for k in range(2):
        for i in range(5):
            expected = sum(weights[i, j] * batch[k, toy_model.faces[i, j]] for j in range(3))
            torch.testing.assert_close(found[k, i], expected, atol=1e-6, rtol=0)


def test_annotations_default_to_nothing(toy_model: FaceModel) -> None:
    buffers: dict[str, Any] = dict(toy_model.named_buffers())
    assert FaceModel(**buffers, topology=Topology(toy_model.faces)).annotations == Annotations()
