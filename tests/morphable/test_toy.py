"""The toy head: a clean, exactly symmetric, annotated model that stands in for every other in the suite."""

from collections import Counter

import numpy as np
import pytest
import torch

from facewright.geometry.ibug68 import MIRROR_68
from facewright.morphable.linear import FaceModel
from facewright.morphable.toy import toy_face_model


def mirrored(values: torch.Tensor, model: FaceModel) -> torch.Tensor:
    """The left-right mirror image of per-vertex vectors (axis 1 is x, y, z)."""
    assert model.annotations.mirror is not None
    flip = torch.tensor([-1.0, 1.0, 1.0]).view(1, 3, *[1] * (values.ndim - 2))
    return values[model.annotations.mirror] * flip


def directed_edges(faces: torch.Tensor) -> Counter[tuple[int, int]]:
    return Counter((int(f[i]), int(f[(i + 1) % 3])) for f in faces for i in range(3))


def test_sizes_and_names(toy_model: FaceModel) -> None:
    assert (toy_model.layout.id, toy_model.layout.exp, toy_model.layout.tex) == (4, 3, 4)
    assert toy_model.exp_names == ("jawOpen", "mouthPucker", "browInnerUp")
    assert 300 < len(toy_model.mean_shape) < 1000
    assert toy_model.annotations.mesh468 is None
    assert all(parameter is not None for parameter in (toy_model.uv, toy_model.faces_uv))


def test_zero_coefficients_decode_to_the_mean(toy_model: FaceModel) -> None:
    mesh = toy_model.decode(toy_model.layout.zeros())
    assert torch.equal(mesh.vertices[0], toy_model.mean_shape)
    assert torch.equal(mesh.albedo[0], toy_model.mean_albedo)
    assert mesh.albedo_space == "linear"


def test_every_build_is_the_same_to_the_bit(toy_model: FaceModel) -> None:
    again = toy_face_model()
    for name, buffer in toy_model.named_buffers():
        assert torch.equal(buffer, again.get_buffer(name)), name


def test_box_variant_differs_in_meaning_only(toy_model: FaceModel) -> None:
    box = toy_face_model(exp_prior="box")
    assert box.exp_is_box
    assert not toy_model.exp_is_box
    assert torch.equal(box.exp_basis, toy_model.exp_basis)


@pytest.mark.parametrize("name", ["mean_shape", "id_basis", "exp_basis"])
def test_shape_is_its_own_mirror_image_exactly(toy_model: FaceModel, name: str) -> None:
    values = toy_model.get_buffer(name)
    assert torch.equal(mirrored(values, toy_model), values)


def test_albedo_faces_and_uv_are_mirrored_exactly(toy_model: FaceModel) -> None:
    mirror = toy_model.annotations.mirror
    assert mirror is not None
    assert torch.equal(mirror[mirror], torch.arange(len(mirror)))
    assert torch.equal(toy_model.mean_albedo[mirror], toy_model.mean_albedo)
    assert torch.equal(toy_model.albedo_basis[mirror], toy_model.albedo_basis)
    faces = {frozenset(face) for face in toy_model.faces.tolist()}
    assert {frozenset(face) for face in mirror[toy_model.faces].tolist()} == faces
    for name, mask in toy_model.annotations.regions.items():
        assert torch.equal(mask[mirror], mask), name
        assert 0.0 <= float(mask.min()) < float(mask.max()) <= 1.0, name


def test_mesh_is_manifold_with_the_openings_it_should_have(toy_model: FaceModel) -> None:
    edges = directed_edges(toy_model.faces)
    assert max(edges.values()) == 1  # consistent winding: each directed edge belongs to one face
    boundary = {a: b for a, b in edges if (b, a) not in edges}
    loops = []
    while boundary:
        start, vertex = next(iter(boundary.items()))
        length = 1
        while vertex != start:
            vertex = boundary.pop(vertex)
            length += 1
        boundary.pop(start)
        loops.append(length)
    # Back of the head, back of both eyeballs, eyelids (six points each), lips (eight landmarks and four more points).
    assert sorted(loops)[:3] == [6, 6, 12]
    assert len(loops) == 6
    assert torch.equal(toy_model.faces.unique(), torch.arange(len(toy_model.mean_shape)))  # no stray vertex


