"""The texture of a reconstruction: what the photo shows, completed from the mirrored side and the model's albedo."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from facewright.geometry.color import display_from_albedo
from facewright.geometry.frames import project_points, window_camera
from facewright.geometry.pixels import reduced_part
from facewright.pipeline.face import FaceInPhoto
from facewright.pipeline.parts import own_share
from facewright.records import Camera, FaceMesh, Topology, VisibilityMap
from facewright.render.completion import TRUSTED, complete_texture, guess_texture, mirror_texels
from facewright.render.interpolation import SurfaceSamples
from facewright.render.lighting import sh_shading
from facewright.render.sampling import sample_texture
from facewright.render.texture import bake_texture, sample_atlas

AMPLE_PX = 2
"""Pixels of the photo per texel along each side that a texture is read from; more would be averaged anyway."""
VERTICES_PX = 1024
"""Size of a texture that would be no finer than the vertices."""
LARGEST_KEPT_PX = 2048
"""Size of an atlas that is kept for other faces: 140 MB."""
BORDER_PX = 8
"""What is read of the photo around the face."""
PARTS_PX = 512
"""Largest atlas that is asked what its texels show: the network that says it sees no finer."""
SCALP_PX = 256
"""Size of the atlas that the scalp is completed in."""
SCALP = "scalp"
TONGUE = "tongue"
"""Region of face models on which hair is at home."""


def lit_vertex_colors(mesh_world: FaceMesh, sh: Float[Tensor, "B 9 3"]) -> Float[Tensor, "B V 3"]:
    """Shaded albedo of posed faces, sRGB-coded, 0..1."""
    color = mesh_world.albedo * sh_shading(mesh_world.normals, sh)
    return display_from_albedo(color, mesh_world.albedo_space).clamp(0.0, 1.0)


def vertex_colors(face: FaceInPhoto) -> Float[Tensor, "V 3"]:
    """Colours for a mesh without texture coordinates; sRGB-coded, 0..1.

    As its light falls on its albedo; where a method knows neither, as the photo shows the vertices that it sees, and in
    their mean colour the others.
    """
    mesh = face.mesh_world
    if face.light is not None:
        return lit_vertex_colors(mesh, face.light)[0]
    part, camera = part_around(face, mesh, VERTICES_PX)
    places = project_points(mesh.vertices, camera)[0, :, :2]
    size = places.new_tensor([camera.width, camera.height])
    grid = ((2.0 * places + 1.0) / size - 1.0)[None, None]
    read = torch.nn.functional.grid_sample(part[None], grid, padding_mode="border", align_corners=False)[0, :, 0].T
    seen = face.visibility
    if not bool(seen.any()):
        return lit_vertex_colors(mesh, face.sh)[0]
    return torch.where(seen[:, None], read, read[seen].mean(0))


def face_texture(
    face: FaceInPhoto, size: int, *, complete: bool = True
) -> tuple[Float[Tensor, "3 S S"], Float[Tensor, "V 3"]]:
    """Texture of a face, and the same as vertex colours; sRGB-coded, 0..1.

    Args:
        face: in its photo.
        size: side of the texture.
        complete: fill what the photo does not show; else that is black.

    Raises:
        ValueError: the mesh has no texture coordinates.
    """
    mesh = face.mesh_world
    if mesh.uv is None or mesh.faces_uv is None:
        raise ValueError("expected a mesh with texture coordinates, received one without; take vertex colours instead")
    part, camera = part_around(face, mesh, size)
    samples, partners = texture_atlas(face.topology, size)
    texture, visibility = bake_texture(
        part, mesh.vertices[0], mesh.normals[0], camera, mesh.faces, mesh.uv, mesh.faces_uv, size, samples=samples
    )
    visibility = own_visibility(face, visibility)
    if not complete:
        seen = texture.clamp(0.0, 1.0) * (visibility.confidence > TRUSTED[0])
        return seen, texture_at_vertices(seen, mesh)
    fallback = guess_texture(mesh, face.sh, visibility, samples=samples)
    completed = complete_head(face, texture, visibility, fallback, partners).clamp(0.0, 1.0)
    return completed, texture_at_vertices(completed, mesh)


def complete_head(
    face: FaceInPhoto,
    texture: Float[Tensor, "3 S S"],
    visibility: VisibilityMap,
    fallback: Float[Tensor, "3 S S"],
    partners: Float[Tensor, "S S 2"] | None,
) -> Float[Tensor, "3 S S"]:
    """``complete_texture`` in which scalp and skin lend each other nothing: no hair is smeared over ears and temples.

    The scalp is completed in coarser texels: what is seen of it stays as sharp as it is.

    Args:
        face: whose texture it is.
        texture: as the photo shows it.
        visibility: of its texels.
        fallback: as the model expects it.
        partners: of the texels in the mirror.
    """
    scalp = scalp_texels(face, visibility.confidence.shape[0])
    if scalp is None or face.parts is None:
        return complete_texture(texture, visibility, fallback, mirror_uv=partners)
    skin = replace(visibility, confidence=visibility.confidence * (1.0 - scalp))
    completed = complete_texture(texture, skin, fallback, mirror_uv=partners)
    coarse = max(1, scalp.shape[-1] // SCALP_PX)

    def reduced(picture: Float[Tensor, "C S S"]) -> Float[Tensor, "C s s"]:
        return torch.nn.functional.avg_pool2d(picture[None], coarse)[0]

    hairy = VisibilityMap(
        reduced((visibility.confidence * (scalp > 0.5))[None])[0],
        reduced(visibility.covered[None].to(texture))[0] > 0.5,
    )
    mirrored = None if partners is None else partners[coarse // 2 :: coarse, coarse // 2 :: coarse]
    filled = complete_texture(reduced(texture), hairy, reduced(fallback), mirror_uv=mirrored)
    filled = torch.nn.functional.interpolate(
        filled[None], size=tuple(scalp.shape), mode="bilinear", align_corners=False
    )[0]
    low, high = TRUSTED
    shown = ((visibility.confidence - low) / (high - low)).clamp(0.0, 1.0)
    above = torch.lerp(filled, texture, shown * shown * (3.0 - 2.0 * shown))
    return torch.lerp(completed, above, scalp)


def scalp_texels(face: FaceInPhoto, size: int) -> Float[Tensor, "S S"] | None:
    """How far each texel is on the scalp, 0..1; None of meshes that do not know theirs."""
    scalp = face.topology.annotations.regions.get(SCALP)
    if scalp is None:
        return None

    def made() -> Float[Tensor, "S S"]:
        samples, _ = texture_atlas(face.topology, size)
        return samples.put(samples.take(scalp[None, :, None]))[0, 0]

    return face.topology.once(("scalp", size), made) if size <= LARGEST_KEPT_PX else made()


def tongue_texels(face: FaceInPhoto, size: int) -> Float[Tensor, "S S"] | None:
    """1 at texels of the tongue; None of meshes that do not know theirs."""
    tongue = face.topology.annotations.face_parts.get(TONGUE)
    if tongue is None:
        return None

    def made() -> Float[Tensor, "S S"]:
        samples, _ = texture_atlas(face.topology, size)
        of_vertices = face.mesh_world.vertices.new_zeros(len(face.mesh_world.vertices[0]))
        of_vertices[face.topology.faces[tongue]] = 1.0
        return samples.put(samples.take(of_vertices[None, :, None]))[0, 0]

    return face.topology.once((TONGUE, size), made) if size <= LARGEST_KEPT_PX else made()


def own_visibility(face: FaceInPhoto, visibility: VisibilityMap) -> VisibilityMap:
    """The visibility of a baked texture without what is not the face's: glasses, hands, hats, hair off the scalp.

    Nor is the tongue: the little that a mesh shows of it lies on teeth in the photo, and would paint all of it white.
    """
    parts, mesh, size = face.parts, face.mesh_world, visibility.confidence.shape[0]
    tongue = tongue_texels(face, size)
    if tongue is not None:
        visibility = replace(visibility, confidence=visibility.confidence * (1.0 - tongue))
    if parts is None:
        return visibility
    samples, _ = texture_atlas(face.topology, min(size, PARTS_PX))
    scalp = face.topology.annotations.regions.get(SCALP)
    places = project_points(mesh.vertices, face.camera)[0, :, :2]
    values = samples.take(
        torch.cat([places, places.new_zeros(len(places), 1) if scalp is None else scalp[:, None]], 1)[None]
    )
    own = own_share(parts, values[:, :2], values[:, 2])
    # where no texel is: as if it were seen, so that nothing fades toward the charts' borders
    share = 1.0 - samples.put(1.0 - own[:, None])
    if share.shape[-1] != size:
        share = torch.nn.functional.interpolate(share, size=(size, size), mode="bilinear", align_corners=False)
    return replace(visibility, confidence=visibility.confidence * share[0, 0])


def texture_atlas(topology: Topology, size: int) -> tuple[SurfaceSamples, Float[Tensor, "S S 2"] | None]:
    """The texels of a topology and their partners in the mirror; kept with it, but for very large ones."""
    assert topology.uv is not None
    assert topology.faces_uv is not None
    faces, uv, faces_uv, mirror = topology.faces, topology.uv, topology.faces_uv, topology.annotations.mirror

    def made() -> tuple[SurfaceSamples, Float[Tensor, "S S 2"] | None]:
        partners = None if mirror is None else mirror_texels(faces, uv, faces_uv, mirror, size)
        return sample_atlas(faces, uv, faces_uv, size), partners

    return topology.once(("atlas", size), made) if size <= LARGEST_KEPT_PX else made()


def part_around(face: FaceInPhoto, mesh: FaceMesh, size: int) -> tuple[Float[Tensor, "3 h w"], Camera]:
    """The photo's part that shows a posed face, no finer than ``AMPLE_PX`` pixels a texel, and the camera of it."""
    photo, camera = face.photo, face.camera
    outline = project_points(mesh.vertices, camera)[0, :, :2]
    limit = outline.new_tensor([photo.width - 1, photo.height - 1])
    low, high = outline.amin(0).floor() - BORDER_PX, outline.amax(0).ceil() + BORDER_PX
    (left, top), (right, bottom) = ((corner.clamp_min(0).minimum(limit)).long().tolist() for corner in (low, high))
    factor = max(1, int((high - low).max()) // (AMPLE_PX * size))
    # whole squares, so that none is darkened by what is not there
    width, height = max(1, (right + 1 - left) // factor), max(1, (bottom + 1 - top) // factor)
    part = reduced_part(photo, left, top, left + width * factor, top + height * factor, factor)
    return part.to(mesh.vertices), window_camera(camera, float(left), float(top), 1 / factor, width, height)


def texture_at_vertices(texture: Float[Tensor, "3 S S"], mesh: FaceMesh) -> Float[Tensor, "V 3"]:
    """The texture read at each vertex (at the first of its texture coordinates, on a seam)."""
    assert mesh.uv is not None
    assert mesh.faces_uv is not None
    uv = torch.zeros_like(mesh.vertices[0, :, :2])
    uv[mesh.faces.flatten().flip(0)] = mesh.uv[mesh.faces_uv.flatten().flip(0)]
    return sample_texture(texture[None], uv.T[None, :, :, None])[0, :, :, 0].T
