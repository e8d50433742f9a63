"""Visibility of vertices: against rays, geometry of a ball, and one part before another."""

import math

import pytest
import torch

from facewright.geometry.frames import clip_from_world, crop_camera, project_points
from facewright.geometry.rotations import rotation_from_angles
from facewright.records import FaceMesh
from facewright.render.visibility import seen_share, vertex_visibility
from tests.render.scenes import sphere


def test_a_ball_shows_the_cap_before_its_horizon() -> None:
    vertices, faces = sphere(4)
    visible = vertex_visibility(clip_from_world(vertices, crop_camera(size=512)), faces, (512, 512))[0]
    horizon = 0.7 * 0.7 / 10  # height of the tangent cone's circle on a ball of radius 0.7 seen from 10 dm
    height = vertices[0, :, 2]
    assert bool(visible[height > horizon + 0.06].all())
    assert not bool(visible[height < horizon - 0.06].any())


def test_what_stands_before_hides_what_is_behind() -> None:
    near, faces = sphere(3, 0.3)
    near = near + torch.tensor([0.1, 0.0, 0.8])
    far, _ = sphere(3, 0.8)
    vertices = torch.cat([near, far], 1)
    both = torch.cat([faces, faces + near.shape[1]])
    visible = vertex_visibility(clip_from_world(vertices, crop_camera(size=400)), both, (400, 400))[0]
    # Where the ray to a far vertex passes the near ball, by the distance of its line from the near ball's centre.
    eye, centre = torch.tensor([0.0, 0.0, 10.0]), torch.tensor([0.1, 0.0, 0.8])
    direction = torch.nn.functional.normalize(far[0] - eye, dim=-1)
    distance = torch.linalg.cross((centre - eye).expand_as(direction), direction).norm(dim=-1)
    front = far[0, :, 2] > 0.8 * 0.8 / 10 + 0.06
    hidden = visible[near.shape[1] :].logical_not()
    assert bool(hidden[front & (distance < 0.28)].all())
    assert not bool(hidden[front & (distance > 0.32)].any())


def test_agrees_with_rays_on_the_toy_head(toy_mesh: FaceMesh) -> None:
    visible = vertex_visibility(
        clip_from_world(toy_mesh.vertices, crop_camera(2, size=600)), toy_mesh.faces, (600, 600)
    )
    eye = torch.tensor([0.0, 0.0, 10.0], dtype=torch.float64)
    for batch in range(2):
        vertices = toy_mesh.vertices[batch].double()
        a, b, c = (vertices[toy_mesh.faces[:, i]] for i in range(3))
        direction = vertices - eye
        p = torch.linalg.cross(direction[:, None].expand(-1, len(a), -1), (c - a)[None].expand(len(vertices), -1, -1))
        determinant = ((b - a) * p).sum(-1)
        q = torch.linalg.cross(eye - a, b - a)
        u, v = ((eye - a) * p).sum(-1) / determinant, (direction[:, None] * q).sum(-1) / determinant
        reach = ((c - a) * q).sum(-1) / determinant  # 1 at the vertex itself
        hit = (u >= 0) & (v >= 0) & (u + v <= 1) & (reach > 0) & (reach < 1 - 0.004)  # 4 cm before: not its own faces
        facing = (toy_mesh.normals[batch].double() * -direction).sum(-1) / direction.norm(dim=-1)
        clear = facing.abs() > 0.15  # at grazing angles the tolerance decides
        expected = ~hit.any(1) & (facing > 0)
        assert float((visible[batch] == expected)[clear].double().mean()) > 0.97


def depth_at_vertices(seen, faces):
    """An exact depth buffer, read where each vertex is seen: distance of the nearest face there, its own left out."""
    a, b, c = (seen[faces[:, i]] for i in range(3))
    place = seen[:, None, :2]

    def double_area(p, q, r):
        return (q[..., 0] - p[..., 0]) * (r[..., 1] - p[..., 1]) - (q[..., 1] - p[..., 1]) * (r[..., 0] - p[..., 0])

    whole = double_area(a, b, c)
    weights = torch.stack([double_area(b, c, place), double_area(c, a, place), double_area(a, b, place)], -1)
    weights = weights / whole[None, :, None]
    inverse = (weights / torch.stack([a, b, c], 1)[None, ..., 2]).sum(-1)
    own = (faces[None] == torch.arange(len(seen))[:, None, None]).any(-1)
    covers = (weights >= 0).all(-1) & ~own
    return torch.where(covers, 1.0 / inverse, torch.inf).amin(1)


@pytest.mark.slow
def test_two_hundred_poses_agree_with_an_exact_depth_buffer(toy_mesh: FaceMesh) -> None:
    """A vertex is seen where no face is nearer; where the tolerance decides, or grazing angles, nothing is asked."""
    generator, size = torch.Generator().manual_seed(0), 400
    angles = (2 * torch.rand(200, 3, generator=generator) - 1) * torch.tensor([0.6, 1.6, 0.6])
    camera, shares = crop_camera(size=size), []
    for angle in angles:
        turn = rotation_from_angles(angle)
        vertices, normals = toy_mesh.vertices[:1] @ turn.T, toy_mesh.normals[:1] @ turn.T
        visible = vertex_visibility(clip_from_world(vertices, camera), toy_mesh.faces, (size, size))[0]
        seen = project_points(vertices, camera)[0]
        before = seen[:, 2] - depth_at_vertices(seen.double(), toy_mesh.faces)
        toward = torch.nn.functional.normalize(torch.tensor([0.0, 0.0, 10.0]) - vertices[0], dim=-1)
        facing = (normals[0] * toward).sum(-1)
        inside = ((seen[:, :2] > 0) & (seen[:, :2] < size - 1)).all(-1)
        clear = (facing.abs() > 0.15) & ((before < 0.005) | (before > 0.04)) & inside
        assert clear.double().mean() > 0.5
        shares.append(float((visible == ((before < 0.02) & (facing > 0)))[clear].double().mean()))
    assert sum(shares) / len(shares) > 0.99
    assert min(shares) > 0.96


def test_points_outside_of_the_picture_are_not_visible() -> None:
    vertices, faces = sphere(3)
    clip = clip_from_world(vertices + torch.tensor([0.9, 0.0, 0.0]), crop_camera(size=200))
    visible = vertex_visibility(clip, faces, (200, 200))[0]
    column = (clip[0, :, 0] / clip[0, :, 3] + 1) * 100 - 0.5
    assert bool(visible.any())
    assert not bool(visible[column > 200].any())


def test_seen_share_weighs_the_four_pixels() -> None:
    surface = torch.tensor([[[9.0, 9.0], [math.inf, 5.0]]])
    share = seen_share(surface, torch.tensor([[0.25]]), torch.tensor([[0.5]]), torch.tensor([[7.0]]), tolerance=0.01)
    assert share.item() == 1 - 0.25 * 0.5  # only the lower right pixel hides it
