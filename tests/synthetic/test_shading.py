"""Snapshots against photographs: the compiled shader draws what plain tensors draw."""

import builtins
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from facewright.errors import MissingExtraError
from facewright.records import Fragments
from facewright.render.compiled import can_compile, compiled
from facewright.render.lighting import sh_shading
from facewright.synthetic import Studio, photograph, plan_scene, take_snapshot
from facewright.synthetic.lens import Lens
from facewright.synthetic.plan import ScenePlan
from facewright.synthetic.shading import (
    GLOSS_POWER,
    LEAST_MATTE,
    Lighting,
    _polynomial,
    shade_picture_compiled,
    shade_samples,
)

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
@pytest.mark.parametrize("options", PLANS, ids=lambda options: options["prop"])
def test_a_snapshot_is_the_photograph(studio: Studio, options: dict[str, Any]) -> None:
    plan = sharp(studio, **options)
    assert plan.hair is not None
    snapshot, scene = take_snapshot(studio, plan), photograph(studio, plan)
    bytes_there = (scene.photo.srgb.permute(1, 2, 0) * 255.0).round().int().numpy()
    difference = np.abs(snapshot.picture.astype(int) - bytes_there)
    assert np.ptp(bytes_there) > 100
    assert difference.mean() < 0.05
    assert (difference == 0).mean() > 0.999
    assert len(snapshot.vertices_world) == len(studio.model.mean_shape)


@needs_numba
def test_the_lens_and_the_rays_are_those_of_the_photograph(studio: Studio) -> None:
    plan = plan_scene(studio, 6, width=64, height=80, eye_px=(18.0, 19.0))
    snapshot, scene = take_snapshot(studio, plan, oversampling=3), photograph(studio, plan, oversampling=3)
    there = (scene.photo.srgb.permute(1, 2, 0) * 255.0).round().int().numpy()
    assert snapshot.picture.shape == (80, 64, 3)
    assert np.abs(snapshot.picture.astype(int) - there).mean() < 0.05


def samples(count: int, rng: torch.Generator) -> torch.Tensor:
    """Random values of ``shade_samples``: some in shadow, some seen from behind, normals of any length."""
    values = torch.rand(count, 16, generator=rng)
    values[:, 3:6] = 8.0 * values[:, 3:6] - 4.0
    values[:, 7] *= 4.0
    values[:, 8] = (values[:, 8] > 0.4).float()
    values[:, 10:13] = 3.0 * torch.randn(count, 3, generator=rng)
    values[:, 13:16] = 2.0 * values[:, 13:16] - 1.0
    return values


@needs_numba
def test_twins_agree_on_random_surfaces(rng: torch.Generator) -> None:
    """One triangle a ray, its corners alike: pixels are samples, whatever the surface."""
    count = 400
    values = samples(count, rng)
    toward = torch.nn.functional.normalize(torch.tensor([0.6, 0.3, 0.5]), dim=0)
    light = Lighting(0.3 * torch.randn(1, 9, 3, generator=rng), torch.tensor([0.9, 0.7, 0.5]), toward, 0.2, 10.0)
    index = torch.arange(count).view(1, 20, 20).clone()
    index[0, ::5, 3] = -1
    corners = torch.rand(1, 20, 20, 3, generator=rng)
    weights = corners / corners.sum(-1, keepdim=True)
    fragments = Fragments(index, weights, torch.zeros(1, 20, 20))
    faces = 3 * torch.arange(count)[:, None] + torch.arange(3)
    head_faces = 250
    found = shade_picture_compiled(values.repeat_interleave(3, 0), faces, fragments, light, 2, head_faces)

    color = shade_samples(values, light)
    seen = (index[0] >= 0).flatten()[:, None]
    face = ((values[:, 9] > 0.5) & (torch.arange(count) < head_faces)).float()
    rays = torch.where(seen, torch.cat([color, torch.ones(count, 1), face[:, None]], 1), 0.0).view(20, 20, 5)
    expected = rays.view(10, 2, 10, 2, 5).mean((1, 3))
    torch.testing.assert_close(torch.from_numpy(found), expected, atol=3e-5, rtol=1e-4)


def test_shading_is_albedo_times_light_at_least_and_gloss_beside() -> None:
    """By hand: a white ball's front in one sun along the view, without mottle; in shadow only the least remains."""
    toward = torch.tensor([0.0, 0.0, 1.0])
    sun = torch.tensor([0.5, 0.4, 0.3])
    sh = torch.zeros(1, 9, 3)
    sh[0, 0] = -0.8  # no light at all beside what is said
    light = Lighting(sh, sun, toward, 0.2, 10.0)
    value = torch.zeros(1, 16)
    value[0, :3], value[0, 7], value[0, 12] = 0.5, 1.0, 2.0  # albedo, gloss, a normal toward camera and sun
    shadowed = shade_samples(value, light)
    torch.testing.assert_close(shadowed, torch.full((1, 3), 0.5 * LEAST_MATTE))
    value[0, 8] = 1.0
    torch.testing.assert_close(shade_samples(value, light) - shadowed, 0.2 * sun[None])
    value[0, 10:13] = torch.tensor([0.6, 0.0, 0.8])
    expected = 0.2 * sun[None] * 0.8 ** (2 * GLOSS_POWER)  # the half vector is the view: the cosine is 0.8
    torch.testing.assert_close(shade_samples(value, light) - shadowed, expected)


def test_the_polynomial_is_the_light(rng: torch.Generator) -> None:
    normals = torch.nn.functional.normalize(torch.randn(1, 500, 3, generator=rng), dim=-1)
    sh = torch.randn(1, 9, 3, generator=rng)
    x, y, z = normals[0].unbind(-1)
    terms = torch.stack([torch.ones_like(x), x, y, z, x * y, y * z, z * z, x * z, x * x - y * y], -1)
    torch.testing.assert_close(terms @ _polynomial(sh), sh_shading(normals, sh)[0], atol=2e-6, rtol=1e-5)


def test_a_missing_compiler_names_the_remedy(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    real_import = builtins.__import__

    def without_numba(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.split(".")[0] == "numba":
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_numba)
    plan = sharp(studio, 4, size=48)
    compiled.cache_clear()
    with pytest.raises(MissingExtraError, match=r"pip install 'facewright\[fast\]'"):
        shade_picture_compiled(
            torch.zeros(3, 16),
            torch.tensor([[0, 1, 2]]),
            Fragments(torch.zeros(1, 2, 2).long(), torch.zeros(1, 2, 2, 3), torch.zeros(1, 2, 2)),
            Lighting(plan.coefficients.sh, torch.ones(3), torch.tensor([0.0, 0.0, 1.0]), 0.1, 10.0),
            1,
            1,
        )
    compiled.cache_clear()
