"""The analytic derivatives (fast) against forward-mode autograd through the plain formulas (slow twin)."""

import pytest
import torch

from facewright.fit.motion import LinearPoints, normal_motion, pixel_motion, world_motion
from facewright.fit.parameters import Unknowns
from facewright.fit.photometric import colored_patch, photo_samples, photometric_term
from facewright.geometry.color import srgb_from_linear
from facewright.geometry.frames import crop_camera, pose_points, project_points
from facewright.geometry.mesh import vertex_normals
from facewright.render.lighting import sh_shading


@pytest.fixture
def scene(toy_model, rng):
    model = toy_model.double()
    layout = model.layout
    values = 0.3 * torch.randn(1, layout.size, generator=rng, dtype=torch.float64)
    coefficients = layout.unpack(values)
    points = LinearPoints(model.mean_shape, torch.cat([model.id_basis, model.exp_basis], -1))
    return model, Unknowns(layout), coefficients, points


def forward_jacobian(function, size):
    return torch.func.jacfwd(function)(torch.zeros(size, dtype=torch.float64))


def test_pixel_motion_matches_autograd(scene):
    model, unknowns, coefficients, points = scene
    camera = crop_camera(like=model.mean_shape)

    def pixels(step):
        c = unknowns.stepped(coefficients, step)
        return project_points(pose_points(model.shape(c.id, c.exp), c.angles, c.translation), camera)[0, :, :2]

    expected = forward_jacobian(pixels, unknowns.size)[..., unknowns.geometry]
    torch.testing.assert_close(pixel_motion(world_motion(points, coefficients), camera).jacobian, expected)


def test_normal_motion_matches_autograd(scene):
    model, unknowns, coefficients, points = scene
    patch = colored_patch(model, torch.ones_like(model.mean_shape[:, 0]))

    def normals(step):
        c = unknowns.stepped(coefficients, step)
        return vertex_normals(pose_points(model.shape(c.id, c.exp), c.angles, c.translation), model.faces)[0]

    motion = normal_motion(world_motion(points, coefficients), model.faces, patch.vertex_faces)
    torch.testing.assert_close(motion.value, normals(torch.zeros(unknowns.size, dtype=torch.float64)))
    torch.testing.assert_close(motion.jacobian, forward_jacobian(normals, unknowns.size)[..., unknowns.geometry])


def test_photometric_jacobian_matches_autograd(scene, rng):
    """On a photo that is linear in its pixels, where the sampled slope is exact."""
    model, unknowns, coefficients, _ = scene
    camera = crop_camera(like=model.mean_shape)
    row, column = torch.meshgrid(*[torch.arange(224, dtype=torch.float64) / 224] * 2, indexing="ij")
    photo = torch.stack([row, column, (row + column) / 2])
    samples = photo_samples(photo, 1.0)
    patch = colored_patch(model, model.annotations.regions["photometric"].double())

    def residual(step):
        c = unknowns.stepped(coefficients, step)
        vertices = pose_points(model.shape(c.id, c.exp), c.angles, c.translation)
        normals = vertex_normals(vertices, model.faces)[:, patch.ids]
        color = srgb_from_linear(model.albedo(c.tex)[:, patch.ids] * sh_shading(normals, c.sh))[0]
        pixels = project_points(vertices[:, patch.ids], camera)[0]
        seen = torch.stack([pixels[:, 1], pixels[:, 0], (pixels[:, 0] + pixels[:, 1]) / 2], -1) / 224
        return (color - seen).flatten()

    visible = torch.ones(len(patch.ids), dtype=torch.float64)
    term = photometric_term(patch, samples, visible, coefficients, camera, unknowns, precision=1.0)
    torch.testing.assert_close(term.residual, residual(torch.zeros(unknowns.size, dtype=torch.float64)))
    torch.testing.assert_close(term.jacobian, forward_jacobian(residual, unknowns.size), atol=1e-6, rtol=1e-6)
