"""Points of position maps in space, and the pose of a head from all of them.

The pose is also had in the way of the published program, for comparison.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from facewright.geometry.similarity import similarity_from_points
from facewright.records import Camera, TensorRecord

UPRIGHT = (1.0, -1.0, 1.0)
"""From a frame whose y points down, with x right and z toward the camera, to the model's; and back."""


def world_of_map(points_px: Float[Tensor, "P 3"], camera: Camera) -> Float[Tensor, "P 3"]:
    """Points of a map in the world frame of a camera, dm: they are seen exactly where the map says.

    Args:
        points_px: column, row and depth: px at the world's origin, growing toward the camera.
        camera: one, of the crop.
    """
    depth = points_px[:, 2] * camera.distance_dm / camera.focal_px
    reach = (camera.distance_dm - depth) / camera.focal_px
    return torch.stack([(points_px[:, 0] - camera.cx) * reach, (camera.cy - points_px[:, 1]) * reach, depth], -1)


def map_of_world(points_world: Float[Tensor, "B P 3"], camera: Camera) -> Float[Tensor, "B P 3"]:
    """The inverse of ``world_of_map``, for one camera or one per face; differentiable."""
    focal, cx, cy = (value.view(-1, 1) for value in (camera.focal_px, camera.cx, camera.cy))
    x, y, z = points_world.unbind(-1)
    scale = focal / (camera.distance_dm - z)
    return torch.stack([cx + scale * x, cy - scale * y, z * focal / camera.distance_dm], -1)


@dataclass(frozen=True)
class MapPose(TensorRecord):
    """Where a head is in weak perspective: point = scale R canonical + translation, both y up.

    Attributes:
        scale: px per dm.
        rotation: of the model frame.
        translation: px, y up from row 0 downward negative.
    """

    scale: Float[Tensor, ""]
    rotation: Float[Tensor, "3 3"]
    translation: Float[Tensor, "3"]

    def camera_matrix(self) -> Float[Tensor, "3 4"]:
        """[s R | t]: model frame (dm, y up) to pixels of the picture with y down, as ``_camera_matrix.txt`` is read."""
        upright = self.rotation.new_tensor(UPRIGHT)
        return upright[:, None] * torch.cat([self.scale * self.rotation, self.translation[:, None]], -1)


def map_pose(points_px: Float[Tensor, "P 3"], canonical_dm: Float[Tensor, "P 3"]) -> MapPose:
    """Similarity of the mean face to the points of a map, by least squares over all of them.

    Args:
        points_px: column, row (y down) and depth (toward the camera), px.
        canonical_dm: the same points of the mean face, model frame, y up.
    """
    points = (points_px * points_px.new_tensor(UPRIGHT)).double()
    scale, rotation, translation = similarity_from_points(canonical_dm.double(), points)
    return MapPose(scale, rotation, translation)


def aflw_angles(rotation: Float[Tensor, "3 3"]) -> Float[Tensor, "3"]:
    """Pitch, yaw, roll, radians, in the order and signs of 300W-LP and AFLW2000-3D: R = Rx(pitch) Ry(yaw) Rz(roll).

    Their elementary rotations turn the other way: Rx = [[1, 0, 0], [0, c, s], [0, -s, c]], and so on.

    Args:
        rotation: of the model frame, y up.
    """
    r = rotation
    pitch = torch.atan2(r[1, 2], r[2, 2])
    yaw = torch.asin((-r[0, 2]).clamp(-1.0, 1.0))
    roll = torch.atan2(r[0, 1], r[0, 0])
    return torch.stack([pitch, yaw, roll])


@dataclass(frozen=True)
class ReleasedPose(TensorRecord):
    """What the published program writes: see ``released_pose``.

    Attributes:
        camera_matrix: 3 x 4.
        angles: yaw, pitch, roll, radians, as ``_pose.txt`` lists them.
    """

    camera_matrix: Float[Tensor, "3 4"]
    angles: Float[Tensor, "3"]


def released_pose(points_px: Float[Tensor, "P 3"], canonical: Float[Tensor, "P 3"]) -> ReleasedPose:
    """Pose as PRNet's program has computed it since October 2018, with what is wrong in it, to compare old results.

    The scale is a ratio of root mean square radii, the translation the difference of the means (as if nothing turned or
    grew), and the angles are read in another order than those of AFLW2000-3D: they err where the yaw is large.

    Args:
        points_px: column, row (y down) and depth, px.
        canonical: the same points of its canonical face, y down too.
    """
    source, target = canonical.double(), points_px.double()
    a, b = source - source.mean(0), target - target.mean(0)
    scale = (b.square().sum() / a.square().sum()).sqrt()
    u, _, vh = torch.linalg.svd(a.T @ b)
    rotation = vh.T @ u.T
    if float(torch.linalg.det(rotation)) < 0:
        vh = torch.cat([vh[:2], -vh[2:]])
        rotation = vh.T @ u.T
    moved = target.mean(0) - source.mean(0)
    r = rotation
    angles = torch.stack(
        [torch.asin(r[2, 0].clamp(-1, 1)), torch.atan2(r[2, 1], r[2, 2]), torch.atan2(r[1, 0], r[0, 0])]
    )
    return ReleasedPose(torch.cat([scale * rotation, moved[:, None]], -1), angles)


def frontal_points(
    points_px: Float[Tensor, "P 3"], canonical: Float[Tensor, "P 3"], *, affine: bool = False
) -> Float[Tensor, "P 3"]:
    """A map's points turned to the front, in the frame and unit of the canonical face.

    Args:
        points_px: column, row and depth, px.
        canonical: the same points of the mean face, in a frame of the same handedness.
        affine: the published program's map, which squeezes everybody into the mean face's proportions; else a
            similarity, which keeps them.
    """
    source, target = points_px.double(), canonical.double()
    if affine:
        design = torch.cat([source, torch.ones_like(source[:, :1])], -1)
        return (design @ (torch.linalg.pinv(design) @ target)).to(points_px)
    scale, rotation, translation = similarity_from_points(source, target)
    return (scale * source @ rotation.T + translation).to(points_px)
