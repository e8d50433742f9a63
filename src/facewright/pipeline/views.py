"""Pictures of a reconstruction: on the photo, and as a sheet of what was found."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

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
from facewright.geometry.frames import crop_camera, pose_points, project_points, window_camera
from facewright.geometry.rotations import rotation_from_angles
from facewright.pipeline.flow import Reconstruction
from facewright.records import Camera, FaceMesh, Rendering
from facewright.render.lighting import PLAIN_SHADING
from facewright.render.renderer import render, render_normals

TILE_PX = 384
WINDOW_MARGIN = 0.12
"""Of a sheet's window around the head, as a fraction of the head."""

CLAY_GREY = 0.7674
"""sRGB-coded albedo of grey shapes."""
CLAY_LIGHT = ((0, -0.2), (1, -0.25), (2, 0.35))
"""SH coefficients of the light on grey shapes: from the front and above."""


def overlay_of_faces(reconstructions: list[Reconstruction]) -> Float[Tensor, "3 H W"]:
    """The photo with all of its faces drawn in their places, the farthest first; without neck and scalp."""
    picture = reconstructions[0].photo.srgb
    for face in sorted(reconstructions, key=lambda face: float(face.camera.focal_px[0])):  # small faces are far away
        picture = _drawn_in_place(picture, face)
    return picture


def _drawn_in_place(picture: Float[Tensor, "3 H W"], face: Reconstruction) -> Float[Tensor, "3 H W"]:
    """The picture with one face drawn. Only the face's part of it is rendered: photos may have a hundred megapixels."""
    mesh, camera = without_neck_and_scalp(face), face.camera
    outline = project_points(mesh.vertices, camera)[0, :, :2]
    size = outline.new_tensor([camera.width, camera.height])
    low = torch.minimum((outline.amin(0).floor() - 2.0).clamp_min(0.0), size)
    high = torch.maximum(torch.minimum(outline.amax(0).ceil() + 3.0, size), low)
    (left, top), (right, bottom) = low.int().tolist(), high.int().tolist()
    if right == left or bottom == top:
        return picture  # it lies outside
    window = window_camera(camera, float(left), float(top), 1.0, right - left, bottom - top)
    rendering = render(mesh, window, face.coefficients.sh)
    part = overlay(picture[:, top:bottom, left:right], display_picture(rendering, face.mesh), rendering.mask[0])
    drawn = picture.clone()
    drawn[:, top:bottom, left:right] = part
    return drawn


def face_sheet(reconstruction: Reconstruction) -> Float[Tensor, "3 H W"]:
    """Photo | overlay | shape | albedo | normals | depth | side view, in tiles around the face."""
    window, photo = _window(reconstruction)
    mesh = reconstruction.mesh_world
    lit = render(mesh, window, reconstruction.coefficients.sh)
    face_only = render(without_neck_and_scalp(reconstruction), window, reconstruction.coefficients.sh)
    clay = _clay(mesh, window)
    albedo = render(_flat_lit(mesh), window, torch.zeros_like(reconstruction.coefficients.sh))
    mask = lit.mask[0]
    overlaid = overlay(photo, display_picture(face_only, mesh), face_only.mask[0])
    side = _side_view(reconstruction)
    traced = draw_outline(photo, face_only.mask[0])
    if (ids := reconstruction.face_model.annotations.ibug68) is not None:
        traced = draw_landmarks(traced, project_points(mesh.vertices[:, ids], window)[0, :, :2])
    tiles = [
        ("photo", photo),
        ("overlay", overlaid),
        ("landmarks", traced),
        ("shape", on_backdrop(display_picture(clay, mesh), mask)),
        ("albedo", on_backdrop(display_picture(albedo, mesh), mask)),
        ("normals", normals_picture(render_normals(mesh, window)[0], mask)),
        ("depth", depth_picture(lit.depth_dm[0], (lit.depth_dm[0] > 0).to(mask))),
        ("side view", on_backdrop(display_picture(side, mesh), side.mask[0])),
    ]
    return contact_sheet(tiles, columns=4, tile_px=TILE_PX)


def without_neck_and_scalp(reconstruction: Reconstruction) -> FaceMesh:
    """The posed face without what hair and collars cover; all of it where the model has no such masks."""
    mesh, regions = reconstruction.mesh_world, reconstruction.face_model.annotations.regions
    covered = torch.zeros_like(mesh.vertices[0, :, 0], dtype=torch.bool)
    for name in ("neck", "scalp"):
        if name in regions:
            covered |= regions[name].to(covered.device) > 0.5
    shown = ~covered[mesh.faces].all(-1)
    faces_uv = None if mesh.faces_uv is None else mesh.faces_uv[shown]
    return replace(mesh, faces=mesh.faces[shown], faces_uv=faces_uv)


