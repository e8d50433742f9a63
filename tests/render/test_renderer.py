"""The whole renderer: even light, known depths, coverage, agreement of the two ways of shading, gradients."""

from dataclasses import replace

import pytest
import torch

from facewright.geometry.frames import crop_camera
from facewright.geometry.mesh import vertex_normals
from facewright.records import FaceMesh
from facewright.render.antialiasing import mesh_edges
from facewright.render.lighting import sh_basis
from facewright.render.renderer import render, render_attributes, render_depth, render_normals
from tests.render.scenes import sphere


def ball(subdivisions: int = 4, *, albedo: float = 0.5, dtype: torch.dtype = torch.float32) -> FaceMesh:
    vertices, faces = sphere(subdivisions, 0.7, dtype=dtype)
    return FaceMesh(vertices, vertex_normals(vertices, faces), torch.full_like(vertices, albedo), faces)


def random_light(rng: torch.Generator, batch: int = 1) -> torch.Tensor:
    return 0.2 * torch.randn(batch, 9, 3, generator=rng)


@pytest.mark.parametrize("shading", ["vertex", "pixel"])
@pytest.mark.parametrize("antialias", [True, False])
def test_even_light_gives_the_published_constant(shading, antialias) -> None:
    picture = render(ball(), crop_camera(), torch.zeros(1, 9, 3), shading=shading, antialias=antialias)
    colored = picture.image[0] / picture.mask[0].clamp_min(1e-6)
    inside = picture.mask[0, 0] > 0.01
    torch.testing.assert_close(
        colored[:, inside], torch.full_like(colored[:, inside], 0.5 * 0.70898), rtol=1e-4, atol=0
    )
    assert bool((picture.image[0][:, picture.mask[0, 0] == 0] == 0).all())


def test_depth_of_a_ball() -> None:
    picture = render(ball(5), crop_camera(size=225), torch.zeros(1, 9, 3))
    assert float(picture.depth_dm[0, 0, 112, 112]) == pytest.approx(9.3, abs=2e-4)
    assert float(picture.depth_dm[0, 0, 0, 0]) == 0
    torch.testing.assert_close(render_depth(ball(5), crop_camera(size=225)), picture.depth_dm, rtol=1e-6, atol=0)


def test_normals_of_a_ball() -> None:
    mesh = ball(5)
    normals = render_normals(mesh, crop_camera())[0]
    points = render_attributes(mesh.vertices, mesh, crop_camera())[0]
    inside = points.norm(dim=0) > 0
    outward = torch.nn.functional.normalize(points[:, inside], dim=0)
    assert float((normals[:, inside] * outward).sum(0).min()) > 0.999
    assert float(normals[0, 112, 170]) > 0.7  # +x, image right
    assert float(normals[1, 55, 112]) > 0.7  # +y, image top
    assert bool((normals[:, ~inside] == 0).all())


def test_vertex_and_pixel_shading_agree_on_a_fine_mesh(rng: torch.Generator) -> None:
    light = random_light(rng)
    images = [render(ball(5), crop_camera(), light, shading=shading).image for shading in ("vertex", "pixel")]
    torch.testing.assert_close(images[0], images[1], rtol=0, atol=3e-3)  # measured 8e-4


def test_pixel_shading_is_the_definition(rng: torch.Generator) -> None:
    mesh, light, camera = ball(2), random_light(rng), crop_camera(size=64)
    picture = render(mesh, camera, light, shading="pixel", antialias=False)
    normals = render_normals(mesh, camera)[0].permute(1, 2, 0)
    offset = torch.zeros(9, 3)
    offset[0] = 0.8
    expected = 0.5 * (sh_basis(normals) @ (light[0] + offset)).permute(2, 0, 1) * picture.mask[0]
    torch.testing.assert_close(picture.image[0], expected, rtol=0, atol=1e-5)


