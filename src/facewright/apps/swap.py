"""One face's looks on another face in its photo: all of it, or its eyes, nose or mouth; blended without a seam.

The texture of the source is laid on the target's mesh, brought to the light that the target is in, drawn in its place
and blended by its gradients (Perez 2003). Shape, pose and expression stay the target's; pixels outside of the face stay
as they are, to the byte; so do those on it that show what stands before it, as glasses and hair.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray
from torch import Tensor

from facewright.errors import ReconstructionError
from facewright.geometry.frames import project_points, window_camera
from facewright.pipeline.face import FaceInPhoto
from facewright.pipeline.parts import own_share
from facewright.pipeline.texture import face_texture
from facewright.records import Camera
from facewright.render.completion import extend
from facewright.render.texture import bake_vertex_attribute
from facewright.render.textured import render_texture

Part = Literal["face", "eyes", "nose", "mouth"]
RINGS: dict[str, tuple[Sequence[int], ...]] = {
    "face": ((*range(1, 16), *range(17, 68)),),
    "eyes": (range(36, 42), range(42, 48)),
    "nose": (range(27, 36),),
    "mouth": (range(48, 68),),
}
"""iBUG-68 around each part. The face ends at the brows, and at the sides below the ears: beyond are hair, hats and the
temples of glasses, which belong to nobody's skin."""
EYES = "eyes"
"""Region of eyeballs."""
RIM = 0.015
"""Width of the rim that stays the target's, as a share of the face's size in the photo."""
GROWN = {"face": 1.02, "eyes": 1.3, "nose": 1.25, "mouth": 1.25}
"""Size of a part over the hull of its landmarks."""
MARGIN_PX = 4
"""Of the window around a face: what blending reads."""
FADED = 0.12
"""Width of the faded rim, as a share of the mask's depth."""
MOST_OFFSET = 0.06
"""Most that the colours at the rim may differ from their median and still be taken for light, sRGB-coded."""
TONE_CELLS = 10
"""How finely the light of two faces is compared: cells across a texture."""
OWN = 0.5
"""Least sureness with which a pixel is the target's face itself for it to be changed."""
DETAIL = (0.5, 1.0)
"""How much weaker details may become."""


@dataclass(frozen=True)
class SwapSettings:
    """How looks are carried over.

    Attributes:
        part: what of the face.
        texture_px: side of the texture that they are carried by.
        match_tone: bring the source to the target's light and tone; False keeps its own colours but for their sum.
        blend: by gradients; False pastes them.
    """

    part: Part = "face"
    texture_px: int = 1024
    match_tone: bool = True
    blend: bool = True


def swap_face(
    target: FaceInPhoto,
    source: FaceInPhoto,
    settings: SwapSettings | None = None,
    *,
    picture: UInt8[Tensor, "3 H W"] | None = None,
    mask: Float[Tensor, "S S"] | None = None,
) -> UInt8[Tensor, "3 H W"]:
    """The target's photo with the source's looks on the target's face.

    Args:
        target: whose shape, pose, expression and light stay.
        source: whose looks are taken; of the same method and face model.
        settings: how.
        picture: to draw on instead of the target's photo, of its size: one that other faces were swapped in already.
        mask: 0..1 over the texture of ``texture_px``, instead of a part.

    Raises:
        ReconstructionError: the meshes have different texture coordinates or none, the mask is of another size, or
            nothing of the part is seen.
    """
    settings = settings or SwapSettings()
    _require_one_atlas(target, source)
    canvas = target.photo.pixels.clone() if picture is None else picture.clone()
    if canvas.shape != target.photo.pixels.shape:
        raise ReconstructionError(
            f"expected a picture like the target's photo, {tuple(target.photo.pixels.shape)}, received "
            f"{tuple(canvas.shape)}"
        )
    size = settings.texture_px
    with torch.no_grad():
        chosen = (
            part_texels(target, settings.part, size) if mask is None else checked_mask(mask, size).to(canvas.device)
        )
        looks, _ = face_texture(source, size)
        if settings.match_tone:
            looks = toned(looks, face_texture(target, size)[0], part_texels(target, "face", size), chosen)
        left, top, camera = _window(target)
        layers = torch.cat([looks, chosen[None].to(looks)])
        drawn, covered = render_texture(layers, target.mesh_world, camera)
    inside = covered.cpu().numpy() & (drawn[3] > 0.5).cpu().numpy()
    inside = _without_rim(inside, covered.cpu().numpy(), target) & _own_pixels(target, left, top, camera)
    if not inside.any():
        raise ReconstructionError(
            f"expected a face whose {settings.part} is seen in the photo, received one that shows nothing of it"
        )
    rows, columns = slice(top, top + camera.height), slice(left, left + camera.width)
    below, shown = canvas[:, rows, columns], torch.from_numpy(inside).to(canvas.device)
    above = drawn[:3].clamp(0.0, 1.0)
    mixed = blended(above, below.to(above) / 255.0, inside, toned=settings.match_tone) if settings.blend else above
    canvas[:, rows, columns] = torch.where(shown, (mixed * 255.0).round().to(torch.uint8), below)
    return canvas


