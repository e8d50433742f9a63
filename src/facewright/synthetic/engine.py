"""From a stage to pictures: all cameras of a batch at once, on the CPU or on a GPU, with the same result.

On the CPU compiled loops draw one picture after the other (``numba``); elsewhere, and where numba is not installed,
tensors draw all of them together. Both read the same plans, textures and noise: pictures agree up to rounding.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from numpy import ndarray
from torch import Tensor

from facewright.geometry.frames import project_points
from facewright.records import Camera, Fragments
from facewright.render.compiled import can_compile
from facewright.render.interpolation import sample_surface
from facewright.render.rasterizers import rasterize
from facewright.synthetic.picture_bank import backdrop_of, held_before, lay_before, lay_before_compiled
from facewright.synthetic.lens import take_picture
from facewright.synthetic.plan import NOISE_STREAM, ScenePlan, stream
from facewright.synthetic.shading import shade_picture_compiled, shade_samples
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
        pictures: sRGB-coded bytes, on the stage's device.
        stage: who was photographed, and where they are.
    """

    pictures: UInt8[Tensor, "B H W 3"]
    stage: Stage


def take_snapshots(
    studio: Studio, plans: list[ScenePlan], *, oversampling: int = 2, device: torch.device | str = "cpu"
) -> Snapshots:
    """``photograph`` for many and for training: the same pictures, up to rounding, many times as fast.

    Args:
        studio: the model that the plans were made with.
        plans: from ``plan_scene``; all with pictures of one size.
        oversampling: rays per pixel along each side.
        device: where to draw.

    Raises:
        ValueError: the pictures differ in size.
    """
    with torch.no_grad():
        stage = set_stage(studio, plans, device)
        return Snapshots(draw_pictures(stage, [plan.camera for plan in plans], oversampling=oversampling), stage)


def draw_pictures(stage: Stage, cameras: list[Camera], *, oversampling: int = 2) -> UInt8[Tensor, "B H W 3"]:
    """What a camera each, which may be a window of the plan's, makes of the people on a stage.

    Raises:
        ValueError: the cameras differ in size.
    """
    sizes = {(camera.height, camera.width) for camera in cameras}
    if len(sizes) != 1:
        raise ValueError(f"expected cameras of one size, received {sorted(sizes)}; draw each size by itself")
    with torch.no_grad():
        if stage.heads.device.type == "cpu" and can_compile():
            pictures = [_drawn_compiled(stage, i, camera, oversampling) for i, camera in enumerate(cameras)]
            return torch.from_numpy(np.stack(pictures))
        linear = expose(stage, cameras, oversampling=oversampling).linear
        developed = [_developed(plan, part) for plan, part in zip(stage.plans, linear.cpu(), strict=True)]
        return torch.from_numpy(np.stack(developed)).to(linear.device)


def _developed(plan: ScenePlan, linear: Float[Tensor, "3 H W"]) -> UInt8[ndarray, "H W 3"]:
    return take_picture(linear.permute(1, 2, 0).numpy(), plan.lens, stream(plan.seed, NOISE_STREAM))


def expose(stage: Stage, cameras: list[Camera], *, oversampling: int = 2) -> Exposure:
    """The plain twin: all pictures together, on any device."""
    table, faces = stage.packed.table, stage.packed.faces
    height, width = cameras[0].height, cameras[0].width
    clip = clip_by(table[..., 13:], cameras)
    fragments = rasterize(clip, faces, (oversampling * height, oversampling * width))
    samples = sample_surface(clip, faces, fragments)
    values = samples.take(table)
    rays = fragments.face_index[0].numel()
    lighting = replace(stage.lighting, camera_z=_distances(cameras).to(table))
    color = shade_samples(values, lighting, samples.pixels // rays)
    of_head = fragments.face_index.flatten()[samples.pixels] < len(stage.studio.model.faces)
    face = ((values[:, 9] > 0.5) & of_head).to(color)
    drawn = samples.put(torch.cat([color, torch.ones_like(face)[:, None], face[:, None]], 1))
    drawn = torch.nn.functional.avg_pool2d(drawn, oversampling)
    backdrops = [backdrop_of(replace(plan, camera=c)) for plan, c in zip(stage.plans, cameras, strict=True)]
    linear = lay_before(drawn[:, :4], backdrops)
    cover = torch.zeros_like(linear[:, 0])
    for i, camera in enumerate(cameras):
        held = _held(stage, i, camera)
        if held is not None:
            paint, cover[i] = (torch.from_numpy(part).to(linear.device) for part in held)
            linear[i] = cover[i] * paint.permute(2, 0, 1) + (1.0 - cover[i]) * linear[i]
    return Exposure(linear, (drawn[:, 4] > 0.5) & (cover < 0.5), cover > 0.5, clip, faces, fragments)


def _drawn_compiled(stage: Stage, index: int, camera: Camera, oversampling: int) -> UInt8[ndarray, "H W 3"]:
    """One picture by compiled loops."""
    plan, figure = stage.plans[index], stage.figure(index)
    clip = light_figure(stage, index, figure, camera)
    size = (oversampling * camera.height, oversampling * camera.width)
    fragments = rasterize(clip, torch.from_numpy(figure.faces), size)
    head_faces = len(stage.studio.model.faces)
    drawn = shade_picture_compiled(
        figure.table, figure.faces, fragments, stage.lighting, index, oversampling, head_faces
    )
    linear = lay_before_compiled(drawn, backdrop_of(replace(plan, camera=camera)))
    held = _held(stage, index, camera)
    if held is not None:
        paint, cover = held
        linear = cover[..., None] * paint + (1.0 - cover[..., None]) * linear
    return take_picture(linear, plan.lens, stream(plan.seed, NOISE_STREAM))


def _held(stage: Stage, index: int, camera: Camera) -> tuple[ndarray, ndarray] | None:
    """What is held before a face: paint and cover."""
    plan = stage.plans[index]
    if plan.prop != "object":
        return None
    points = project_points(stage.heads_world[index : index + 1].cpu(), camera)[0, :, :2].numpy()
    return held_before(plan, points, (camera.height, camera.width))


def _distances(cameras: list[Camera]) -> Float[Tensor, " B"]:
    return torch.tensor([camera.distance_dm for camera in cameras])
