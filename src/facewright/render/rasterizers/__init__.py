"""Rasterisers: clip-space triangles -> which face each pixel shows. One signature, several backends, one rule."""

import logging
from collections.abc import Callable
from functools import cache
from typing import Literal

from jaxtyping import Float, Int
from torch import Tensor

from facewright.compiled import can_compile
from facewright.records import Fragments
from facewright.render.rasterizers.numba_backend import rasterize_numba
from facewright.render.rasterizers.nvdiffrast_adapter import rasterize_nvdiffrast
from facewright.render.rasterizers.reference import rasterize_reference
from facewright.render.rasterizers.snapping import check_arguments, empty_fragments
from facewright.render.rasterizers.triton_backend import can_launch, rasterize_triton
from facewright.render.rasterizers.vectorized import rasterize_vectorized

Backend = Literal["auto", "reference", "torch", "numba", "triton", "nvdiffrast"]

_BACKENDS: dict[str, Callable[[Tensor, Tensor, tuple[int, int]], Fragments]] = {
    "reference": rasterize_reference,
    "torch": rasterize_vectorized,
    "numba": rasterize_numba,
    "triton": rasterize_triton,
    "nvdiffrast": rasterize_nvdiffrast,
}


def rasterize(
    vertices_clip: Float[Tensor, "B V 4"],
    faces: Int[Tensor, "F 3"],
    size: tuple[int, int],
    *,
    backend: Backend = "auto",
) -> Fragments:
    """Find the nearest face at each pixel centre. Not differentiable; ``interpolate`` and ``antialias`` are.

    Args:
        vertices_clip: homogeneous clip coordinates, y down (``geometry.frames.clip_from_world``).
        faces: vertex ids.
        size: height and width of the picture, px.
        backend: ``reference`` (exact and slow), ``torch`` (any device), ``numba`` (CPU, extra ``fast``), ``triton``
            (CUDA, comes with torch), ``nvdiffrast`` (CUDA, installed by the user), or ``auto``: numba for CPU tensors
            and triton for CUDA tensors where they are installed, else torch. All but nvdiffrast give the same pixels;
            the rule is in ``rasterizers/snapping.py``.

    Raises:
        ValueError: wrong shapes, sizes or device for the backend.
        MissingExtraError: the backend's package is not installed.
    """
    check_arguments(vertices_clip, faces, size)
    if faces.shape[0] == 0:
        return empty_fragments(vertices_clip, size)
    name = _resolve(backend, vertices_clip.device.type)
    return _BACKENDS[name](vertices_clip, faces, size)


@cache
def _resolve(backend: Backend, device_type: str) -> str:
    """The backend that ``auto`` stands for; cached, so that the choice is logged once per device type."""
    if backend != "auto":
        return backend
    if device_type == "cpu" and can_compile():
        name, reason = "numba", "CPU tensors and numba is installed"
    elif device_type == "cuda" and can_launch():
        name, reason = "triton", "CUDA tensors and triton is installed"
    else:
        name, reason = "torch", "numba is not installed" if device_type == "cpu" else f"{device_type} tensors"
    logging.getLogger(__name__).info("rasteriser: %s (%s)", name, reason)
    return name
