"""One texture out of many photos: each texel from where it is seen best, freed of each photo's light.

Photos come one after the other and leave sums: the memory is that of one. Coarse colours are averaged widely, so that
no seam shows; fine detail is taken almost alone from the photo that shows it best, so that nothing blurs.
"""

from dataclasses import dataclass

import cv2
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from facewright.geometry.color import albedo_from_display, display_from_albedo
from facewright.pipeline.face import FaceInPhoto
from facewright.pipeline.texture import own_visibility, part_around, texture_at_vertices, texture_atlas
from facewright.records import AlbedoSpace, FaceMesh, Topology, VisibilityMap
from facewright.render.completion import TRUSTED, complete_texture
from facewright.render.lighting import sh_shading
from facewright.render.texture import bake_texture

LEAST_LIGHT = 0.25
"""Of the light on a texel, as a share of the photo's usual light on the face: what is darker is not brightened more."""
COARSE_SHARE = 1 / 48
"""Sigma of the blur that parts coarse from fine, as a share of the texture's side."""
COARSE_POWER, FINE_POWER = 2.0, 8.0
"""Of how well a texel is seen: how wide coarse colours are averaged, and how alone fine detail is taken."""
STRANGE_COLOR = 0.12
"""Mean difference from the model's albedo, sRGB-coded 0..1, at which a texel has half its say."""
USUAL_GAIN = (0.4, 2.5)
"""Range of the factor that brings a photo's colours to the face's own."""


@dataclass(frozen=True)
class MergedTexture:
    """A person's texture.

    Attributes:
        texture: sRGB-coded albedo, 0..1, completed where no photo shows anything.
        colors: the same at the vertices.
        seen: 0..1 per texel: how well the best photo shows it, as a cosine of the angle of view.
        covered: texels that belong to the mesh.
        seen_vertices: the same as ``seen``, at the vertices.
        best_photo: number of the photo that shows each vertex best, in the order in which they came; -1: none.
        seen_by: how many photos show each vertex.
    """

    texture: Float[Tensor, "3 S S"]
    colors: Float[Tensor, "V 3"]
    seen: Float[Tensor, "S S"]
    covered: Bool[Tensor, "S S"]
    seen_vertices: Float[Tensor, " V"]
    best_photo: Int[Tensor, " V"]
    seen_by: Int[Tensor, " V"]

    @property
    def complete(self) -> float:
        """Share of the mesh's texels that some photo shows well enough to be read."""
        return float((self.seen[self.covered] > TRUSTED[0]).float().mean())


