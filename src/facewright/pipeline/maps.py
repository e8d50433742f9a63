"""Pictures whose pixels are numbers: how far away a face is at each, and which point of it is seen there."""

import torch
from jaxtyping import Float
from torch import Tensor

from facewright.geometry.frames import project_points, window_camera
from facewright.pipeline.face import FaceInPhoto
from facewright.render.renderer import render_attributes

MARGIN_PX = 2


def depth_map(face: FaceInPhoto) -> Float[Tensor, "H W"]:
    """Distance of the face along the camera's axis, dm, at every pixel of the photo; 0 where the face is not."""
    mesh, camera = face.mesh_world, face.camera
    return _in_photo(face, camera.distance_dm - mesh.vertices[..., 2:])[0]


def pncc_picture(face: FaceInPhoto) -> Float[Tensor, "3 H W"]:
    """Projected normalised coordinates: at every pixel of the photo the point of the mean face that is seen, 0..1.

    Its x, y and z, each over what the mean face spans; black where the face is not (Zhu et al. 2016). Methods that know
    no mean face have the face's own shape, turned to the front, instead.
    """
    known = face.morphable
    mean = face.mesh.vertices[0] if known is None else known.model.mean_shape
    low, high = mean.amin(0), mean.amax(0)
    return _in_photo(face, ((mean - low) / (high - low).clamp_min(1e-6))[None])


def _in_photo(face: FaceInPhoto, values: Float[Tensor, "1 V C"]) -> Float[Tensor, "C H W"]:
    """Vertex values drawn in the photo's frame; only the part around the face is rendered."""
    mesh, camera = face.mesh_world, face.camera
    picture = values.new_zeros(values.shape[-1], camera.height, camera.width)
    outline = project_points(mesh.vertices, camera)[0, :, :2]
    size = outline.new_tensor([camera.width, camera.height])
    low = torch.minimum((outline.amin(0).floor() - MARGIN_PX).clamp_min(0.0), size).int().tolist()
    high = torch.minimum((outline.amax(0).ceil() + MARGIN_PX).clamp_min(0.0), size).int().tolist()
    if high[0] <= low[0] or high[1] <= low[1]:
        return picture  # it lies outside
    window = window_camera(camera, float(low[0]), float(low[1]), 1.0, high[0] - low[0], high[1] - low[1])
    with torch.no_grad():
        picture[:, low[1] : high[1], low[0] : high[0]] = render_attributes(values, mesh, window)[0]
    return picture
