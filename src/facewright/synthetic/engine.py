"""From a stage to pictures: all cameras of a batch at once, on the CPU or on a GPU, with the same result.

On the CPU compiled loops draw one picture after the other (``numba``); elsewhere, and where numba is not installed,
tensors draw all of them together. Both read the same plans, textures and noise: pictures agree up to rounding.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int, UInt8
from numpy import ndarray
from torch import Tensor

from facewright.compiled import can_compile
from facewright.geometry.frames import project_points
from facewright.records import Camera, Fragments
from facewright.render.interpolation import sample_surface
from facewright.render.rasterizers import rasterize
from facewright.synthetic.dice import stream
from facewright.synthetic.lens import take_picture
from facewright.synthetic.picture_bank import backdrop_of, held_before, lay_before, lay_before_compiled
from facewright.synthetic.plan import NOISE_STREAM, ScenePlan
from facewright.synthetic.shading import (
    light_vertices,
    light_vertices_compiled,
    shade_picture_compiled,
    shade_samples,
)
from facewright.synthetic.staging import Stage, clip_by, light_figure, set_stage
from facewright.synthetic.studio import Studio


@dataclass(frozen=True)
class Exposure:
    """What reaches the sensors of a batch of cameras.

    Attributes:
        linear: pictures, linear RGB.
        face_seen: pixels that show the face itself.
        cover: pixels behind a flat thing before the camera.
        clip: of all vertices, by the cameras.
        faces: of all meshes, the head's first.
        fragments: what each ray meets.
    """

    linear: Float[Tensor, "B 3 H W"]
    face_seen: Bool[Tensor, "B H W"]
    cover: Bool[Tensor, "B H W"]
    clip: Float[Tensor, "B N 4"]
    faces: Int[Tensor, "F 3"]
    fragments: Fragments


@dataclass(frozen=True)
class Snapshots:
    """Pictures of a batch of scenes, without the part of the truth that takes long to find.

    Attributes:
        pictures: sRGB-coded bytes, on the stage's device; one a scene.
        stage: who was photographed, and where they are.
    """

    pictures: list[UInt8[Tensor, "_ _ 3"]]
    stage: Stage


def take_snapshots(
    studio: Studio, plans: list[ScenePlan], *, oversampling: int = 2, device: torch.device | str = "cpu"
) -> Snapshots:
    """``photograph`` for many and for training: the same pictures, up to rounding, many times as fast.

    Args:
        studio: the model that the plans were made with.
        plans: from ``plan_scene``.
        oversampling: rays per pixel along each side.
        device: where to draw.
    """
    with torch.no_grad():
        stage = set_stage(studio, plans, device)
        return Snapshots(draw_pictures(stage, [plan.camera for plan in plans], oversampling=oversampling), stage)


def draw_pictures(stage: Stage, cameras: list[Camera], *, oversampling: int = 2) -> list[UInt8[Tensor, "_ _ 3"]]:
    """What a camera each, which may be a window of the plan's, makes of the people on a stage.

    Args:
        stage: the people.
        cameras: one each; pictures of one size are drawn together.
        oversampling: rays per pixel along each side.
    """
    with torch.no_grad():
        if stage.heads.device.type == "cpu" and can_compile():
            return [
                torch.from_numpy(_drawn_compiled(stage, i, camera, oversampling)) for i, camera in enumerate(cameras)
            ]
        drawn: dict[int, Tensor] = {}
        sizes = [(camera.height, camera.width) for camera in cameras]
        for size in sorted(set(sizes)):
            alike = [i for i, other in enumerate(sizes) if other == size]
            linear = expose(stage, cameras, alike, oversampling=oversampling).linear
            for i, part in zip(alike, linear.cpu(), strict=True):
                drawn[i] = torch.from_numpy(_developed(stage.plans[i], part)).to(linear.device)
        return [drawn[i] for i in range(len(cameras))]


def _developed(plan: ScenePlan, linear: Float[Tensor, "3 H W"]) -> UInt8[ndarray, "H W 3"]:
    return take_picture(linear.permute(1, 2, 0).numpy(), plan.lens, stream(plan.seed, NOISE_STREAM))


def expose(stage: Stage, cameras: list[Camera], which: list[int], *, oversampling: int = 2) -> Exposure:
    """The plain twin: pictures of one size, together, on any device.

    Args:
        stage: the people.
        cameras: one each.
        which: of them to draw.
        oversampling: rays per pixel along each side.
    """
    table, faces, light = stage.packed.table[which], stage.packed.faces, stage.lighting.of(which)
    cameras, plans = [cameras[i] for i in which], [stage.plans[i] for i in which]
    height, width = cameras[0].height, cameras[0].width
    clip = clip_by(table[..., 13:], cameras)
    fragments = rasterize(clip, faces, (oversampling * height, oversampling * width))
    samples = sample_surface(clip, faces, fragments)
    values = samples.take(light_vertices(table, light))
    color = shade_samples(values, light.sun, samples.pixels // fragments.face_index[0].numel())
    of_head = fragments.face_index.flatten()[samples.pixels] < len(stage.studio.model.faces)
    face = ((values[:, 10] > 0.5) & of_head).to(color)
    drawn = samples.put(torch.cat([color, torch.ones_like(face)[:, None], face[:, None]], 1))
    drawn = torch.nn.functional.avg_pool2d(drawn, oversampling)
    backdrops = [backdrop_of(replace(plan, camera=camera)) for plan, camera in zip(plans, cameras, strict=True)]
    linear = lay_before(drawn[:, :4], backdrops)
    cover = torch.zeros_like(linear[:, 0])
    for i, (camera, place) in enumerate(zip(cameras, which, strict=True)):
        held = _held(stage, place, camera)
        if held is not None:
            paint, cover[i] = (torch.from_numpy(part).to(linear.device) for part in held)
            linear[i] = cover[i] * paint.permute(2, 0, 1) + (1.0 - cover[i]) * linear[i]
    return Exposure(linear, (drawn[:, 4] > 0.5) & (cover < 0.5), cover > 0.5, clip, faces, fragments)


def _drawn_compiled(stage: Stage, index: int, camera: Camera, oversampling: int) -> UInt8[ndarray, "H W 3"]:
    """One picture by compiled loops."""
    plan, figure = stage.plans[index], stage.figure(index)
    clip, faces = light_figure(stage, index, figure, camera)
    size = (oversampling * camera.height, oversampling * camera.width)
    fragments = rasterize(clip, torch.from_numpy(faces), size)
    given_off = light_vertices_compiled(figure.table, faces, stage.lighting, index)
    drawn = shade_picture_compiled(given_off, faces, fragments, stage.lighting.sun[index], oversampling)
    linear = lay_before_compiled(drawn, backdrop_of(replace(plan, camera=camera)))
    held = _held(stage, index, camera)
    if held is not None:
        paint, cover = held
        linear = cover[..., None] * paint + (1.0 - cover[..., None]) * linear
    return take_picture(linear, plan.lens, stream(plan.seed, NOISE_STREAM))


def held_cover(stage: Stage, index: int, camera: Camera) -> Float[ndarray, "H W"] | None:
    """Where something flat is held before a face, 0..1; None where nothing is."""
    held = _held(stage, index, camera)
    return None if held is None else held[1]


def _held(stage: Stage, index: int, camera: Camera) -> tuple[ndarray, ndarray] | None:
    """What is held before a face: paint and cover."""
    plan = stage.plans[index]
    if plan.prop != "object":
        return None
    head = stage.heads[index].index_select(0, stage.studio.face_vertices.to(stage.heads.device))
    face = (head @ stage.rotation[index].T + stage.translation[index])[None].cpu()
    points = project_points(face, camera)[0, :, :2].numpy()
    skin = stage.studio.mean_colors(plan.coefficients.tex, "neck")[0]
    return held_before(plan, points, (camera.height, camera.width), skin)
