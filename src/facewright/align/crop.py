"""The Deep3D crop (docs/deep3d.md section 4): scale and place a face by its five points; nothing is rotated.

A template of the five points in 3D is fitted by an affine camera; the photo is resized so that one decimetre measures
``rescale`` pixels, and cut so that the template's origin falls on the middle.
"""

import logging
import math

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from facewright.errors import ReconstructionError
from facewright.geometry.five_points import deep3d_template, five_from_68
from facewright.geometry.frames import CAMERA_DISTANCE_DM, CROP_FOCAL_PX, apply_homogeneous
from facewright.records import AlignedFace, Camera, Photo

CROP_RESCALE = 102.0
_LEAST_SCALE_PX_PER_DM = 2.0  # eyes 1.2 px apart: below that the points say nothing
_BICUBIC_REACH = 2  # source pixels on each side, times the shrinking factor
_log = logging.getLogger(__name__)


def align_face(
    photo: Photo,
    points: Float[Tensor, "N 2"],
    *,
    template: Float[Tensor, "5 3"] | None = None,
    size: int = 224,
    rescale: float = CROP_RESCALE,
) -> AlignedFace:
    """Bring a face to the networks' frame.

    The crop's pixels equal those of the official repositories: the photo is taken to 8 bits and resized by Pillow's
    bicubic filter. All numbers are computed in float64; ``T_photo_crop`` and ``trans_params`` stay so.

    Args:
        photo: upright photo.
        points: photo pixels, y down: right eye (image left), left eye, nose tip, right and left mouth corner; or the
            iBUG-68.
        template: the five points in the model frame, dm; those of Deep3D if None.
        size: side of the crop, px.
        rescale: pixels per decimetre in the crop, at the depth of the model's origin. 102 belongs to size 224; EG3D
            uses 300 with size 1024. The crop camera's focal length follows: 1015 px times rescale / 102.

    Raises:
        ReconstructionError: points that are not finite, coincide, lie on one line, or lie wholly outside of the photo.
    """
    five = _checked_five(points)
    trans_params = fit_trans_params(
        five, photo.width, photo.height, template=deep3d_template() if template is None else template, rescale=rescale
    )
    return crop_by_trans_params(photo, trans_params, five, size=size, rescale=rescale)


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
    y_up = height - 1 - five[:, 1].double()
    targets = torch.stack([five[:, 0].double(), y_up], -1)
    design = torch.cat([template.double().cpu(), torch.ones(5, 1, dtype=torch.float64)], -1)
    solution = torch.linalg.pinv(design) @ targets.cpu()
    rows, (tx, ty) = solution[:3].T, solution[3].tolist()
    scale = float(rows.norm(dim=1).mean())
    spread = torch.linalg.svdvals(rows)
    if scale < _LEAST_SCALE_PX_PER_DM or float(spread[1]) < 0.05 * float(spread[0]):
        raise ReconstructionError(
            f"expected five points that span a face, received {five.tolist()}: they coincide or lie on one line; "
            "check their order (right eye, left eye, nose tip, right and left mouth corner) and that x comes first"
        )
    if float(torch.linalg.det(rows[:, :2])) < 0:  # the face would be seen from behind
        _log.warning("the five points look mirrored; expected y down, and the eye at the image's left first")
    return torch.tensor([width, height, rescale / scale, tx, ty], dtype=torch.float64)


def crop_by_trans_params(
    photo: Photo,
    trans_params: Float[Tensor, "5"],
    five: Float[Tensor, "5 2"],
    *,
    size: int = 224,
    rescale: float = CROP_RESCALE,
) -> AlignedFace:
    """Cut the crop that ``trans_params`` describe; sizes and offsets are truncated towards zero, as officially.

    Args:
        photo: the photo that the parameters were fitted to.
        trans_params: W, H, s, tx, ty.
        five: photo pixels, y down; only carried along.
        size: side of the crop, px.
        rescale: what s was fitted with.

    Raises:
        ReconstructionError: the parameters are of another photo, or the crop shows nothing of it.
    """
    photo_width, photo_height, s, tx, ty = trans_params.tolist()
    if (round(photo_width), round(photo_height)) != (photo.width, photo.height):
        raise ReconstructionError(
            f"expected crop parameters of a {photo.width} x {photo.height} photo, received those of "
            f"{photo_width:g} x {photo_height:g}; take the photo that they were made for"
        )
    width, height = int(photo.width * s), int(photo.height * s)
    left = math.trunc(width / 2 - size / 2 + (tx - photo.width / 2) * s)
    up = math.trunc(height / 2 - size / 2 + (photo.height / 2 - ty) * s)
    if min(width, height) < 1 or left >= width or up >= height or left <= -size or up <= -size:
        raise ReconstructionError(
            f"expected a face inside the photo, received points around {five.mean(0).tolist()} in "
            f"{photo.width} x {photo.height} pixels; check that the points belong to this photo"
        )
    crop = _resized_window(photo.srgb, width, height, left, up, size)
    # Pixel i of a resized row covers [i, i + 1) * W / w of the photo, so its centre lies half a pixel further on.
    step_x, step_y = photo.width / width, photo.height / height
    T_photo_crop = torch.tensor(
        [[step_x, 0.0, (left + 0.5) * step_x - 0.5], [0.0, step_y, (up + 0.5) * step_y - 0.5], [0.0, 0.0, 1.0]],
        dtype=torch.float64,
    )
    camera_crop = _camera(photo, CROP_FOCAL_PX * rescale / CROP_RESCALE, ((size - 1) / 2, (size - 1) / 2), size, size)
    on_device = T_photo_crop.to(photo.srgb.device)
    return AlignedFace(
        crop=crop,
        T_photo_crop=on_device,
        trans_params=trans_params.to(photo.srgb.device),
        camera_crop=camera_crop,
        camera_photo=photo_camera(camera_crop, on_device, photo.width, photo.height),
        five_crop=apply_homogeneous(torch.linalg.inv(on_device), five.to(on_device)).to(photo.srgb),
    )


