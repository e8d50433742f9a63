"""The kernels of the triton rasteriser, in Triton's language: imported at the first picture, never before.

They follow the rule of ``snapping`` to the bit: inside tests in 64-bit whole numbers, depth in float64 without fused
multiply-adds (the launch forbids them) and in the order of the other backends.
"""

# pyright: reportOptionalMemberAccess=false, reportMissingImports=false, reportInvalidTypeForm=false
# Triton may be missing where types are checked, too: its language has none that could be.

import inspect
from collections.abc import Callable
from typing import Any

try:
    import triton
    import triton.language as tl
    from triton.language import constexpr
except ImportError:  # the module can be read without Triton; nothing in it can run
    triton, tl, constexpr = None, None, int


def kernel(function: Callable[..., Any]) -> Any:
    """The function for Triton's compiler or, with TRITON_INTERPRET=1, its interpreter; as it is without Triton."""
    bare = inspect.unwrap(function)  # the runtime shape checks of the tests wrap what Triton must see bare
    return bare if triton is None else triton.jit(bare)


@kernel
def _draw(
    column,
    row,
    depth,
    usable,
    corners,
    listed,
    keys,
    large,
    count,
    num_vertices,
    num_faces,
    height: constexpr,
    width: constexpr,
    step_bits: constexpr,
    depth_steps: constexpr,
    face_bits: constexpr,
    from_list: constexpr,
    most: constexpr,
    triangles: constexpr,
    pixels: constexpr,
):
    """Depth-test triangles: each writes its key at the pixel centres in it, with an atomic minimum.

    A program walks the boxes of ``triangles`` triangles at once, ``pixels`` pixels of each at a time. Where
    ``from_list`` is false they are the next ones of all pictures, and boxes of more than ``most`` pixels are only
    marked in ``large``; where it is true they are those of ``listed``, and the second axis of the grid shares a box.
    """
    index = tl.program_id(0).to(tl.int64) * triangles + tl.arange(0, triangles)[:, None]
    kept = index < count
    triangle = tl.load(listed + index, mask=kept, other=0) if from_list else index
    face = triangle % num_faces
    first = triangle // num_faces * num_vertices
    a = first + tl.load(corners + 3 * face, mask=kept, other=0)
    b = first + tl.load(corners + 3 * face + 1, mask=kept, other=0)
    c = first + tl.load(corners + 3 * face + 2, mask=kept, other=0)
    drawn = kept & (tl.load(usable + a, mask=kept, other=0) != 0)
    drawn = drawn & (tl.load(usable + b, mask=kept, other=0) != 0) & (tl.load(usable + c, mask=kept, other=0) != 0)
    x0 = tl.load(column + a, mask=drawn, other=0.0).to(tl.int64)
    y0 = tl.load(row + a, mask=drawn, other=0.0).to(tl.int64)
    x1 = tl.load(column + b, mask=drawn, other=0.0).to(tl.int64)
    y1 = tl.load(row + b, mask=drawn, other=0.0).to(tl.int64)
    x2 = tl.load(column + c, mask=drawn, other=0.0).to(tl.int64)
    y2 = tl.load(row + c, mask=drawn, other=0.0).to(tl.int64)

    # The box of pixel centres: from the first at or after the start, up to the first at or after the end.
    up = (1 << step_bits) - 1
    left = tl.maximum((tl.minimum(tl.minimum(x0, x1), x2) + up) >> step_bits, 0)
    right = tl.minimum((tl.maximum(tl.maximum(x0, x1), x2) + up) >> step_bits, width)
    top = tl.maximum((tl.minimum(tl.minimum(y0, y1), y2) + up) >> step_bits, 0)
    bottom = tl.minimum((tl.maximum(tl.maximum(y0, y1), y2) + up) >> step_bits, height)
    area = (x1 - x0) * (y2 - y0) - (y1 - y0) * (x2 - x0)
    drawn = drawn & (area != 0) & (left < right) & (top < bottom)
    across = tl.maximum(right - left, 1)
    box = tl.where(drawn, across * (bottom - top), 0)
    if not from_list:
        tl.store(large + index, (box > most).to(tl.int8), mask=kept)
        box = tl.where(box > most, 0, box)

    z0 = tl.load(depth + a, mask=drawn, other=0.0)
    z1 = tl.load(depth + b, mask=drawn, other=0.0)
    z2 = tl.load(depth + c, mask=drawn, other=0.0)
    twice = tl.where(drawn, area, 1).to(tl.float64)
    slope_x = ((z1 - z0) * (y2 - y0).to(tl.float64) - (z2 - z0) * (y1 - y0).to(tl.float64)) / twice
    slope_y = ((z2 - z0) * (x1 - x0).to(tl.float64) - (z1 - z0) * (x2 - x0).to(tl.float64)) / twice
    # Edge i runs from corner i to the next; its function is positive inside whichever way the triangle turns. Values
    # are whole: taking 1 from edges that are neither left nor top excludes centres exactly on them.
    turn = tl.where(area > 0, 1, -1).to(tl.int64)
    dx0, dy0 = turn * (x1 - x0), turn * (y1 - y0)
    dx1, dy1 = turn * (x2 - x1), turn * (y2 - y1)
    dx2, dy2 = turn * (x0 - x2), turn * (y0 - y2)
    least0 = tl.where((dy0 < 0) | ((dy0 == 0) & (dx0 > 0)), 0, 1)
    least1 = tl.where((dy1 < 0) | ((dy1 == 0) & (dx1 > 0)), 0, 1)
    least2 = tl.where((dy2 < 0) | ((dy2 == 0) & (dx2 > 0)), 0, 1)

    picture = keys + triangle // num_faces * (height * width)
    stride = tl.num_programs(1) * pixels
    for start in range(tl.program_id(1) * pixels, tl.max(box).to(tl.int32), stride):
        place = (start + tl.arange(0, pixels)[None, :]).to(tl.int64)
        i = top + place // across
        j = left + place % across
        y, x = i << step_bits, j << step_bits
        e0 = dx0 * (y - y0) - dy0 * (x - x0) - least0
        e1 = dx1 * (y - y1) - dy1 * (x - x1) - least1
        e2 = dx2 * (y - y2) - dy2 * (x - x2) - least2
        inside = (place < box) & ((e0 | e1 | e2) >= 0)  # none is negative
        z = (z0 + slope_y * (y - y0).to(tl.float64)) + slope_x * (x - x0).to(tl.float64)
        inside = inside & (z >= -1.0) & (z <= 1.0)
        level = ((tl.where(inside, z, 0.0) + 1.0) * depth_steps).to(tl.int64)
        tl.atomic_min(picture + i * width + j, (level << face_bits) | face, mask=inside, sem="relaxed")


