"""Interpolation: linear on the triangle in 3D, differentiable, equal to a float64 loop."""

import pytest
import torch

from facewright.geometry.frames import clip_from_world, crop_camera
from facewright.records import FaceMesh, Fragments
from facewright.render.interpolation import (
    interpolate,
    sample_surface,
    take_gradients,
    take_gradients_compiled,
)
from facewright.render.rasterizers import rasterize
from tests.render.scenes import clip_from_pixels, random_triangles


def test_world_positions_lie_on_the_pixels_rays(toy_mesh: FaceMesh) -> None:
    camera = crop_camera(2, size=90, like=torch.zeros((), dtype=torch.float64))
    vertices = toy_mesh.vertices.double()
    clip = clip_from_world(vertices, camera)
    fragments = rasterize(clip, toy_mesh.faces, (90, 90))
    x, y, z = interpolate(vertices, clip, toy_mesh.faces, fragments).unbind(1)
    rows, columns = torch.meshgrid(torch.arange(90.0), torch.arange(90.0), indexing="ij")
    focal, middle = camera.focal_px[0], camera.cx[0]
    inside = (fragments.face_index >= 0) & (fragments.barycentrics > 0).all(-1)
    assert int(inside.sum()) > 5000
    for got, expected in ((middle + focal * x / (10 - z), columns), (middle - focal * y / (10 - z), rows)):
        torch.testing.assert_close(got[inside], expected.double().expand(2, 90, 90)[inside], rtol=0, atol=1e-9)


def test_interpolation_is_the_float64_loop(rng: torch.Generator) -> None:
    clip, faces = random_triangles(rng, (12, 9), 6)
    attributes = torch.randn(2, clip.shape[1], 5, generator=rng)
    fragments = rasterize(clip, faces, (12, 9), backend="reference")
    picture = interpolate(attributes, clip, faces, fragments)
    for batch in range(2):
        for row in range(12):
            for column in range(9):
                face = int(fragments.face_index[batch, row, column])
                expected = torch.zeros(5, dtype=torch.float64)
                for corner in range(3):
                    if face >= 0:
                        weight = fragments.barycentrics[batch, row, column, corner].double()
                        expected += weight * attributes[batch, faces[face, corner]].double()
                torch.testing.assert_close(picture[batch, :, row, column].double(), expected, rtol=1e-5, atol=1e-6)


def test_constants_stay_constant(toy_mesh: FaceMesh) -> None:
    clip = clip_from_world(toy_mesh.vertices, crop_camera(2))
    fragments = rasterize(clip, toy_mesh.faces, (224, 224))
    picture = interpolate(torch.full((2, clip.shape[1], 1), 3.0), clip, toy_mesh.faces, fragments)[:, 0]
    covered = fragments.face_index >= 0
    torch.testing.assert_close(picture[covered], torch.full_like(picture[covered], 3.0), rtol=1e-6, atol=0)
    assert bool((picture[~covered] == 0).all())


def scene_away_from_edges() -> tuple[torch.Tensor, torch.Tensor, Fragments]:
    """Two triangles in perspective whose edges stay clear of all pixel centres, one over the other; float64."""
    points = torch.tensor(
        [[0.3, 0.4, 0.1], [6.6, 1.2, 0.3], [1.3, 6.3, 0.2], [-2.2, 3.4, 0.6], [9.1, 2.3, 0.5], [5.7, 9.6, 0.7]]
    )
    w = torch.tensor([2.0, 3.0, 2.5, 4.0, 3.5, 5.0], dtype=torch.float64)
    clip = clip_from_pixels(points.double(), (7, 8), w)[None]
    faces = torch.tensor([[0, 1, 2], [4, 3, 5]])
    fragments = rasterize(clip, faces, (7, 8), backend="reference")
    assert set(fragments.face_index.unique().tolist()) == {-1, 0, 1}
    return clip, faces, fragments