def photo_camera(camera_crop: Camera, T_photo_crop: Float[Tensor, "3 3"], width: int, height: int) -> Camera:
    """The camera that draws the same posed face at its place in the whole photo.

    The resized picture has whole pixels, so the crop is stretched a little differently in x and y (by up to 1 px over
    the whole of it). A camera has one focal length: the geometric mean. On the axis both maps agree; at the rim of a
    face they differ by less than 0.3 crop pixels.
    """
    step_x, step_y = T_photo_crop[0, 0], T_photo_crop[1, 1]
    centre = torch.stack([camera_crop.cx, camera_crop.cy], -1).to(T_photo_crop)
    cx, cy = apply_homogeneous(T_photo_crop, centre).to(camera_crop.cx).unbind(-1)
    focal = camera_crop.focal_px * (step_x * step_y).sqrt().to(camera_crop.focal_px)
    return Camera(focal, cx, cy, width, height, camera_crop.distance_dm)


def _checked_five(points: Float[Tensor, "N 2"]) -> Float[Tensor, "5 2"]:
    if points.shape not in ((5, 2), (68, 2)):
        raise ReconstructionError(f"expected 5 or 68 points (x, y), received shape {tuple(points.shape)}")
    five = (five_from_68(points) if len(points) == 68 else points).detach().double()
    if not bool(torch.isfinite(five).all()):
        raise ReconstructionError(f"expected finite points, received {five.tolist()}; detect or mark the face again")
    return five


def _camera(photo: Photo, focal_px: float, middle: tuple[float, float], width: int, height: int) -> Camera:
    focal, cx, cy = (photo.srgb.new_full((1,), value) for value in (focal_px, *middle))
    return Camera(focal, cx, cy, width, height, CAMERA_DISTANCE_DM)


def _resized_window(
    srgb: Float[Tensor, "3 H W"], width: int, height: int, left: int, up: int, size: int
) -> Float[Tensor, "3 size size"]:
    """What resizing the photo to width x height and cutting a square would give, to the bit, at the cost of the square.

    Pillow filters along rows, rounds to 8 bits, then filters along columns. So only what the window can see is taken
    from the photo, the rest stays black; and of the first pass only the window's columns enter the second.
    """
    photo_height, photo_width = srgb.shape[1:]
    first, last = max(left, 0), min(left + size, width)
    x0, x1 = _seen(first, last, photo_width / width, photo_width)
    y0, y1 = _seen(max(up, 0), min(up + size, height), photo_height / height, photo_height)
    seen = (srgb[:, y0:y1, x0:x1].detach().cpu() * 255.0).round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0)
    strip = Image.new("RGB", (photo_width, y1 - y0))
    strip.paste(Image.fromarray(np.ascontiguousarray(seen.numpy())), (x0, 0))
    narrow = strip.resize((width, y1 - y0), Image.Resampling.BICUBIC).crop((first, 0, last, y1 - y0))
    columns = Image.new("RGB", (last - first, photo_height))
    columns.paste(narrow, (0, y0))
    window = columns.resize((last - first, height), Image.Resampling.BICUBIC).crop((0, up, last - first, up + size))
    pixels = np.zeros((size, size, 3), dtype=np.uint8)
    pixels[:, first - left : last - left] = np.asarray(window)
    return (torch.from_numpy(pixels).permute(2, 0, 1).to(srgb) / 255.0).contiguous()


def _seen(first: int, last: int, step: float, length: int) -> tuple[int, int]:
    """The span of source pixels that the bicubic filter reads for the resized pixels first..last."""
    reach = _BICUBIC_REACH * max(1.0, step) + 1.0
    return max(0, math.floor(first * step - reach)), min(length, math.ceil(last * step + reach))
