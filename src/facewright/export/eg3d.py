"""Camera labels and crops of EG3D, Next3D and their kin, from a Deep3D reconstruction (docs/deep3d.md section 12)."""

import math
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from facewright.errors import ExportError
from facewright.geometry.frames import CAMERA_DISTANCE_DM
from facewright.geometry.rotations import rotation_from_angles
from facewright.records import Camera, FaceCoefficients, Photo

SCALE = 0.27
OFFSET = (0.0, 0.006, 0.161)
FOCAL = 2985.29 / 700.0
"""Focal length in picture widths of EG3D's own crop."""
CROP_PX = 512
"""Side of EG3D's pictures."""


def eg3d_pose(coefficients: FaceCoefficients) -> Float[Tensor, "B 4 4"]:
    """Camera-to-world matrices in EG3D's units: camera x right, y down, z forward.

    The face is at rest and the camera goes round it: with pose (R, t), the camera at (0, 0, 10) dm stands at
    R^T ((0, 0, 10) - t) of the model frame; that is scaled by 0.27 and moved by (0, 0.006, 0.161).
    """
    from_world = rotation_from_angles(coefficients.angles).transpose(1, 2)
    camera_world = from_world.new_tensor([0.0, 0.0, CAMERA_DISTANCE_DM])
    position = (from_world @ (camera_world - coefficients.translation)[..., None])[..., 0]
    position = SCALE * position + from_world.new_tensor(OFFSET)
    rotation = from_world * from_world.new_tensor([1.0, -1.0, -1.0])
    upper = torch.cat([rotation, position[..., None]], 2)
    last = upper.new_tensor([0.0, 0.0, 0.0, 1.0]).expand(len(upper), 1, 4)
    return torch.cat([upper, last], 1)


def mirrored_pose(pose: Float[Tensor, "B 4 4"]) -> Float[Tensor, "B 4 4"]:
    """The pose of the mirrored photo: x is negated in the world and in the camera."""
    flip = torch.diag(pose.new_tensor([-1.0, 1.0, 1.0, 1.0]))
    return flip @ pose @ flip


def eg3d_camera(coefficients: FaceCoefficients) -> dict[str, Any]:
    """Camera of one face, JSON-able.

    Keys: ``pose`` (4x4, camera to world), ``intrinsics`` (3x3, in picture widths), ``label`` (the 25 numbers of EG3D's
    ``dataset.json``: pose row by row, then intrinsics) and ``label_mirrored`` for the mirrored photo.
    """
    pose = eg3d_pose(coefficients)[:1].detach().cpu().double()
    intrinsics = [[FOCAL, 0.0, 0.5], [0.0, FOCAL, 0.5], [0.0, 0.0, 1.0]]
    flat = [number for row in intrinsics for number in row]
    return {
        "pose": pose[0].tolist(),
        "intrinsics": intrinsics,
        "label": pose.flatten().tolist() + flat,
        "label_mirrored": mirrored_pose(pose).flatten().tolist() + flat,
    }


def eg3d_crop(photo: Photo, camera: Camera) -> Float[Tensor, "3 512 512"]:
    """The picture that a label belongs to: the square that spans 1 / ``FOCAL`` of the focal length, black outside.

    Args:
        photo: upright photo.
        camera: the photo's camera for this face; its axis goes through the middle of the square.

    Raises:
        ExportError: the square lies outside of the photo.
    """
    side = float(camera.focal_px[0]) / FOCAL
    corner = [float(centre[0]) + 0.5 - side / 2 for centre in (camera.cx, camera.cy)]  # of pixels: edges, not centres
    # Whole pixels of the crop that the photo covers, and what they are made of.
    low = [max(0, math.ceil(-start * CROP_PX / side)) for start in corner]
    ends = zip(corner, (photo.width, photo.height), strict=True)
    high = [min(CROP_PX, math.floor((length - start) * CROP_PX / side)) for start, length in ends]
    if low[0] >= high[0] or low[1] >= high[1]:
        raise ExportError(
            f"expected a face inside the photo, received one around ({float(camera.cx[0]):.0f}, "
            f"{float(camera.cy[0]):.0f}) of {photo.width} x {photo.height} pixels; is it the photo of this result?"
        )
    x0, y0, x1, y1 = (start + k * side / CROP_PX for ks in (low, high) for start, k in zip(corner, ks, strict=True))
    box = (max(0.0, x0), max(0.0, y0), min(float(photo.width), x1), min(float(photo.height), y1))
    whole = Image.fromarray(photo.pixels.permute(1, 2, 0).contiguous().cpu().numpy())
    seen = whole.resize((high[0] - low[0], high[1] - low[1]), Image.Resampling.LANCZOS, box=box)
    crop = Image.new("RGB", (CROP_PX, CROP_PX))
    crop.paste(seen, (low[0], low[1]))
    return torch.from_numpy(np.array(crop)).permute(2, 0, 1) / 255.0


def eg3d_dataset(cameras: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """EG3D's ``dataset.json``: picture file name and label, for each camera of ``eg3d_camera``."""
    return {"labels": [[name, camera["label"]] for name, camera in cameras.items()]}
