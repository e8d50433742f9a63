"""A face model fitted to a scan of any topology, and how far off the scan it stays. mm."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor

from facewright.errors import BenchmarkError, ReconstructionError
from facewright.evaluate.surfaces import Surface, closest_points, on_rim
from facewright.fit.laying import FACE_RADIUS_DM, outer_face, vertex_areas
from facewright.fit.plan import FitPlan
from facewright.fit.prior import prior_of
from facewright.fit.scan import ScanEvidence, ScanSettings, fit_scan
from facewright.fit.settings import FitSettings
from facewright.geometry.frames import pose_points
from facewright.geometry.ibug68 import ALL_68, INNER_51, NOSE_TIP, SEVEN_OF_68
from facewright.morphable.linear import FaceModel
from facewright.pipeline.outputs import coefficients_document
from facewright.records import FaceCoefficients

LANDMARK_SETS = {68: ALL_68, 51: INNER_51, 7: SEVEN_OF_68}
"""How many points a landmarks file may hold, and which of the iBUG-68 they are."""
SAMPLES, SEED = 100_000, 0
"""Points by which a scan's surface is sought."""
MM_PER_DM = 100.0


@dataclass(frozen=True)
class ModelOnScan:
    """A fit to a scan.

    Attributes:
        coefficients: one face; its pose puts the model onto the scan (dm).
        distances_mm: of the scan's vertices in the face region to the fitted surface.
        region: which of the scan's vertices they are.
    """

    coefficients: FaceCoefficients
    distances_mm: Float[ndarray, " K"]
    region: Bool[ndarray, " N"]

    def errors(self) -> dict[str, float]:
        """Mean, median and 90th percentile of the distances, mm."""
        return {
            "mean_mm": float(self.distances_mm.mean()),
            "median_mm": float(np.median(self.distances_mm)),
            "p90_mm": float(np.percentile(self.distances_mm, 90)),
        }

    def document(self, model: FaceModel) -> dict[str, Any]:
        """The ``.json``: a face that ``facewright decode`` reads, and the errors beside it."""
        scan = {"vertices": len(self.region), "face_vertices": int(self.region.sum())} | self.errors()
        return {"faces": [coefficients_document(model, self.coefficients)], "scan": scan}

    def arrays(self) -> dict[str, Any]:
        """The ``.npz``: coefficients as ``facewright decode`` reads them, and the distances."""
        c = self.coefficients
        parts = {"id": c.id, "exp": c.exp, "tex": c.tex, "angles": c.angles, "sh": c.sh, "translation": c.translation}
        return (
            parts
            | {"distances_mm": self.distances_mm, "region": self.region}
            | {name: np.asarray(value) for name, value in self.errors().items()}
        )


def fit_model_to_scan(
    scan: Surface,
    landmarks_mm: Float[ndarray, "L 3"],
    model: FaceModel,
    *,
    expression: bool = True,
    settings: ScanSettings | None = None,
) -> ModelOnScan:
    """Find the coefficients whose face lies on a scan, and measure what is left between them.

    Args:
        scan: of a head or a face, mm, in any pose.
        landmarks_mm: all 68 of iBUG, the inner 51, or NoW's seven (eye corners, nose bottom, mouth corners), on it.
        model: with iBUG-68 landmarks.
        expression: False holds the face neutral.
        settings: weights.

    Raises:
        BenchmarkError: another number of landmarks.
        ReconstructionError: the scan does not lie where its landmarks are.
        MissingExtraError: libigl is not installed.
    """
    numbers = LANDMARK_SETS.get(len(landmarks_mm))
    if numbers is None:
        raise BenchmarkError(f"expected 68, 51 or 7 landmarks, received {len(landmarks_mm)}; see docs/face-models.md")
    if model.annotations.ibug68 is None:
        raise ReconstructionError(
            f"expected a face model with iBUG-68 landmarks, {model.name!r} has none; import it with them"
        )
    exact = model.mapped(_double)
    plan = FitPlan.of(exact)
    prior = prior_of(plan, FitSettings() if expression else FitSettings(exp_sigma=0.0))
    points, normals = scan_points(scan)
    evidence = ScanEvidence(
        torch.from_numpy(points) / MM_PER_DM,
        torch.from_numpy(normals),
        torch.from_numpy(np.asarray(landmarks_mm, np.float64)) / MM_PER_DM,
        torch.from_numpy(numbers),
    )
    outer = outer_face(exact)
    found = fit_scan(evidence, plan, prior, outer * vertex_areas(exact), settings)
    posed = pose_points(plan.shape.vertices(found), found.angles, found.translation)[0].numpy() * MM_PER_DM
    return _measured(scan, posed, exact, outer.numpy() > 0.0, found)


def scan_points(scan: Surface, count: int = SAMPLES) -> tuple[Float[ndarray, "N 3"], Float[ndarray, "N 3"]]:
    """Random points of a scan, evenly over its surface, mm, and the normals of their triangles."""
    rng = np.random.default_rng(SEED)
    corners = scan.vertices_mm[scan.faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    chosen = rng.choice(len(area), count, p=area / area.sum())
    a, b = rng.uniform(0.0, 1.0, (2, count, 1))
    a, b = np.where(a + b > 1.0, 1.0 - a, a), np.where(a + b > 1.0, 1.0 - b, b)
    first, second, third = (corners[chosen, k] for k in range(3))
    return first + a * (second - first) + b * (third - first), scan.face_normals[chosen]


def _measured(
    scan: Surface,
    fitted_mm: Float[ndarray, "V 3"],
    model: FaceModel,
    outer: Bool[ndarray, " V"],
    found: FaceCoefficients,
) -> ModelOnScan:
    """Distances from the scan's vertices that lie over the model's outer face."""
    faces: Int[ndarray, "F 3"] = model.faces.numpy()
    surface = Surface(fitted_mm, faces)
    ids = model.annotations.ibug68
    assert ids is not None
    near = np.linalg.norm(scan.vertices_mm - fitted_mm[int(ids[NOSE_TIP])], axis=1) < MM_PER_DM * FACE_RADIUS_DM
    met = closest_points(scan.vertices_mm[near], surface)
    over = outer[faces[met.face_index]].any(1) & ~on_rim(met, surface)
    region = near.copy()
    region[near] = over
    return ModelOnScan(found, met.distances_mm[over], region)


def _double(values: Tensor) -> Tensor:
    return values.double() if values.is_floating_point() else values
