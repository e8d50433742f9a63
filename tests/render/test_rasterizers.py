"""Rasterisers: the slow twin, an outside ray caster, and what must never change a picture."""

import builtins
import logging
from typing import Any

import numpy as np
import pytest
import torch

from facewright.compiled import compiled
from facewright.errors import MissingExtraError
from facewright.geometry.frames import clip_from_world, crop_camera
from facewright.records import FaceMesh
from facewright.render import rasterizers
from facewright.render.rasterizers import rasterize, vectorized
from tests.render.scenes import CPU_BACKENDS, assert_same_pixels, clip_from_pixels, random_triangles, sphere


@pytest.mark.parametrize("size", [(23, 31), (40, 17), (1, 1)])
@pytest.mark.parametrize("spread", [0.05, 0.5, 3.0])
def test_backends_agree_on_random_triangles(size: tuple[int, int], spread: float, rng: torch.Generator) -> None:
    clip, faces = random_triangles(rng, size, 40, spread=spread)
    assert_same_pixels(clip, faces, size)


def test_backends_agree_on_the_toy_head(toy_mesh: FaceMesh) -> None:
    clip = clip_from_world(toy_mesh.vertices, crop_camera(2, size=48))
    covered = assert_same_pixels(clip, toy_mesh.faces, (48, 48)) >= 0
    assert 0.3 < float(covered.double().mean()) < 0.9


@pytest.mark.parametrize("backend", ["reference", *CPU_BACKENDS])
def test_centres_on_edges_follow_the_top_left_rule(backend: rasterizers.Backend) -> None:
    # A square whose sides run through pixel centres, cut in two: left and top sides are in, right and bottom are out.
    corners = torch.tensor([[2.0, 1.0, 0.0], [6.0, 1.0, 0.0], [6.0, 5.0, 0.0], [2.0, 5.0, 0.0]])
    clip = clip_from_pixels(corners, (8, 8))[None]
    for faces in ([[0, 1, 2], [0, 2, 3]], [[2, 1, 0], [3, 2, 0]], [[1, 3, 0], [3, 1, 2]]):
        index = rasterize(clip, torch.tensor(faces), (8, 8), backend=backend).face_index[0]
        expected = torch.zeros(8, 8, dtype=torch.bool)
        expected[1:5, 2:6] = True
        assert torch.equal(index >= 0, expected)
        assert set(index[expected].tolist()) == {0, 1}


def test_meshes_neither_leak_nor_overlap(rng: torch.Generator) -> None:
    # Jittered grid over the whole picture at one depth, drawn face by face: each pixel is hit exactly once.
    grid = torch.stack(torch.meshgrid(torch.arange(9.0), torch.arange(9.0), indexing="xy"), -1).reshape(-1, 2) * 4 - 1
    jitter = (torch.rand(81, 2, generator=rng) * 2 - 1).round(decimals=1)  # many vertices on centres and lines
    points = torch.cat([grid + jitter, torch.zeros(81, 1)], 1)
    quads = torch.arange(72).view(8, 9)[:, :8].reshape(-1)
    faces = torch.cat([torch.stack([quads, quads + 1, quads + 10], 1), torch.stack([quads, quads + 10, quads + 9], 1)])
    clip = clip_from_pixels(points, (28, 28))
    hits = sum(rasterize(clip[None], face[None], (28, 28), backend="numba").face_index >= 0 for face in faces)
    assert bool((torch.as_tensor(hits)[0, 2:-2, 2:-2] == 1).all())