def test_faces_look_outwards(toy_model: FaceModel) -> None:
    vertices, faces = toy_model.mean_shape.double(), toy_model.faces
    is_eye = toy_model.annotations.face_parts["eyes"]
    centroids = vertices[faces].mean(1)
    a, b, c = vertices[faces].unbind(1)
    normals = torch.linalg.cross(b - a, c - a)
    centre = torch.where(is_eye[:, None], torch.tensor([0.31, 0.29, 0.05]).double(), torch.tensor([0, 0.05, -0.55]))
    centre[:, 0] *= centroids[:, 0].sign()
    assert bool((((centroids - centre) * normals).sum(1) > 0).all())


def test_ibug68_is_symmetric_and_in_its_order(toy_model: FaceModel) -> None:
    ids, mirror = toy_model.annotations.ibug68, toy_model.annotations.mirror
    assert ids is not None
    assert mirror is not None
    assert len(ids.unique()) == 68
    assert torch.equal(mirror[ids], ids[torch.from_numpy(MIRROR_68)])
    x, y, z = toy_model.mean_shape[ids].unbind(1)
    assert bool((x[:17].diff() > 0).all())  # jaw from image left to image right
    assert float(x[36]) < float(x[39]) < 0 < float(x[42]) < float(x[45])
    assert int(z.argmax()) == 30  # the nose's tip is foremost
    assert int(y.argmin()) == 8
    assert (x == 0).nonzero()[:, 0].tolist() == [8, 27, 28, 29, 30, 33, 51, 57, 62, 66]


def test_contours_run_outwards_through_their_landmarks(toy_model: FaceModel) -> None:
    contours, ids = toy_model.annotations.contours, toy_model.annotations.ibug68
    assert contours is not None
    assert ids is not None
    for number, row in enumerate(contours):
        valid = row[row >= 0]
        assert bool((row[len(valid) :] == -1).all())
        assert len(valid) >= 4
        assert int(ids[number]) in valid.tolist()
        z = toy_model.mean_shape[valid, 2]
        assert bool((z.diff() < 0.02).all())  # front to back
        assert float(z[0] - z[-1]) > 0.2


def test_uv_keeps_orientation_and_islands_apart(toy_model: FaceModel) -> None:
    assert toy_model.uv is not None
    assert toy_model.faces_uv is not None
    uv = toy_model.uv.double()
    assert 0.0 <= float(uv.min()) <= float(uv.max()) <= 1.0
    a, b, c = uv[toy_model.faces_uv].unbind(1)
    area = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]
    assert bool((area > 0).all())
    eyes = toy_model.annotations.regions["eyes"] > 0
    gap = torch.cdist(uv[eyes], uv[~eyes]).min()
    assert float(gap) > 0.01


def test_modes_are_independent_and_do_what_they_are_called(toy_model: FaceModel) -> None:
    for name in ("id_basis", "exp_basis", "albedo_basis"):
        basis = toy_model.get_buffer(name).flatten(0, 1)
        assert int(torch.linalg.matrix_rank(basis)) == basis.shape[1], name
    ids = toy_model.annotations.ibug68
    assert ids is not None
    jaw = toy_model.exp_basis[ids, :, 0]
    assert float(jaw[62].abs().max()) == 0.0
    assert float(jaw[66, 1]) < -0.1
    eyes = toy_model.annotations.regions["eyes"] > 0
    assert float(toy_model.exp_basis[eyes].abs().max()) == 0.0
    assert bool((toy_model.exp_basis[ids[[21, 22]], 1, 2] > 0.03).all())
    assert bool((toy_model.albedo_basis[:, :, 0] <= 0).all())


def test_five_points_lie_where_the_deep3d_crop_expects_them(toy_model: FaceModel) -> None:
    five = toy_model.annotations.five
    assert five is not None
    points = [toy_model.mean_shape[row[row >= 0]].mean(0).tolist() for row in five]
    deep3d = [(-0.31, 0.29, 0.13), (0.31, 0.29, 0.13), (0.0, -0.05, 0.55), (-0.25, -0.38, 0.22), (0.25, -0.38, 0.22)]
    np.testing.assert_allclose(points, deep3d, atol=0.07)
