"""What all rasterisers agree on: the pixel grid, the fill rule, depth steps and which triangles are drawn.

- **Grid.** Vertices are projected in float64 and snapped to 1/1024 of a pixel. On that grid every inside test is a
  difference of products of whole numbers below 2**53: exact in float64. Backends that keep to it agree on every pixel,
  edges included, and meshes have neither gaps nor double hits along shared edges.
- **Fill rule.** A pixel belongs to a triangle if its centre lies inside it; a centre exactly on an edge belongs to the
  triangle whose left or top edge that is. Both sides of triangles are drawn; triangles of no area on the grid are not.
- **Depth.** z / w is linear across the picture and is compared in steps of 2**-30. The lower face id wins equal depths.
  Pixels whose z / w leaves -1..1 are not drawn (near and far plane).
- **Safety.** A triangle with a corner that is not finite, has w <= 0 (at or behind the camera), or lies further than
  32768 px from the picture's first pixel is dropped whole; it is not cut at the near plane.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from facewright.records import Fragments

STEPS_PER_PX = 1024
GUARD_PX = 32768
DEPTH_STEPS = 2**30
FACE_BITS = 31
EMPTY = 2**63 - 1


@dataclass(frozen=True)
class SnappedVertices:
    """Projected vertices on the grid.

    Attributes:
        column: whole numbers of 1/1024 px, zero at the centre of column 0; 0 where unusable.
        row: the same for rows.
        depth: z / w; 0 where unusable.
        usable: whether a triangle may have this corner.
    """

    column: Float[Tensor, "B V"]
    row: Float[Tensor, "B V"]
    depth: Float[Tensor, "B V"]
    usable: Bool[Tensor, "B V"]


def snap_vertices(vertices_clip: Float[Tensor, "B V 4"], size: tuple[int, int]) -> SnappedVertices:
    """Project clip-space vertices to the grid. Devices without float64 (MPS) project in float32: edges may differ."""
    height, width = size
    precise = torch.float32 if vertices_clip.device.type == "mps" else torch.float64
    x, y, z, w = vertices_clip.detach().to(precise).unbind(-1)
    column = (((x / w + 1.0) * (0.5 * width) - 0.5) * STEPS_PER_PX).round()
    row = (((y / w + 1.0) * (0.5 * height) - 0.5) * STEPS_PER_PX).round()
    depth = z / w
    reach = GUARD_PX * STEPS_PER_PX
    usable = (
        (w > 0) & (w < torch.inf) & (column.abs() <= reach) & (row.abs() <= reach) & depth.isfinite()
    )  # false for NaN
    zero = torch.zeros_like(w)
    return SnappedVertices(
        torch.where(usable, column, zero), torch.where(usable, row, zero), torch.where(usable, depth, zero), usable
    )


def unpack_keys(keys: Int[Tensor, "B H W"], dtype: torch.dtype) -> tuple[Int[Tensor, "B H W"], Float[Tensor, "B H W"]]:
    """Split packed (depth step, face id) keys into the face index (-1 where empty) and z / w (1 where empty)."""
    covered = keys != EMPTY
    face_index = torch.where(covered, keys & (2**FACE_BITS - 1), -1)
    depth = (keys >> FACE_BITS).to(torch.float32 if keys.device.type == "mps" else torch.float64) / DEPTH_STEPS - 1.0
    return face_index, torch.where(covered, depth, 1.0).to(dtype)


def check_arguments(vertices_clip: Tensor, faces: Tensor, size: tuple[int, int]) -> None:
    """Refuse what no backend can draw.

    Raises:
        ValueError: wrong shapes, face ids outside of the vertices, or a picture that is empty or too large.
    """
    if vertices_clip.ndim != 3 or vertices_clip.shape[-1] != 4 or faces.ndim != 2 or faces.shape[-1] != 3:
        raise ValueError(
            f"expected vertices (batch, vertices, 4) and faces (faces, 3), received {tuple(vertices_clip.shape)} and "
            f"{tuple(faces.shape)}; make clip-space vertices with geometry.frames.clip_from_world"
        )
    if not (0 < size[0] <= GUARD_PX and 0 < size[1] <= GUARD_PX):
        raise ValueError(f"expected a picture of 1..{GUARD_PX} px a side as (height, width), received {size}")
    lowest, highest = torch.stack(faces.aminmax()).tolist() if faces.numel() else (0, 0)  # a GPU is waited for once
    if faces.numel() and not 0 <= lowest <= highest < vertices_clip.shape[1]:
        raise ValueError(
            f"expected face corners in 0..{vertices_clip.shape[1] - 1}, received {lowest}..{highest}; take the faces "
            "of the model that the vertices come from"
        )


def empty_fragments(vertices_clip: Float[Tensor, "B V 4"], size: tuple[int, int]) -> Fragments:
    """A picture of nothing."""
    shape = (vertices_clip.shape[0], *size)
    return Fragments(
        torch.full(shape, -1, dtype=torch.int64, device=vertices_clip.device),
        vertices_clip.new_zeros(*shape, 3),
        vertices_clip.new_ones(shape),
    )
