"""Snapshots against photographs: the compiled shader draws what plain tensors draw."""

import builtins
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from facewright.compiled import can_compile, compiled
from facewright.errors import MissingExtraError
from facewright.geometry.frames import window_camera
from facewright.records import Fragments
from facewright.render.lighting import sh_shading
from facewright.synthetic import (
    Studio,
    draw_pictures,
    engine,
    photograph,
    plan_scene,
    set_stage,
    take_snapshots,
)
from facewright.synthetic.lens import Lens
from facewright.synthetic.plan import ScenePlan
from facewright.synthetic.shading import (
    GLOSS_POWER,
    LEAST_MATTE,
    Lighting,
    light_vertices,
    light_vertices_compiled,
    shade_picture_compiled,
    shade_samples,
)
from facewright.synthetic.staging import light_figure

needs_numba = pytest.mark.skipif(not can_compile(), reason="numba is not installed")

# A seed with hair each; between them a hard sun, glasses with gloss, a thing before the face, and a turned head.
PLANS: tuple[dict[str, Any], ...] = (
    {"seed": 4, "light": "side", "prop": "glasses", "yaw_deg": 20.0},
    {"seed": 8, "light": "side", "prop": "object", "yaw_deg": -75.0},
    {"seed": 4, "light": "coloured", "prop": "mask", "yaw_deg": -35.0},
)


def sharp(studio: Studio, seed: int, *, size: int = 96, **options: Any) -> ScenePlan:
    """Clean bytes: noise is the same for both twins, and JPEG would spread one level over a whole block."""
    plan = plan_scene(studio, seed, width=size, height=size, eye_px=(22.0, 24.0), **options)
    return replace(plan, lens=Lens())


@needs_numba
def test_snapshots_are_the_photographs(studio: Studio) -> None:
    """Compiled loops over one picture after the other, against plain tensors."""
    plans = [sharp(studio, **options) for options in PLANS]
    assert all(plan.hair is not None for plan in plans)
    snapshots = take_snapshots(studio, plans)
    for picture, plan in zip(snapshots.pictures, plans, strict=True):
        scene = photograph(studio, plan)
        bytes_there = (scene.photo.srgb.permute(1, 2, 0) * 255.0).round().int()
        difference = (picture.int() - bytes_there).abs().numpy()
        assert np.ptp(bytes_there.numpy()) > 100
        assert difference.mean() < 0.05
        assert (difference == 0).mean() > 0.995