def test_mask_is_coverage_and_image_is_coverage_times_colour(toy_mesh: FaceMesh, rng: torch.Generator) -> None:
    light, camera = random_light(rng, 2), crop_camera(2)
    smooth = render(toy_mesh, camera, light, edges=mesh_edges(toy_mesh.faces))
    jagged = render(toy_mesh, camera, light, antialias=False)
    assert 0 <= float(smooth.mask.min()) <= float(smooth.mask.max()) <= 1
    assert set(jagged.mask.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(jagged.mask[:, 0] > 0, jagged.fragments.face_index >= 0)
    changed = (smooth.mask != jagged.mask)[:, 0]
    assert 100 < int(changed.sum()) < 4000
    interior = (smooth.image != jagged.image).any(1) & ~changed
    assert int(interior.sum()) > 0  # silhouettes in front of the face itself, as of the nose
    torch.testing.assert_close(smooth.mask.sum(), jagged.mask.sum(), rtol=2e-3, atol=0)


def test_batch_is_its_singles_and_repeats(toy_mesh: FaceMesh, rng: torch.Generator) -> None:
    light = random_light(rng, 2)
    for shading in ("vertex", "pixel"):
        both = render(toy_mesh, crop_camera(2, size=96), light, shading=shading)
        again = render(toy_mesh, crop_camera(2, size=96), light, shading=shading)
        assert torch.equal(both.image, again.image)
        for i in range(2):
            single = FaceMesh(
                toy_mesh.vertices[i : i + 1], toy_mesh.normals[i : i + 1], toy_mesh.albedo[i : i + 1], toy_mesh.faces
            )
            alone = render(single, crop_camera(size=96), light[i : i + 1], shading=shading)
            torch.testing.assert_close(both.image[i : i + 1], alone.image, rtol=0, atol=1e-6)


def test_order_of_faces_does_not_matter(toy_mesh: FaceMesh, rng: torch.Generator) -> None:
    light, order = random_light(rng, 2), torch.randperm(len(toy_mesh.faces), generator=rng)
    plain = render(toy_mesh, crop_camera(2), light)
    shuffled = render(replace(toy_mesh, faces=toy_mesh.faces[order]), crop_camera(2), light)
    torch.testing.assert_close(shuffled.image, plain.image, rtol=0, atol=1e-6)


@pytest.mark.parametrize("shading", ["vertex", "pixel"])
def test_gradients_by_finite_differences(shading, rng: torch.Generator) -> None:
    mesh = ball(1, albedo=0.6, dtype=torch.float64)
    camera = crop_camera(size=20, like=mesh.vertices)
    light = random_light(rng).double()
    cotangent = torch.randn(1, 4, 20, 20, generator=rng, dtype=torch.float64)
    seen = render(mesh, camera, light).fragments.face_index

    def loss(vertices: torch.Tensor, albedo: torch.Tensor, light: torch.Tensor) -> torch.Tensor:
        moved = replace(mesh, vertices=vertices, normals=vertex_normals(vertices, mesh.faces), albedo=albedo)
        picture = render(moved, camera, light, shading=shading)
        assert torch.equal(picture.fragments.face_index, seen)
        return (torch.cat([picture.image, picture.mask], 1) * cotangent).sum()

    inputs = (mesh.vertices.requires_grad_(), mesh.albedo.requires_grad_(), light.requires_grad_())
    assert torch.autograd.gradcheck(loss, inputs, eps=1e-7, atol=1e-4, rtol=1e-3, fast_mode=True)


def test_albedo_and_light_are_recovered_from_a_picture(rng: torch.Generator) -> None:
    mesh, camera, edges = ball(2), crop_camera(size=48), mesh_edges(ball(2).faces)
    truth = random_light(rng)
    target = render(mesh, camera, truth, edges=edges).image
    light = torch.zeros(1, 9, 3, requires_grad=True)
    optimizer = torch.optim.LBFGS([light], max_iter=60, line_search_fn="strong_wolfe")

    def closure() -> float:
        optimizer.zero_grad()
        loss = (render(mesh, camera, light, edges=edges).image - target).square().sum()
        loss.backward()
        return loss.item()

    optimizer.step(closure)
    again = render(mesh, camera, light.detach(), edges=edges).image
    assert float((again - target).abs().max()) < 2e-3


@pytest.mark.gpu
def test_a_gpu_draws_the_same(toy_mesh: FaceMesh, rng: torch.Generator) -> None:
    light, camera = random_light(rng, 2), crop_camera(2)
    pictures, gradients = [], []
    for device in ("cpu", "cuda"):
        mesh, sh = toy_mesh.to(device), light.to(device)
        vertices = mesh.vertices.clone().requires_grad_()
        picture = render(replace(mesh, vertices=vertices), camera.to(device), sh)
        (gradient,) = torch.autograd.grad(picture.image.square().sum() + picture.mask.sum(), vertices)
        pictures.append(picture.to("cpu"))
        gradients.append(gradient.cpu())
    differing = pictures[0].fragments.face_index != pictures[1].fragments.face_index
    assert float(differing.double().mean()) < 1e-3  # vertices reach the grid through another compiler's projection
    torch.testing.assert_close(pictures[1].mask.sum(), pictures[0].mask.sum(), rtol=1e-3, atol=0)
    scale = gradients[0].abs().max()
    assert float((gradients[1] - gradients[0]).abs().mean() / scale) < 1e-3
