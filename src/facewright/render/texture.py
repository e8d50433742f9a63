"""From a photo, and a face lying on it, to a texture: what the photo shows, and how well."""

import math
from dataclasses import replace

import cv2
import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from facewright.geometry.frames import clip_from_world, project_points, window_camera
from facewright.records import Camera, VisibilityMap
from facewright.render.interpolation import SurfaceSamples, sample_surface
from facewright.render.rasterizers import Backend, rasterize
from facewright.render.visibility import TOLERANCE_DM, seen_share, surface_distance

DEPTH_BUFFER_PX = 512
"""Longer side of the depth buffer that visibility is asked of."""

MARGIN_STEPS = 6
"""Steps in which confidence falls to zero toward silhouettes."""


def sample_atlas(
    faces: Int[Tensor, "F 3"],
    uv: Float[Tensor, "T 2"],
    faces_uv: Int[Tensor, "F 3"],
    size: int,
    *,
    backend: Backend = "auto",
) -> SurfaceSamples:
    """The texels that a mesh covers, as points on its triangles.

    Args:
        faces: vertex ids; the samples' corners are these.
        uv: texture coordinates, origin bottom-left.
        faces_uv: ids into ``uv`` per face corner.
        size: side of the square texture, texels.
        backend: the rasteriser, see ``rasterize``.
    """
    u, v = uv.unbind(-1)
    atlas = torch.stack([2 * u - 1, 1 - 2 * v, torch.zeros_like(u), torch.ones_like(u)], -1)[None]
    fragments = rasterize(atlas, faces_uv, (size, size), backend=backend)
    samples = sample_surface(atlas.detach(), faces_uv, fragments)
    return replace(samples, corners=faces[fragments.face_index.flatten()[samples.pixels]])


def bake_vertex_attribute(
    attribute: Float[Tensor, "V C"],
    faces: Int[Tensor, "F 3"],
    uv: Float[Tensor, "T 2"],
    faces_uv: Int[Tensor, "F 3"],
    size: int,
) -> Float[Tensor, "C S S"]:
    """Spread vertex values over the texture atlas; zero outside of the charts. Differentiable in ``attribute``."""
    samples = sample_atlas(faces, uv, faces_uv, size)
    return samples.put(samples.take(attribute[None]))[0]


def bake_texture(
    photo_srgb: Float[Tensor, "3 H W"],
    vertices_world: Float[Tensor, "V 3"],
    normals: Float[Tensor, "V 3"],
    camera_photo: Camera,
    faces: Int[Tensor, "F 3"],
    uv: Float[Tensor, "T 2"],
    faces_uv: Int[Tensor, "F 3"],
    size: int = 1024,
    *,
    margin: float = 0.025,
    samples: SurfaceSamples | None = None,
) -> tuple[Float[Tensor, "3 S S"], VisibilityMap]:
    """Read the colour of every texel from the photo.

    Args:
        photo_srgb: colours in any coding; the texture has the same.
        vertices_world: posed vertices, dm.
        normals: unit vertex normals, world frame.
        camera_photo: one camera, of the whole photo.
        faces: counter-clockwise from outside.
        uv: texture coordinates, origin bottom-left.
        faces_uv: ids into ``uv`` per face corner.
        size: side of the square texture, texels.
        margin: confidence falls to zero within this distance of silhouettes and nearer parts, as a share of the face's
            size in the photo: there a small misfit would read the background, or the nose for the cheek.
        samples: ``sample_atlas`` of the same mesh and size, if already known.

    Returns:
        The texture (zero outside of the charts; hidden texels hold whatever the photo shows in their place), and how
        well each texel is seen: cosine of the angle of view, times the share not hidden, zero outside of the photo.
    """
    with torch.no_grad():
        samples = sample_atlas(faces, uv, faces_uv, size) if samples is None else samples
        eye = vertices_world.new_tensor([0.0, 0.0, camera_photo.distance_dm])
        toward = torch.nn.functional.normalize(eye - vertices_world, dim=-1)
        facing = (torch.nn.functional.normalize(normals, dim=-1) * toward).sum(-1, keepdim=True)
        points, facing = samples.take(torch.cat([vertices_world, facing], -1)[None]).split([3, 1], -1)
        column, row, distance = project_points(points[None], camera_photo)[0].T.contiguous()
        height, width = photo_srgb.shape[1:]
        color = _read_photo(photo_srgb, column, row, _pixels_per_texel(samples, column, row, size))
        inside = (column > 0) & (column < width - 1) & (row > 0) & (row < height - 1) & (distance > 0)
        seen = _unhidden(vertices_world, faces, camera_photo, column, row, distance, margin)
        confidence = facing[:, 0].clamp(0, 1) * seen * inside
        pictures = samples.put(torch.cat([color, confidence[:, None]], -1))[0]
        covered = torch.zeros(size * size, dtype=torch.bool, device=uv.device)
        covered[samples.pixels] = True
        return pictures[:3], VisibilityMap(pictures[3], covered.view(size, size))