def part_texels(face: FaceInPhoto, part: Part, size: int) -> Float[Tensor, "S S"]:
    """Where a part of the face lies in its texture, 0..1.

    Args:
        face: with texture coordinates.
        part: between its landmarks.
        size: side of the texture.

    Raises:
        ReconstructionError: the mesh has no landmarks to know a part by.
    """
    mesh, marks = face.mesh, face.topology.annotations
    assert mesh.uv is not None
    assert mesh.faces_uv is not None
    if marks.ibug68 is None:
        raise ReconstructionError(f"expected a mesh with landmarks to find its {part}, received one without")
    picture = np.zeros((size, size), np.uint8)
    corner = torch.zeros(mesh.vertices.shape[1], dtype=torch.int64, device=mesh.faces.device)
    corner[mesh.faces.flatten()] = mesh.faces_uv.flatten()
    places = mesh.uv[corner[marks.ibug68]] * mesh.uv.new_tensor([1.0, -1.0]) + mesh.uv.new_tensor([0.0, 1.0])
    for ring in RINGS[part]:
        hull = places[list(ring)]
        grown = hull.mean(0) + GROWN[part] * (hull - hull.mean(0))
        cv2.fillConvexPoly(picture, cv2.convexHull((grown * size).round().int().cpu().numpy()), 1)
    texels = torch.from_numpy(picture).to(mesh.vertices)
    if part in ("face", "eyes") and EYES in marks.regions:  # eyeballs lie elsewhere in the texture than their lids
        eyes = bake_vertex_attribute(marks.regions[EYES][:, None], mesh.faces, mesh.uv, mesh.faces_uv, size)[0]
        texels = torch.maximum(texels, (eyes > 0.5).to(texels))
    return texels


