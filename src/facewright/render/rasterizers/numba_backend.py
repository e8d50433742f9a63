"""Rasterisation by loops over triangles and pixels, compiled for the CPU."""

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from facewright.compiled import compiled
from facewright.records import Fragments
from facewright.render.rasterizers.snapping import DEPTH_STEPS, GUARD_PX, STEPS_PER_PX, empty_fragments

STEP_BITS = STEPS_PER_PX.bit_length() - 1
NOWHERE = 2**62


def rasterize_numba(
    vertices_clip: Float[Tensor, "B V 4"], faces: Int[Tensor, "F 3"], size: tuple[int, int]
) -> Fragments:
    """Rasterise by the rule of ``snapping``; see ``rasterize`` for arguments and result.

    Raises:
        ValueError: the vertices are not on the CPU.
        MissingExtraError: numba is not installed.
    """
    if vertices_clip.device.type != "cpu":
        raise ValueError(
            f"the numba rasteriser draws CPU tensors, received {vertices_clip.device}; use backend='torch' or 'auto'"
        )
    fragments = empty_fragments(vertices_clip, size)
    snap, draw, weigh = compiled(_snap), compiled(_draw), compiled(_weigh)
    corners = np.ascontiguousarray(faces.numpy(), dtype=np.int64)
    clip = np.ascontiguousarray(vertices_clip.detach().numpy())
    place, z = np.zeros((clip.shape[1], 2), np.int64), np.zeros(clip.shape[1])
    for i in range(vertices_clip.shape[0]):
        face_index, depth = fragments.face_index[i].numpy(), fragments.depth[i].numpy()
        snap(clip[i], size[0], size[1], place, z)
        draw(place, z, corners, face_index, depth)
        weigh(clip[i], corners, face_index, fragments.barycentrics[i].numpy())
    return fragments


def _snap(clip, height, width, place, depth):
    """``snap_vertices`` in one pass: column and row in grid steps, ``NOWHERE`` for vertices that are not usable."""
    reach = float(GUARD_PX * STEPS_PER_PX)
    for n in range(clip.shape[0]):
        w = np.float64(clip[n, 3])
        column = np.rint(((np.float64(clip[n, 0]) / w + 1.0) * (0.5 * width) - 0.5) * STEPS_PER_PX)
        row = np.rint(((np.float64(clip[n, 1]) / w + 1.0) * (0.5 * height) - 0.5) * STEPS_PER_PX)
        z = np.float64(clip[n, 2]) / w
        if w > 0 and w < np.inf and abs(column) <= reach and abs(row) <= reach and abs(z) < np.inf:  # false for NaN
            place[n, 0], place[n, 1], depth[n] = np.int64(column), np.int64(row), z
        else:
            place[n, 0], place[n, 1], depth[n] = NOWHERE, 0, 0.0


