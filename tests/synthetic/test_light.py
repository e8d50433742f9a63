import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from facewright.render.lighting import sh_shading
from facewright.synthetic.light import LIGHT_KINDS, Light, draw_light, harmonics_of_lights


def directions(count: int = 400) -> np.ndarray:
    normals = np.random.default_rng(3).standard_normal((count, 3))
    return normals / np.linalg.norm(normals, axis=1, keepdims=True)


def shaded(light: Light, normals: np.ndarray) -> np.ndarray:
    return sh_shading(torch.from_numpy(normals)[None].float(), harmonics_of_lights([light]))[0].numpy()


def test_even_light_is_exact_in_spherical_harmonics() -> None:
    """A sky over a ground is linear in the normal's height: two bands hold it."""
    light = Light("even", np.array([0.9, 0.8, 0.7]), np.array([0.2, 0.3, 0.1]), np.zeros(3), np.array([0.0, 0, 1]), 0.0)
    normals = directions()
    np.testing.assert_allclose(shaded(light, normals), light.irradiance(normals), atol=2e-6)


def test_a_suns_harmonics_are_those_of_a_clamped_cosine() -> None:
    """Ramamoorthi & Hanrahan 2001: along the sun 1/4 + 1/2 + 5/16 of its light, against it 1/4 - 1/2 + 5/16."""
    sun = np.array([0.6, 0.0, 0.8])
    light = Light("side", np.zeros(3), np.zeros(3), np.ones(3), sun, 0.0)
    values = shaded(light, np.stack([sun, -sun]))
    np.testing.assert_allclose(values[0], 17 / 16, atol=0.01)
    np.testing.assert_allclose(values[1], 1 / 16, atol=0.01)
    error = shaded(light, directions()) - light.irradiance(directions())
    assert np.sqrt(np.square(error).mean()) < 0.05  # nine functions hold over 99 % of its energy


@pytest.mark.parametrize("kind", LIGHT_KINDS)
def test_drawn_lights_expose_faces(kind: str) -> None:
    rng = np.random.default_rng(0)
    fronts = []
    for _ in range(40):
        light = draw_light(rng, kind, 0.235)  # pyright: ignore[reportArgumentType] - parametrised by the kinds
        assert np.linalg.norm(light.sun_direction) == pytest.approx(1.0)
        fronts.append(light.irradiance(np.array([[0.0, 0.0, 1.0]])).mean())
    assert (0.1 if kind == "dark" else 0.5) < np.mean(fronts) < (0.45 if kind == "dark" else 1.4)


def test_darker_skin_gets_more_light() -> None:
    pale, dark = (
        draw_light(np.random.default_rng(1), "even", luminance).irradiance(np.array([[0.0, 0.0, 1.0]])).mean()
        for luminance in (0.4, 0.05)
    )
    assert dark > 1.5 * pale


def test_harmonics_of_another_frame_shade_turned_normals_alike() -> None:
    """What a head sees when the frame turns with it: f_view(n) = f_world(W n)."""
    world_from_view = Rotation.from_rotvec([0.3, -0.8, 0.4]).as_matrix()
    light = draw_light(np.random.default_rng(5), "side", 0.2)
    in_view = directions()
    found = sh_shading(torch.from_numpy(in_view)[None].float(), harmonics_of_lights([light], world_from_view[None]))[
        0
    ].numpy()
    expected = shaded(light, in_view @ world_from_view.T)
    assert np.abs(expected - shaded(light, in_view)).max() > 0.3
    np.testing.assert_allclose(found, expected, atol=2e-3)  # six hundred directions are not quite a sphere
    torch.testing.assert_close(harmonics_of_lights([light], np.eye(3)[None]), harmonics_of_lights([light]))
    other = draw_light(np.random.default_rng(6), "even", 0.3)
    together = harmonics_of_lights([light, other], np.stack([np.eye(3), world_from_view]))
    torch.testing.assert_close(together[1:], harmonics_of_lights([other], world_from_view[None]))
