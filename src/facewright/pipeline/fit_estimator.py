"""Method ``fit``: coefficients by optimisation alone, from what the detector saw and the pixels."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

from facewright import align
from facewright.errors import FacewrightError
from facewright.fit import FitPlan, FitSettings
from facewright.morphable.linear import FaceModel
from facewright.pipeline.attempts import attempt, timed
from facewright.pipeline.estimator import Candidate, Estimate, estimate_of
from facewright.pipeline.evidence import fit_detection
from facewright.records import AlignedFace, Photo


@dataclass(frozen=True)
class FitEstimator:
    """Analysis by synthesis.

    Attributes:
        face_model: decodes the answers: the model of the plan, or the same with more vertices.
        plan: of the face model.
        fit: settings.
    """

    face_model: FaceModel
    plan: FitPlan
    fit: FitSettings
    method: str = "fit"
    weights: str = ""
    photos_together: int = 1
    most_doubt: float | None = None
    landmarks_dm: None = None

    @property
    def settings(self) -> dict[str, Any]:
        """See ``Estimator``."""
        return {"fit": asdict(self.fit)}

    def crop(self, photo: Photo, five: Float[Tensor, "5 2"], *, turn: align.Turn = "auto") -> AlignedFace:
        """See ``Estimator``."""
        return align.align_face(photo, five, turn=turn)

    def estimates(self, candidates: Sequence[Candidate], *, finish: bool = True) -> list[Estimate | FacewrightError]:
        """See ``Estimator``."""
        return [attempt(self._estimate, candidate) for candidate in candidates]

    def _estimate(self, face: Candidate) -> Estimate:
        seconds: dict[str, float] = {}
        with timed(seconds, "fit"):
            result = fit_detection(face.aligned, face.detection, self.plan, self.fit)
        return estimate_of(
            self.face_model, result.coefficients, face.aligned, residuals=result.residuals, seconds=seconds
        )
