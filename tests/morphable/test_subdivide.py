"""Loop subdivision: against trimesh, on surfaces with and without borders, and of a whole annotated model."""

import dataclasses

import numpy as np
import pytest
import torch
import trimesh
from numpy import ndarray
from scipy.spatial import KDTree

from facewright.morphable.linear import FaceModel
from facewright.morphable.subdivide import halving_matrix, loop_matrix, subdivide_face_model
from facewright.records import Embedding


def matched(points: ndarray, others: ndarray) -> ndarray:
    """Ids of ``others`` at the places of ``points``; both must hold the same places."""
    distance, ids = KDTree(others).query(points)
    assert distance.max() < 1e-9
    return np.asarray(ids)


def open_patch(rng: np.random.Generator) -> trimesh.Trimesh:
    """A wavy hexagon. Only border edges join border vertices: trimesh takes every such edge for a border."""
    grid = [(a, b) for a in range(-3, 4) for b in range(-3, 4) if abs(a + b) <= 3]
    place = {cell: index for index, cell in enumerate(grid)}
    corners = [(a, b) for a in range(-4, 4) for b in range(-4, 4)]
    faces = [
        [place[cell] for cell in triple]
        for a, b in corners
        for triple in (((a, b), (a + 1, b), (a, b + 1)), ((a + 1, b), (a + 1, b + 1), (a, b + 1)))
        if set(triple) <= place.keys()
    ]
    cells = np.array(grid, float)
    vertices = np.stack([cells[:, 0] + 0.5 * cells[:, 1], 0.9 * cells[:, 1], rng.normal(size=len(cells))], 1)
    return trimesh.Trimesh(vertices, np.array(faces), process=False)


@pytest.mark.parametrize("shape", ["icosphere", "box", "patch"])
def test_positions_equal_those_of_trimesh(shape: str) -> None:
    rng = np.random.default_rng(3)
    mesh = {
        "icosphere": lambda: trimesh.creation.icosphere(1),
        "box": lambda: trimesh.creation.box(),
        "patch": lambda: open_patch(rng),
    }[shape]()
    vertices = np.array(mesh.vertices) + rng.normal(size=mesh.vertices.shape) * 0.1
    faces = np.array(mesh.faces)
    expected, expected_faces = trimesh.remesh.subdivide_loop(vertices, faces, iterations=1)
    matrix, new_faces = loop_matrix(faces, len(vertices))
    found = matrix @ vertices
    ids = matched(found, expected)
    assert len(found) == len(expected)
    ours = {frozenset(face) for face in ids[new_faces].tolist()}
    assert ours == {frozenset(face) for face in expected_faces.tolist()}
    assert trimesh.Trimesh(found, new_faces, process=False).is_winding_consistent


def test_rows_are_weights_and_a_plane_stays_a_plane() -> None:
    mesh = open_patch(np.random.default_rng(0))
    matrix, _ = loop_matrix(np.array(mesh.faces), len(mesh.vertices))
    np.testing.assert_allclose(np.asarray(matrix.sum(1)).ravel(), 1.0, atol=1e-12)
    assert matrix.min() >= 0
    flat = np.array(mesh.vertices)
    flat[:, 2] = 0.3 * flat[:, 0] - 0.2 * flat[:, 1] + 1
    found = matrix @ flat
    np.testing.assert_allclose(found[:, 2], 0.3 * found[:, 0] - 0.2 * found[:, 1] + 1, atol=1e-12)


def test_halving_keeps_points_and_adds_middles() -> None:
    faces = np.array([[0, 1, 2], [2, 1, 3]])
    points = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    matrix, new_faces = halving_matrix(faces, 4)
    found = matrix @ points
    np.testing.assert_array_equal(found[:4], points)
    assert [0.5, 0.5] in found[4:].tolist()
    corners = found[new_faces]
    a, b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    np.testing.assert_allclose(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0], 0.25)


def test_three_faces_at_an_edge_are_refused() -> None:
    with pytest.raises(ValueError, match="at most two faces"):
        loop_matrix(np.array([[0, 1, 2], [1, 0, 3], [0, 1, 4]]), 5)


