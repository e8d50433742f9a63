"""The Deep3D crop (docs/deep3d.md section 4): scale and place a face by its five points.

A template of the five points in 3D is fitted by an affine camera; the photo is resized so that one decimetre measures
``rescale`` pixels, and cut so that the template's origin falls on the middle. The official rule turns nothing; a head
rolled by more than ``LEAST_TURN`` is cut, by the same rule, from the photo turned upright about its centre.
"""

import logging
import math
from functools import partial
from typing import Literal

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from torch import Tensor

from facewright.align.resample import BICUBIC_REACH, Region, ResizedPart, resized_window
from facewright.errors import ReconstructionError
from facewright.geometry.five_points import affine_solver, deep3d_template, five_from_68
from facewright.geometry.frames import CAMERA_DISTANCE_DM, CROP_FOCAL_PX, apply_homogeneous, scale_of
from facewright.geometry.pixels import reduced_part
from facewright.geometry.turning import roll_of_five
from facewright.records import AlignedFace, Camera, Photo

Turn = Literal["auto", "never"]
"""Whether a crop may be cut from the photo turned upright. ``auto``: where the head is rolled by more than
``LEAST_TURN``; ``never``: the official rule for every head."""

CROP_RESCALE = 102.0
LEAST_TURN = math.radians(35.0)
"""Roll above which the photo is turned, radians.

Measured with the embedded network on 14 portraits turned by 20, 30, 40, 50, 60, 90 degrees: its landmarks leave those
of the upright portrait by 1.5, 1.9, 2.7, 6.5, 19, 55 % of the face's size unturned, by 0.3 % or less turned.
"""
_LEAST_SCALE_PX_PER_DM = 2.0  # eyes 1.2 px apart: below that the points say nothing
_CANVAS_STEP = 64
_AMPLE = 4  # a turned photo is halved before it is turned as long as it stays so much larger than its crop
_log = logging.getLogger(__name__)


def align_face(
    photo: Photo,
    points: Float[Tensor, "N 2"],
    *,
    template: Float[Tensor, "5 3"] | None = None,
    size: int = 224,
    rescale: float = CROP_RESCALE,
    turn: Turn = "auto",
    exact: bool = True,
    whole_pixels: bool = True,
) -> AlignedFace:
    """Bring a face to the networks' frame.

    The crop's pixels equal those of the official repositories: the photo's bytes are resized by Pillow's bicubic
    filter (unless they need not be ``exact``). All numbers are computed in float64; ``T_photo_crop`` and
    ``trans_params`` stay so.

    Args:
        photo: upright photo.
        points: photo pixels, y down: right eye (image left), left eye, nose tip, right and left mouth corner; or the
            iBUG-68.
        template: the five points in the model frame, dm; those of Deep3D if None.
        size: side of the crop, px.
        rescale: pixels per decimetre in the crop, at the depth of the model's origin. 102 belongs to size 224; EG3D
            uses 300 with size 1024. The crop camera's focal length follows: 1015 px times rescale / 102.
        turn: "auto" turns the photo upright under heads that are rolled by more than ``LEAST_TURN`` (then
            ``AlignedFace.roll`` says by how much, and ``geometry.turning.turn_of_face`` takes what is found in the crop
            to the photo); "never" keeps to the official rule.
        exact: False: the pixels are read from the photo in one warp, at a fifth of the cost; they differ from the
            official ones by little more than rounding, and lie where ``T_photo_crop`` says.
        whole_pixels: False: size and place keep the fractions that the official rule cuts off, so that a mirrored photo
            gives the mirrored crop; without ``exact``.

    Raises:
        ValueError: fractions of pixels in a crop that is to be ``exact``.
        ReconstructionError: points that are not finite, coincide, lie on one line, or lie wholly outside of the photo.
    """
    five = _checked_five(points)
    template = deep3d_template() if template is None else template
    roll = roll_of_five(five, template)
    roll = roll if turn == "auto" and abs(roll) > LEAST_TURN else 0.0
    T_photo_turned, width, height = turned_frame(photo.width, photo.height, roll)
    five_turned = apply_homogeneous(torch.linalg.inv(T_photo_turned), five)
    trans_params = fit_trans_params(five_turned, width, height, template=template, rescale=rescale)
    if _is_mirrored(five_turned, template):
        _log.warning(
            "%s: the five points look mirrored; expected y down, and the eye at the image's left first",
            photo.path or "the photo",
        )
    return crop_by_trans_params(
        photo, trans_params, five, size=size, rescale=rescale, roll=roll, exact=exact, whole_pixels=whole_pixels
    )


