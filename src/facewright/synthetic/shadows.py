"""Where the sun reaches: a depth buffer seen from it, around the head, asked at every vertex. Two twins.

The sun is far: its rays are parallel, so its view needs no perspective. What lies beside the buffer is lit.
"""

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from facewright.compiled import compiled
from facewright.render.rasterizers import rasterize

BUFFER_PX = 80
REACH_DM = 1.8
"""Half the side of the buffer: a head from its middle."""
DEPTH_DM = 8.0
TOLERANCE_DM = 0.06
FAINT = 0.05
"""Suns that give less than this share of the light where they are faced cast no shadow."""


def toward_sun(direction: Float[Tensor, "B 3"]) -> Float[Tensor, "B 3 3"]:
    """Rows: to the right, up and toward the sun."""
    helper = torch.tensor([0.1, 1.0, 0.2], device=direction.device, dtype=direction.dtype).expand_as(direction)
    side = torch.nn.functional.normalize(torch.linalg.cross(helper, direction), dim=-1)
    return torch.stack([side, torch.linalg.cross(direction, side), direction], -2)


def sunlit(
    vertices: Float[Tensor, "B N 3"],
    normals: Float[Tensor, "B N 3"],
    faces: Int[Tensor, "F 3"],
    middle: Float[Tensor, "B 3"],
    direction: Float[Tensor, "B 3"],
) -> Float[Tensor, "B N"]:
    """Whether the sun reaches each vertex, 0 or 1.

    Args:
        vertices: world frame, dm; those that are not finite belong to nothing.
        normals: of the vertices.
        faces: of all meshes.
        middle: of the heads, world frame.
        direction: unit, toward the sun, world frame.
    """
    seen = (vertices - middle[:, None]) @ toward_sun(direction).transpose(-1, -2)
    x, y, z = seen[..., 0] / REACH_DM, -seen[..., 1] / REACH_DM, -seen[..., 2] / DEPTH_DM
    clip = torch.stack([x, y, z, torch.ones_like(x)], -1)
    nearest = rasterize(clip, faces, (BUFFER_PX, BUFFER_PX)).depth
    column, row = ((place + 1.0) * (BUFFER_PX / 2) - 0.5 for place in (x, y))
    inside = (column > 0) & (column < BUFFER_PX - 1) & (row > 0) & (row < BUFFER_PX - 1)
    left, top = (place.nan_to_num().clamp(0, BUFFER_PX - 2).floor().long() for place in (column, row))
    flat, reached = nearest.flatten(1), ~inside
    for offset in (0, 1, BUFFER_PX, BUFFER_PX + 1):
        reached |= z <= flat.gather(1, top * BUFFER_PX + left + offset) + TOLERANCE_DM / DEPTH_DM
    away = (normals * direction[:, None]).sum(-1) < 0  # unlit anyway; no edge of a shadow there
    return (reached | away).to(vertices)


def soften(lit: Float[Tensor, "B V"], faces: Int[Tensor, "F 3"]) -> Float[Tensor, "B V"]:
    """Averages each vertex's value with those of the corners that it shares faces with."""
    total, count = lit.clone(), torch.ones_like(lit[0])
    one = torch.ones(len(faces), device=lit.device, dtype=lit.dtype)
    for i, j in ((0, 1), (1, 2), (2, 0), (1, 0), (2, 1), (0, 2)):
        total = total.index_add(1, faces[:, i], lit.index_select(1, faces[:, j]))
        count = count.index_add(0, faces[:, i], one)
    return total / count


def sunlit_compiled(
    table: Float[ndarray, "N 16"],
    faces: Int[ndarray, "F 3"],
    casting: Int[ndarray, "C 3"],
    middle: Float[ndarray, "3"],
    direction: Float[ndarray, "3"],
    head: tuple[int, int],
) -> None:
    """``sunlit`` and ``soften`` for one picture: reads normals and positions of a table, writes its column 8.

    Args:
        table: as ``shade_samples`` takes its values.
        faces: of all meshes; the head's come first.
        casting: those of them that the sun may see.
        middle: of the head.
        direction: toward the sun.
        head: how many vertices and faces are the head's: only there are shadows softened.

    Raises:
        MissingExtraError: numba is not installed.
    """
    frame = toward_sun(torch.from_numpy(direction)[None])[0].numpy()
    clip = np.zeros((len(table), 4), np.float32)
    compiled(_from_sun)(table, frame, middle, clip)
    fragments = rasterize(torch.from_numpy(clip)[None], torch.from_numpy(casting), (BUFFER_PX, BUFFER_PX))
    compiled(_reach)(clip, fragments.depth[0].numpy(), direction, faces, head[0], head[1], table)


def _from_sun(table, frame, middle, clip):
    """For numba."""
    across, deep = np.float32(1.0 / REACH_DM), np.float32(1.0 / DEPTH_DM)
    for n in range(table.shape[0]):
        dx, dy, dz = table[n, 13] - middle[0], table[n, 14] - middle[1], table[n, 15] - middle[2]
        clip[n, 0] = (frame[0, 0] * dx + frame[0, 1] * dy + frame[0, 2] * dz) * across
        clip[n, 1] = -(frame[1, 0] * dx + frame[1, 1] * dy + frame[1, 2] * dz) * across
        clip[n, 2] = -(frame[2, 0] * dx + frame[2, 1] * dy + frame[2, 2] * dz) * deep
        clip[n, 3] = np.float32(1.0)


def _reach(clip, nearest, toward, faces, head, head_faces, table):
    """For numba."""
    size = nearest.shape[0]
    half, bias = np.float32(size / 2), np.float32(TOLERANCE_DM / DEPTH_DM)
    one, last = np.float32(1.0), np.float32(size - 1)
    for n in range(table.shape[0]):
        table[n, 8] = one
        if table[n, 10] * toward[0] + table[n, 11] * toward[1] + table[n, 12] * toward[2] < 0:
            continue
        column, row = (clip[n, 0] + one) * half - np.float32(0.5), (clip[n, 1] + one) * half - np.float32(0.5)
        if column > 0 and column < last and row > 0 and row < last:
            i, j, z = int(row), int(column), clip[n, 2] - bias
            nearer = max(nearest[i, j], nearest[i, j + 1], nearest[i + 1, j], nearest[i + 1, j + 1])
            if z > nearer:
                table[n, 8] = np.float32(0.0)
    total, count = np.zeros(head, np.float32), np.ones(head, np.float32)
    for n in range(head):
        total[n] = table[n, 8]
    for f in range(head_faces):
        a, b, c = np.uintp(faces[f, 0]), np.uintp(faces[f, 1]), np.uintp(faces[f, 2])
        total[a] += table[b, 8] + table[c, 8]
        total[b] += table[a, 8] + table[c, 8]
        total[c] += table[a, 8] + table[b, 8]
        count[a] += 2
        count[b] += 2
        count[c] += 2
    for n in range(head):
        table[n, 8] = total[n] / count[n]