@needs_numba
def test_pictures_drawn_together_are_those_drawn_alone(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of several sizes, by the tensors that draw where nothing can be compiled."""
    plans = [sharp(studio, **PLANS[0]), sharp(studio, **PLANS[2], size=72), sharp(studio, **PLANS[1])]
    alone = [take_snapshots(studio, [plan]).pictures[0] for plan in plans]
    monkeypatch.setattr(engine, "can_compile", lambda: False)
    together = take_snapshots(studio, plans).pictures
    for picture, plan, other in zip(together, plans, alone, strict=True):
        assert picture.shape == (plan.camera.height, plan.camera.width, 3)
        assert float((picture.int() - other.int()).abs().float().mean()) < 0.05


@needs_numba
def test_the_lens_and_the_rays_are_those_of_the_photograph(studio: Studio) -> None:
    plan = plan_scene(studio, 6, width=64, height=80, eye_px=(18.0, 19.0))
    (picture,) = take_snapshots(studio, [plan], oversampling=3).pictures
    there = (photograph(studio, plan, oversampling=3).photo.srgb.permute(1, 2, 0) * 255.0).round().int()
    assert picture.shape == (80, 64, 3)
    assert float((picture.int() - there).abs().float().mean()) < 0.05


@needs_numba
def test_a_window_is_a_part_of_the_picture(studio: Studio) -> None:
    """Drawn alone, at twice the size: what is drawn moves with the camera, and only sharpness grows."""
    plan = replace(sharp(studio, **PLANS[0]), prop="none")
    stage = set_stage(studio, [plan])
    window = window_camera(plan.camera, 30.0, 20.0, 2.0, 80, 96)
    (whole,), (part,) = draw_pictures(stage, [plan.camera], oversampling=4), draw_pictures(stage, [window])
    shrunk = part.float().view(48, 2, 40, 2, 3).mean((1, 3))
    inside = whole[20:68, 30:70].float()
    on_head = (inside - inside[0, 0]).abs().sum(-1) > 0  # backdrops belong to windows
    assert float((shrunk - inside).abs().mean(-1)[on_head][::2].median()) < 6


def samples(count: int, rng: torch.Generator) -> torch.Tensor:
    """Random tables of ``light_vertices``: some in shadow, some seen from behind, normals of any length."""
    values = torch.rand(count, 16, generator=rng)
    values[:, 3:6] = 8.0 * values[:, 3:6] - 4.0
    values[:, 7] *= 4.0
    values[:, 8] = (values[:, 8] > 0.4).float()
    values[:, 10:13] = 3.0 * torch.randn(count, 3, generator=rng)
    values[:, 13:16] = 2.0 * values[:, 13:16] - 1.0
    return values


@needs_numba
def test_twins_agree_on_random_surfaces(rng: torch.Generator) -> None:
    """One triangle a ray, its corners alike: pixels are samples, whatever the surface. The second of two lights."""
    count = 400
    table = samples(count, rng)
    toward = torch.nn.functional.normalize(torch.tensor([[0.0, 0.0, 1.0], [0.6, 0.3, 0.5]]), dim=-1)
    sun, gloss, away = torch.tensor([[1.0, 1, 1], [0.9, 0.7, 0.5]]), torch.tensor([0.1, 0.2]), torch.tensor([8.0, 10.0])
    light = Lighting(0.3 * torch.randn(2, 9, 3, generator=rng), sun, toward, gloss, away)
    index = torch.arange(count).view(1, 20, 20).clone()
    index[0, ::5, 3] = -1
    corners = torch.rand(1, 20, 20, 3, generator=rng)
    weights = corners / corners.sum(-1, keepdim=True)
    fragments = Fragments(index, weights, torch.zeros(1, 20, 20))
    index_of_all = np.repeat(np.arange(count)[:, None], 3, 1)
    faces = (3 * torch.arange(count)[:, None] + torch.arange(3)).numpy()
    given_off = light_vertices_compiled(table.numpy(), index_of_all, light, 1)
    found = shade_picture_compiled(given_off.repeat(3, 0), faces, fragments, light.sun[1], 2)

    plain = light_vertices(table[None], light.of([1]))[0]
    torch.testing.assert_close(torch.from_numpy(given_off), plain, atol=3e-5, rtol=1e-4)
    color = shade_samples(plain, light.sun, torch.ones(count, dtype=torch.long))
    seen = (index[0] >= 0).flatten()[:, None]
    rays = torch.where(seen, torch.cat([color, torch.ones(count, 1)], 1), 0.0).view(20, 20, 4)
    expected = rays.view(10, 2, 10, 2, 4).mean((1, 3))
    torch.testing.assert_close(torch.from_numpy(found), expected, atol=1e-4, rtol=1e-4)


def test_shading_is_albedo_times_light_at_least_and_gloss_beside() -> None:
    """By hand: a white ball's front in one sun along the view, without mottle; in shadow only the least remains."""
    toward = torch.tensor([[0.0, 0.0, 1.0]])
    sun = torch.tensor([[0.5, 0.4, 0.3]])
    sh = torch.zeros(1, 9, 3)
    sh[0, 0] = -0.8  # no light at all beside what is said
    light = Lighting(sh, sun, toward, torch.tensor([0.2]), torch.tensor([10.0]))

    def seen(table: torch.Tensor) -> torch.Tensor:
        return shade_samples(light_vertices(table[None], light)[0], sun, torch.zeros(1, dtype=torch.long))

    value = torch.zeros(1, 16)
    value[0, :3], value[0, 7], value[0, 12] = 0.5, 1.0, 2.0  # albedo, gloss, a normal toward camera and sun
    shadowed = seen(value)
    torch.testing.assert_close(shadowed, torch.full((1, 3), 0.5 * LEAST_MATTE))
    value[0, 8] = 1.0
    torch.testing.assert_close(seen(value) - shadowed, 0.2 * sun)
    value[0, 10:13] = torch.tensor([0.6, 0.0, 0.8])
    expected = 0.2 * sun * 0.8 ** (2 * GLOSS_POWER)  # the half vector is the view: the cosine is 0.8
    torch.testing.assert_close(seen(value) - shadowed, expected)


def test_the_polynomial_is_the_light(rng: torch.Generator) -> None:
    normals = torch.nn.functional.normalize(torch.randn(1, 500, 3, generator=rng), dim=-1)
    sh, one = torch.randn(1, 9, 3, generator=rng), torch.ones(1)
    light = Lighting(sh, torch.ones(1, 3), torch.ones(1, 3), one, one)
    x, y, z = normals[0].unbind(-1)
    terms = torch.stack([torch.ones_like(x), x, y, z, x * y, y * z, z * z, x * z, x * x - y * y], -1)
    torch.testing.assert_close(terms @ light.polynomial[0], sh_shading(normals, sh)[0], atol=4e-6, rtol=1e-5)


@needs_numba
def test_shadow_twins_agree(studio: Studio) -> None:
    """A hard sun from the side: half of the head lies in its own shade, hair's and nose's on the rest."""
    plan = sharp(studio, **PLANS[1])
    stage = set_stage(studio, [plan])
    figure = stage.figure(0)
    light_figure(stage, 0, figure, plan.camera)
    plain, count = stage.packed.table[0], len(studio.model.mean_shape)
    lit = torch.from_numpy(figure.table[:count, 8])
    assert 0.1 < float((lit < 0.5).float().mean()) < 0.6
    assert float((lit - plain[:count, 8]).abs().mean()) < 0.005
    np.testing.assert_allclose(figure.table[:count, 10:], plain[:count, 10:].numpy(), atol=2e-3)


def test_a_missing_compiler_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    real_import = builtins.__import__

    def without_numba(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.split(".")[0] == "numba":
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_numba)
    compiled.cache_clear()
    one = torch.ones(1)
    with pytest.raises(MissingExtraError, match=r"pip install 'facewright\[fast\]'"):
        light_vertices_compiled(
            np.zeros((3, 16), np.float32),
            np.zeros((1, 3), np.int64),
            Lighting(torch.ones(1, 9, 3), torch.ones(1, 3), torch.ones(1, 3), one, one),
            0,
        )
    compiled.cache_clear()
