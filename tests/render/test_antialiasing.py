"""Silhouettes: coverage against exact areas, gradients against finite differences and geometry."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial import ConvexHull

from facewright.compiled import can_compile
from facewright.geometry.frames import clip_from_world, crop_camera, project_points
from facewright.records import FaceMesh
from facewright.render import antialiasing
from facewright.render.antialiasing import antialias, mesh_edges
from facewright.render.rasterizers import rasterize
from tests.render.scenes import clip_from_pixels, random_triangles, sphere

SQUARE = torch.tensor([[0, 1, 2], [0, 2, 3]])


def coverage(clip: torch.Tensor, faces: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    fragments = rasterize(clip, faces, size)
    mask = (fragments.face_index >= 0)[:, None].to(clip.dtype)
    return antialias(mask, clip, faces, fragments)[:, 0]


def rectangle(left: float, top: float, right: float, bottom: float, depth: float = 0.0) -> torch.Tensor:
    """Corners in pixels; an edge at column 2.25 covers a quarter less of pixel 2 than one at 2.5 would."""
    corners = [[left, top, depth], [right, top, depth], [right, bottom, depth], [left, bottom, depth]]
    return torch.tensor(corners, dtype=torch.float64)


def test_a_rectangles_coverage_is_exact() -> None:
    mask = coverage(clip_from_pixels(rectangle(2.2, 1.9, 8.7, 6.4), (10, 12))[None], SQUARE, (10, 12))[0]
    columns = torch.tensor([0, 0, 0.3, 1, 1, 1, 1, 1, 1, 0.2, 0, 0], dtype=torch.float64)
    rows = torch.tensor([0, 0, 0.6, 1, 1, 1, 0.9, 0, 0, 0], dtype=torch.float64)
    torch.testing.assert_close(mask[4], columns)
    torch.testing.assert_close(mask[:, 5], rows)


def test_edges_inside_the_surface_do_not_blend(rng: torch.Generator) -> None:
    vertices, faces = sphere(3)
    clip = clip_from_world(vertices, crop_camera(size=64))
    fragments = rasterize(clip, faces, (64, 64))
    image = torch.rand(1, 3, 64, 64, generator=rng)
    changed = (antialias(image, clip, faces, fragments) != image).any(1)[0]
    covered = fragments.face_index[0] >= 0
    padded = torch.nn.functional.max_pool2d((~covered)[None, None].float(), 3, 1, 1)[0, 0] > 0
    outside = torch.nn.functional.max_pool2d(covered[None, None].float(), 3, 1, 1)[0, 0] > 0
    assert bool(changed.any())
    assert not bool((changed & ~(padded & outside)).any())


@pytest.mark.parametrize("subdivisions", [3, 4, 5])
def test_a_discs_area_is_exact_however_fine_the_mesh(subdivisions: int, rng: torch.Generator) -> None:
    vertices, faces = sphere(subdivisions, dtype=torch.float64)
    camera, edges = crop_camera(size=112, like=vertices), mesh_edges(faces)
    errors, jagged = [], []
    for _ in range(12):
        moved = vertices + 0.02 * torch.rand(3, generator=rng, dtype=torch.float64)
        area = ConvexHull(project_points(moved, camera)[0, :, :2].numpy()).volume
        clip = clip_from_world(moved, camera)
        fragments = rasterize(clip, faces, (112, 112))
        mask = (fragments.face_index >= 0)[:, None].double()
        errors.append(float(antialias(mask, clip, faces, fragments, edges=edges).sum()) - area)
        jagged.append(float(mask.sum()) - area)
    # Radius 35.6 px, area 3980 px: measured 0.08 to 0.21 px (rms); pixel centres alone are off by 4 px.
    assert np.sqrt(np.mean(np.square(errors))) < 0.4
    assert np.sqrt(np.mean(np.square(jagged))) > 2


def test_coverage_of_a_slanted_edge_matches_supersampling() -> None:
    corners = torch.tensor([[3.3, 2.1, 0.0], [27.4, 8.2, 0.0], [9.2, 27.9, 0.0]], dtype=torch.float64)
    mask = coverage(clip_from_pixels(corners, (32, 32))[None], torch.tensor([[0, 1, 2]]), (32, 32))[0]
    fine = clip_from_pixels(torch.cat([(corners[:, :2] + 0.5) * 16 - 0.5, corners[:, 2:]], 1), (512, 512))[None]
    exact = (rasterize(fine, torch.tensor([[0, 1, 2]]), (512, 512)).face_index >= 0).double()
    exact = torch.nn.functional.avg_pool2d(exact[:, None], 16)[0, 0]
    error = (mask - exact).abs()
    assert float(error[(exact > 0) & (exact < 1)].mean()) < 0.03
    assert int((error > 0.12).sum()) <= 1  # a sharp tip falls between all centres


def named_scenes() -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Small scenes whose silhouettes cross between pixel centres, never near one: a small move flips nothing."""
    front = rectangle(3.3, 2.2, 9.4, 7.3, -0.4)
    back = rectangle(0.6, 4.3, 6.7, 10.2, 0.4)
    slanted = torch.tensor([[2.3, 1.2, 0.0], [10.3, 4.4, 0.2], [4.2, 9.7, -0.2]], dtype=torch.float64)
    return {
        "a square": (clip_from_pixels(front, (12, 13), 2.0), SQUARE),
        "one over another": (
            clip_from_pixels(torch.cat([back, front]), (12, 13), 2.0),
            torch.cat([SQUARE, SQUARE + 4]),
        ),
        "a slanted triangle in perspective": (
            clip_from_pixels(slanted, (12, 13), torch.tensor([2.0, 3.0, 2.5])),
            torch.tensor([[0, 1, 2]]),
        ),
    }


