"""The frames and every step between them: model -> world -> pixels and clip space. Flips live here and in adapters.

Model frame: dm, y up, the face looks along +z, origin inside the head. World frame: model turned and moved by the pose.
The camera sits at (0, 0, distance) of the world and looks along -z. Pixels: x right, y down, centres at integers.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from facewright.geometry.rotations import rotation_from_angles
from facewright.records import Camera

CROP_FOCAL_PX = 1015.0
CROP_SIZE = 224
CAMERA_DISTANCE_DM = Camera.distance_dm
NEAR_DM, FAR_DM = 5.0, 15.0


def crop_camera(batch: int = 1, *, size: int = CROP_SIZE, like: Tensor | None = None) -> Camera:
    """The Deep3D camera (focal 1015 px for a 224 crop, axis through the crop's middle) at any crop size.

    The axis meets the crop in its middle: column and row (size - 1) / 2, since centres are at integers. The official
    landmark code calls that point 112 (its pixel i spans i..i+1 in the renderer but is named i in the landmarks: a half
    pixel of difference, docs/deep3d.md section 11, D6); adapters that speak official numbers add it.
    """
    like = torch.zeros(()) if like is None else like
    scale = size / CROP_SIZE
    focal = like.new_full((batch,), CROP_FOCAL_PX * scale)
    middle = like.new_full((batch,), (size - 1) / 2)
    return Camera(focal, middle, middle.clone(), size, size, CAMERA_DISTANCE_DM)


def pose_points(
    points_model: Float[Tensor, "B N 3"], angles: Float[Tensor, "B 3"], translation: Float[Tensor, "B 3"]
) -> Float[Tensor, "B N 3"]:
    """Model frame to world frame: rotate, then translate (dm)."""
    return points_model @ rotation_from_angles(angles).transpose(-1, -2) + translation[:, None, :]


def project_points(points_world: Float[Tensor, "B N 3"], camera: Camera) -> Float[Tensor, "B N 3"]:
    """World points (dm) to pixel column, pixel row (y down, centres at integers) and distance along the axis (dm)."""
    distance = camera.distance_dm - points_world[..., 2]
    scale = camera.focal_px[:, None] / distance
    column = camera.cx[:, None] + scale * points_world[..., 0]
    row = camera.cy[:, None] - scale * points_world[..., 1]
    return torch.stack([column, row, distance], -1)


def clip_from_world(points_world: Float[Tensor, "B N 3"], camera: Camera) -> Float[Tensor, "B N 4"]:
    """World points to homogeneous clip space: x right, y **down**: NDC (-1, -1) is the picture's top-left corner.

    NDC x = -1 is the left edge of column 0 (half a pixel left of its centre) and x = 1 the right edge of the last one.
    z / w runs from -1 at 5 dm to 1 at 15 dm (near and far of the Deep3D renderer, scaled with the camera's distance).
    """
    reach = camera.distance_dm / CAMERA_DISTANCE_DM
    near, far = NEAR_DM * reach, FAR_DM * reach
    w = camera.distance_dm - points_world[..., 2]
    focal, cx, cy = camera.focal_px[:, None], camera.cx[:, None], camera.cy[:, None]
    x = (2.0 * focal * points_world[..., 0] + (2.0 * cx + 1.0 - camera.width) * w) / camera.width
    y = (-2.0 * focal * points_world[..., 1] + (2.0 * cy + 1.0 - camera.height) * w) / camera.height
    z = ((far + near) * w - 2.0 * far * near) / (far - near)
    return torch.stack([x, y, z, w], -1)


def apply_homogeneous(T_a_b: Float[Tensor, "3 3"], points_b: Float[Tensor, "*N 2"]) -> Float[Tensor, "*N 2"]:
    """Map 2D points from frame b to frame a by an affine 3x3 matrix."""
    return points_b @ T_a_b[:2, :2].T.to(points_b) + T_a_b[:2, 2].to(points_b)


def scale_of(T_a_b: Float[Tensor, "3 3"]) -> Float[Tensor, ""]:
    """Pixels of frame a per pixel of frame b: the root of the area's factor, whichever way the map turns.

    Where the map stretches x and y differently this is their geometric mean.
    """
    return (T_a_b[0, 0] * T_a_b[1, 1] - T_a_b[0, 1] * T_a_b[1, 0]).abs().sqrt()


def window_camera(camera: Camera, left_px: float, top_px: float, scale: float, width: int, height: int) -> Camera:
    """The camera of a magnified window of a picture: the photo's (left, top) becomes the window's top-left corner.

    Args:
        camera: of the whole picture.
        left_px: left edge of the window, px of the picture, counted from the left edge of column 0.
        top_px: top edge, likewise.
        scale: window pixels per picture pixel.
        width: columns of the window.
        height: rows of the window.
    """
    return Camera(
        camera.focal_px * scale,
        (camera.cx + 0.5 - left_px) * scale - 0.5,
        (camera.cy + 0.5 - top_px) * scale - 0.5,
        width,
        height,
        camera.distance_dm,
    )
