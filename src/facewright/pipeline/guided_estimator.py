"""Method ``guided``: a face model without a network of its own, fitted to what the open head's network sees."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from jaxtyping import Float
from torch import Tensor

from facewright import align
from facewright.errors import FacewrightError
from facewright.fit import FitPlan, FitSettings
from facewright.fit.laying import LaidHead
from facewright.geometry.rotations import angles_from_rotation, rotation_from_angles
from facewright.morphable.linear import FaceModel
from facewright.pipeline.attempts import attempt, timed
from facewright.pipeline.estimator import Candidate, Estimate, estimate_of
from facewright.pipeline.evidence import Seen, SeenPoints, fit_seen
from facewright.pipeline.rnet_estimator import RNetAnswer, RNetEstimator
from facewright.records import AlignedFace, FaceCoefficients, Photo


@dataclass(frozen=True)
class GuidedEstimator:
    """The fit of any face model, with a network's points, depths, pose and light of another as evidence.

    Attributes:
        guide: the network and its looks; its own fit is not asked.
        face_model: decodes the answers: the model of the plan, or the same with more vertices.
        plan: of the face model that is fitted.
        fit: settings.
        laid: the guide's head on the mean face of the fitted model.
        seen: the guide's points as places of the fitted model; None where the guide sees landmarks alone.
    """

    guide: RNetEstimator
    face_model: FaceModel
    plan: FitPlan
    fit: FitSettings
    laid: LaidHead
    seen: SeenPoints | None
    method: str = "guided"
    photos_together: int = 16
    landmarks_dm: None = None

    @property
    def weights(self) -> str:
        """See ``Estimator``: those of the guide."""
        return self.guide.weights

    @property
    def settings(self) -> dict[str, Any]:
        """See ``Estimator``."""
        return {"fit": asdict(self.fit), "guide": self.guide.face_model.name, "looks": self.guide.looks}

    @property
    def most_doubt(self) -> float | None:
        """See ``Estimator``: the guide's."""
        return self.guide.most_doubt

    def crop(self, photo: Photo, five: Float[Tensor, "5 2"], *, turn: align.Turn = "auto") -> AlignedFace:
        """See ``Estimator``: what the guide wants to see."""
        return self.guide.crop(photo, five, turn=turn)

    def estimates(self, candidates: Sequence[Candidate], *, finish: bool = True) -> list[Estimate | FacewrightError]:
        """See ``Estimator``."""
        spent: dict[str, float] = {}
        with timed(spent, "regress"):
            answers = self.guide.answers(candidates)
        each = {stage: seconds / len(answers) for stage, seconds in spent.items() if answers}
        return [
            attempt(self._estimate, face, answer, finish, dict(each))
            for face, answer in zip(candidates, answers, strict=True)
        ]

    def _estimate(self, face: Candidate, answer: RNetAnswer, finish: bool, seconds: dict[str, float]) -> Estimate:
        coefficients, residuals = self.start(answer.coefficients), dict[str, float]()
        if finish:
            with timed(seconds, "fit"):
                result = fit_seen(
                    coefficients, answer.aligned, face.detection, self.plan, self.fit, answer.belief, self._seen(answer)
                )
            coefficients, residuals = result.coefficients, result.residuals
        return estimate_of(
            self.face_model,
            coefficients,
            answer.aligned,
            belief=answer.belief,
            residuals=residuals,
            seconds=seconds,
        )

    def start(self, answer: FaceCoefficients) -> FaceCoefficients:
        """The fitted model's mean face in the pose and the light of an answer about the guide's head."""
        mean = self.plan.mean_face()
        rotation = rotation_from_angles(answer.angles)[0] @ self.laid.rotation.T
        return replace(
            mean,
            angles=angles_from_rotation(rotation)[None],
            translation=answer.translation - (rotation @ self.laid.origin)[None],
            sh=answer.sh,
        )

    def _seen(self, answer: RNetAnswer) -> Seen | None:
        """The many points, their depths counted from the fitted model's origin instead of the guide's."""
        if self.seen is None or answer.dense is None:
            return None
        there, here = answer.coefficients.translation[0, 2], self.start(answer.coefficients).translation[0, 2]
        camera, dense = answer.aligned.camera_crop, answer.dense
        nearer = (camera.distance_dm - there) / (camera.distance_dm - here)  # pixels are of the size at the origin
        between = camera.focal_px[0] / (camera.distance_dm - here) * (here - there)
        depth, sigma = nearer * dense.depth_px + between, nearer * dense.depth_sigma_px
        return Seen(self.seen, replace(dense, depth_px=depth, depth_sigma_px=sigma))


def seen_on(laid: LaidHead, seen: SeenPoints, ids: Tensor, plan: FitPlan) -> SeenPoints:
    """A network's points as places of the model that its head was laid on.

    Args:
        laid: the head of the network on the model.
        seen: the points on their own head.
        ids: vertices of that head.
        plan: of the model.
    """
    places = laid.places
    trust = laid.same[ids] if seen.trust is None else laid.same[ids] * seen.trust
    return SeenPoints(plan.shape.blend(places.corners[ids], places.weights[ids]), seen.expressive, trust)