def _draw(place, depth, faces, face_index, nearest):
    """Depth-test every triangle: test the pixel centres of its bounding box by edge functions in whole numbers."""
    height, width = face_index.shape
    levels = np.full((height, width), 2 * DEPTH_STEPS + 1, dtype=np.int64)
    for f in range(faces.shape[0]):
        a, b, c = np.uintp(faces[f, 0]), np.uintp(faces[f, 1]), np.uintp(faces[f, 2])  # never counted from the end
        x0, y0, x1, y1, x2, y2 = place[a, 0], place[a, 1], place[b, 0], place[b, 1], place[c, 0], place[c, 1]
        farthest = max(x0, x1, x2)
        if farthest == NOWHERE:
            continue
        # Shifts divide by STEPS_PER_PX, and round down whatever the sign.
        first_column, end_column = max(0, -(-min(x0, x1, x2) >> STEP_BITS)), min(width, -(-farthest >> STEP_BITS))
        if first_column >= end_column:
            continue
        first_row, end_row = -(-min(y0, y1, y2) >> STEP_BITS), -(-max(y0, y1, y2) >> STEP_BITS)
        first_row, end_row = max(0, first_row), min(height, end_row)
        area = (x1 - x0) * (y2 - y0) - (y1 - y0) * (x2 - x0)
        if first_row >= end_row or area == 0:
            continue
        z0, slope_x, slope_y = 0.0, 0.0, 0.0
        inclined = False  # slopes are found at the first centre inside: many small triangles have none
        # Edge i runs from corner i to the next; its function is positive inside whichever way the triangle turns.
        turn = 1 if area > 0 else -1
        dx0, dy0 = turn * (x1 - x0), turn * (y1 - y0)
        dx1, dy1 = turn * (x2 - x1), turn * (y2 - y1)
        dx2, dy2 = turn * (x0 - x2), turn * (y0 - y2)
        # Values are whole: taking 1 from edges that are neither left nor top excludes centres exactly on them.
        least0 = 0 if dy0 < 0 or (dy0 == 0 and dx0 > 0) else 1
        least1 = 0 if dy1 < 0 or (dy1 == 0 and dx1 > 0) else 1
        least2 = 0 if dy2 < 0 or (dy2 == 0 and dx2 > 0) else 1
        for i in range(first_row, end_row):
            y, x = i * STEPS_PER_PX, first_column * STEPS_PER_PX
            e0 = dx0 * (y - y0) - dy0 * (x - x0) - least0
            e1 = dx1 * (y - y1) - dy1 * (x - x1) - least1
            e2 = dx2 * (y - y2) - dy2 * (x - x2) - least2
            for j in range(first_column, end_column):
                if (e0 | e1 | e2) >= 0:  # none is negative
                    if not inclined:
                        z0, z1, z2 = depth[a], depth[b], depth[c]
                        slope_x = ((z1 - z0) * (y2 - y0) - (z2 - z0) * (y1 - y0)) / np.float64(area)
                        slope_y = ((z2 - z0) * (x1 - x0) - (z1 - z0) * (x2 - x0)) / np.float64(area)
                        inclined = True
                    z = (z0 + slope_y * (y - y0)) + slope_x * (j * STEPS_PER_PX - x0)
                    if -1.0 <= z <= 1.0:
                        level = np.int64((z + 1.0) * DEPTH_STEPS)
                        if level < levels[i, j]:  # on equal levels the earlier, lower face id stays
                            levels[i, j] = level
                            face_index[i, j] = f
                            nearest[i, j] = level / DEPTH_STEPS - 1.0
                e0 -= dy0 * STEPS_PER_PX
                e1 -= dy1 * STEPS_PER_PX
                e2 -= dy2 * STEPS_PER_PX


def _weigh(clip, faces, face_index, barycentrics):
    """Perspective-correct weights of the covered pixels; the formula of ``interpolation``, in float64."""
    height, width = face_index.shape
    columns = (2.0 * np.arange(width) + 1.0) / width - 1.0
    for i in range(height):
        py = (2.0 * i + 1.0) / height - 1.0
        for j in range(width):
            f = face_index[i, j]
            if f < 0:
                continue
            px = columns[j]
            a, b, c = np.uintp(faces[f, 0]), np.uintp(faces[f, 1]), np.uintp(faces[f, 2])
            wa, wb, wc = np.float64(clip[a, 3]), np.float64(clip[b, 3]), np.float64(clip[c, 3])
            u0, v0 = clip[a, 0] - px * wa, clip[a, 1] - py * wa
            u1, v1 = clip[b, 0] - px * wb, clip[b, 1] - py * wb
            u2, v2 = clip[c, 0] - px * wc, clip[c, 1] - py * wc
            e0, e1, e2 = u1 * v2 - u2 * v1, u2 * v0 - u0 * v2, u0 * v1 - u1 * v0
            turn = 1.0 if e0 + e1 + e2 >= 0 else -1.0
            e0, e1, e2 = max(turn * e0, 0.0), max(turn * e1, 0.0), max(turn * e2, 0.0)
            total = e0 + e1 + e2
            if total > 0:
                share = 1.0 / total
                barycentrics[i, j, 0], barycentrics[i, j, 1], barycentrics[i, j, 2] = e0 * share, e1 * share, e2 * share
            else:
                barycentrics[i, j, :] = 1.0 / 3.0
