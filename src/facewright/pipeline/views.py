"""Pictures of a reconstruction: on the photo, and as a sheet of what was found."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from facewright.errors import ExportError
from facewright.export.pictures import (
    depth_picture,
    draw_landmarks,
    draw_outline,
    normals_picture,
    on_backdrop,
    overlay,
)
from facewright.export.sheets import contact_sheet
from facewright.geometry.color import albedo_from_display, display_from_albedo
from facewright.geometry.frames import clip_from_world, crop_camera, pose_points, project_points, window_camera
from facewright.geometry.pixels import reduced_part
from facewright.geometry.rotations import rotation_from_angles
from facewright.pipeline.face import FaceInPhoto
from facewright.records import Camera, FaceMesh, Photo, Rendering
from facewright.render.antialiasing import MeshEdges, antialias, mesh_edges
from facewright.render.interpolation import interpolate
from facewright.render.lighting import PLAIN_SHADING
from facewright.render.renderer import render, render_normals

TILE_PX = 384
AMPLE_TILES = 4
"""How much longer than a tile what is shrunk to it may be; more is averaged first."""
OVERLAY_PX = 4096
"""Longer side of the largest overlay."""
BAND_PIXELS = 1_000_000
"""So many pixels of an overlay are rendered at once."""
BAND_SHARED = 2
"""Rows that neighbouring bands both render: silhouettes and rims are smoothed with what lies beside them."""
WINDOW_MARGIN = 0.12
"""Of a sheet's window around the head, as a fraction of the head."""

COVERED = ("neck", "scalp")
"""Regions that hair and collars cover."""
RIM = (0.3, 0.7)
"""Bareness at which skin begins to be drawn over a photo, and at which it is drawn in full."""

CLAY_GREY = 0.7674
"""sRGB-coded albedo of grey shapes."""
CLAY_LIGHT = ((0, -0.2), (1, -0.25), (2, 0.35))
"""SH coefficients of the light on grey shapes, and on faces of which no light is known: from the front and above."""


