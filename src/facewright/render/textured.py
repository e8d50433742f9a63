"""Meshes drawn with a texture on them: each pixel reads the atlas where its triangle lies in it."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from facewright.geometry.frames import clip_from_world
from facewright.records import Camera, FaceMesh
from facewright.render.rasterizers import Backend, rasterize
from facewright.render.sampling import Filtering, sample_texture


def render_texture(
    texture: Float[Tensor, "C S S"],
    mesh_world: FaceMesh,
    camera: Camera,
    *,
    filtering: Filtering = "mipmap",
    backend: Backend = "auto",
) -> tuple[Float[Tensor, "C H W"], Bool[Tensor, "H W"]]:
    """Draw the first face with a texture, unlit and without antialiasing, and which pixels it covers; zero elsewhere.

    Args:
        texture: row 0 is v = 1; any channels.
        mesh_world: posed, with texture coordinates.
        camera: one.
        filtering: see ``sample_texture``.
        backend: the rasteriser, see ``rasterize``.

    Raises:
        ValueError: the mesh has no texture coordinates.
    """
    if mesh_world.uv is None or mesh_world.faces_uv is None:
        raise ValueError("expected a mesh with texture coordinates, received one without; take vertex colours instead")
    clip = clip_from_world(mesh_world.vertices[:1], camera)
    fragments = rasterize(clip, mesh_world.faces, (camera.height, camera.width), backend=backend)
    shown, weights = fragments.face_index[0], fragments.barycentrics[0]
    covered = shown >= 0
    corners = mesh_world.uv[mesh_world.faces_uv[shown.clamp_min(0)]]
    places = (corners * weights[..., None].to(corners)).sum(2).permute(2, 0, 1)[None]
    read = sample_texture(texture[None], places.to(texture), filtering=filtering)[0]
    return torch.where(covered, read, 0.0), covered