@pytest.fixture(scope="module")
def pair(toy_model: FaceModel) -> tuple[FaceModel, FaceModel]:
    """The toy model with an embedding, and its subdivision."""
    generator = torch.Generator().manual_seed(1)
    weights = torch.rand(468, 3, generator=generator)
    picked = torch.randint(0, len(toy_model.faces), (468,), generator=generator)
    notes = dataclasses.replace(
        toy_model.annotations, mesh468=Embedding(toy_model.faces[picked], weights / weights.sum(1, keepdim=True))
    )
    model = FaceModel(
        **dict(toy_model.named_buffers()),
        topology=dataclasses.replace(toy_model.topology, annotations=notes),
        metadata=toy_model.metadata,
    )
    return model, subdivide_face_model(model)


def test_decoding_commutes_with_subdividing(pair: tuple[FaceModel, FaceModel], rng: torch.Generator) -> None:
    coarse, fine = pair
    id_coeff = torch.randn(2, coarse.layout.id, generator=rng)
    exp_coeff = torch.randn(2, coarse.layout.exp, generator=rng)
    tex_coeff = torch.randn(2, coarse.layout.tex, generator=rng)
    matrix, _ = loop_matrix(coarse.faces.numpy(), len(coarse.mean_shape))
    dense = torch.from_numpy(matrix.toarray()).float()
    torch.testing.assert_close(
        fine.shape(id_coeff, exp_coeff), dense @ coarse.shape(id_coeff, exp_coeff), atol=2e-6, rtol=0
    )
    torch.testing.assert_close(fine.albedo(tex_coeff), dense @ coarse.albedo(tex_coeff), atol=2e-6, rtol=0)
    assert fine.layout == coarse.layout
    assert len(fine.faces) == 4 * len(coarse.faces)


def test_annotations_follow(pair: tuple[FaceModel, FaceModel]) -> None:
    coarse, fine = pair
    old, new = coarse.annotations, fine.annotations
    assert old.ibug68 is not None
    assert new.ibug68 is not None
    assert torch.equal(old.ibug68, new.ibug68)
    assert (fine.mean_shape[new.ibug68] - coarse.mean_shape[old.ibug68]).norm(dim=1).max() < 0.1
    assert new.mirror is not None
    partner = fine.mean_shape[new.mirror] * torch.tensor([-1.0, 1.0, 1.0])
    torch.testing.assert_close(partner, fine.mean_shape, atol=1e-6, rtol=0)
    for name, mask in new.regions.items():
        assert mask.shape == (len(fine.mean_shape),)
        assert mask.min() >= 0, name
        assert mask.max() <= 1, name
    eyes = new.face_parts["eyes"]
    assert torch.equal(eyes.reshape(-1, 4).all(1), old.face_parts["eyes"])
    assert fine.uv is not None
    assert fine.faces_uv is not None
    assert fine.faces_uv.max() < len(fine.uv)


def test_an_embedding_names_the_same_places(pair: tuple[FaceModel, FaceModel]) -> None:
    coarse, fine = pair
    old, new = coarse.annotations.mesh468, fine.annotations.mesh468
    assert old is not None
    assert new is not None
    # On the surface that is only halved, not smoothed, the points must not move at all.
    matrix, _ = halving_matrix(coarse.faces.numpy(), len(coarse.mean_shape))
    halved = torch.from_numpy(matrix @ coarse.mean_shape.double().numpy()).float()
    torch.testing.assert_close(new.of(halved), old.of(coarse.mean_shape), atol=1e-6, rtol=0)
    assert new.weights.min() >= 0
    known = {frozenset(face) for face in fine.faces.tolist()}
    assert all(frozenset(corners) in known for corners in new.corners.tolist())


def test_faces_without_mirror_image_are_named(toy_model: FaceModel) -> None:
    mirror = torch.arange(len(toy_model.mean_shape)).flip(0)
    model = FaceModel(
        **dict(toy_model.named_buffers()),
        topology=dataclasses.replace(
            toy_model.topology, annotations=dataclasses.replace(toy_model.annotations, mirror=mirror)
        ),
        metadata=toy_model.metadata,
    )
    with pytest.raises(ValueError, match="mirror"):
        subdivide_face_model(model)
