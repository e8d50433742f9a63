"""Depth maps of frontal faces and their errors: RMSE, log10, relative (Tran 2017). numpy, mm."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray

from facewright.evaluate.surfaces import Surface
from facewright.render.rasterizers import rasterize


@dataclass(frozen=True)
class DepthErrors:
    """Of two depth maps where both have a surface.

    Attributes:
        rmse_mm: root of the mean squared difference.
        log10: mean |log10 d - log10 d*|.
        relative: mean |d - d*| / d*.
        pixels: compared.
    """

    rmse_mm: float
    log10: float
    relative: float
    pixels: int


def depth_errors(
    predicted_mm: Float[ndarray, "H W"], truth_mm: Float[ndarray, "H W"], mask: Bool[ndarray, "H W"] | None = None
) -> DepthErrors:
    """Errors of single-image depth work; log10 and relative depend on the distance of the camera, so state it.

    Args:
        predicted_mm: distance along the axis; not finite where there is no surface.
        truth_mm: likewise.
        mask: pixels that count.

    Raises:
        ValueError: no common pixel, or a depth that is not positive.
    """
    common = np.isfinite(predicted_mm) & np.isfinite(truth_mm)
    common = common if mask is None else common & mask
    d, true = predicted_mm[common], truth_mm[common]
    if not len(d) or min(d.min(), true.min()) <= 0:
        raise ValueError(f"expected common pixels of positive depth, received {len(d)}; check frame and unit")
    return DepthErrors(
        float(np.sqrt(np.square(d - true).mean())),
        float(np.abs(np.log10(d) - np.log10(true)).mean()),
        float((np.abs(d - true) / true).mean()),
        len(d),
    )


def frontal_depth_mm(
    surface: Surface,
    *,
    centre_mm: Float[ndarray, "3"],
    half_width_mm: float = 100.0,
    pixel_mm: float = 1.0,
    camera_distance_mm: float = 1000.0,
) -> Float[ndarray, "H W"]:
    """Orthographic depth of a face that looks along +z, y up; infinite where there is no surface.

    Args:
        surface: the mesh.
        centre_mm: drawn in the middle of the map, at ``camera_distance_mm`` (the nose tip, say).
        half_width_mm: of the square map.
        pixel_mm: spacing of the rays.
        camera_distance_mm: of the plane that depth is counted from; the source gives none.
    """
    size = round(2.0 * half_width_mm / pixel_mm)
    reach = np.array([half_width_mm, -half_width_mm, -camera_distance_mm])  # clip space: y down, far is +z
    clip = np.concatenate([(surface.vertices_mm - centre_mm) / reach, np.ones((len(surface.vertices_mm), 1))], 1)
    faces = torch.from_numpy(surface.faces.astype(np.int64))
    fragments = rasterize(torch.from_numpy(clip)[None], faces, (size, size))
    index, weights = fragments.face_index[0].numpy(), fragments.barycentrics[0].numpy().astype(np.float64)
    z = surface.vertices_mm[:, 2][surface.faces[index.clip(0)]]
    depth = camera_distance_mm - ((weights * z).sum(-1) - centre_mm[2])
    return np.where(index >= 0, depth, np.inf)