def cast_rays(directions: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Distance along each ray from the origin (N 3) to the nearest of the triangles (F 3 3): Moller & Trumbore 1997."""
    a, along, across = corners[:, 0], corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    p = np.cross(directions[:, None], across)
    determinant = (along * p).sum(-1)
    q = np.cross(-a, along)
    with np.errstate(divide="ignore", invalid="ignore"):
        u = (-a * p).sum(-1) / determinant
        v = (directions[:, None] * q).sum(-1) / determinant
        distance = (across * q).sum(-1) / determinant
    return np.where((u >= 0) & (v >= 0) & (u + v <= 1) & (distance > 0), distance, np.inf).min(1)


def test_nearest_hit_is_the_ray_casters(toy_mesh: FaceMesh) -> None:
    size, camera = 32, crop_camera(2, size=32)
    fragments = rasterize(clip_from_world(toy_mesh.vertices, camera), toy_mesh.faces, (size, size))
    rows, columns = np.mgrid[0:size, 0:size].reshape(2, -1)
    focal, middle = camera.focal_px[0].item(), camera.cx[0].item()
    directions = np.stack([(columns - middle) / focal, -(rows - middle) / focal, -np.ones(size * size)], 1)
    for batch in range(2):
        corners = toy_mesh.vertices[batch][toy_mesh.faces].double().numpy() - [0, 0, 10]
        expected = cast_rays(directions, corners)
        index = fragments.face_index[batch].flatten().numpy()
        weights = fragments.barycentrics[batch].reshape(-1, 3).double().numpy()
        distance = np.where(index >= 0, -(corners[index.clip(0), :, 2] * weights).sum(1), np.inf)
        assert 0.3 < np.mean(index >= 0) < 0.9
        # The grid of 1/1024 px may decide a pixel on an edge or at a fold the other way, in either direction.
        differ = np.abs(np.nan_to_num(distance, posinf=99) - np.nan_to_num(expected, posinf=99)) > 2e-5
        assert differ.sum() <= 2


@pytest.mark.parametrize("backend", CPU_BACKENDS)
def test_order_of_faces_does_not_matter(backend: rasterizers.Backend, toy_mesh: FaceMesh, rng: torch.Generator) -> None:
    clip, order = clip_from_world(toy_mesh.vertices, crop_camera(2)), torch.randperm(len(toy_mesh.faces), generator=rng)
    plain = rasterize(clip, toy_mesh.faces, (224, 224), backend=backend)
    shuffled = rasterize(clip, toy_mesh.faces[order], (224, 224), backend=backend)
    back = torch.where(shuffled.face_index >= 0, order[shuffled.face_index], -1)
    assert torch.equal(back, plain.face_index)
    assert torch.equal(shuffled.depth, plain.depth)


@pytest.mark.parametrize("backend", CPU_BACKENDS)
def test_batch_is_its_singles_and_repeats(backend: rasterizers.Backend, toy_mesh: FaceMesh) -> None:
    clip = clip_from_world(toy_mesh.vertices, crop_camera(2, size=100))
    both, again = (rasterize(clip, toy_mesh.faces, (100, 100), backend=backend) for _ in range(2))
    for name in ("face_index", "barycentrics", "depth"):
        assert torch.equal(getattr(both, name), getattr(again, name))
        singles = [rasterize(clip[i : i + 1], toy_mesh.faces, (100, 100), backend=backend) for i in range(2)]
        assert torch.equal(getattr(both, name), torch.cat([getattr(single, name) for single in singles]))


def test_equal_depths_show_the_lower_id() -> None:
    corners = torch.tensor([[0.0, 0.0, 0.25], [7.0, 0.0, 0.25], [0.0, 7.0, 0.25]])
    faces = torch.tensor([[0, 1, 2], [1, 2, 0], [2, 1, 0]])
    assert set(assert_same_pixels(clip_from_pixels(corners, (8, 8))[None], faces, (8, 8)).unique().tolist()) == {-1, 0}


def test_interpenetrating_triangles_split_where_they_cross() -> None:
    # One leans from near to far, one the other way; they cross at column 10.
    lean = torch.tensor([[-20.0, -20.0, -0.6], [40.0, -20.0, 0.6], [-20.0, 60.0, -0.6], [40.0, 60.0, 0.6]])
    clip = clip_from_pixels(torch.cat([lean, lean * torch.tensor([1.0, 1.0, -1.0])]), (20, 20))[None]
    index = assert_same_pixels(clip, torch.tensor([[0, 1, 2], [1, 3, 2], [4, 5, 6], [5, 7, 6]]), (20, 20))
    assert bool((index[..., :10] < 2).all())
    assert bool((index[..., 11:] >= 2).all())


BROKEN = [(axis, value) for axis in range(4) for value in (torch.nan, torch.inf, -torch.inf)]
BROKEN += [(0, 1e30), (1, -1e30), (3, 0.0), (3, -1.0), (3, 1e-38)]


@pytest.mark.parametrize(("axis", "value"), BROKEN)
def test_broken_triangles_are_dropped_whole(axis: int, value: float) -> None:
    good = clip_from_pixels(torch.tensor([[2.0, 2.0, 0.5], [9.0, 3.0, 0.5], [4.0, 9.0, 0.5]]), (12, 12))
    bad = good * torch.tensor([1.0, 1.0, 0.5, 1.0])  # nearer
    bad[0, axis] = value
    faces = torch.tensor([[0, 1, 2], [3, 4, 5]])
    alone = assert_same_pixels(good[None], faces[:1], (12, 12))
    assert torch.equal(assert_same_pixels(torch.cat([good, bad])[None], faces, (12, 12)), alone)


def test_degenerate_triangles_draw_nothing() -> None:
    points = torch.tensor([[1.0, 1.0, 0.0], [6.0, 6.0, 0.0], [3.0, 3.0, 0.0], [1.0, 6.0, 0.0]])
    faces = torch.tensor([[0, 1, 2], [0, 0, 3], [1, 1, 1]])
    assert bool((assert_same_pixels(clip_from_pixels(points, (8, 8))[None], faces, (8, 8)) == -1).all())


def test_beyond_near_and_far_nothing_is_drawn() -> None:
    # z / w is column / 5 - 2.1 on a plane that leans through the whole range: columns 6 to 15 are within -1..1.
    lean = torch.tensor([[-20.0, -20.0, -6.1], [40.0, -20.0, 5.9], [-20.0, 60.0, -6.1], [40.0, 60.0, 5.9]])
    index = assert_same_pixels(clip_from_pixels(lean, (20, 20))[None], torch.tensor([[0, 1, 2], [1, 3, 2]]), (20, 20))
    assert (index[0, 7] >= 0).nonzero()[:, 0].tolist() == list(range(6, 16))


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch, rng: torch.Generator) -> None:
    clip, faces = random_triangles(rng, (50, 60), 60, spread=2.0)
    whole = rasterize(clip, faces, (50, 60), backend="torch")
    monkeypatch.setattr(vectorized, "PIXELS_PER_CHUNK", 64)
    assert torch.equal(rasterize(clip, faces, (50, 60), backend="torch").face_index, whole.face_index)


def test_a_triangle_over_a_large_picture() -> None:
    points = torch.tensor([[-3000.0, -3000.0, 0.0], [9000.0, -3000.0, 0.5], [-3000.0, 9000.0, 0.2]])
    clip = clip_from_pixels(points, (700, 900))[None]
    results = [rasterize(clip, torch.tensor([[0, 1, 2]]), (700, 900), backend=backend) for backend in CPU_BACKENDS]
    assert bool((results[0].face_index == 0).all())
    assert torch.equal(results[0].face_index, results[1].face_index)
    assert torch.equal(results[0].depth, results[1].depth)


def test_half_and_double_precision_vertices() -> None:
    vertices, faces = sphere(1)
    clip = clip_from_world(vertices, crop_camera(size=40))
    for dtype in (torch.float32, torch.float64):
        for backend in ("reference", *CPU_BACKENDS):
            fragments = rasterize(clip.to(dtype), faces, (40, 40), backend=backend)
            assert fragments.depth.dtype == fragments.barycentrics.dtype == dtype
            assert torch.equal(fragments.face_index, rasterize(clip, faces, (40, 40)).face_index)


def test_no_faces_is_an_empty_picture() -> None:
    fragments = rasterize(torch.zeros(2, 3, 4), torch.zeros(0, 3, dtype=torch.int64), (4, 5))
    assert bool((fragments.face_index == -1).all())
    assert fragments.barycentrics.shape == (2, 4, 5, 3)


@pytest.mark.parametrize(
    ("clip", "faces", "size", "message"),
    [
        (torch.ones(1, 3, 4), torch.tensor([[0, 1, 3]]), (4, 4), r"0\.\.2, received 0\.\.3"),
        (torch.ones(1, 3, 4), torch.tensor([[0, 1, -1]]), (4, 4), "received -1"),
        (torch.ones(1, 3, 4), torch.tensor([[0, 1, 2]]), (0, 4), "height, width"),
        (torch.ones(1, 3, 4), torch.tensor([[0, 1, 2]]), (4, 40000), "height, width"),
    ],
)
def test_what_cannot_be_drawn_is_refused(clip: Any, faces: Any, size: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rasterize(clip, faces, size)


def test_missing_packages_name_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    real_import = builtins.__import__

    def without_extras(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.split(".")[0] in ("numba", "nvdiffrast", "triton"):
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_extras)
    compiled.cache_clear()
    clip, faces = torch.ones(1, 3, 4), torch.tensor([[0, 1, 2]])
    with pytest.raises(MissingExtraError, match=r"facewright\[fast\]"):
        rasterize(clip, faces, (4, 4), backend="numba")
    with pytest.raises(MissingExtraError, match="nvdiffrast"):
        rasterize(clip, faces, (4, 4), backend="nvdiffrast")


def test_the_choice_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    rasterizers._resolve.cache_clear()
    with caplog.at_level(logging.INFO, logger="facewright"):
        for _ in range(3):
            rasterize(torch.ones(1, 3, 4), torch.tensor([[0, 1, 2]]), (4, 4))
    assert [record.getMessage() for record in caplog.records] == [
        "rasteriser: numba (CPU tensors and numba is installed)"
    ]
