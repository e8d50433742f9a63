"""Which surface points a camera sees: a depth buffer, asked at any point."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from facewright.records import Fragments
from facewright.render.interpolation import interpolate
from facewright.render.rasterizers import Backend, rasterize

TOLERANCE_DM = 0.02
"""How far behind the drawn surface a point may lie and still count as seen: 2 mm, less than a lip or eyelid."""


def vertex_visibility(
    vertices_clip: Float[Tensor, "B V 4"],
    faces: Int[Tensor, "F 3"],
    size: tuple[int, int],
    *,
    tolerance: float = TOLERANCE_DM,
    backend: Backend = "auto",
) -> Bool[Tensor, "B V"]:
    """Vertices that face the camera, lie in the picture and are not hidden by the mesh itself.

    Args:
        vertices_clip: clip coordinates whose w is the distance along the camera's axis, dm.
        faces: counter-clockwise from outside.
        size: height and width of the depth buffer, px; finer than the mesh is best.
        tolerance: dm, against the surface's own slope and the buffer's steps.
        backend: the rasteriser, see ``rasterize``.
    """
    with torch.no_grad():
        fragments = rasterize(vertices_clip, faces, size, backend=backend)
        farthest = surface_distance(vertices_clip, faces, fragments)
        x, y, _, w = vertices_clip.unbind(-1)
        column, row = (x / w + 1) * (size[1] / 2) - 0.5, (y / w + 1) * (size[0] / 2) - 0.5
        inside = (column > -0.5) & (column < size[1] - 0.5) & (row > -0.5) & (row < size[0] - 0.5) & (w > 0)
        seen = seen_share(farthest, column, row, w, tolerance=tolerance) > 0
        return seen & inside & _faces_camera(vertices_clip, faces)


def surface_distance(
    vertices_clip: Float[Tensor, "B V 4"], faces: Int[Tensor, "F 3"], fragments: Fragments
) -> Float[Tensor, "B H W"]:
    """Clip-space w of the drawn surface (distance along the camera's axis, dm); infinite where there is none."""
    distance = interpolate(vertices_clip[..., 3:], vertices_clip, faces, fragments)[:, 0]
    return torch.where(fragments.face_index >= 0, distance, torch.inf)


def seen_share(
    surface: Float[Tensor, "B H W"],
    column: Float[Tensor, "B N"],
    row: Float[Tensor, "B N"],
    distance: Float[Tensor, "B N"],
    *,
    tolerance: float,
) -> Float[Tensor, "B N"]:
    """Share, 0..1, of the four pixels around each point that do not hide it (weighted as in bilinear interpolation).

    Args:
        surface: distance of the nearest surface at each pixel centre, dm; infinite where there is none.
        column: of the points, px.
        row: of the points, px.
        distance: of the points, dm.
        tolerance: dm.
    """
    batch, height, width = surface.shape
    flat = surface.reshape(batch, -1)
    left, top = column.nan_to_num().floor(), row.nan_to_num().floor()
    share = torch.zeros_like(distance)
    for dx in (0, 1):
        for dy in (0, 1):
            weight = (1 - (column - left - dx).abs()) * (1 - (row - top - dy).abs())
            place = (top + dy).clamp(0, height - 1) * width + (left + dx).clamp(0, width - 1)
            share = share + weight * (distance <= flat.gather(1, place.long()) + tolerance)
    return share


def _faces_camera(vertices_clip: Float[Tensor, "B V 4"], faces: Int[Tensor, "F 3"]) -> Bool[Tensor, "B V"]:
    """Vertices whose faces together turn toward the camera: the sign of det(x, y, w) summed over incident faces."""
    corners = vertices_clip[..., [0, 1, 3]]
    a, b, c = (corners[:, faces[:, i]] for i in range(3))
    # Faces that turn toward the camera run counter-clockwise as seen; y points down, so their determinant is negative.
    facing = -(torch.linalg.cross(a, b) * c).sum(-1, keepdim=True)
    total = torch.zeros_like(corners[..., :1])
    for i in range(3):
        total = total.index_add(1, faces[:, i], facing)
    return total[..., 0] > 0
