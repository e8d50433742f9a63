"""Pictures of a report: the worst cases, and the error drawn on the mean face."""

from dataclasses import replace

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from facewright.evaluate.evaluation import HeatMap
from facewright.export.pictures import draw_landmarks, on_backdrop
from facewright.export.sheets import contact_sheet
from facewright.geometry.frames import crop_camera, pose_points
from facewright.geometry.mesh import vertex_normals
from facewright.records import FaceMesh
from facewright.render.lighting import PLAIN_SHADING
from facewright.render.renderer import render

VIEWS_DEG = (-45.0, 0.0, 45.0)
VIEW_PX = 420
CLOSE_UP_PX = 260
GREY = 0.35


def worst_sheet(tiles: list[tuple[str, Tensor]]) -> Float[Tensor, "3 H W"]:
    """The worst cases side by side."""
    return contact_sheet(tiles, columns=min(4, len(tiles)), tile_px=2 * CLOSE_UP_PX)


def close_up(
    picture: Float[Tensor, "3 H W"],
    landmarks: Float[Tensor, "68 2"],
    *,
    around: Float[Tensor, "68 2"] | None = None,
    size: int = CLOSE_UP_PX,
) -> Float[Tensor, "3 S S"]:
    """A square of a picture with landmarks drawn, at one size however large the face is.

    Args:
        picture: sRGB 0..1.
        landmarks: to draw, px.
        around: what is framed; the landmarks if None.
        size: of the square, px.
    """
    framed = landmarks if around is None else around
    low, high = framed.amin(0), framed.amax(0)
    half = 0.8 * float((high - low).max())
    middle = (low + high) / 2
    step = (torch.arange(size) + 0.5) / size * 2.0 - 1.0
    rows, columns = torch.meshgrid(step, step, indexing="ij")
    places = torch.stack([columns, rows], -1) * half + middle
    extent = torch.tensor([picture.shape[2], picture.shape[1]])
    grid = (2.0 * places + 1.0) / extent - 1.0
    shrunk = torch.nn.functional.grid_sample(picture[None], grid[None], align_corners=False)[0]
    return draw_landmarks(shrunk, (landmarks - middle) * (size / (2.0 * half)) + (size - 1) / 2)


def error_map(heat: HeatMap) -> Float[Tensor, "3 H W"]:
    """Mean error per vertex in false colours, from three sides; grey where nothing was measured."""
    errors = heat.mean_mm
    top = float(np.nanpercentile(errors, 98))
    colors = _colored(errors, top)
    tiles = [(f"0 to {top:.1f} mm, dark to bright", _view(heat, colors, yaw)) for yaw in VIEWS_DEG]
    return contact_sheet(tiles, columns=len(tiles), tile_px=VIEW_PX)


def _colored(errors: np.ndarray, top: float) -> Float[Tensor, "V 3"]:
    levels = np.nan_to_num(255.0 * np.clip(errors / max(top, 1e-9), 0.0, 1.0)).round().astype(np.uint8)
    table = cv2.applyColorMap(levels[:, None], cv2.COLORMAP_VIRIDIS)[:, 0, ::-1] / 255.0
    return torch.from_numpy(np.where(np.isfinite(errors)[:, None], table, GREY)).float()


def _view(heat: HeatMap, colors: Float[Tensor, "V 3"], yaw_deg: float) -> Float[Tensor, "3 S S"]:
    """Colours as they are, with a little shading so that the shape can be read."""
    vertices = torch.from_numpy(heat.surface.vertices_mm).float() / 100.0
    measured = vertices[torch.from_numpy(np.isfinite(heat.mean_mm))]
    middle = (measured.amax(0) + measured.amin(0)) / 2
    reach = float((measured - middle).norm(dim=-1).max()) * 1.1
    faces = torch.from_numpy(heat.surface.faces)
    angles = torch.deg2rad(torch.tensor([[0.0, yaw_deg, 0.0]]))
    turned = pose_points((vertices - middle)[None], angles, torch.zeros(1, 3))
    normals = vertex_normals(turned, faces)
    camera = crop_camera(size=VIEW_PX)
    camera = replace(camera, focal_px=torch.full_like(camera.focal_px, VIEW_PX / 2 * camera.distance_dm / reach))
    shade = 0.75 + 0.25 * normals[..., 2:].clamp(0.0, 1.0)
    mesh = FaceMesh(turned, normals, colors[None] * shade / PLAIN_SHADING, faces, albedo_space="display")
    rendering = render(mesh, camera, torch.zeros(1, 9, 3))
    return on_backdrop((rendering.image[0] / rendering.mask[0].clamp_min(1e-3)).clamp(0, 1), rendering.mask[0])
