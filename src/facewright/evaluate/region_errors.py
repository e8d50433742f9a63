"""REALY's region errors: global, regional and non-rigid alignment (Chai et al. 2022). numpy, mm.

Differs from the official program: the number of steps per stiffness and the last stiffness are not stated there and are
ours; the sparse systems are solved by SciPy's LU factors instead of a Cholesky library; closest points are exact.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from facewright.evaluate.alignment import Similarity, l1_similarity, procrustes
from facewright.evaluate.nonrigid import Keypoints, deform_onto
from facewright.evaluate.surfaces import Surface, closest_points
from facewright.geometry.ibug68 import SEVEN_OF_68

FIRST_STIFFNESS, STIFFNESS, STIFFNESS_STEPS, KEYPOINT_WEIGHT = 150.0, 50.0, 10, 50.0


@dataclass(frozen=True)
class RegionRule:
    """How one region is treated.

    Attributes:
        rigid_keypoints: numbers (of REALY's 85) that join the rigid step.
        keypoint_share: their total weight over that of the region's vertices.
        bend_keypoints: numbers that guide the non-rigid step; none for the cheek.
    """

    rigid_keypoints: tuple[int, ...]
    keypoint_share: float
    bend_keypoints: tuple[int, ...]


_NOSE, _MOUTH, _BROWS_EYES = tuple(range(27, 36)), (*range(48, 61), 64), (*range(17, 27), *range(36, 48))
REGION_RULES = {
    "nose": RegionRule((*_NOSE, 70, 71), 1.0, _NOSE),
    "mouth": RegionRule(_MOUTH, 1.0, _MOUTH),
    "forehead": RegionRule(_BROWS_EYES, 1.0, _BROWS_EYES),
    "cheek": RegionRule((*_MOUTH, 36, *range(39, 43), *range(45, 48), *range(7, 10), 76, 77), 0.25, ()),
}


@dataclass(frozen=True)
class RealyScan:
    """The truth of one subject.

    Attributes:
        regions: name -> region of the scan, in mm.
        keypoints_mm: the 85 points of the scan.
        unit_mm: the subject's metrical scale: REALY's stiffness values are meant for coordinates in this unit.
    """

    regions: Mapping[str, Surface]
    keypoints_mm: Float[ndarray, "85 3"]
    unit_mm: float


@dataclass(frozen=True)
class RegionError:
    """One region of one prediction.

    Attributes:
        error_mm: mean distance of scan vertices to their partners ("NMSE" in the benchmark's tables).
        distances_mm: per vertex of the region.
        alignment: moves the prediction onto the region.
    """

    error_mm: float
    distances_mm: Float[ndarray, " V"]
    alignment: Similarity


def realy_errors(prediction: Surface, keypoints_mm: Float[ndarray, "85 3"], scan: RealyScan) -> dict[str, RegionError]:
    """Errors of all regions of a scan.

    Args:
        prediction: mesh with expression, any unit and pose.
        keypoints_mm: its 85 points.
        scan: the truth.
    """
    start = l1_similarity(keypoints_mm[SEVEN_OF_68], scan.keypoints_mm[SEVEN_OF_68])
    errors = {}
    for name, region in scan.regions.items():
        rule = REGION_RULES[name]
        alignment = align_region(prediction, keypoints_mm, region, scan.keypoints_mm, rule, start)
        moved = Surface(alignment.apply(prediction.vertices_mm), prediction.faces)
        partners = region_partners(moved, alignment.apply(keypoints_mm), region, scan, rule)
        distances = np.linalg.norm(partners - region.vertices_mm, axis=-1)
        errors[name] = RegionError(float(distances.mean()), distances, alignment)
    return errors


def mean_of_regions(errors: Mapping[str, RegionError]) -> float:
    """The "All" column: the mean of the region errors."""
    return float(np.mean([error.error_mm for error in errors.values()]))


def align_region(
    prediction: Surface,
    keypoints_mm: Float[ndarray, "K 3"],
    region: Surface,
    scan_keypoints_mm: Float[ndarray, "K 3"],
    rule: RegionRule,
    start: Similarity,
    *,
    max_iterations: int = 100,
    tolerance_mm: float = 1e-6,
) -> Similarity:
    """Rigid alignment (``start`` gives the scale): region vertices with their closest surface points, and keypoints."""
    numbers = list(rule.rigid_keypoints)
    count = len(region.vertices_mm)
    weights = np.concatenate([np.ones(count), np.full(len(numbers), rule.keypoint_share * count / len(numbers))])
    target = np.concatenate([region.vertices_mm, scan_keypoints_mm[numbers]])
    alignment, last = start, np.inf
    for _ in range(max_iterations):
        found = closest_points(alignment.inverse().apply(region.vertices_mm), prediction)
        source = np.concatenate([found.points_mm, keypoints_mm[numbers]])
        alignment = procrustes(source, target, scale=start.scale, weights=weights)
        error = float(np.average(np.linalg.norm(alignment.apply(source) - target, axis=-1), weights=weights))
        if abs(last - error) < tolerance_mm:
            break
        last = error
    return alignment


def region_partners(
    moved: Surface, keypoints_mm: Float[ndarray, "K 3"], region: Surface, scan: RealyScan, rule: RegionRule
) -> Float[ndarray, "V 3"]:
    """Partner of each region vertex on the aligned prediction: closest to where the bent region puts the vertex."""
    decay = STIFFNESS * np.exp(-0.5 * np.arange(STIFFNESS_STEPS))
    unit = scan.unit_mm
    guides = None
    if rule.bend_keypoints:
        numbers = list(rule.bend_keypoints)
        places = scan.keypoints_mm[numbers]
        ids = np.asarray(region.vertex_tree.query(places)[1], dtype=np.int64)
        # The nearest vertex is not the keypoint: it should move as the keypoint does, not to where that goes.
        targets = region.vertices_mm[ids] + keypoints_mm[numbers] - places
        guides = Keypoints(ids, targets / unit, KEYPOINT_WEIGHT)
    bent = deform_onto(
        Surface(region.vertices_mm / unit, region.faces),
        Surface(moved.vertices_mm / unit, moved.faces),
        decay.tolist(),
        keypoints=guides,
        keypoint_step_stiffness=FIRST_STIFFNESS if guides else None,
    )
    return closest_points(bent * unit, moved).points_mm