@kernel
def _resolve(
    keys,
    clip,
    corners,
    face_index,
    barycentrics,
    depth,
    count,
    num_vertices,
    height: constexpr,
    width: constexpr,
    depth_steps: constexpr,
    face_bits: constexpr,
    empty: constexpr,
    pixels: constexpr,
):
    """Unpack the nearest face of each pixel, and weigh its corners (the formula of ``interpolation``, in float64)."""
    place = tl.program_id(0).to(tl.int64) * pixels + tl.arange(0, pixels)
    kept = place < count
    key = tl.load(keys + place, mask=kept, other=empty)
    covered = key != empty
    face = tl.where(covered, key & ((1 << face_bits) - 1), 0)
    tl.store(face_index + place, tl.where(covered, face, -1), mask=kept)
    level = tl.where(covered, key >> face_bits, 2 * depth_steps)  # nothing is at the far plane
    tl.store(depth + place, level.to(tl.float64) / depth_steps - 1.0, mask=kept)

    px = (2 * (place % width) + 1).to(tl.float64) / width - 1.0
    py = (2 * (place // width % height) + 1).to(tl.float64) / height - 1.0
    first = place // (width * height) * num_vertices
    a = 4 * (first + tl.load(corners + 3 * face, mask=covered, other=0))
    b = 4 * (first + tl.load(corners + 3 * face + 1, mask=covered, other=0))
    c = 4 * (first + tl.load(corners + 3 * face + 2, mask=covered, other=0))
    wa = tl.load(clip + a + 3, mask=covered, other=1.0).to(tl.float64)
    wb = tl.load(clip + b + 3, mask=covered, other=1.0).to(tl.float64)
    wc = tl.load(clip + c + 3, mask=covered, other=1.0).to(tl.float64)
    u0 = tl.load(clip + a, mask=covered, other=0.0).to(tl.float64) - px * wa
    u1 = tl.load(clip + b, mask=covered, other=0.0).to(tl.float64) - px * wb
    u2 = tl.load(clip + c, mask=covered, other=0.0).to(tl.float64) - px * wc
    v0 = tl.load(clip + a + 1, mask=covered, other=0.0).to(tl.float64) - py * wa
    v1 = tl.load(clip + b + 1, mask=covered, other=0.0).to(tl.float64) - py * wb
    v2 = tl.load(clip + c + 1, mask=covered, other=0.0).to(tl.float64) - py * wc
    e0, e1, e2 = u1 * v2 - u2 * v1, u2 * v0 - u0 * v2, u0 * v1 - u1 * v0
    turn = tl.where(e0 + e1 + e2 >= 0, 1.0, -1.0)
    e0, e1, e2 = tl.maximum(turn * e0, 0.0), tl.maximum(turn * e1, 0.0), tl.maximum(turn * e2, 0.0)
    total = e0 + e1 + e2
    flat = total == 0  # a triangle seen exactly edge-on
    total = tl.where(flat, 3.0, total)
    e0, e1, e2 = tl.where(flat, 1.0, e0), tl.where(flat, 1.0, e1), tl.where(flat, 1.0, e2)
    tl.store(barycentrics + 3 * place, tl.where(covered, e0 / total, 0.0), mask=kept)
    tl.store(barycentrics + 3 * place + 1, tl.where(covered, e1 / total, 0.0), mask=kept)
    tl.store(barycentrics + 3 * place + 2, tl.where(covered, e2 / total, 0.0), mask=kept)