@pytest.mark.parametrize("name", named_scenes())
def test_silhouette_gradients_by_finite_differences(name: str, rng: torch.Generator) -> None:
    clip, faces = named_scenes()[name]
    color = torch.rand(1, 2, 12, 13, generator=rng, dtype=torch.float64)
    fixed = rasterize(clip[None], faces, (12, 13)).face_index

    def draw(clip: torch.Tensor, color: torch.Tensor) -> torch.Tensor:
        fragments = rasterize(clip[None], faces, (12, 13))
        assert torch.equal(fragments.face_index, fixed)
        return antialias(color, clip[None], faces, fragments)

    blended = draw(clip, color)
    assert int((blended != color).sum()) > 20
    inputs = (clip.requires_grad_(), color.requires_grad_())
    assert torch.autograd.gradcheck(draw, inputs, eps=1e-5, atol=1e-6, fast_mode=True)


def test_gradient_of_area_is_the_outline() -> None:
    # d(area) / d(radius) of a disc is its circumference; moving it sideways changes nothing but its first moment.
    vertices, faces = sphere(4, dtype=torch.float64)
    camera = crop_camera(size=112, like=vertices)
    scale = torch.ones((), dtype=torch.float64, requires_grad=True)
    shift = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    moved = torch.cat([vertices[..., :2] * scale + shift, vertices[..., 2:]], -1)
    mask = coverage(clip_from_world(moved, camera), faces, (112, 112))[0]
    outline = ConvexHull(project_points(vertices, camera)[0, :, :2].numpy())
    by_scale, by_shift = torch.autograd.grad(mask.sum(), (scale, shift), retain_graph=True)
    assert float(by_scale) == pytest.approx(2 * outline.volume, rel=0.015)  # measured: within 0.4 %
    assert by_shift.abs().max() < 0.03 * float(by_scale)
    columns = torch.arange(112, dtype=torch.float64)
    (by_shift,) = torch.autograd.grad((mask * columns).sum(), shift)
    px_per_dm = math.sqrt(outline.volume / (math.pi * 0.49))
    assert float(by_shift[0]) == pytest.approx(outline.volume * px_per_dm, rel=0.05)
    assert abs(float(by_shift[1])) < 0.03 * float(by_shift[0])


