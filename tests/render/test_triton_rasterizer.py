"""The triton rasteriser without a GPU: in Triton's interpreter against the slow twin, and compiled for three of them.

Triton is large and comes with torch for CUDA only: ``pip install triton``, then ``make slow``, which asks for the
interpreter. On a GPU ``tests/gpu`` draws with the compiled kernels.
"""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import Tensor

from facewright.geometry.frames import clip_from_world, crop_camera
from facewright.records import FaceMesh
from facewright.render.rasterizers import Backend, rasterize, triton_backend
from facewright.render.renderer import render
from tests.render.scenes import assert_same_pixels, clip_from_pixels, random_triangles, sphere

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("triton") is None, reason="triton is not installed"),
]
interpreted = pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") != "1", reason="TRITON_INTERPRET is not 1")
TRITON: tuple[Backend, ...] = ("triton",)


@pytest.fixture(autouse=True)
def _fewer_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The interpreter takes them one after the other."""
    monkeypatch.setattr(triton_backend, "SHARERS", 2)


@interpreted
@pytest.mark.parametrize(("size", "spread"), [((23, 31), 0.02), ((17, 9), 0.3), ((9, 17), 3.0), ((1, 1), 0.3)])
def test_random_triangles(size: tuple[int, int], spread: float, rng: torch.Generator) -> None:
    """From below a pixel to far beyond the picture, in perspective."""
    for batch, num in ((1, 7), (3, 40)):
        clip, faces = random_triangles(rng, size, num, batch=batch, spread=spread)
        assert_same_pixels(clip, faces, size, TRITON)


@interpreted
def test_both_ways_of_drawing_were_taken(rng: torch.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    clip, faces = random_triangles(rng, (20, 30), 30, spread=0.5)
    whole = rasterize(clip, faces, (20, 30), backend="triton")
    for most in (0, 600):  # every triangle shared by programs; every one walked by a thread
        monkeypatch.setattr(triton_backend, "SMALL_PX", most)
        assert torch.equal(rasterize(clip, faces, (20, 30), backend="triton").face_index, whole.face_index)


@interpreted
def test_a_head_with_its_gradients(toy_mesh: FaceMesh) -> None:
    """Shared edges, folds and silhouettes: the pixels, and through them the gradients, are the compiled loops'."""
    clip = clip_from_world(toy_mesh.vertices, crop_camera(2, size=32))
    covered = assert_same_pixels(clip, toy_mesh.faces, (32, 32), TRITON) >= 0
    assert 0.3 < float(covered.double().mean()) < 0.9
    light = torch.zeros(2, 9, 3)
    found = []
    for backend in ("triton", "numba"):
        leaves = [value.detach().clone().requires_grad_() for value in (toy_mesh.vertices, toy_mesh.albedo)]
        mesh = FaceMesh(leaves[0], toy_mesh.normals.detach(), leaves[1], toy_mesh.faces)
        drawn = render(mesh, crop_camera(2, size=32), light, backend=backend)
        (drawn.image.square().mean() + drawn.mask.mean()).backward()
        found.append([drawn.image.detach(), *(leaf.grad for leaf in leaves)])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-8)
        assert bool(theirs.any())


@interpreted
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_centres_on_edges_and_either_precision(dtype: torch.dtype) -> None:
    corners = torch.tensor([[2.0, 1.0, 0.0], [6.0, 1.0, 0.0], [6.0, 5.0, 0.0], [2.0, 5.0, 0.0]], dtype=dtype)
    clip = clip_from_pixels(corners, (8, 8))[None]
    for faces in ([[0, 1, 2], [0, 2, 3]], [[2, 1, 0], [3, 2, 0]], [[1, 3, 0], [3, 1, 2]]):
        assert_same_pixels(clip, torch.tensor(faces), (8, 8), TRITON)
    fragments = rasterize(clip, torch.tensor([[0, 1, 2]]), (8, 8), backend="triton")
    assert fragments.depth.dtype == fragments.barycentrics.dtype == dtype


