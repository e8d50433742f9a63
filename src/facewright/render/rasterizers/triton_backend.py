"""Rasterisation in two kernels on a CUDA device: triangles write packed (depth step, face id) keys, pixels read them.

Most triangles of a face are a few pixels large: a thread walks the box of each. Larger ones are only marked on that
pass; then several programs share each one's box.
"""

import shutil
from functools import cache
from importlib.util import find_spec
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from facewright.errors import MissingExtraError
from facewright.records import Fragments
from facewright.render.rasterizers.snapping import (
    DEPTH_STEPS,
    EMPTY,
    FACE_BITS,
    STEPS_PER_PX,
    empty_fragments,
    snap_vertices,
)

SMALL_PX = 64
"""Most pixels of a box that one thread walks."""
TRIANGLES, PIXELS, SHARERS = 128, 256, 16
"""Triangles of a program, pixels of a program, programs that share a large triangle."""


@cache
def can_launch() -> bool:
    """Whether Triton is installed (it is not imported), and the C compiler that it builds its launcher with."""
    return find_spec("triton") is not None and any(shutil.which(name) for name in ("cc", "gcc", "clang"))


def rasterize_triton(
    vertices_clip: Float[Tensor, "B V 4"], faces: Int[Tensor, "F 3"], size: tuple[int, int]
) -> Fragments:
    """Rasterise by the rule of ``snapping``; see ``rasterize`` for arguments and result.

    With TRITON_INTERPRET=1 in the environment Triton's interpreter draws CPU tensors, slowly: for tests.

    Raises:
        ValueError: the vertices are not on a CUDA device.
        MissingExtraError: Triton is not installed.
    """
    kernels = _kernels()
    if vertices_clip.device.type != "cuda" and not _is_interpreted(kernels):
        raise ValueError(
            f"the triton rasteriser draws CUDA tensors, received {vertices_clip.device}; move the mesh, or use "
            "backend='auto'"
        )
    height, width = size
    batch, num_vertices = vertices_clip.shape[:2]
    snapped, fragments = snap_vertices(vertices_clip, size), empty_fragments(vertices_clip, size)
    corners, clip = faces.long().contiguous(), vertices_clip.detach().contiguous()
    keys = torch.full_like(fragments.face_index, EMPTY)
    large = torch.zeros(batch * len(faces), dtype=torch.int8, device=clip.device)
    vertices = (snapped.column, snapped.row, snapped.depth, snapped.usable, corners)
    counts = (num_vertices, len(faces))
    grid = {
        "height": height,
        "width": width,
        "depth_steps": DEPTH_STEPS,
        "face_bits": FACE_BITS,
        "enable_fp_fusion": False,  # a fused multiply-add rounds once: another depth than the other backends'
    }
    walk = {"step_bits": STEPS_PER_PX.bit_length() - 1, "most": SMALL_PX, **grid}
    with torch.cuda.device_of(clip):  # kernels start on the current device, whatever their tensors are on
        everything = (-(-len(large) // TRIANGLES), 1)
        kernels._draw[everything](
            *vertices, corners, keys, large, len(large), *counts, from_list=False, triangles=TRIANGLES, pixels=1, **walk
        )
        listed = large.nonzero()[:, 0]
        if len(listed):
            kernels._draw[(len(listed), SHARERS)](
                *vertices, listed, keys, large, len(listed), *counts, from_list=True, triangles=1, pixels=PIXELS, **walk
            )
        filled = (fragments.face_index, fragments.barycentrics, fragments.depth)
        kernels._resolve[(-(-keys.numel() // PIXELS),)](
            keys, clip, corners, *filled, keys.numel(), num_vertices, empty=EMPTY, pixels=PIXELS, **grid
        )
    return fragments


def _kernels() -> Any:
    """The module of the kernels, imported at the first picture."""
    from facewright.render.rasterizers import triton_kernels

    if triton_kernels.triton is None:
        raise MissingExtraError(
            "backend='triton' expects the package triton, which is not installed; it comes with torch for CUDA: "
            "pip install triton, or use backend='auto'"
        )
    return triton_kernels


def _is_interpreted(kernels: Any) -> bool:
    """Whether Triton's interpreter runs the kernels, which takes CPU tensors."""
    return not isinstance(kernels._draw, kernels.triton.JITFunction)
