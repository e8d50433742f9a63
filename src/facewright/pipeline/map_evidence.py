"""A position map as evidence for the fit: dense points with their errors, so that coefficients come out as well."""

import torch
from jaxtyping import Float
from torch import Tensor

from facewright.fit import Evidence, FitPlan, PointEvidence
from facewright.geometry.pose import photo_points
from facewright.morphable.uv import MapSurface
from facewright.records import AlignedFace, Pose

MAP_TERM = "map_px"
"""Name in the report."""
STRIDE = 5
"""Every so many-th pixel of a map is asked: neighbours say the same."""
SHARE = 0.1
"""Say of each of these points: they err together."""
FLOOR_PX = 1.0
"""Least error of a point, in the 224 crop."""


def evidence_of_map(
    points_world: Float[Tensor, "P 3"],
    pose: Pose,
    aligned: AlignedFace,
    surface: MapSurface,
    plan: FitPlan,
    *,
    sigma_px: Float[Tensor, " P"] | None = None,
    stride: int = STRIDE,
) -> Evidence:
    """What a map says of a face model's surface: where each of its points is seen, and how deep.

    Args:
        points_world: the map's points before the crop's camera, dm (``Estimate.mesh``, posed).
        pose: of the head that they are, as the map's own method found it.
        aligned: the crop, whose pixels are evidence too.
        surface: of the maps of the plan's face model (``morphable.uv.position_space``).
        plan: of the face model.
        sigma_px: the network's own doubts, crop px; None: the least error.
        stride: every so many-th point is taken.
    """
    some = slice(None, None, stride)
    camera = aligned.camera_crop
    seen = photo_points(points_world[None, some], pose, camera)
    floor = torch.full_like(seen[:, 0], FLOOR_PX * camera.width / 224)
    variance = floor.square() + (0.0 if sigma_px is None else sigma_px[some].square())
    points = plan.shape.blend(surface.corners[some], surface.weights[some])
    precision = SHARE / variance
    evidence = PointEvidence(MAP_TERM, points, seen[:, :2], precision, depth=seen[:, 2], depth_precision=precision)
    return Evidence(camera, (evidence,), (), aligned.crop)
