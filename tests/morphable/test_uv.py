import numpy as np
import pytest
import torch

from facewright.errors import FaceModelError
from facewright.geometry.ibug68 import MIRROR_68
from facewright.geometry.mesh import face_normals
from facewright.morphable.container import load_face_model
from facewright.morphable.linear import FaceModel
from facewright.morphable.seams import closing_triangles, pixels_of_triangles
from facewright.morphable.uv import (
    PositionSpace,
    feature_masks,
    loss_weights,
    map_topology,
    map_triangles,
    pixels_of_uv,
    position_space,
    read_map,
    vertices_of_points,
)
from facewright.records import Topology

PX_PER_DM = 102.0


@pytest.fixture(scope="module")
def head():
    return load_face_model("open")


@pytest.fixture(scope="module")
def space_of_head(head):
    return position_space(head, 128)


def triangles_by_hand(mask):
    """The rule as it stands in words, pixel by pixel."""
    number = {pixel: k for k, pixel in enumerate(zip(*np.nonzero(mask), strict=True))}
    found = []
    for r, c in number:
        for triangle in ([(r, c), (r + 1, c), (r + 1, c - 1)], [(r, c), (r, c + 1), (r + 1, c)]):
            if all(pixel in number for pixel in triangle):
                found.append([number[pixel] for pixel in triangle])
    return np.array(found)


@pytest.mark.parametrize("share", [0.3, 0.7, 1.0])
def test_triangles_follow_the_published_rule_row_for_row(share):
    mask = np.random.default_rng(0).random((23, 23)) < share
    np.testing.assert_array_equal(map_triangles(torch.from_numpy(mask)).numpy(), triangles_by_hand(mask))


def test_a_mask_as_large_as_the_published_one_gives_as_many_triangles():
    """Any mask of one piece with smooth rims: two triangles a pixel but for its rim (86,906 of 43,867 as published)."""
    row, column = np.mgrid[:256, :256]
    distance = ((row - 103) / 98.4) ** 2 + ((column - 127.5) / 122.9) ** 2
    mask = np.zeros(256 * 256, bool)
    mask[np.argsort(distance.ravel(), kind="stable")[:43_867]] = True
    count = len(map_triangles(torch.from_numpy(mask.reshape(256, 256))))
    assert abs(count - 1 - 86_906) < 300


def test_holes_are_closed_and_the_rim_is_not():
    """A square plate with a square and a bent hole: every pixel inside is found in one triangle."""
    plate = np.ones((12, 12), bool)
    plate[2:4, 2:4] = False
    plate[6:10, 6:7] = plate[9:10, 6:10] = False
    number = np.arange(13 * 13).reshape(13, 13)
    points = np.stack(np.meshgrid(np.arange(13.0), np.arange(13.0)), -1).reshape(-1, 2)
    cells = [(number[r, c], number[r, c + 1], number[r + 1, c + 1], number[r + 1, c]) for r, c in np.argwhere(plate)]
    triangles = np.array([t for a, b, c, d in cells for t in ((a, b, c), (a, c, d))])
    closed = np.concatenate([triangles, closing_triangles(points, triangles)])
    corners = points[closed]
    sides = corners[:, 1:] - corners[:, :1]
    areas = np.abs(sides[:, 0, 0] * sides[:, 1, 1] - sides[:, 0, 1] * sides[:, 1, 0]) / 2
    assert areas.sum() == pytest.approx(144)
    found, weights = pixels_of_triangles(points[closed] * 3 + 1, 40)
    assert (found[1:38, 1:38] >= 0).all()
    assert (found < 0).sum() == 40 * 40 - 37 * 37
    places = (weights[..., None] * (points[closed] * 3 + 1)[found]).sum(2)
    rows, columns = np.nonzero(found >= 0)
    np.testing.assert_allclose(places[rows, columns], np.stack([columns, rows], -1), atol=1e-9)


@pytest.mark.parametrize(("size", "apart"), [(48, 55), (96, 60)])
def test_a_meshs_map_lies_on_it_and_gives_it_back(toy_model, size, apart):
    space, surface = position_space(toy_model, size)
    shape = PX_PER_DM * toy_model.decode(toy_model.layout.zeros()).vertices
    points = surface.of(shape)
    known, vertices = vertices_of_points(points[0], surface, shape.shape[1])
    assert len(known) > 0.3 * len(shape[0])
    assert (vertices - shape[0, known]).norm(dim=-1).max() < 0.05
    # the landmarks' pixels are the landmarks
    at = space.map_of(points)[0][:, space.landmarks[:, 0], space.landmarks[:, 1]].T
    assert len(space.landmarks.unique(dim=0)) >= apart
    once = torch.tensor([(space.landmarks == place).all(1).sum() == 1 for place in space.landmarks])
    torch.testing.assert_close(at[once], shape[0, toy_model.annotations.ibug68][once])