class TextureMerger:
    """Sums over photos.

    Args:
        topology: of all meshes, with texture coordinates.
        mesh: the person's, model frame; its albedo gives the tone, and fills what nobody saw.
        size: side of the texture.

    Raises:
        ValueError: the mesh has no texture coordinates.
    """

    def __init__(self, topology: Topology, mesh: FaceMesh, size: int) -> None:
        if mesh.uv is None or mesh.faces_uv is None:
            raise ValueError("expected a mesh with texture coordinates, received one without")
        self.mesh, self.size = mesh, size
        self._samples, self._partners = texture_atlas(topology, size)
        like = mesh.vertices
        self._own = self._samples.put(self._samples.take(mesh.albedo))[0]
        self._coarse, self._fine = like.new_zeros(3, size, size), like.new_zeros(3, size, size)
        self._coarse_sum, self._fine_sum = like.new_zeros(size, size), like.new_zeros(size, size)
        self._seen = like.new_zeros(size, size)
        self._covered = self._samples.put(like.new_ones(len(self._samples.pixels), 1))[0, 0] > 0
        count = like.shape[1]
        self._best, self._best_photo = like.new_zeros(count), torch.full((count,), -1, device=like.device)
        self._seen_by = torch.zeros_like(self._best_photo)
        self._photos = 0

    @torch.no_grad()
    def add(self, face: FaceInPhoto, sharpness: float) -> Float[Tensor, " V"]:
        """Add what a photo shows; gives how well it shows each vertex, 0..1.

        Args:
            face: lying on its photo; of the same topology.
            sharpness: of this photo among others, any unit.
        """
        world = face.mesh_world
        assert world.uv is not None
        assert world.faces_uv is not None
        part, camera = part_around(face, world, self.size)
        read, visibility = bake_texture(
            part,
            world.vertices[0],
            world.normals[0],
            camera,
            world.faces,
            world.uv,
            world.faces_uv,
            self.size,
            samples=self._samples,
        )
        visibility = own_visibility(face, visibility)
        seen = torch.where(visibility.confidence > TRUSTED[0], visibility.confidence, 0.0)
        albedo = self._unlit(read, world, face.sh, seen)
        weight = seen * max(sharpness, 1e-4) * self._agreement(albedo)
        coarse = _smoothed(albedo, (seen > 0).to(seen), self.size)
        wide, alone = weight.pow(COARSE_POWER), weight.pow(FINE_POWER)
        self._coarse += wide * coarse
        self._fine += alone * (albedo - coarse)
        self._coarse_sum += wide
        self._fine_sum += alone
        self._seen = torch.maximum(self._seen, seen)
        at_vertices = texture_at_vertices(seen.expand(3, -1, -1), world)[:, 0]
        better = at_vertices * sharpness > self._best
        self._best = torch.where(better, at_vertices * sharpness, self._best)
        self._best_photo[better] = self._photos
        self._seen_by += at_vertices > 0
        self._photos += 1
        return at_vertices

    def _agreement(self, albedo: Float[Tensor, "3 S S"]) -> Float[Tensor, "S S"]:
        """How little what was read differs from what the model expects: glasses and backgrounds count for little.

        Shares of the photos among each other: what all show differently, a beard, stays.
        """
        read, own = (display_from_albedo(some, self.mesh.albedo_space) for some in (albedo, self._own.clamp(0.0, 1.0)))
        return 1.0 / (1.0 + ((read - own).abs().mean(0) / STRANGE_COLOR).pow(4))

    def _unlit(
        self, read: Float[Tensor, "3 S S"], world: FaceMesh, sh: Float[Tensor, "1 9 3"], seen: Float[Tensor, "S S"]
    ) -> Float[Tensor, "3 S S"]:
        """What was read without its light, in the person's own tone; coded as the albedo is."""
        color = albedo_from_display(read, world.albedo_space)
        light = self._samples.put(self._samples.take(sh_shading(world.normals, sh)))[0]
        if not bool((seen > 0).any()):
            return color
        usual = (light * seen).sum((-2, -1), keepdim=True) / seen.sum()
        plain = color / (light / usual.clamp_min(1e-3)).clamp_min(LEAST_LIGHT)
        own, found = ((some * seen).sum((-2, -1), keepdim=True) for some in (self._own, plain))
        return (plain * (own / found.clamp_min(1e-6)).clamp(*USUAL_GAIN)).clamp(0.0, 1.0)

    @torch.no_grad()
    def finish(self) -> MergedTexture:
        """The texture of all photos so far."""
        known = self._seen > 0
        merged = self._coarse / self._coarse_sum.clamp_min(1e-12) + self._fine / self._fine_sum.clamp_min(1e-12)
        space: AlbedoSpace = self.mesh.albedo_space
        shown = display_from_albedo(torch.where(known, merged, self._own), space).clamp(0.0, 1.0)
        guess = display_from_albedo(self._own, space).clamp(0.0, 1.0)
        visibility = VisibilityMap(self._seen, self._covered)
        texture = complete_texture(shown, visibility, guess, mirror_uv=self._partners).clamp(0.0, 1.0)
        at_vertices = texture_at_vertices(self._seen.expand(3, -1, -1), self.mesh)[:, 0]
        return MergedTexture(
            texture,
            texture_at_vertices(texture, self.mesh),
            self._seen,
            self._covered,
            at_vertices,
            self._best_photo,
            self._seen_by,
        )


def _smoothed(picture: Float[Tensor, "3 S S"], weight: Float[Tensor, "S S"], size: int) -> Float[Tensor, "3 S S"]:
    """Blurred among the texels that have a weight; others lend nothing."""
    sigma = max(1.0, COARSE_SHARE * size)
    planes = torch.cat([picture * weight, weight[None]]).permute(1, 2, 0).cpu().numpy()
    blurred = torch.from_numpy(cv2.GaussianBlur(planes, (0, 0), sigma)).permute(2, 0, 1).to(picture)
    return blurred[:3] / blurred[3:].clamp_min(1e-6)
