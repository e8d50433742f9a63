"""The renderer on one page: project, rasterise, interpolate, light, antialias."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from facewright.geometry.frames import clip_from_world
from facewright.records import Camera, FaceMesh, Fragments, Rendering
from facewright.render.antialiasing import MeshEdges
from facewright.render.antialiasing import antialias as blend_silhouettes
from facewright.render.interpolation import SurfaceSamples, interpolate, sample_surface
from facewright.render.lighting import sh_shading
from facewright.render.rasterizers import Backend, rasterize

Shading = Literal["vertex", "pixel"]


def render(
    mesh_world: FaceMesh,
    camera: Camera,
    sh: Float[Tensor, "B 9 3"],
    *,
    antialias: bool = True,
    shading: Shading = "vertex",
    backend: Backend = "auto",
    edges: MeshEdges | None = None,
) -> Rendering:
    """Draw lit faces. Differentiable in vertices, normals, albedo and light; silhouettes too where antialiased.

    With antialiasing the image is coverage times colour at silhouettes: over a background it is
    ``image + (1 - mask) * background``, in the albedo's own coding.

    Args:
        mesh_world: posed faces; vertices and normals in the world frame.
        camera: one per face.
        sh: spherical-harmonic light.
        antialias: blend silhouettes, which gives them a gradient; else coverage is 0 or 1.
        shading: light each ``vertex`` and interpolate colours (the published definition, docs/deep3d.md section 3;
            cheaper), or interpolate normals and albedo and light each ``pixel``.
        backend: the rasteriser, see ``rasterize``.
        edges: ``mesh_edges(mesh_world.faces)``; pass it when drawing one topology many times.
    """
    vertices_clip, fragments = _rasterize_world(mesh_world, camera, backend)
    samples = sample_surface(vertices_clip, mesh_world.faces, fragments)
    distance = vertices_clip[..., 3:]
    if shading == "vertex":
        color = mesh_world.albedo * sh_shading(mesh_world.normals, sh)
        color, distance = samples.take(torch.cat([color, distance], -1)).split([3, 1], -1)
    else:
        values = samples.take(torch.cat([mesh_world.albedo, mesh_world.normals, distance], -1))
        albedo, normals, distance = values.split([3, 3, 1], -1)
        color = albedo * _pixel_shading(torch.nn.functional.normalize(normals, dim=-1), sh, samples)
    picture = samples.put(torch.cat([color, torch.ones_like(distance)], -1))
    if antialias:
        picture = blend_silhouettes(picture, vertices_clip, mesh_world.faces, fragments, edges=edges)
    image, mask = picture.split([3, 1], 1)
    return Rendering(image, mask, samples.put(distance), fragments)


def render_attributes(
    attributes: Float[Tensor, "B V C"], mesh_world: FaceMesh, camera: Camera, *, backend: Backend = "auto"
) -> Float[Tensor, "B C H W"]:
    """Draw any vertex values, unlit and without antialiasing; zero outside. Differentiable like ``interpolate``."""
    vertices_clip, fragments = _rasterize_world(mesh_world, camera, backend)
    return interpolate(attributes, vertices_clip, mesh_world.faces, fragments)


def render_normals(mesh_world: FaceMesh, camera: Camera, *, backend: Backend = "auto") -> Float[Tensor, "B 3 H W"]:
    """Unit normals in the world frame; zero outside."""
    normals = render_attributes(mesh_world.normals, mesh_world, camera, backend=backend)
    return torch.nn.functional.normalize(normals, dim=1, eps=1e-12)


def render_depth(mesh_world: FaceMesh, camera: Camera, *, backend: Backend = "auto") -> Float[Tensor, "B 1 H W"]:
    """Distance along the camera's axis, dm; zero outside."""
    distance = camera.distance_dm - mesh_world.vertices[..., 2:]
    return render_attributes(distance, mesh_world, camera, backend=backend)


def _rasterize_world(mesh_world: FaceMesh, camera: Camera, backend: Backend) -> tuple[Tensor, Fragments]:
    vertices_clip = clip_from_world(mesh_world.vertices, camera)
    return vertices_clip, rasterize(vertices_clip, mesh_world.faces, (camera.height, camera.width), backend=backend)


def _pixel_shading(normals: Tensor, sh: Tensor, samples: SurfaceSamples) -> Float[Tensor, "P 3"]:
    """Light at the samples, which are ordered by picture."""
    batch, height, width = samples.shape
    counts = torch.bincount(samples.pixels // (height * width), minlength=batch).tolist()
    parts = [sh_shading(part[None], light[None])[0] for part, light in zip(normals.split(counts), sh, strict=True)]
    return torch.cat(parts)