def test_the_open_head_becomes_a_map_and_the_same_head_again(head, space_of_head):
    space, surface = space_of_head
    shape = PX_PER_DM * (head.mean_shape + 2.0 * head.id_basis[:, :, 0])
    points = surface.of(shape)
    known, vertices = vertices_of_points(points, surface, len(shape))
    assert (vertices - shape[known]).norm(dim=-1).max() < 0.05
    faces = head.annotations.regions["face"] > 0.5
    assert faces[known].sum() > 0.7 * faces.sum()
    torch.testing.assert_close(space.points_of(space.map_of(points)), points)
    # nothing is open between the rims: eyes and mouth belong to the face
    rows, columns = space.landmarks.unbind(-1)
    for ring in (range(36, 42), range(42, 48), range(60, 68)):
        middle = torch.stack([rows[list(ring)], columns[list(ring)]]).float().mean(1).round().long()
        assert space.mask[middle[0], middle[1]]
    assert space.mask.equal(space.mask.flip(1))
    neck = surface.of(head.annotations.regions["neck"][:, None])[:, 0]
    assert (neck > 0.5).float().mean() < 0.1


def test_landmarks_are_the_rounded_texture_coordinates(head, space_of_head):
    space, _ = space_of_head
    marks = head.annotations
    corner = {int(v): int(t) for v, t in zip(head.faces.flatten(), head.faces_uv.flatten(), strict=True)}
    places = pixels_of_uv(head.uv[[corner[int(v)] for v in marks.ibug68]], space.window, space.size)
    near = (places.flip(-1) - space.landmarks).abs().amax(-1)
    assert (near <= 0.5 + 1e-4).float().mean() > 0.95
    assert near.max() < 1.5
    mirrored = torch.stack([space.landmarks[:, 0], 127 - space.landmarks[:, 1]], -1)[MIRROR_68]
    assert (mirrored - space.landmarks).abs().max() <= 1


def test_the_mesh_of_a_map_is_sound(space_of_head):
    space, _ = space_of_head
    topology = map_topology(space)
    marks, points = topology.annotations, space.points_of(space.canonical_dm)
    assert topology.uv is not None
    assert marks.ibug68 is not None
    assert marks.mirror is not None
    assert topology.faces.max() < len(points) == len(topology.uv)
    front = points[:, 2] > 0.3
    assert (face_normals(points, topology.faces)[front[topology.faces].all(1), 2] > 0).float().mean() > 0.95
    assert points[marks.ibug68[30], 2] > points[marks.ibug68[8], 2]
    assert points[marks.ibug68[36], 0] < points[marks.ibug68[45], 0]
    assert (marks.mirror[marks.mirror] == torch.arange(len(points))).all()
    torch.testing.assert_close(points[marks.mirror] * torch.tensor([-1.0, 1, 1]), points, atol=0.02, rtol=0)
    assert marks.regions["eyes"].sum() > 20
    assert (space.window[1] <= topology.uv[:, 1]).all()
    assert topology.uv[0, 1] == topology.uv[:, 1].max()


def test_weights_are_sixteen_four_three_and_nothing_for_what_is_not_face(space_of_head):
    space, _ = space_of_head
    weights = loss_weights(space)
    assert set(weights.unique().tolist()) == {0.0, 3.0, 4.0, 16.0}
    assert (weights[~space.mask] == 0).all()
    assert (weights[space.mask] > 0).all()
    assert (weights == 16).sum() == len(space.landmarks.unique(dim=0))
    masks = feature_masks(space)
    assert not (masks["eyes"] * masks["mouth"]).any()
    assert (weights[(masks["mouth"] > 0) & (weights < 16)] == 4).all()


def test_maps_are_read_between_their_pixels():
    ramp = torch.stack(torch.meshgrid(torch.arange(5.0), torch.arange(5.0), indexing="ij")[::-1])[None]
    places = torch.tensor([[0.0, 0.0], [1.25, 3.5], [4.0, 4.0], [9.0, -3.0]])
    torch.testing.assert_close(read_map(ramp, places)[0], places.clamp(0, 4))


def test_gathering_is_differentiable(toy_model):
    _, surface = position_space(toy_model, 24)
    shape = toy_model.mean_shape[None].clone().requires_grad_()
    surface.of(shape).sum().backward()
    assert shape.grad.sum() == pytest.approx(3 * len(surface.corners), rel=1e-4)


def test_models_without_texture_coordinates_are_refused(toy_model):
    marks = toy_model.annotations
    bare = FaceModel(
        **dict(toy_model.named_buffers()),
        topology=Topology(toy_model.faces, annotations=marks),
        metadata={"name": "bare"},
    )
    with pytest.raises(FaceModelError, match="'bare' has no texture coordinates"):
        position_space(bare, 32)


def test_the_space_knows_its_size():
    space = PositionSpace(
        torch.ones(4, 4, dtype=torch.bool), torch.zeros(68, 2).long(), torch.zeros(3, 4, 4), torch.ones(4)
    )
    assert space.size == 4
