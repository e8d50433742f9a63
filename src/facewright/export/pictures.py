"""Pictures composed of given ones: overlays, drawn landmarks and outlines, false colours. sRGB-coded 0..1 throughout.

Pixels: x right, y down, centres at integers. Lines grow with the picture, so that they survive shrinking to a sheet.
"""

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from facewright.export.asset import to_uint8
from facewright.geometry.ibug68 import LINES_OF_68

Color = tuple[float, float, float]

BACKDROP: Color = (0.09, 0.09, 0.10)
LINE: Color = (0.25, 0.95, 0.55)
POINT: Color = (1.0, 0.35, 0.25)

_SUBPIXEL_BITS = 4


def overlay(
    photo_srgb: Float[Tensor, "3 H W"],
    rendering_srgb: Float[Tensor, "3 H W"],
    mask: Float[Tensor, "1 H W"],
    *,
    opacity: float = 1.0,
) -> Float[Tensor, "3 H W"]:
    """The rendering laid over the photo where the mask is; blended as displayed, not as light."""
    weight = opacity * mask
    return (1.0 - weight) * photo_srgb + weight * rendering_srgb.clamp(0.0, 1.0)


def on_backdrop(picture_srgb: Float[Tensor, "3 H W"], mask: Float[Tensor, "1 H W"]) -> Float[Tensor, "3 H W"]:
    """A rendering on the sheets' dark backdrop."""
    backdrop = picture_srgb.new_tensor(BACKDROP)[:, None, None].expand_as(picture_srgb)
    return overlay(backdrop, picture_srgb, mask)


def normals_picture(normals: Float[Tensor, "3 H W"], mask: Float[Tensor, "1 H W"]) -> Float[Tensor, "3 H W"]:
    """Unit normals as colours: x red, y green, z blue, from -1..1 to 0..1."""
    return on_backdrop(0.5 * (normals + 1.0), mask)


def depth_picture(depth_dm: Float[Tensor, "1 H W"], mask: Float[Tensor, "1 H W"]) -> Float[Tensor, "3 H W"]:
    """Distance along the camera's axis as colours, bright is near; the covered pixels span the range."""
    seen = depth_dm[mask > 0.5]
    if seen.numel() == 0:
        return on_backdrop(torch.zeros_like(depth_dm).expand(3, -1, -1), torch.zeros_like(mask))
    nearness = (seen.max() - depth_dm) / (seen.max() - seen.min()).clamp_min(1e-9)
    levels = to_uint8(nearness[0])
    colored = cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_VIRIDIS), cv2.COLOR_BGR2RGB)
    return on_backdrop(_from_uint8(colored, depth_dm), mask)


def draw_landmarks(
    picture_srgb: Float[Tensor, "3 H W"],
    landmarks: Float[Tensor, "68 2"],
    *,
    line: Color = LINE,
    point: Color = POINT,
) -> Float[Tensor, "3 H W"]:
    """The picture with the iBUG-68 landmarks, joined to jaw, brows, nose, eyes and lips."""
    canvas = _canvas(picture_srgb)
    points = landmarks.detach().cpu().double().numpy()
    face_px = float(np.ptp(points, axis=0).max())
    for run, closed in LINES_OF_68:
        _polyline(canvas, points[list(run)], closed=closed, color=line)
    _dots(canvas, points, point, radius=max(1.5, face_px / 120))
    return _from_uint8(canvas, picture_srgb)


def draw_points(
    picture_srgb: Float[Tensor, "3 H W"], points: Float[Tensor, "N 2"], *, color: Color = POINT
) -> Float[Tensor, "3 H W"]:
    """The picture with a dot at each point."""
    canvas = _canvas(picture_srgb)
    _dots(canvas, points.detach().cpu().double().numpy(), color, radius=2.0 * _line_width(canvas))
    return _from_uint8(canvas, picture_srgb)


def draw_outline(
    picture_srgb: Float[Tensor, "3 H W"], mask: Float[Tensor, "1 H W"], *, color: Color = LINE
) -> Float[Tensor, "3 H W"]:
    """The picture with the borders of a mask (silhouette of a mesh, rim of a region) drawn on it."""
    canvas = _canvas(picture_srgb)
    inside = (mask[0] > 0.5).cpu().numpy().astype(np.uint8)
    contours, _ = cv2.findContours(inside, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    for contour in contours:
        _polyline(canvas, contour[:, 0].astype(np.float64), closed=True, color=color)
    return _from_uint8(canvas, picture_srgb)


def crop_around(
    picture_srgb: Float[Tensor, "3 H W"], box: Float[Tensor, "4"], *, margin: float = 0.5
) -> Float[Tensor, "3 h w"]:
    """The part of a picture around a face: a square of the box's longer side, widened by ``margin`` of it on each side.

    What lies outside of the picture is cut off; a box outside of the picture gives the whole picture.

    Args:
        picture_srgb: the picture.
        box: x0, y0, x1, y1, px.
        margin: 0 keeps the box's own square.
    """
    _, height, width = picture_srgb.shape
    x0, y0, x1, y1 = box.tolist()
    half = (0.5 + margin) * max(x1 - x0, y1 - y0)
    middle_x, middle_y = (x0 + x1) / 2, (y0 + y1) / 2
    left, right = max(0, round(middle_x - half)), min(width, round(middle_x + half) + 1)
    top, bottom = max(0, round(middle_y - half)), min(height, round(middle_y + half) + 1)
    if left >= right or top >= bottom:
        return picture_srgb
    return picture_srgb[:, top:bottom, left:right]


def _canvas(picture_srgb: Float[Tensor, "3 H W"]) -> np.ndarray:
    return np.ascontiguousarray(to_uint8(picture_srgb).transpose(1, 2, 0))


def _from_uint8(picture: np.ndarray, like: Tensor) -> Float[Tensor, "3 H W"]:
    return torch.from_numpy(picture.copy()).permute(2, 0, 1).to(like) / 255.0


def _line_width(canvas: np.ndarray) -> int:
    return max(1, round(max(canvas.shape[:2]) / 320))


def _bytes(color: Color) -> tuple[int, int, int]:
    red, green, blue = (round(255 * level) for level in color)
    return red, green, blue


def _fixed_point(points: np.ndarray) -> np.ndarray:
    # OpenCV's fixed-point coordinates overflow far outside of the picture.
    return np.round(np.clip(points, -1e6, 1e6) * 2**_SUBPIXEL_BITS).astype(np.int32)


def _polyline(canvas: np.ndarray, points: np.ndarray, *, closed: bool, color: Color) -> None:
    """Draw on the canvas, in place."""
    line = _fixed_point(points)[:, None]
    cv2.polylines(canvas, [line], closed, _bytes(color), _line_width(canvas), cv2.LINE_AA, _SUBPIXEL_BITS)


def _dots(canvas: np.ndarray, points: np.ndarray, color: Color, *, radius: float) -> None:
    """Draw on the canvas, in place: dots with a dark rim, so that they show on any skin."""
    for grown, fill in ((1.4, BACKDROP), (1.0, color)):
        size = round(grown * radius * 2**_SUBPIXEL_BITS)
        for x, y in _fixed_point(points).tolist():
            cv2.circle(canvas, (x, y), size, _bytes(fill), cv2.FILLED, cv2.LINE_AA, _SUBPIXEL_BITS)