def test_moving_along_the_gradient_covers_the_target() -> None:
    target = coverage(clip_from_pixels(rectangle(2.3, 2.3, 8.4, 7.6), (12, 12))[None], SQUARE, (12, 12))
    corners = rectangle(4.1, 3.2, 9.3, 9.2)
    shift = torch.zeros(4, 2, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([shift], lr=0.1)
    for _ in range(60):
        moved = torch.cat([corners[:, :2] + shift, corners[:, 2:]], 1)
        loss = (coverage(clip_from_pixels(moved, (12, 12))[None], SQUARE, (12, 12)) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    torch.testing.assert_close(corners[:, :2] + shift.detach(), rectangle(2.3, 2.3, 8.4, 7.6)[:, :2], rtol=0, atol=0.1)


def test_an_edge_on_a_pixels_border_still_has_a_slope() -> None:
    corners = rectangle(1.5, 1.5, 6.5, 6.5)
    shift = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    moved = torch.cat([corners[:, :2] + shift, corners[:, 2:]], 1)
    mask = coverage(clip_from_pixels(moved, (9, 9))[None], SQUARE, (9, 9))[0]
    columns = torch.arange(9, dtype=torch.float64)
    (gradient,) = torch.autograd.grad((mask * columns).sum(), shift)
    # An area of 25 px moves along the columns; at a border either pixel's column may count: 5 rows by 4 to 6 columns.
    assert 20 <= float(gradient[0]) <= 30
    assert float(gradient[1]) == 0


def test_batch_is_its_singles(toy_mesh: FaceMesh, rng: torch.Generator) -> None:
    clip = clip_from_world(toy_mesh.vertices, crop_camera(2, size=80))
    image = torch.rand(2, 3, 80, 80, generator=rng)
    fragments = rasterize(clip, toy_mesh.faces, (80, 80))
    both = antialias(image, clip, toy_mesh.faces, fragments)
    for i in range(2):
        alone = rasterize(clip[i : i + 1], toy_mesh.faces, (80, 80))
        torch.testing.assert_close(both[i : i + 1], antialias(image[i : i + 1], clip[i : i + 1], toy_mesh.faces, alone))


def test_order_and_winding_of_faces_do_not_matter(toy_mesh: FaceMesh, rng: torch.Generator) -> None:
    clip = clip_from_world(toy_mesh.vertices, crop_camera(2, size=80))
    plain = coverage(clip, toy_mesh.faces, (80, 80))
    shuffled = toy_mesh.faces[torch.randperm(len(toy_mesh.faces), generator=rng)]
    torch.testing.assert_close(coverage(clip, shuffled, (80, 80)), plain, rtol=0, atol=1e-6)
    torch.testing.assert_close(coverage(clip, toy_mesh.faces.flip(1), (80, 80)), plain, rtol=0, atol=1e-6)


def test_edges_of_known_meshes() -> None:
    _, faces = sphere(2)
    edges = mesh_edges(faces)
    assert len(edges.ends) == len(faces) * 3 // 2
    assert bool((edges.faces[:, 0] != edges.faces[:, 1]).all())
    assert bool((edges.turns.sum(1) == 0).all())  # closed and consistently wound
    for side in range(2):
        assert bool((faces[edges.faces[:, side]][:, :, None] == edges.ends[:, None, :]).any(1).all())
    fan = mesh_edges(torch.tensor([[0, 1, 2], [0, 1, 3], [0, 1, 4]]))
    assert len(fan.ends) == 6  # the edge of three faces is left out
    assert mesh_edges(torch.zeros(0, 3, dtype=torch.int64)).ends.shape == (0, 2)


def test_hostile_vertices_do_not_spread() -> None:
    good = clip_from_pixels(rectangle(2.2, 1.9, 8.7, 6.4), (10, 12))
    for value in (torch.nan, torch.inf, -1.0, 0.0):
        for axis in range(4):
            bad = good.clone()
            bad[0, axis] = value
            mask = coverage(torch.cat([good, bad])[None].requires_grad_(), torch.cat([SQUARE, SQUARE + 4]), (10, 12))
            assert bool(mask.isfinite().all())


@pytest.mark.skipif(not can_compile(), reason="numba is not installed")
@pytest.mark.parametrize("scene", ["head", "triangles"])
def test_compiled_loops_find_the_crossings_of_tensors(scene: str, toy_mesh: FaceMesh, rng: torch.Generator) -> None:
    """All, to the bit: on folds of a head, and where a few edges (some of them hostile) cross hundreds of lines."""
    size = (48, 40)
    if scene == "head":
        clip, faces = clip_from_world(toy_mesh.vertices, crop_camera(2, size=48)), toy_mesh.faces
    else:
        clip, faces = random_triangles(rng, size, 12)
        clip[0, 0], clip[1, 3, 3] = torch.nan, -1.0
    arguments = (clip, faces, mesh_edges(faces), rasterize(clip, faces, size))
    found = []
    for follow in (antialiasing._follow_edges_compiled, antialiasing._follow_edges):
        places, steeper, reach = follow(*arguments)
        whole = [
            places.ends,
            places.pixels,
            places.along_row,
            places.line,
            places.inner,
            places.outward,
            steeper,
            reach,
        ]
        table = torch.cat([value.double().reshape(-1, len(reach)) for value in whole])
        found.append(sorted(map(tuple, table.T.tolist())))
    assert found[0] == found[1]
    assert len(found[0]) > (100 if scene == "head" else len(arguments[2].ends))
