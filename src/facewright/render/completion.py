"""From the texels a photo shows to a whole texture: the mirrored side, then the model's own colours, without seams."""

from collections.abc import Iterator

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor

from facewright.geometry.color import display_from_albedo
from facewright.records import FaceMesh, VisibilityMap
from facewright.render.interpolation import SurfaceSamples
from facewright.render.lighting import sh_shading
from facewright.render.texture import sample_atlas

TRUSTED = (0.15, 0.45)
"""Confidence below the first is not used, above the second used alone; blended smoothly between."""

SWEEPS = 3
"""Of relaxation, at each level of the pyramid but the finest, which adds no more than its known values."""
_BESIDE = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], dtype=np.float32) / 4
"""Mean of the four neighbours."""

SAMPLE_STRIDE = 16
"""Every how many-th seen texel stands for all of them in statistics."""


def guess_texture(
    mesh_world: FaceMesh,
    sh: Float[Tensor, "1 9 3"],
    visibility: VisibilityMap,
    *,
    samples: SurfaceSamples | None = None,
) -> Float[Tensor, "3 S S"]:
    """What the model expects the texture of a lit face to be, for the texels that a photo does not show; sRGB-coded.

    A photo tells of the light on normals that face the camera. On the others nine coefficients run wild, each colour
    channel in its own way; so the light keeps the mean colour that it has on seen texels, and their range of brightness
    (5th to 95th percentile).

    Args:
        mesh_world: one posed face with texture coordinates.
        sh: its light.
        visibility: from ``bake_texture``.
        samples: ``sample_atlas`` of the same mesh and size, if already known.

    Raises:
        ValueError: the mesh has no texture coordinates.
    """
    if mesh_world.uv is None or mesh_world.faces_uv is None:
        raise ValueError("expected a mesh with texture coordinates, received one without; take vertex colours instead")
    size = visibility.confidence.shape[0]
    if samples is None:
        samples = sample_atlas(mesh_world.faces, mesh_world.uv, mesh_world.faces_uv, size)
    values = samples.take(torch.cat([mesh_world.albedo, sh_shading(mesh_world.normals, sh)], -1))
    albedo, light = values.T.contiguous().split(3)
    confidence = visibility.confidence.flatten().index_select(0, samples.pixels)
    color = display_from_albedo(albedo * _plausible(light, confidence), mesh_world.albedo_space).clamp_(0, 1)
    return samples.put(color.T)[0]


def _plausible(light: Float[Tensor, "3 P"], confidence: Float[Tensor, " P"]) -> Float[Tensor, "3 P"]:
    """The light in the colour and the range of brightness that it has on seen texels; as it is if there are none."""
    some = (confidence > TRUSTED[0]).nonzero()[::SAMPLE_STRIDE, 0]
    if len(some) == 0:
        return light
    grey, seen = light.mean(0), light.index_select(1, some)
    low, high = torch.quantile(grey[some], torch.tensor([0.05, 0.95]).to(seen))
    tint = seen.mean(1) / seen.mean().clamp_min(1e-3)
    return grey.clamp(low, high) * tint[:, None]


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
    covered = visibility.covered.cpu().numpy()
    photo, guess = _picture(texture), _picture(fallback)
    seen = _smoothstep(visibility.confidence, *TRUSTED).cpu().numpy().astype(np.float32) * covered
    mirrored, mirrored_seen = np.zeros_like(photo), np.zeros_like(seen)
    if mirror_uv is not None:
        mirrored, mirrored_seen = _mirrored(photo, seen, guess, mirror_uv.cpu().numpy())
    completed = guess.copy()
    for place, chart in _charts(covered):
        own, others = seen[place] * chart, mirrored_seen[place] * chart
        filled = _fill_chart(photo[place], mirrored[place], guess[place], own, others)
        np.copyto(completed[place], filled, where=chart[..., None])
    whole = _extended(completed.clip(0, 1), covered.astype(np.float32))
    return torch.from_numpy(whole.transpose(2, 0, 1)).to(texture, memory_format=torch.contiguous_format)


def _picture(texture: Float[Tensor, "C H W"]) -> Float[ndarray, "H W C"]:
    """As OpenCV takes it: channels last, on the CPU, whatever comes out of it goes to a file."""
    return np.ascontiguousarray(texture.detach().float().permute(1, 2, 0).cpu().numpy())