def overlay_of_faces(faces: Sequence[FaceInPhoto], photo: Photo | None = None) -> UInt8[Tensor, "3 H W"]:
    """The photo with all of its faces drawn in their places, the farthest first; without neck and scalp.

    Photos longer than ``OVERLAY_PX`` are made smaller by a whole number. Pixels stay bytes but where faces are drawn.

    Args:
        faces: of one photo.
        photo: the photo, where there may be no faces in it.

    Raises:
        ExportError: a face is not finite.
    """
    photo = faces[0].photo if photo is None else photo
    factor = -(-max(photo.width, photo.height) // OVERLAY_PX)
    width, height = max(1, photo.width // factor), max(1, photo.height // factor)
    picture = photo.pixels.new_empty(3, height, width)
    rows = max(1, BAND_PIXELS // width)
    for first in range(0, height, rows):
        last = min(first + rows, height)
        band = reduced_part(photo, 0, first * factor, width * factor, last * factor, factor)
        picture[:, first:last] = in_bytes(band)
    for face in sorted(faces, key=lambda face: float(face.camera.focal_px[0])):  # small faces are far away
        _draw_in_place(picture, face, window_camera(face.camera, 0.0, 0.0, 1 / factor, width, height))
    return picture


def in_bytes(picture_srgb: Float[Tensor, "3 H W"]) -> UInt8[Tensor, "3 H W"]:
    """0..1 as 0..255, rounded."""
    return (picture_srgb * 255.0).round_().to(torch.uint8)


def _draw_in_place(picture: UInt8[Tensor, "3 H W"], face: FaceInPhoto, camera: Camera) -> None:
    """Draw one face into the picture that a camera sees: only its part is rendered, in bands of bounded size."""
    mesh = face.mesh_world
    outline = project_points(mesh.vertices, camera)[0, :, :2]
    size = outline.new_tensor([camera.width, camera.height])
    low = torch.minimum((outline.amin(0).floor() - 2.0).clamp_min(0.0), size)
    high = torch.maximum(torch.minimum(outline.amax(0).ceil() + 3.0, size), low)
    (left, top), (right, bottom) = low.int().tolist(), high.int().tolist()
    if right == left or bottom == top:
        return  # it lies outside
    rows = max(1, BAND_PIXELS // (right - left))
    for first in range(top, bottom, rows):
        last = min(first + rows, bottom)
        above, below = max(first - BAND_SHARED, top), min(last + BAND_SHARED, bottom)
        window = window_camera(camera, float(left), float(above), 1.0, right - left, below - above)
        skin = render_skin(face, window)
        own = slice(first - above, last - above)
        shown, opacity = display_picture(skin, mesh)[:, own], skin.mask[0, :, own]
        drawn = overlay(picture[:, first:last, left:right] / 255.0, shown, opacity)
        if not bool(drawn.isfinite().all()):
            raise ExportError(
                f"overlay: expected finite values, received some that are not in face {face.face}; nothing was written"
            )
        picture[:, first:last, left:right] = in_bytes(drawn)


def face_sheet(face: FaceInPhoto) -> Float[Tensor, "3 H W"]:
    """Photo | overlay | landmarks | shape | albedo | normals | depth | side view, in tiles around the face.

    Without the albedo where the method knows none.
    """
    window, photo = _window(face)
    mesh = face.mesh_world
    outside = facing(mesh, window)
    edges = mesh_edges(outside.faces)
    clay, skin, side = _clay(outside, window, edges), render_skin(face, window), _side_view(face.mesh)
    mask, depth = clay.mask[0], clay.depth_dm[0]
    traced = draw_outline(photo, skin.mask[0])
    if (ids := face.topology.annotations.ibug68) is not None:
        traced = draw_landmarks(traced, project_points(mesh.vertices[:, ids], window)[0, :, :2])
    tiles = [
        ("photo", photo),
        ("overlay", overlay(photo, display_picture(skin, mesh), skin.mask[0])),
        ("landmarks", traced),
        ("shape", on_backdrop(display_picture(clay, mesh), mask)),
    ]
    if face.light is not None:
        albedo = render(_flat_lit(outside), window, torch.zeros_like(face.light), edges=edges)
        tiles.append(("albedo", on_backdrop(display_picture(albedo, mesh), mask)))
    tiles += [
        ("normals", normals_picture(render_normals(outside, window)[0], mask)),
        ("depth", depth_picture(depth, (depth > 0).to(mask))),
        ("side view", on_backdrop(display_picture(side, mesh), side.mask[0])),
    ]
    return contact_sheet(tiles, columns=4, tile_px=TILE_PX)


def overlay_tile(face: FaceInPhoto) -> Float[Tensor, "3 T T"]:
    """The part of the photo around the face, with the face drawn on it."""
    window, photo = _window(face)
    skin = render_skin(face, window)
    return overlay(photo, display_picture(skin, face.mesh_world), skin.mask[0])


def render_skin(face: FaceInPhoto, camera: Camera) -> Rendering:
    """A posed face as it is drawn over a photo; the mask is how much of each pixel that is.

    Nothing of neck and scalp, which hair and collars cover; soft at their rims, and antialiased where skin ends before
    them (a chin before the neck). All of meshes without such masks. The whole head is drawn, so that nothing behind the
    neck shows through where that is left out.
    """
    mesh, regions = face.mesh_world, face.topology.annotations.regions
    bare = torch.ones_like(mesh.vertices[..., :1])
    for name in COVERED:
        if name in regions:
            bare = torch.minimum(bare, 1.0 - regions[name][None, :, None])
    light = _clay_light(mesh) if face.light is None else face.light
    drawn = render(mesh, camera, light, antialias=False)
    clip = clip_from_world(mesh.vertices, camera)
    low, high = RIM
    share = ((interpolate(bare, clip, mesh.faces, drawn.fragments) - low) / (high - low)).clamp(0.0, 1.0)
    share = share * share * (3.0 - 2.0 * share)
    # colours with their share: where skin ends, what lies behind it lends it none of its own
    edges = face.topology.once("edges", lambda: mesh_edges(mesh.faces))
    picture = antialias(torch.cat([share * drawn.image, share], 1), clip, mesh.faces, drawn.fragments, edges=edges)
    image, mask = picture.split([3, 1], 1)
    return replace(drawn, image=image, mask=mask)


def facing(mesh: FaceMesh, camera: Camera) -> FaceMesh:
    """The triangles that turn their outside to the camera: through an open neck nobody looks into the head."""
    points = project_points(mesh.vertices, camera)[0, :, :2]
    first, second, third = points[mesh.faces].unbind(1)
    (ax, ay), (bx, by) = (second - first).unbind(-1), (third - first).unbind(-1)
    chosen = ax * by - ay * bx < 0  # counter-clockwise from outside; y down here
    return replace(mesh, faces=mesh.faces[chosen], faces_uv=None if mesh.faces_uv is None else mesh.faces_uv[chosen])


def display_picture(rendering: Rendering, mesh: FaceMesh) -> Float[Tensor, "3 H W"]:
    """sRGB-coded picture of the first face of a rendering; at silhouettes its colour, not its colour times coverage."""
    color = rendering.image[0] / rendering.mask[0].clamp_min(1e-3)
    return display_from_albedo(color, mesh.albedo_space).clamp(0.0, 1.0)


def _window(face: FaceInPhoto) -> tuple[Camera, Float[Tensor, "3 T T"]]:
    """A square around the head, its camera and the photo in it; black where the photo ends."""
    camera = face.camera
    outline = project_points(face.mesh_world.vertices, camera)[0, :, :2]
    low, high = outline.amin(0), outline.amax(0)
    side = float((high - low).max() * (1.0 + 2.0 * WINDOW_MARGIN))
    left, top = ((low + high) / 2.0 - side / 2.0 + 0.5).tolist()
    scale = TILE_PX / side
    window = window_camera(camera, left, top, scale, TILE_PX, TILE_PX)
    return window, _resampled(face.photo, left, top, side).to(outline)


def _resampled(photo: Photo, left: float, top: float, side: float) -> Float[Tensor, "3 T T"]:
    """The square of the photo at tile size: cut, shrunk with antialiasing, then placed to a fraction of a pixel."""
    factor = max(1, int(side) // (AMPLE_TILES * TILE_PX))
    x0, y0 = (min(max(0, int(v) - 2), end - 1) for v, end in ((left, photo.width), (top, photo.height)))
    x1, y1 = min(photo.width, int(left + side) + 3), min(photo.height, int(top + side) + 3)
    columns, rows = max(1, (x1 - x0) // factor), max(1, (y1 - y0) // factor)
    part = reduced_part(photo, x0, y0, x0 + columns * factor, y0 + rows * factor, factor)[None]
    left, top, side, x0, y0 = (v / factor for v in (left, top, side, x0, y0))
    shrink = min(1.0, TILE_PX / side)
    if shrink < 1.0:
        size = [max(1, round(part.shape[2] * shrink)), max(1, round(part.shape[3] * shrink))]
        small = torch.nn.functional.interpolate(part, size=size, mode="bilinear", antialias=True)
    else:
        small = part
    step = (torch.arange(TILE_PX).to(part) + 0.5) * side / TILE_PX
    columns = (step + left - x0) / part.shape[3] * 2.0 - 1.0
    rows = (step + top - y0) / part.shape[2] * 2.0 - 1.0
    grid = torch.stack(torch.meshgrid(rows, columns, indexing="ij")[::-1], -1)[None]
    return torch.nn.functional.grid_sample(small, grid, mode="bilinear", padding_mode="zeros", align_corners=False)[0]


def _flat_lit(mesh: FaceMesh) -> FaceMesh:
    """The same mesh with its albedo brightened so that the default light shows it as it is."""
    return replace(mesh, albedo=mesh.albedo / PLAIN_SHADING)


def _clay(mesh: FaceMesh, camera: Camera, edges: MeshEdges | None = None) -> Rendering:
    clay = albedo_from_display(torch.full_like(mesh.albedo, CLAY_GREY), mesh.albedo_space)
    return render(replace(mesh, albedo=clay), camera, _clay_light(mesh), shading="pixel", edges=edges)


def _clay_light(mesh: FaceMesh) -> Float[Tensor, "1 9 3"]:
    sh = mesh.vertices.new_zeros(1, 9, 3)
    for band, value in CLAY_LIGHT:
        sh[:, band] = value
    return sh


def _side_view(mesh: FaceMesh) -> Rendering:
    """The grey shape from its left, looking to image right: the same side of everybody, to be compared."""
    angles = mesh.vertices.new_tensor([[0.0, torch.pi / 2, 0.0]])
    middle = (mesh.vertices.amax(1) + mesh.vertices.amin(1)) / 2
    reach = (mesh.vertices - middle[:, None]).norm(dim=-1).amax()
    turned = replace(
        mesh,
        vertices=pose_points(mesh.vertices - middle[:, None], angles, torch.zeros_like(angles)),
        normals=mesh.normals @ rotation_from_angles(angles).transpose(-1, -2),
    )
    camera = crop_camera(size=TILE_PX, like=mesh.vertices)
    fitting = TILE_PX / 2 * camera.distance_dm / float(reach) * 0.95
    camera = replace(camera, focal_px=torch.full_like(camera.focal_px, fitting))
    return _clay(facing(turned, camera), camera)
