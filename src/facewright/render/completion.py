"""From the texels a photo shows to a whole texture: the mirrored side, then the model's own colours, without seams."""

from collections.abc import Iterator

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from facewright.geometry.color import display_from_albedo
from facewright.records import FaceMesh, VisibilityMap
from facewright.render.lighting import sh_shading
from facewright.render.sampling import sample_texture
from facewright.render.texture import bake_vertex_attribute, sample_atlas

TRUSTED = (0.15, 0.45)
"""Confidence below the first is not used, above the second used alone; blended smoothly between."""

SAMPLE_STRIDE = 16
"""Every how many-th seen texel stands for all of them in statistics."""


def guess_texture(
    mesh_world: FaceMesh, sh: Float[Tensor, "1 9 3"], visibility: VisibilityMap
) -> Float[Tensor, "3 S S"]:
    """What the model expects the texture of a lit face to be, for the texels that a photo does not show; sRGB-coded.

    A photo tells of the light on normals that face the camera. On the others nine coefficients run wild, each colour
    channel in its own way; so the light keeps the mean colour that it has on seen texels, and their range of brightness
    (5th to 95th percentile).

    Args:
        mesh_world: one posed face with texture coordinates.
        sh: its light.
        visibility: from ``bake_texture``.

    Raises:
        ValueError: the mesh has no texture coordinates.
    """
    if mesh_world.uv is None or mesh_world.faces_uv is None:
        raise ValueError("expected a mesh with texture coordinates, received one without; take vertex colours instead")
    values = torch.cat([mesh_world.albedo[0], sh_shading(mesh_world.normals, sh)[0]], -1)
    size = visibility.confidence.shape[0]
    albedo, light = bake_vertex_attribute(values, mesh_world.faces, mesh_world.uv, mesh_world.faces_uv, size).split(3)
    color = albedo * _plausible(light, visibility)
    return display_from_albedo(color, mesh_world.albedo_space).clamp(0, 1)


def _plausible(light: Float[Tensor, "3 S S"], visibility: VisibilityMap) -> Float[Tensor, "3 S S"]:
    """The light in the colour and the range of brightness that it has on seen texels; as it is if there are none."""
    grey = light.mean(0)
    samples = (visibility.confidence > TRUSTED[0]).flatten().nonzero()[::SAMPLE_STRIDE, 0]
    if len(samples) == 0:
        return light
    seen = grey.flatten()[samples]
    low, high = torch.quantile(seen, torch.tensor([0.05, 0.95]).to(seen))
    tint = light.flatten(1)[:, samples].mean(1) / seen.mean().clamp_min(1e-3)
    return grey.clamp(low, high) * tint[:, None, None]


def complete_texture(
    texture: Float[Tensor, "3 S S"],
    visibility: VisibilityMap,
    fallback: Float[Tensor, "3 S S"],
    *,
    mirror_uv: Float[Tensor, "S S 2"] | None = None,
) -> Float[Tensor, "3 S S"]:
    """Fill what the photo does not show, and dilate the charts over the whole picture so that filtering cannot bleed.

    Seen texels stay. Hidden ones come from the mirrored side where that is seen, re-lit by the ratio of the fallback's
    two sides, else from the fallback. Each source is brought to the seen texels by a membrane: their difference is
    extended smoothly from where both are known (seamless cloning, Perez 2003, with soft weights), so there is no seam
    and no difference in overall colour. Charts (separate patches of covered texels) do not influence one another; one
    that is not seen at all stays as the fallback has it.

    Args:
        texture: from ``bake_texture``, 0..1.
        visibility: the same.
        fallback: the model's guess of the same texture in the same coding, from ``guess_texture``.
        mirror_uv: from ``mirror_texels``; None does without mirroring.
    """
    covered = visibility.covered.to(texture)
    seen = _smoothstep(visibility.confidence, *TRUSTED) * covered
    mirrored, mirrored_seen = torch.zeros_like(texture), torch.zeros_like(seen)
    if mirror_uv is not None:
        mirrored, mirrored_seen = _mirrored(texture, seen, fallback, mirror_uv)
    completed = fallback.clone()
    for rows, columns, chart in _charts(visibility.covered):
        layers = (texture, mirrored, fallback, seen, mirrored_seen)
        photo, other, guess, own, others = (layer[..., rows, columns] for layer in layers)
        filled = _fill_chart(photo, other, guess, own * chart, others * chart)
        completed[:, rows, columns] = torch.where(chart, filled, completed[:, rows, columns])
    return extend(completed.clamp(0, 1), covered)


def _charts(covered: Bool[Tensor, "S S"]) -> Iterator[tuple[slice, slice, Bool[Tensor, "H W"]]]:
    """Rows, columns and mask of each connected patch of covered texels."""
    _, numbers, boxes, _ = cv2.connectedComponentsWithStats(covered.cpu().numpy().astype(np.uint8), connectivity=4)
    for number, (left, top, width, height, _) in enumerate(boxes.tolist()[1:], start=1):  # number 0 is not covered
        rows, columns = slice(top, top + height), slice(left, left + width)
        yield rows, columns, torch.from_numpy(numbers[rows, columns] == number).to(covered.device)


def _fill_chart(
    texture: Tensor, mirrored: Tensor, fallback: Tensor, seen: Tensor, mirrored_seen: Tensor
) -> Float[Tensor, "3 H W"]:
    """One chart, or the box around it: nothing is matched across charts, lest teeth take the colour of hair."""
    mirrored = mirrored + extend(texture - mirrored, seen * mirrored_seen)
    borrowed = (1 - seen) * mirrored_seen
    known = seen + borrowed
    texture = (seen * texture + borrowed * mirrored) / known.clamp_min(1e-6)
    matched = fallback + extend(texture - fallback, known)
    return known * texture + (1 - known) * matched


