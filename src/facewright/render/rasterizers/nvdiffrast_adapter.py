"""Rasterisation by nvdiffrast, where the user has it installed; never required.

nvdiffrast follows its own grid and tie rules: its pictures agree with the others away from edges only. Its rows run
bottom-up; our clip space has y down, so its row 0 is our top row and nothing is flipped.
"""

from functools import cache
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from facewright.errors import MissingExtraError
from facewright.records import Fragments
from facewright.render.interpolation import fragment_barycentrics


def rasterize_nvdiffrast(
    vertices_clip: Float[Tensor, "B V 4"], faces: Int[Tensor, "F 3"], size: tuple[int, int]
) -> Fragments:
    """Rasterise on a CUDA device; see ``rasterize`` for arguments and result.

    Raises:
        MissingExtraError: nvdiffrast is not installed.
        ValueError: the vertices are not on a CUDA device.
    """
    library = _library()
    if vertices_clip.device.type != "cuda":
        raise ValueError(
            f"nvdiffrast draws CUDA tensors, received {vertices_clip.device}; move the mesh, or use backend='auto'"
        )
    context = _context(vertices_clip.device.index)
    positions = vertices_clip.detach().float().contiguous()
    raster, _ = library.rasterize(context, positions, faces.int().contiguous(), size, grad_db=False)
    face_index = raster[..., 3].long() - 1
    depth = torch.where(face_index >= 0, raster[..., 2], 1.0).to(vertices_clip.dtype)
    return Fragments(face_index, fragment_barycentrics(vertices_clip.detach(), faces, face_index), depth)


@cache
def _context(device_index: int | None) -> Any:
    """One context per device; nvdiffrast keeps its buffers in it."""
    return _library().RasterizeCudaContext(device=f"cuda:{device_index or 0}")


def _library() -> Any:
    try:
        import nvdiffrast.torch as library  # pyright: ignore[reportMissingImports]  # optional, not on PyPI
    except ImportError as error:
        raise MissingExtraError(
            "backend='nvdiffrast' expects the package nvdiffrast (CUDA only, own licence), which is not installed: "
            "pip install --no-build-isolation git+https://github.com/NVlabs/nvdiffrast, or use backend='auto'"
        ) from error
    return library
