"""Scan benchmarks of the MICC kind: crop, align, measure, reduce, with every choice written down. numpy, mm.

The same predictions move by 0.2 mm and more when the crop, the scale, the direction or the mean changes: a protocol
is a record with a name, and figures of two protocols are never put side by side.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from facewright.evaluate.alignment import Similarity, procrustes
from facewright.evaluate.icp import Direction, IcpResult, Residual, icp
from facewright.evaluate.regions import MICC_RADIUS_MM, below_forehead, cut_out, within_radius
from facewright.evaluate.surfaces import Distance, Surface, closest_points, distances_mm, on_rim
from facewright.geometry.ibug68 import NOSE_TIP, SEVEN_OF_68

Scale = Literal["none", "own", "global"]
"""``none``: predictions are in mm. ``own``: each mesh is scaled by its alignment. ``global``: one scale per method."""


@dataclass(frozen=True)
class ScanProtocol:
    """Everything that makes a scan error what it is.

    Attributes:
        name: as results quote it.
        scale: see ``Scale``.
        direction: whose vertices the error is taken at; ``symmetric`` averages both directions' figures.
        distance: to vertices, planes or the surface.
        reduce: ``mean`` or ``rmse`` over vertices, per mesh.
        crop_radius_mm: around the scan's nose tip.
        crop_forehead: cut the scan over the brows as well.
        crop_prediction: cut the aligned prediction at the same radius around its own nose tip.
        overlap_only: leave out vertices whose partner lies on the other mesh's rim.
        icp_residual: what ICP steps minimise.
        icp_tolerance_mm: ICP stops when the mean distance changes by less.
        unpublished: choices of ours where the source gives none.
    """

    name: str
    scale: Scale
    direction: Direction
    distance: Distance
    reduce: Literal["mean", "rmse"]
    crop_radius_mm: float = MICC_RADIUS_MM
    crop_forehead: bool = False
    crop_prediction: bool = False
    overlap_only: bool = False
    icp_residual: Residual = "plane"
    icp_tolerance_mm: float = 1e-3
    unpublished: str = ""


TRAN2017 = ScanProtocol(
    "tran2017",
    scale="none",
    direction="truth_to_prediction",
    distance="surface",
    reduce="rmse",
    crop_prediction=True,
    icp_residual="point",
    unpublished="pairs are scan vertices and their closest surface points; ICP stops at 0.001 mm",
)
GENOVA2018 = ScanProtocol(
    "genova2018",
    scale="global",
    direction="symmetric",
    distance="plane",
    reduce="mean",
    crop_prediction=True,
    overlap_only=True,
    unpublished="the global scale is the least-squares one; overlap: the same crop of both, pairs on a rim left out",
)
DENG2019 = ScanProtocol(
    "deng2019",
    scale="own",
    direction="truth_to_prediction",
    distance="plane",
    reduce="rmse",
    crop_forehead=True,
    unpublished="the forehead is cut 0.6 of the nose's length above the bridge",
)
GANFIT2019 = ScanProtocol(
    "ganfit2019",
    scale="own",
    direction="symmetric",
    distance="surface",
    reduce="mean",
    crop_prediction=True,
    icp_residual="point",
    unpublished="scans are taken as they are, not registered to a template first; predictions are cropped like scans",
)
SCAN_PROTOCOLS = {protocol.name: protocol for protocol in (TRAN2017, GENOVA2018, DENG2019, GANFIT2019)}


@dataclass(frozen=True)
class FacePoints:
    """The landmarks that scan protocols use.

    Attributes:
        seven_mm: as ``ibug68.SEVEN_OF_68``.
        nose_tip_mm: iBUG point 30.
    """

    seven_mm: Float[ndarray, "7 3"]
    nose_tip_mm: Float[ndarray, "3"]

    @classmethod
    def from_ibug68(cls, points_mm: Float[ndarray, "68 3"]) -> "FacePoints":
        """Take them out of 68."""
        return cls(points_mm[SEVEN_OF_68], points_mm[NOSE_TIP])

    @property
    def eight_mm(self) -> Float[ndarray, "8 3"]:
        """All of them, for a first alignment."""
        return np.concatenate([self.seven_mm, self.nose_tip_mm[None]])


@dataclass(frozen=True)
class ScanErrors:
    """One prediction against one scan.

    Attributes:
        error_mm: the protocol's figure.
        distances_mm: per counted scan vertex, by the protocol's distance, for error maps.
        vertex_ids: those vertices of the scan as it was given.
        icp: how the prediction was aligned.
    """

    error_mm: float
    distances_mm: Float[ndarray, " K"]
    vertex_ids: Int[ndarray, " K"]
    icp: IcpResult


def scan_errors(
    prediction: Surface,
    prediction_points: FacePoints,
    scan: Surface,
    scan_points: FacePoints,
    protocol: ScanProtocol,
    *,
    global_scale: float | None = None,
) -> ScanErrors:
    """Crop, align and measure by a protocol.

    Args:
        prediction: the outer surface alone: teeth, tongue, mouth socket and the backs of eyeballs are nearest to some
            scan vertices, and in symmetric protocols have no partner at all.
        prediction_points: its landmarks.
        scan: the truth.
        scan_points: its landmarks.
        protocol: see ``SCAN_PROTOCOLS``.
        global_scale: of the method (``alignment.global_scale``), for protocols that want one.

    Raises:
        ValueError: the protocol wants a global scale and there is none; or nothing is left after the crop.
    """
    scale = _fixed_scale(protocol, global_scale)
    counted = within_radius(scan.vertices_mm, scan_points.nose_tip_mm, protocol.crop_radius_mm)
    if protocol.crop_forehead:
        counted &= below_forehead(scan.vertices_mm, scan_points.seven_mm)
    region, vertex_ids = cut_out(scan, counted)
    start = procrustes(prediction_points.eight_mm, scan_points.eight_mm, scale=scale)
    if protocol.crop_prediction:
        radius = protocol.crop_radius_mm / start.scale
        near = within_radius(prediction.vertices_mm, prediction_points.nose_tip_mm, radius)
        if protocol.direction == "truth_to_prediction":
            # One ring of faces more, or the scan's outermost vertices would measure how coarse the prediction is.
            near[prediction.faces[near[prediction.faces].any(1)]] = True
        prediction, _ = cut_out(prediction, near)
    aligned = icp(
        prediction,
        region,
        start=start,
        scale=scale,
        direction=protocol.direction,
        residual=protocol.icp_residual,
        overlap_only=protocol.overlap_only,
        tolerance_mm=protocol.icp_tolerance_mm,
    )
    moved = Surface(aligned.alignment.apply(prediction.vertices_mm), prediction.faces)
    at_scan = distances_mm(region.vertices_mm, moved, protocol.distance)
    figures = []
    if protocol.direction != "prediction_to_truth":
        figures.append(_reduced(at_scan, region, moved, protocol))
    if protocol.direction != "truth_to_prediction":
        figures.append(_reduced(distances_mm(moved.vertices_mm, region, protocol.distance), moved, region, protocol))
    return ScanErrors(float(np.mean(figures)), at_scan, vertex_ids, aligned)


def _fixed_scale(protocol: ScanProtocol, global_scale: float | None) -> float | None:
    if protocol.scale != "global":
        return 1.0 if protocol.scale == "none" else None
    if global_scale is None:
        raise ValueError(
            f"protocol {protocol.name!r} expects the method's global scale, received none; "
            "compute it over all meshes with alignment.global_scale"
        )
    return global_scale


def _reduced(distances: ndarray, source: Surface, target: Surface, protocol: ScanProtocol) -> float:
    if protocol.overlap_only:
        distances = distances[~on_rim(closest_points(source.vertices_mm, target), target)]
    return float(np.sqrt(np.mean(np.square(distances))) if protocol.reduce == "rmse" else np.mean(distances))


@dataclass(frozen=True)
class VertexErrors:
    """Predictions in the truth's own topology (FaceWarehouse-180, synthetic truth).

    Attributes:
        mean_mm: over the counted vertices.
        rmse_mm: likewise.
        distances_mm: per counted vertex.
        alignment: moves the prediction onto the truth.
    """

    mean_mm: float
    rmse_mm: float
    distances_mm: Float[ndarray, " V"]
    alignment: Similarity


def vertex_errors(
    prediction_mm: Float[ndarray, "V 3"],
    truth_mm: Float[ndarray, "V 3"],
    *,
    scale: float | None = 1.0,
    weights: Float[ndarray, " V"] | None = None,
) -> VertexErrors:
    """Distances of corresponding vertices after the best rigid (or, with ``scale=None``, similarity) alignment.

    Args:
        prediction_mm: vertices.
        truth_mm: the same vertices.
        scale: fixed, or None to fit it.
        weights: of vertices in the alignment and the means (a region mask); equal if None.
    """
    alignment = procrustes(prediction_mm, truth_mm, scale=scale, weights=weights)
    distances = np.linalg.norm(alignment.apply(prediction_mm) - truth_mm, axis=-1)
    mean = np.average(distances, weights=weights)
    rmse = np.sqrt(np.average(np.square(distances), weights=weights))
    return VertexErrors(float(mean), float(rmse), distances, alignment)