def mirror_texels(
    faces: Int[Tensor, "F 3"],
    uv: Float[Tensor, "T 2"],
    faces_uv: Int[Tensor, "F 3"],
    mirror: Int[Tensor, " V"],
    size: int,
) -> Float[Tensor, "S S 2"]:
    """Texture coordinates of every texel's left-right partner on the mesh; NaN where there is none.

    Args:
        faces: vertex ids.
        uv: texture coordinates, origin bottom-left.
        faces_uv: ids into ``uv`` per face corner.
        mirror: id of each vertex's partner.
        size: side of the square texture, texels.
    """
    samples = sample_atlas(torch.arange(faces.numel(), device=faces.device).view(-1, 3), uv, faces_uv, size)
    corner_uv = _mirrored_corner_uv(faces, uv, faces_uv, mirror)
    values = samples.take(corner_uv[None])
    picture = torch.full((size * size, 2), torch.nan, dtype=uv.dtype, device=uv.device)
    return picture.index_copy(0, samples.pixels, values).view(size, size, 2)


def extend(values: Float[Tensor, "C H W"], weights: Float[Tensor, "H W"], *, sweeps: int = 3) -> Float[Tensor, "C H W"]:
    """Extend values smoothly from where their weight is high to where it is zero, over the whole picture.

    Push-pull: averaged down a pyramid by weight, then filled from coarse to fine; a few relaxation sweeps a level bring
    the filled part near the membrane that minimises its squared gradient. Zero if nothing has weight.
    """
    values = values * (weights > 0)  # hidden texels may hold anything
    levels = [(values, weights[None].clamp(0, 1))]
    while max(levels[-1][0].shape[1:]) > 1:
        value, weight = levels[-1]
        mass = _halve(weight)
        levels.append((_halve(value * weight) / mass.clamp_min(1e-12), (4 * mass).clamp_max(1)))
    filled = levels[-1][0]
    for depth, (value, weight) in reversed(list(enumerate(levels[:-1]))):
        filled = torch.nn.functional.interpolate(filled[None], value.shape[1:], mode="bilinear")[0]
        for _ in range(sweeps if depth else 0):  # the finest level adds no more than its known values
            filled = weight * value + (1 - weight) * _neighbours(filled)
        filled = weight * value + (1 - weight) * filled
    return filled


def _halve(picture: Float[Tensor, "C H W"]) -> Float[Tensor, "C h w"]:
    return torch.nn.functional.avg_pool2d(picture, 2, ceil_mode=True, count_include_pad=False)


def _neighbours(picture: Float[Tensor, "C H W"]) -> Float[Tensor, "C H W"]:
    """Mean of the four neighbours; the border repeats."""
    padded = torch.nn.functional.pad(picture, (1, 1, 1, 1), mode="replicate")
    return (padded[:, :-2, 1:-1] + padded[:, 2:, 1:-1] + padded[:, 1:-1, :-2] + padded[:, 1:-1, 2:]) / 4


def _smoothstep(value: Tensor, low: float, high: float) -> Tensor:
    t = ((value - low) / (high - low)).clamp(0, 1)
    return t * t * (3 - 2 * t)


def _mirrored(
    texture: Tensor, seen: Tensor, fallback: Tensor, mirror_uv: Tensor
) -> tuple[Float[Tensor, "3 S S"], Float[Tensor, "S S"]]:
    """The other side's texels in the light of this side, and how far they are known."""
    known = mirror_uv.isfinite().all(-1)
    places = mirror_uv.nan_to_num(0.5).permute(2, 0, 1)[None].to(texture)
    stack = torch.cat([texture, fallback, seen[None]])
    other, other_fallback, other_seen = sample_texture(stack[None], places)[0].split([3, 3, 1])
    relit = other * ((fallback + 0.02) / (other_fallback + 0.02)).clamp(0.5, 2.0)
    return relit, other_seen[0] * known


def _mirrored_corner_uv(faces: Tensor, uv: Tensor, faces_uv: Tensor, mirror: Tensor) -> Float[Tensor, "N 2"]:
    """Texture coordinates at the mirrored vertex of each face corner (flattened); NaN where there is none.

    A vertex on a seam has several. The right one belongs to the face beside the mirrored edge: edge a -> b of a face
    mirrors to b' -> a' of its partner. Where the two sides are triangulated differently a diagonal has no partner, but
    each corner has a second edge, which has.
    """
    base = int(torch.maximum(faces.max(), mirror.max())) + 1
    starts, ends = faces, faces.roll(-1, 1)
    start_uv, end_uv = faces_uv.flatten(), faces_uv.roll(-1, 1).flatten()
    keys, order = (starts * base + ends).flatten().sort()

    def look_up(start: Tensor, end: Tensor) -> tuple[Tensor, Tensor]:
        wanted = (start * base + end).flatten()
        place = torch.searchsorted(keys, wanted).clamp_max(len(keys) - 1)
        return order[place], keys[place] == wanted

    image = mirror[faces]
    out_edge, out_found = look_up(image.roll(-1, 1), image)  # the edge that leaves the corner, mirrored, ends there
    in_edge, in_found = look_up(image, image.roll(1, 1))  # the edge that enters the corner, mirrored, starts there
    ids = torch.where(out_found, end_uv[out_edge], start_uv[in_edge])
    return torch.where((out_found | in_found)[:, None], uv[ids], torch.nan)