def turned_frame(width: int, height: int, roll: float) -> tuple[Float[Tensor, "3 3"], int, int]:
    """The frame of a photo turned upright under a rolled head: about its centre, on a canvas that holds all of it.

    The canvas is filled up to whole multiples of 64 px at the right and below, so that it can be halved and halved.

    Args:
        width: of the photo, px.
        height: of the photo, px.
        roll: of the head, radians, counter-clockwise as the camera sees it: the photo is turned clockwise by as much.

    Returns:
        The map of the turned picture's pixels to the photo's, float64, and the turned picture's width and height.
    """
    if roll == 0.0:
        return torch.eye(3, dtype=torch.float64), width, height
    cosine, sine = math.cos(roll), math.sin(roll)
    # Quarter turns have no rounding error to enlarge the canvas by.
    across = math.ceil(abs(width * cosine) + abs(height * sine) - 1e-6)
    down = math.ceil(abs(width * sine) + abs(height * cosine) - 1e-6)
    middle_x, middle_y = (across - 1) / 2, (down - 1) / 2
    # Counter-clockwise with y down: image right goes up.
    T_photo_turned = torch.tensor(
        [
            [cosine, sine, (width - 1) / 2 - cosine * middle_x - sine * middle_y],
            [-sine, cosine, (height - 1) / 2 + sine * middle_x - cosine * middle_y],
            [0.0, 0.0, 1.0],
        ],
        dtype=torch.float64,
    )
    across, down = (-(-side // _CANVAS_STEP) * _CANVAS_STEP for side in (across, down))
    return T_photo_turned, across, down


def fit_trans_params(
    five: Float[Tensor, "5 2"],
    width: int,
    height: int,
    *,
    template: Float[Tensor, "5 3"],
    rescale: float = CROP_RESCALE,
) -> Float[Tensor, "5"]:
    """W, H, s, tx, ty: the photo's size, the factor to resize it by, and where the template's origin lies (y up).

    x = r1 X + tx and y_up = r2 X + ty by least squares, rows r1 and r2 free; s = rescale / mean(|r1|, |r2|).

    Raises:
        ReconstructionError: the points do not span a face.
    """
    solution = _affine_of(five, height, template)
    rows, (tx, ty) = solution[:3].T, solution[3].tolist()
    scale = float(rows.norm(dim=1).mean())
    spread = torch.linalg.svdvals(rows)
    if scale < _LEAST_SCALE_PX_PER_DM or float(spread[1]) < 0.05 * float(spread[0]):
        raise ReconstructionError(
            f"expected five points that span a face, received {five.tolist()}: they coincide or lie on one line; "
            "check their order (right eye, left eye, nose tip, right and left mouth corner) and that x comes first"
        )
    return torch.tensor([width, height, rescale / scale, tx, ty], dtype=torch.float64)


def _affine_of(five: Float[Tensor, "5 2"], height: int, template: Float[Tensor, "5 3"]) -> Float[Tensor, "4 2"]:
    """Rows r1 and r2, and below them tx and ty (y up), by least squares."""
    y_up = height - 1 - five[:, 1].double()
    targets = torch.stack([five[:, 0].double(), y_up], -1)
    return affine_solver(template) @ targets.cpu()


def _is_mirrored(five: Float[Tensor, "5 2"], template: Float[Tensor, "5 3"]) -> bool:
    """Whether the face would be seen from behind."""
    return float(torch.linalg.det(_affine_of(five, 1, template)[:2])) < 0


def crop_by_trans_params(
    photo: Photo,
    trans_params: Float[Tensor, "5"],
    five: Float[Tensor, "5 2"],
    *,
    size: int = 224,
    rescale: float = CROP_RESCALE,
    roll: float = 0.0,
    exact: bool = True,
    whole_pixels: bool = True,
) -> AlignedFace:
    """Cut the crop that ``trans_params`` describe; sizes and offsets are truncated towards zero, as officially.

    Args:
        photo: the photo that the parameters were fitted to.
        trans_params: W, H, s, tx, ty; of the turned photo (``turned_frame``) where there is a roll.
        five: photo pixels, y down; only carried along.
        size: side of the crop, px.
        rescale: what s was fitted with.
        roll: of the head, radians, that the photo is turned upright by; 0 for the official crop.
        exact: see ``align_face``.
        whole_pixels: likewise.

    Raises:
        ValueError: see ``align_face``.
        ReconstructionError: the parameters are of another photo, or the crop shows nothing of it.
    """
    if exact and not whole_pixels:
        raise ValueError("expected exact=False with whole_pixels=False: official crops are of whole pixels")
    T_photo_turned, turned_width, turned_height = turned_frame(photo.width, photo.height, roll)
    params_width, params_height, s, tx, ty = trans_params.tolist()
    if (round(params_width), round(params_height)) != (turned_width, turned_height):
        raise ReconstructionError(
            f"expected crop parameters of a {turned_width} x {turned_height} photo, received those of "
            f"{params_width:g} x {params_height:g}; take the photo that they were made for"
        )
    width, height = int(turned_width * s), int(turned_height * s)
    left = math.trunc(width / 2 - size / 2 + (tx - turned_width / 2) * s)
    up = math.trunc(height / 2 - size / 2 + (turned_height / 2 - ty) * s)
    if min(width, height) < 1 or left >= width or up >= height or left <= -size or up <= -size:
        raise ReconstructionError(
            f"expected a face inside the photo, received points around {five.mean(0).tolist()} in "
            f"{photo.width} x {photo.height} pixels; check that the points belong to this photo"
        )
    device = photo.pixels.device
    # Pixel i of a resized row covers [i, i + 1) * W / w of the photo, so its centre lies half a pixel further on.
    step_x, step_y = turned_width / width, turned_height / height
    T_turned_crop = torch.tensor(
        [[step_x, 0.0, (left + 0.5) * step_x - 0.5], [0.0, step_y, (up + 0.5) * step_y - 0.5], [0.0, 0.0, 1.0]],
        dtype=torch.float64,
    )
    if not whole_pixels:
        # The crop's middle on the middle of the face: its y points up from the middle of the last row.
        middle_px = (size - 1) / 2
        T_turned_crop = torch.tensor(
            [
                [1 / s, 0.0, tx - middle_px / s],
                [0.0, 1 / s, turned_height - 1 - ty - middle_px / s],
                [0.0, 0.0, 1.0],
            ],
            dtype=torch.float64,
        )
    T_photo_crop = T_photo_turned @ T_turned_crop if roll else T_turned_crop
    if exact:
        frame = (turned_width, turned_height), (width, height)
        pixels = _official(photo, T_photo_turned, frame, left, up, size, turned=roll != 0.0)
    else:
        pixels = _warped(photo, T_photo_crop, size)
    T_photo_crop = T_photo_crop.to(device)
    middle = torch.full((1,), (size - 1) / 2, device=device)
    focal = torch.full((1,), CROP_FOCAL_PX * rescale / CROP_RESCALE, device=device)
    camera_crop = Camera(focal, middle, middle.clone(), size, size, CAMERA_DISTANCE_DM)
    return AlignedFace(
        crop=(torch.from_numpy(pixels).permute(2, 0, 1).to(device) / 255.0).contiguous(),
        T_photo_crop=T_photo_crop,
        trans_params=trans_params.to(device),
        camera_crop=camera_crop,
        camera_photo=photo_camera(camera_crop, T_photo_crop, photo.width, photo.height),
        five_crop=apply_homogeneous(torch.linalg.inv(T_photo_crop), five.to(device)).float(),
        roll=roll,
    )


def _official(
    photo: Photo,
    T_photo_turned: Float[Tensor, "3 3"],
    frame: tuple[tuple[int, int], tuple[int, int]],
    left: int,
    up: int,
    size: int,
    *,
    turned: bool,
) -> UInt8[ndarray, "size size 3"]:
    """The square of a photo that is resized as a whole, as the official program cuts it; black outside.

    Args:
        photo: the picture.
        T_photo_turned: from ``turned_frame``.
        frame: width and height of the (turned) photo, and those that it is resized to.
        left: first column of the square in the resized photo; may lie outside.
        up: first row.
        size: side of the square.
        turned: whether the photo is turned.
    """
    (source_width, source_height), (width, height) = frame
    region: Region
    if turned:
        shrink = width / source_width
        factor = next((k for k in (64, 32, 16, 8, 4, 2) if shrink * _AMPLE * k <= 1.0), 1)
        region = partial(_turned_region, photo, T_photo_turned, factor)
        source = (source_width // factor, source_height // factor)
    else:
        region, source = partial(_region, photo), (source_width, source_height)
    inside = ResizedPart(
        source, (width, height), max(left, 0), max(up, 0), min(left + size, width), min(up + size, height)
    )
    pixels = np.zeros((size, size, 3), dtype=np.uint8)
    rows, columns = slice(inside.top - up, inside.bottom - up), slice(inside.left - left, inside.right - left)
    pixels[rows, columns] = resized_window(region, inside)
    return pixels


def _warped(photo: Photo, T_photo_crop: Float[Tensor, "3 3"], size: int) -> UInt8[ndarray, "size size 3"]:
    """The crop in one warp: what it sees is averaged to about its own scale, then read along its axes."""
    step = float(scale_of(T_photo_crop))
    corners = torch.tensor([[0, 0], [size - 1, 0], [0, size - 1], [size - 1, size - 1]], dtype=torch.float64)
    seen = apply_homogeneous(T_photo_crop, corners)
    reach = 2 * max(1.0, step)
    low, high = (seen.amin(0) - reach).floor().clamp_min(0.0), (seen.amax(0) + reach).ceil()
    left, top = (int(v) for v in low)
    right, bottom = min(int(high[0]), photo.width), min(int(high[1]), photo.height)
    part = np.ascontiguousarray(_region(photo, left, top, right, bottom))
    wide, tall = right - left, bottom - top
    if step > 1.0:
        wide, tall = max(1, round(wide / step)), max(1, round(tall / step))
        part = cv2.resize(part, (wide, tall), interpolation=cv2.INTER_AREA)
    shrink = torch.tensor([wide / (right - left), tall / (bottom - top)], dtype=torch.float64)
    T_part_crop = T_photo_crop[:2].clone()
    T_part_crop[:, 2] += 0.5 - torch.tensor([left, top], dtype=torch.float64)
    T_part_crop *= shrink[:, None]
    T_part_crop[:, 2] -= 0.5
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(part, T_part_crop.numpy(), (size, size), flags=flags, borderMode=cv2.BORDER_CONSTANT)


def photo_camera(camera_crop: Camera, T_photo_crop: Float[Tensor, "3 3"], width: int, height: int) -> Camera:
    """The camera that draws the same posed face at its place in the whole photo, upright as the photo is.

    Where the crop was turned, the face is to be turned back for it (``geometry.turning.turn_of_face``).

    The resized picture has whole pixels, so the crop is stretched a little differently in x and y (by up to 1 px over
    the whole of it). A camera has one focal length: the geometric mean. On the axis both maps agree; at the rim of a
    face they differ by less than 0.3 crop pixels.
    """
    centre = torch.stack([camera_crop.cx, camera_crop.cy], -1).to(T_photo_crop)
    cx, cy = apply_homogeneous(T_photo_crop, centre).to(camera_crop.cx).unbind(-1)
    focal = camera_crop.focal_px * scale_of(T_photo_crop).to(camera_crop.focal_px)
    return Camera(focal, cx, cy, width, height, camera_crop.distance_dm)


def _checked_five(points: Float[Tensor, "N 2"]) -> Float[Tensor, "5 2"]:
    if points.shape not in ((5, 2), (68, 2)):
        raise ReconstructionError(f"expected 5 or 68 points (x, y), received shape {tuple(points.shape)}")
    five = (five_from_68(points) if len(points) == 68 else points).detach().double()
    if not bool(torch.isfinite(five).all()):
        raise ReconstructionError(f"expected finite points, received {five.tolist()}; detect or mark the face again")
    return five


def _region(photo: Photo, x0: int, y0: int, x1: int, y1: int) -> UInt8[ndarray, "h w 3"]:
    """A part of a photo."""
    return photo.pixels[:, y0:y1, x0:x1].detach().permute(1, 2, 0).cpu().numpy()


def _turned_region(
    photo: Photo, T_photo_turned: Float[Tensor, "3 3"], factor: int, x0: int, y0: int, x1: int, y1: int
) -> UInt8[ndarray, "h w 3"]:
    """A part of the turned photo, bicubic, black outside; photo and turned photo are made smaller by a factor."""
    # Edges, not centres, of pixels: there a smaller picture is a plain multiple.
    T_edges = T_photo_turned.clone()
    T_edges[:2, 2] += 0.5 - T_photo_turned[:2, :2].sum(1) / 2
    T_edges[:2, 2] /= factor
    seen = apply_homogeneous(T_edges, torch.tensor([[x0, y0], [x1, y0], [x0, y1], [x1, y1]], dtype=torch.float64))
    low, high = seen.amin(0).floor() - BICUBIC_REACH, seen.amax(0).ceil() + BICUBIC_REACH
    left, top = (factor * int(v) for v in low.clamp_min(0.0))
    right, bottom = (min(factor * int(v), side) for v, side in zip(high, (photo.width, photo.height), strict=True))
    if right <= left or bottom <= top:
        return np.zeros((y1 - y0, x1 - x0, 3), dtype=np.uint8)
    if factor == 1:
        part = np.ascontiguousarray(_region(photo, left, top, right, bottom))
    else:
        reduced = reduced_part(photo, left, top, right, bottom, factor).cpu()
        part = (reduced * 255.0).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
    # Centres again, from the part's own corners; OpenCV's filter rounds where Pillow's affine one cuts decimals off.
    T_part = T_edges[:2].clone()
    T_part[:, 2] += T_edges[:2, :2] @ T_edges.new_tensor([x0 + 0.5, y0 + 0.5]) - 0.5
    T_part[:, 2] -= T_edges.new_tensor([left, top]) / factor
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(part, T_part.numpy(), (x1 - x0, y1 - y0), flags=flags, borderMode=cv2.BORDER_CONSTANT)