def display_picture(rendering: Rendering, mesh: FaceMesh) -> Float[Tensor, "3 H W"]:
    """sRGB-coded picture of the first face of a rendering; at silhouettes its colour, not its colour times coverage."""
    color = rendering.image[0] / rendering.mask[0].clamp_min(1e-3)
    return display_from_albedo(color, mesh.albedo_space).clamp(0.0, 1.0)


def _window(reconstruction: Reconstruction) -> tuple[Camera, Float[Tensor, "3 T T"]]:
    """A square around the head, its camera and the photo in it; black where the photo ends."""
    camera = reconstruction.camera
    outline = project_points(reconstruction.mesh_world.vertices, camera)[0, :, :2]
    low, high = outline.amin(0), outline.amax(0)
    side = float((high - low).max() * (1.0 + 2.0 * WINDOW_MARGIN))
    left, top = ((low + high) / 2.0 - side / 2.0 + 0.5).tolist()
    scale = TILE_PX / side
    window = window_camera(camera, left, top, scale, TILE_PX, TILE_PX)
    return window, _resampled(reconstruction.photo.srgb, left, top, side)


def _resampled(photo: Float[Tensor, "3 H W"], left: float, top: float, side: float) -> Float[Tensor, "3 T T"]:
    """The square of the photo at tile size: cut, shrunk with antialiasing, then placed to a fraction of a pixel."""
    height, width = photo.shape[1:]
    x0, y0 = max(0, int(left) - 2), max(0, int(top) - 2)
    x1, y1 = min(width, int(left + side) + 3), min(height, int(top + side) + 3)
    part = photo[None, :, y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)]
    shrink = min(1.0, TILE_PX / side)
    if shrink < 1.0:
        size = [max(1, round(part.shape[2] * shrink)), max(1, round(part.shape[3] * shrink))]
        small = torch.nn.functional.interpolate(part, size=size, mode="bilinear", antialias=True)
    else:
        small = part
    step = (torch.arange(TILE_PX).to(photo) + 0.5) * side / TILE_PX
    columns = (step + left - x0) / part.shape[3] * 2.0 - 1.0
    rows = (step + top - y0) / part.shape[2] * 2.0 - 1.0
    grid = torch.stack(torch.meshgrid(rows, columns, indexing="ij")[::-1], -1)[None]
    return torch.nn.functional.grid_sample(small, grid, mode="bilinear", padding_mode="zeros", align_corners=False)[0]


def _flat_lit(mesh: FaceMesh) -> FaceMesh:
    """The same mesh with its albedo brightened so that the default light shows it as it is."""
    return replace(mesh, albedo=mesh.albedo / PLAIN_SHADING)


def _clay(mesh: FaceMesh, camera: Camera) -> Rendering:
    clay = albedo_from_display(torch.full_like(mesh.albedo, CLAY_GREY), mesh.albedo_space)
    sh = mesh.albedo.new_zeros(1, 9, 3)
    for band, value in CLAY_LIGHT:
        sh[:, band] = value
    return render(replace(mesh, albedo=clay), camera, sh, shading="pixel")


def _side_view(reconstruction: Reconstruction) -> Rendering:
    """The grey shape from the side that the photo shows more of."""
    mesh = reconstruction.mesh
    side = 1.0 if float(reconstruction.coefficients.angles[0, 1]) >= 0 else -1.0
    angles = mesh.vertices.new_tensor([[0.0, side * torch.pi / 2, 0.0]])
    middle = (mesh.vertices.amax(1) + mesh.vertices.amin(1)) / 2
    reach = (mesh.vertices - middle[:, None]).norm(dim=-1).amax()
    turned = replace(
        mesh,
        vertices=pose_points(mesh.vertices - middle[:, None], angles, torch.zeros_like(angles)),
        normals=mesh.normals @ rotation_from_angles(angles).transpose(-1, -2),
    )
    camera = crop_camera(size=TILE_PX, like=mesh.vertices)
    fitting = TILE_PX / 2 * camera.distance_dm / float(reach) * 0.95
    return _clay(turned, replace(camera, focal_px=torch.full_like(camera.focal_px, fitting)))
