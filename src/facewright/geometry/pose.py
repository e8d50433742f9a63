"""Posed meshes: from the model frame to the world, and on to a photo's pixels."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from facewright.geometry.frames import pose_points, project_points
from facewright.geometry.rotations import rotation_from_angles
from facewright.records import Camera, FaceMesh, Pose


def posed_mesh(mesh_model: FaceMesh, pose: Pose) -> FaceMesh:
    """Model frame to world frame."""
    rotation = rotation_from_angles(pose.angles)
    return replace(
        mesh_model,
        vertices=pose_points(mesh_model.vertices, pose.angles, pose.translation),
        normals=mesh_model.normals @ rotation.transpose(-1, -2),
    )


def photo_points(points_world: Float[Tensor, "1 N 3"], pose: Pose, camera: Camera) -> Float[Tensor, "N 3"]:
    """World points to photo pixels; depth in pixels at the head's scale, 0 at the model's origin, growing away."""
    projected = project_points(points_world, camera)[0]
    origin = camera.distance_dm - pose.translation[0, 2]
    depth = (projected[:, 2] - origin) * camera.focal_px[0] / origin
    return torch.cat([projected[:, :2], depth[:, None]], -1)