def _charts(covered: Bool[ndarray, "S S"]) -> Iterator[tuple[tuple[slice, slice], Bool[ndarray, "H W"]]]:
    """Place and mask of each connected patch of covered texels."""
    _, numbers, boxes, _ = cv2.connectedComponentsWithStats(covered.astype(np.uint8), connectivity=4)
    for number, (left, top, width, height, _) in enumerate(boxes.tolist()[1:], start=1):  # number 0 is not covered
        # even borders: what is halved needs no filling up
        top, bottom, left, right = top // 2 * 2, top + height + 1, left // 2 * 2, left + width + 1
        place = slice(top, bottom // 2 * 2), slice(left, right // 2 * 2)
        yield place, numbers[place] == number


def _fill_chart(
    texture: ndarray, mirrored: ndarray, fallback: ndarray, seen: ndarray, mirrored_seen: ndarray
) -> Float[ndarray, "H W 3"]:
    """One chart, or the box around it: nothing is matched across charts, lest teeth take the colour of hair."""
    borrowed = (1 - seen) * mirrored_seen
    if not (seen.any() or borrowed.any()):
        return fallback
    difference = seen[..., None] * (texture - fallback)
    if borrowed.any():
        mirrored = mirrored + _membrane(texture - mirrored, seen * mirrored_seen)
        difference += borrowed[..., None] * (mirrored - fallback)
    known = seen + borrowed
    return fallback + difference + (1 - known)[..., None] * _membrane(difference, known, weighted=True)


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


def extend(
    values: Float[Tensor, "C H W"], weights: Float[Tensor, "H W"], *, sweeps: int = SWEEPS
) -> Float[Tensor, "C H W"]:
    """Extend values smoothly from where their weight is high to where it is zero, over the whole picture.

    Push-pull: averaged down a pyramid by weight, then filled from coarse to fine; a few relaxation sweeps a level bring
    the filled part near the membrane that minimises its squared gradient. Zero if nothing has weight.
    """
    filled = _extended(_picture(values), weights.detach().float().cpu().numpy(), sweeps)
    return torch.from_numpy(filled.transpose(2, 0, 1)).to(values, memory_format=torch.contiguous_format)


def _extended(
    values: Float[ndarray, "H W C"], weights: Float[ndarray, "H W"], sweeps: int = SWEEPS
) -> Float[ndarray, "H W C"]:
    weights = weights.clip(0, 1)
    known = np.where(weights[..., None] > 0, values * weights[..., None], np.float32(0.0))  # hidden: anything
    return known + (1 - weights)[..., None] * _membrane(known, weights, sweeps, weighted=True)


def _membrane(
    values: Float[ndarray, "H W C"], weights: Float[ndarray, "H W"], sweeps: int = SWEEPS, *, weighted: bool = False
) -> Float[ndarray, "H W C"]:
    """What ``extend`` puts where nothing is known, everywhere: from the pyramid's second level on.

    Args:
        values: to be extended.
        weights: 0..1.
        sweeps: of relaxation, at each level.
        weighted: the values are multiplied by their weights already.
    """
    height, width = weights.shape
    if max(height, width) == 1:
        return np.zeros_like(values)
    values = values if weighted else values * weights[..., None]
    if height % 2 or width % 2:
        values, weights = (_padded(part, height % 2, width % 2) for part in (values, weights))
    size = (-(-width // 2), -(-height // 2))
    halved, mass = (cv2.resize(part, size, interpolation=cv2.INTER_AREA) for part in (values, weights))
    halved, mass = halved.reshape(*size[::-1], -1), mass.reshape(*size[::-1], 1)
    weight = np.minimum(4 * mass, 1)
    known = halved * (weight / np.maximum(mass, 1e-12))
    unknown = 1 - weight
    filled = known + unknown * _membrane(known, weight[..., 0], sweeps, weighted=True)
    for _ in range(sweeps):
        beside = cv2.filter2D(filled, -1, _BESIDE, borderType=cv2.BORDER_REPLICATE)
        filled = known + unknown * beside.reshape(filled.shape)
    doubled = cv2.resize(filled, (2 * size[0], 2 * size[1]), interpolation=cv2.INTER_LINEAR)
    return doubled.reshape(2 * size[1], 2 * size[0], -1)[:height, :width]


def _padded(part: ndarray, below: int, right: int) -> ndarray:
    """With a row and a column of nothing."""
    return cv2.copyMakeBorder(part, 0, below, 0, right, cv2.BORDER_CONSTANT, value=(0, 0, 0, 0))


def _smoothstep(value: Tensor, low: float, high: float) -> Tensor:
    t = ((value - low) / (high - low)).clamp(0, 1)
    return t * t * (3 - 2 * t)


def _mirrored(
    texture: ndarray, seen: ndarray, fallback: ndarray, mirror_uv: Float[ndarray, "S S 2"]
) -> tuple[Float[ndarray, "S S 3"], Float[ndarray, "S S"]]:
    """The other side's texels in the light of this side, and how far they are known."""
    size = np.float32(len(seen))
    u, v = np.nan_to_num(mirror_uv[..., 0], nan=0.5), np.nan_to_num(mirror_uv[..., 1], nan=0.5)
    places = (u * size - np.float32(0.5), (1 - v) * size - np.float32(0.5))
    other, other_fallback, other_seen = (
        cv2.remap(layer, *places, interpolation=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        for layer in (texture, fallback, seen)
    )
    other *= ((fallback + np.float32(0.02)) / (other_fallback + np.float32(0.02))).clip(0.5, 2.0)
    return other, other_seen * np.isfinite(mirror_uv[..., 0])


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