def toned(
    looks: Float[Tensor, "3 S S"],
    wanted: Float[Tensor, "3 S S"],
    texels: Float[Tensor, "S S"],
    chosen: Float[Tensor, "S S"],
) -> Float[Tensor, "3 S S"]:
    """A texture in the light and tone of another: its blurred colours are exchanged, its details kept.

    Details are weakened where they are stronger than the other's, as in harder light, so that none is burnt out.

    Args:
        looks: sRGB-coded 0..1.
        wanted: whose light and tone is taken.
        texels: 0..1: where both are face.
        chosen: 0..1: what is going to be used; of it, patches apart from the face take the mean ratio.
    """
    size, cells = looks.shape[-1], max(1, looks.shape[-1] // TONE_CELLS)
    skin = cv2.connectedComponentsWithStats((texels > 0.5).to(torch.uint8).cpu().numpy())
    largest = 1 + int(skin[2][1:, cv2.CC_STAT_AREA].argmax()) if len(skin[2]) > 1 else 0
    face = torch.from_numpy(skin[1] == largest).to(looks)

    def coarse(values: Float[Tensor, "C S S"]) -> Float[Tensor, "C n n"]:
        return torch.nn.functional.avg_pool2d(values[None], cells, ceil_mode=True, count_include_pad=False)[0]

    share = coarse(face[None])
    first, second = (coarse(values * face) / share.clamp_min(1e-6) for values in (looks, wanted))
    change = extend(second - first, share[0])
    padded = torch.nn.functional.pad(change[None], (1, 1, 1, 1), mode="replicate")
    blurred = torch.nn.functional.avg_pool2d(padded, 3, stride=1)
    fine, base = (
        torch.nn.functional.interpolate(values, size=(size, size), mode="bilinear", align_corners=False)[0]
        for values in (blurred, extend(first, share[0])[None])
    )
    detail = looks - base
    strength = [
        ((values * face).square().sum() / face.sum().clamp_min(1)).sqrt() for values in (detail, wanted - base - fine)
    ]
    gain = (strength[1] / strength[0].clamp_min(1e-6)).clamp(*DETAIL)
    mean = (change * share).sum((1, 2), keepdim=True) / share.sum().clamp_min(1e-6)
    apart = (chosen > 0) & (face == 0)
    return torch.where(apart, looks + mean, base + fine + gain * detail).clamp(0.0, 1.0)


def blended(
    above: Float[Tensor, "3 H W"], below: Float[Tensor, "3 H W"], inside: Bool[ndarray, "H W"], *, toned: bool = False
) -> Float[Tensor, "3 H W"]:
    """One picture in another without a seam: its gradients, and at the rim of the mask the other's colours.

    The difference along the rim is extended over the inside as a membrane (Perez 2003: the solution of the Poisson
    equation with the gradients of the picture above). Where it leaves its median by more than ``MOST_OFFSET``, as
    before hair, it is cut off, and the last pixels are faded instead.

    Args:
        above: sRGB-coded 0..1.
        below: shows outside of the mask, as it is.
        inside: the mask.
        toned: whether the picture has the other's tone already: then no difference along the rim is one of tone.
    """
    depth = torch.from_numpy(cv2.distanceTransform(np.pad(inside, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1])
    depth = depth.to(above)
    width = max(2.0, FADED * float(depth.max()))
    rim = (depth > 0) & (depth <= width)
    difference = below - above
    middle = difference[:, rim].median(1).values[:, None, None] * (not toned)
    difference = middle + (difference - middle).clamp(-MOST_OFFSET, MOST_OFFSET)
    moved = above + extend(difference, rim.to(above))
    opacity = (depth / width).clamp(0.0, 1.0)
    opacity = opacity * opacity * (3.0 - 2.0 * opacity)
    return torch.where(depth > 0, below + opacity * (moved - below), below).clamp(0.0, 1.0)


def _require_one_atlas(target: FaceInPhoto, source: FaceInPhoto) -> None:
    first, second = target.topology, source.topology
    if first.uv is None or second.uv is None:
        raise ReconstructionError(
            "expected meshes with texture coordinates, received one without; swaps go by textures"
        )
    if first.uv.shape != second.uv.shape or not torch.allclose(first.uv, second.uv.to(first.uv), atol=1e-6):
        raise ReconstructionError(
            "expected two faces of one method and face model, received meshes with different texture coordinates"
        )


def checked_mask(mask: Float[Tensor, "H W"], size: int) -> Float[Tensor, "S S"]:
    """A mask over textures of a size.

    Raises:
        ReconstructionError: it is of another size.
    """
    if tuple(mask.shape) != (size, size):
        raise ReconstructionError(f"expected a mask of {size} x {size} texels, received {tuple(mask.shape)}; resize it")
    return mask


def _window(face: FaceInPhoto) -> tuple[int, int, Camera]:
    """The part of the photo around the face, and the camera of it."""
    camera = face.camera
    outline = project_points(face.mesh_world.vertices, camera)[0, :, :2]
    limit = outline.new_tensor([camera.width, camera.height])
    low = torch.minimum((outline.amin(0).floor() - MARGIN_PX).clamp_min(0.0), limit - 1).int().tolist()
    high = torch.minimum((outline.amax(0).ceil() + MARGIN_PX).clamp_min(1.0), limit).int().tolist()
    width, height = max(1, high[0] - low[0]), max(1, high[1] - low[1])
    return low[0], low[1], window_camera(camera, float(low[0]), float(low[1]), 1.0, width, height)


def _without_rim(
    inside: Bool[ndarray, "H W"], covered: Bool[ndarray, "H W"], face: FaceInPhoto
) -> Bool[ndarray, "H W"]:
    """A little less than the mask: silhouettes are never touched, where a small misfit would show the background."""
    box = face.detection.box
    reach = max(1, round(RIM * float((box[2:] - box[:2]).mean())))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    solid = cv2.erode(covered.astype(np.uint8), kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return inside & (solid > 0)


def _own_pixels(face: FaceInPhoto, left: int, top: int, camera: Camera) -> Bool[ndarray, "H W"]:
    """The pixels of a window that show the face itself, not what stands before it."""
    if face.parts is None:
        return np.ones((camera.height, camera.width), bool)
    rows, columns = torch.meshgrid(torch.arange(camera.height), torch.arange(camera.width), indexing="ij")
    places = torch.stack([columns + left, rows + top], -1).view(-1, 2).to(face.parts.shares)
    return (own_share(face.parts, places) > OWN).view(camera.height, camera.width).cpu().numpy()