def _pixels_per_texel(samples: SurfaceSamples, column: Tensor, row: Tensor, size: int) -> float:
    """Typical size of a texel in the photo, px: median step between neighbours in a row of the atlas."""
    beside = (samples.pixels.diff() == 1) & (samples.pixels[1:] % size != 0)
    step = torch.hypot(column.diff(), row.diff())[beside]
    return float(step.median()) if step.numel() else 1.0


def _read_photo(photo: Tensor, column: Tensor, row: Tensor, pixels_per_texel: float) -> Float[Tensor, "P 3"]:
    """Bilinear look-up, after averaging the photo down where its pixels are much finer than the texels."""
    factor = max(1, math.floor(pixels_per_texel))
    if factor > 1:
        photo = torch.nn.functional.avg_pool2d(photo[None], factor, ceil_mode=True, count_include_pad=False)[0]
        column, row = ((place + 0.5) / factor - 0.5 for place in (column, row))
    height, width = photo.shape[1:]
    grid = torch.stack([(2 * column + 1) / width - 1, (2 * row + 1) / height - 1], -1).to(photo)
    read = torch.nn.functional.grid_sample(photo[None], grid[None, None], padding_mode="border", align_corners=False)
    return read[0, :, 0].T


def _unhidden(
    vertices_world: Tensor, faces: Tensor, camera: Camera, column: Tensor, row: Tensor, distance: Tensor, margin: float
) -> Float[Tensor, " P"]:
    """Share, 0..1, of each point's surroundings in a depth buffer around the face that hides nothing of it."""
    corners = project_points(vertices_world[None], camera)[0, :, :2]
    (left, top), (right, bottom) = (corners.amin(0) - 2).tolist(), (corners.amax(0) + 2).tolist()
    scale = DEPTH_BUFFER_PX / max(right - left, bottom - top)
    width, height = max(1, math.ceil((right - left) * scale)), max(1, math.ceil((bottom - top) * scale))
    window = window_camera(camera, left + 0.5, top + 0.5, scale, width, height)
    vertices_clip = clip_from_world(vertices_world[None], window)
    surface = surface_distance(vertices_clip, faces, rasterize(vertices_clip, faces, (height, width)))
    column, row = (column - left) * scale - 0.5, (row - top) * scale - 0.5
    share = seen_share(surface, column[None], row[None], distance[None], tolerance=TOLERANCE_DM)[0]
    place = row.round().clamp(0, height - 1).mul_(width).add_(column.round().clamp(0, width - 1)).long()
    return share * _away_from_edges(surface, round(margin * DEPTH_BUFFER_PX)).flatten()[place]


def _away_from_edges(surface: Float[Tensor, "1 H W"], reach: int) -> Float[Tensor, "1 H W"]:
    """1 where nothing within ``reach`` px is nearer than the surface by a step, nor empty; falling to 0 at such edges.

    0 where there is no surface.
    """
    step = 10 * TOLERANCE_DM
    nearness = torch.where(surface.isfinite(), -surface, torch.inf)[0].cpu().numpy()  # emptiness is an edge too
    stride = max(1, reach // MARGIN_STEPS)
    window = np.ones((2 * stride + 1, 2 * stride + 1), dtype=np.uint8)
    share = surface.isfinite().to(surface)
    for inner in range(0, reach, stride):
        nearness = cv2.dilate(nearness, window)
        clear = -torch.from_numpy(nearness).to(surface) >= surface - step
        share = torch.where(clear, share, share.clamp_max(inner / reach))
    return share
