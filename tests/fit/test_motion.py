"""The analytic derivatives (fast) against finite differences of the plain formulas (slow twin)."""

import copy
from dataclasses import replace

import pytest
import torch

from facewright.fit.motion import LinearPoints, bag, normal_motion, pixel_motion, standing_still, world_motion
from facewright.fit.parameters import Unknowns
from facewright.fit.photometric import (
    chained_rows,
    colored_patch,
    compiled_rows,
    photo_samples,
    photometric_term,
    standing_view,
)
from facewright.geometry.color import srgb_from_linear
from facewright.geometry.frames import crop_camera, pose_points, project_points
from facewright.geometry.mesh import vertex_normals
from facewright.render.lighting import sh_shading


@pytest.fixture
def scene(toy_model, rng):
    model = copy.deepcopy(toy_model).double()
    layout = model.layout
    values = 0.1 * torch.randn(1, layout.size, generator=rng, dtype=torch.float64)
    coefficients = layout.unpack(values)
    points = LinearPoints(model.mean_shape, torch.cat([model.id_basis, model.exp_basis], -1))
    return model, Unknowns(layout), coefficients, points


def numeric_jacobian(function, size):
    """Central differences in float64: good to about 1e-8."""
    steps = 1e-6 * torch.eye(size, dtype=torch.float64)
    return torch.stack([(function(step) - function(-step)) / 2e-6 for step in steps], -1)


def assert_same_slope(analytic, numeric):
    torch.testing.assert_close(analytic, numeric, atol=1e-6, rtol=1e-6)


def test_pixel_motion_matches_finite_differences(scene):
    model, unknowns, coefficients, points = scene
    camera = crop_camera(like=model.mean_shape)

    def pixels(step):
        c = unknowns.stepped(coefficients, step)
        return project_points(pose_points(model.shape(c.id, c.exp), c.angles, c.translation), camera)[0, :, :2]

    expected = numeric_jacobian(pixels, unknowns.size)[..., unknowns.geometry]
    assert_same_slope(pixel_motion(world_motion(points, coefficients), camera).jacobian, expected)


def test_normal_motion_matches_finite_differences(scene):
    model, unknowns, coefficients, points = scene
    patch = colored_patch(model, torch.ones_like(model.mean_shape[:, 0]))

    def normals(step):
        c = unknowns.stepped(coefficients, step)
        return vertex_normals(pose_points(model.shape(c.id, c.exp), c.angles, c.translation), model.faces)[0]

    motion = normal_motion(world_motion(points, coefficients), model.faces, patch.vertex_faces)
    torch.testing.assert_close(motion.value, normals(torch.zeros(unknowns.size, dtype=torch.float64)))
    assert_same_slope(motion.jacobian, numeric_jacobian(normals, unknowns.size)[..., unknowns.geometry])


def test_photometric_jacobian_matches_finite_differences(scene, rng):
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
        radiance = (model.albedo(c.tex)[:, patch.ids] * sh_shading(normals, c.sh))[0]
        color = srgb_from_linear(radiance[patch.compared].mean(1))
        centres = vertices[0, patch.ids][patch.compared].mean(1)
        pixels = project_points(centres[None], camera)[0]
        seen = torch.stack([pixels[:, 1], pixels[:, 0], (pixels[:, 0] + pixels[:, 1]) / 2], -1) / 224
        return (color - seen).flatten()

    visible = torch.ones(len(patch.compared), dtype=torch.float64)
    term = photometric_term(patch, samples, visible, coefficients, camera, unknowns, precision=1.0)
    torch.testing.assert_close(term.residual, residual(torch.zeros(unknowns.size, dtype=torch.float64)))
    assert_same_slope(term.jacobian, numeric_jacobian(residual, unknowns.size))


def test_standing_still_is_where_moving_starts(scene):
    _, _, coefficients, points = scene
    still, moving = standing_still(points, coefficients), world_motion(points, coefficients)
    torch.testing.assert_close(still, moving.value)


def test_compiled_rows_equal_those_by_the_chain_rule(scene, rng):
    """Of hidden triangles too, and of the shown ones alone."""
    model, unknowns, coefficients, _ = scene
    camera = crop_camera(like=model.mean_shape)
    samples = photo_samples(torch.rand(3, 224, 224, generator=rng, dtype=torch.float64), 2.0)
    patch = colored_patch(model, model.annotations.regions["photometric"].double())
    some = patch.shown((torch.rand(len(patch.compared), generator=rng) > 0.3).double())
    assert 0 < len(some.compared) < len(patch.compared)
    for part in (patch, some):
        for view in (None, standing_view(part, samples, coefficients, camera)):
            slow = chained_rows(part, samples, coefficients, camera, unknowns, view)
            quick = compiled_rows(part, samples, coefficients, camera, unknowns, view)
            for expected, found in zip(slow, quick, strict=True):
                torch.testing.assert_close(found, expected, atol=1e-10, rtol=1e-9)


def test_asking_about_appearance_alone_gives_its_columns_of_the_whole(scene, rng):
    """The twin that moves nothing: same residuals, weights and cost, and the derivatives by albedo and light."""
    model, unknowns, coefficients, _ = scene
    camera = crop_camera(like=model.mean_shape)
    samples = photo_samples(torch.rand(3, 224, 224, generator=rng, dtype=torch.float64), 2.0)
    patch = colored_patch(model, model.annotations.regions["photometric"].double())
    visible = (torch.rand(len(patch.compared), generator=rng, dtype=torch.float64) > 0.3).double()
    whole, alone = (
        photometric_term(patch, samples, visible, coefficients, camera, unknowns, precision=7.0, moving=moving)
        for moving in (True, False)
    )
    assert alone.columns == slice(unknowns.geometry.stop, unknowns.size)
    assert whole.columns == slice(0, unknowns.size)
    torch.testing.assert_close(alone.jacobian, whole.jacobian[:, alone.columns])
    torch.testing.assert_close(alone.residual, whole.residual)
    torch.testing.assert_close(alone.weight, whole.weight)
    assert alone.cost == pytest.approx(whole.cost)
    assert alone.jacobian.abs().sum(0).min() > 0

    view = standing_view(patch, samples, coefficients, camera)
    darker = replace(coefficients, sh=coefficients.sh - 0.1, tex=coefficients.tex + 0.2)
    given, found = (
        photometric_term(patch, samples, visible, darker, camera, unknowns, precision=7.0, moving=False, view=known)
        for known in (view, None)
    )
    assert torch.equal(given.jacobian, found.jacobian)
    assert torch.equal(given.residual, found.residual)
    assert not torch.equal(given.residual, alone.residual)


def test_what_stands_still_has_no_derivatives_on_any_number_of_threads():
    rows = torch.arange(6000).reshape(2000, 3) % 50
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert bag(rows, torch.zeros(50, 0), "sum").shape == (2000, 0)
        torch.testing.assert_close(bag(rows, torch.ones(50, 2), "sum"), torch.full((2000, 2), 3.0))
    finally:
        torch.set_num_threads(threads)