@interpreted
def test_ties_and_crossings() -> None:
    flat = torch.tensor([[0.0, 0.0, 0.25], [7.0, 0.0, 0.25], [0.0, 7.0, 0.25]])
    faces = torch.tensor([[0, 1, 2], [1, 2, 0], [2, 1, 0]])
    drawn = assert_same_pixels(clip_from_pixels(flat, (8, 8))[None], faces, (8, 8), TRITON)
    assert set(drawn.unique().tolist()) == {-1, 0}
    lean = torch.tensor([[-20.0, -20.0, -0.6], [40.0, -20.0, 0.6], [-20.0, 60.0, -0.6], [40.0, 60.0, 0.6]])
    clip = clip_from_pixels(torch.cat([lean, lean * torch.tensor([1.0, 1.0, -1.0])]), (20, 20))[None]
    assert_same_pixels(clip, torch.tensor([[0, 1, 2], [1, 3, 2], [4, 5, 6], [5, 7, 6]]), (20, 20), TRITON)
    beyond = lean * torch.tensor([1.0, 1.0, 10.0])  # through near and far
    assert_same_pixels(clip_from_pixels(beyond, (20, 20))[None], torch.tensor([[0, 1, 2], [1, 3, 2]]), (20, 20), TRITON)


def broken_corners() -> list[Tensor]:
    """A triangle whose first corner cannot be drawn, in every way."""
    values = [(axis, value) for axis in range(4) for value in (torch.nan, torch.inf, -torch.inf)]
    values += [(0, 1e30), (1, -1e30), (3, 0.0), (3, -1.0), (3, 1e-38)]
    triangles = []
    for axis, value in values:
        corners = clip_from_pixels(torch.tensor([[2.0, 2.0, 0.25], [9.0, 3.0, 0.25], [4.0, 9.0, 0.25]]), (12, 12))
        corners[0, axis] = value
        triangles.append(corners)
    return triangles


@interpreted
def test_what_cannot_be_drawn() -> None:
    """Broken, behind the camera, out of reach, without area: dropped whole, and the rest is there."""
    good = clip_from_pixels(torch.tensor([[2.0, 2.0, 0.5], [9.0, 3.0, 0.5], [4.0, 9.0, 0.5]]), (12, 12))
    clip = torch.cat([good, *broken_corners()])[None]
    faces = torch.cat([torch.arange(len(clip[0])).view(-1, 3), torch.tensor([[0, 0, 1], [2, 2, 2]])])
    drawn = assert_same_pixels(clip, faces, (12, 12), TRITON)
    assert set(drawn.unique().tolist()) == {-1, 0}


@interpreted
def test_a_triangle_much_larger_than_the_picture() -> None:
    points = torch.tensor([[-3000.0, -3000.0, 0.0], [9000.0, -3000.0, 0.5], [-3000.0, 9000.0, 0.2]])
    assert bool(
        (
            assert_same_pixels(clip_from_pixels(points, (30, 40))[None], torch.tensor([[0, 1, 2]]), (30, 40), TRITON)
            == 0
        ).all()
    )


@interpreted
def test_many_triangles_smaller_than_a_pixel() -> None:
    vertices, faces = sphere(4)
    assert_same_pixels(clip_from_world(vertices, crop_camera(size=16)), faces, (16, 16), TRITON)


def test_the_kernels_compile_for_gpus_that_are_not_here() -> None:
    """And the compiler fuses nothing: a fused multiply-add gives another depth than the other backends."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    command = [sys.executable, "-m", "tests.render.compile_kernels"]
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    rows = [line.split() for line in done.stdout.splitlines()]
    assert len(rows) == 9
    for _, name, fused, minima in rows:
        assert int(fused) == 0
        assert bool(int(minima)) == (name != "resolve")


def test_cpu_tensors_are_refused_by_compiled_kernels() -> None:
    code = """
import torch
from facewright.render.rasterizers import rasterize
try:
    rasterize(torch.ones(1, 3, 4), torch.tensor([[0, 1, 2]]), (4, 4), backend="triton")
except ValueError as error:
    assert "CUDA tensors, received cpu" in str(error), error
else:
    raise AssertionError("not refused")
"""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
