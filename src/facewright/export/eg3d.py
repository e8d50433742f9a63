"""Camera labels of EG3D, Next3D and their kin, from the pose of a Deep3D reconstruction (docs/deep3d.md section 12)."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from facewright.geometry.frames import CAMERA_DISTANCE_DM
from facewright.geometry.rotations import rotation_from_angles
from facewright.records import FaceCoefficients

SCALE = 0.27
OFFSET = (0.0, 0.006, 0.161)
FOCAL = 2985.29 / 700.0
"""Focal length in picture widths of EG3D's own crop."""


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


def eg3d_dataset(cameras: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """EG3D's ``dataset.json``: picture file name and label, for each camera of ``eg3d_camera``."""
    return {"labels": [[name, camera["label"]] for name, camera in cameras.items()]}