def test_gradients_by_finite_differences(rng: torch.Generator) -> None:
    clip, faces, _ = scene_away_from_edges()
    attributes = torch.randn(1, 6, 2, generator=rng, dtype=torch.float64)

    def draw(attributes: torch.Tensor, clip: torch.Tensor) -> torch.Tensor:
        fragments = rasterize(clip, faces, (7, 8), backend="reference")  # weights follow the moved vertices
        return interpolate(attributes, clip, faces, fragments)

    assert torch.autograd.gradcheck(draw, (attributes.requires_grad_(), clip.requires_grad_()))


@pytest.mark.parametrize("backend", ["torch", "numba"])
def test_backends_give_the_references_gradients(backend, toy_mesh: FaceMesh, rng: torch.Generator) -> None:
    clip = clip_from_world(toy_mesh.vertices, crop_camera(2, size=32))
    cotangent = torch.randn(2, 3, 32, 32, generator=rng)
    gradients = []
    for name in ("reference", backend):
        attributes, moved = toy_mesh.albedo.clone().requires_grad_(), clip.clone().requires_grad_()
        fragments = rasterize(moved, toy_mesh.faces, (32, 32), backend=name)
        picture = interpolate(attributes, moved, toy_mesh.faces, fragments)
        gradients.append(torch.autograd.grad(picture, (attributes, moved), cotangent))
    for got, expected in zip(gradients[1], gradients[0], strict=True):
        scale = float(expected.abs().max())
        torch.testing.assert_close(got / scale, expected / scale, rtol=0, atol=1e-5)  # weights differ by rounding


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("with_clip", [True, False])
def test_compiled_gradients_are_the_tensor_ones(
    dtype: torch.dtype, with_clip: bool, toy_mesh: FaceMesh, rng: torch.Generator
) -> None:
    clip = clip_from_world(toy_mesh.vertices, crop_camera(2, size=40)).to(dtype)
    table = toy_mesh.albedo.flatten(0, 1).to(dtype)
    samples = sample_surface(clip, toy_mesh.faces, rasterize(clip, toy_mesh.faces, (40, 40)))
    gradient = torch.randn(len(samples.pixels), 3, generator=rng).to(dtype)
    arguments = (gradient, table, clip.flatten(0, 1) if with_clip else None, samples)
    tolerance = 2e-5 if dtype == torch.float32 else 1e-12  # sums run in another order
    for got, expected in zip(take_gradients_compiled(*arguments), take_gradients(*arguments), strict=True):
        if got is None or expected is None:
            assert got is expected
            assert not with_clip
        else:
            scale = float(expected.abs().max())
            assert scale > 0
            torch.testing.assert_close(got / scale, expected / scale, rtol=0, atol=tolerance)


def test_no_gradient_means_no_graph(toy_mesh: FaceMesh) -> None:
    clip = clip_from_world(toy_mesh.vertices, crop_camera(2, size=32))
    fragments = rasterize(clip, toy_mesh.faces, (32, 32))
    assert not interpolate(toy_mesh.albedo, clip, toy_mesh.faces, fragments).requires_grad
    assert interpolate(toy_mesh.albedo, clip.requires_grad_(), toy_mesh.faces, fragments).requires_grad
    with torch.no_grad():
        assert not interpolate(toy_mesh.albedo, clip, toy_mesh.faces, fragments).requires_grad


def test_an_empty_picture_has_zero_gradient() -> None:
    clip = clip_from_pixels(torch.tensor([[-9.0, -9.0, 0.0], [-8.0, -9.0, 0.0], [-9.0, -8.0, 0.0]]), (4, 4))[None]
    clip.requires_grad_()
    attributes = torch.ones(1, 3, 2, requires_grad=True)
    faces = torch.tensor([[0, 1, 2]])
    picture = interpolate(attributes, clip, faces, rasterize(clip, faces, (4, 4)))
    picture.sum().backward()
    assert bool((picture == 0).all())
    assert attributes.grad is not None
    assert bool((attributes.grad == 0).all())
