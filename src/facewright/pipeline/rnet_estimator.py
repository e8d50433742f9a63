"""Method ``rnet``: coefficients by a network that may look twice, then rounds of the fit around its answer."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from facewright import align
from facewright.errors import FacewrightError, SettingsError
from facewright.fit import FitPlan, FitSettings
from facewright.geometry.frames import CROP_SIZE, apply_homogeneous
from facewright.morphable.linear import FaceModel
from facewright.pipeline.attempts import attempt, timed
from facewright.pipeline.estimator import Candidate, Estimate, Glance, estimate_of
from facewright.pipeline.evidence import Seen, SeenPoints, fit_from
from facewright.pipeline.mirrored import Mirror, dense_belief, predicted
from facewright.records import AlignedFace, DenseBelief, FaceCoefficients, LandmarkBelief, Photo
from facewright.regress.rnet import RNet, RNetPrediction

MOST_DOUBT = 0.02
"""Doubt of R-Net about its landmarks, as a share of the crop, up to which a candidate is a face.

Measured on 120 scenes and 60 empty backgrounds: 99 % of the right places are doubted less, all wrong ones more.
"""

MAX_CROPS_TOGETHER = 32
"""Most crops that go through R-Net at once."""


@dataclass(frozen=True)
class RNetEstimator:
    """R-Net's answers, refined.

    Attributes:
        rnet: the network.
        face_model: decodes the answers: the model that the network is for, or the same with more vertices.
        plan: of the face model.
        fit: settings.
        looks: how often R-Net looks: each time after the first at a crop by the landmarks of the time before, so that a
            crop by bad points (in profile) is put right. More than one needs a net that sees landmarks.
        refine: rounds of the fit after R-Net; 0 keeps its answer.
        weights: name of its weights.
        seen: the points that R-Net sees, of a net that sees more than landmarks.
        mirror: codes and points of mirrored faces: R-Net looks at each crop in a mirror too, and what it says of both
            is averaged, so that a mirrored photo gets the mirrored crop and the mirrored face. None: it does not.
    """

    rnet: RNet
    face_model: FaceModel
    plan: FitPlan
    fit: FitSettings
    looks: int = 1
    refine: int = 0
    weights: str = ""
    seen: SeenPoints | None = None
    mirror: Mirror | None = None
    method: str = "rnet"
    photos_together: int = 16
    landmarks_dm: None = None

    @property
    def settings(self) -> dict[str, Any]:
        """See ``Estimator``."""
        return {"fit": asdict(self.fit), "refine": self.refine, "looks": self.looks}

    @property
    def most_doubt(self) -> float | None:
        """See ``Estimator``: a network knows its doubts if it sees landmarks."""
        return None if self.rnet.landmark_head is None else MOST_DOUBT

    def crop(self, photo: Photo, five: Float[Tensor, "5 2"], *, turn: align.Turn = "auto") -> AlignedFace:
        """At least ``CROP_SIZE`` wide, a whole multiple of what R-Net sees."""
        size = self.rnet.crop_size * -(-CROP_SIZE // self.rnet.crop_size)
        return align.align_face(photo, five, size=size, rescale=align.CROP_RESCALE * size / CROP_SIZE, turn=turn)

    def estimates(self, candidates: Sequence[Candidate], *, finish: bool = True) -> list[Estimate | FacewrightError]:
        """See ``Estimator``."""
        spent: dict[str, float] = {}
        with timed(spent, "regress"):
            answers = self.answers(candidates)
        each = {stage: seconds / len(answers) for stage, seconds in spent.items() if answers}
        rounds = self.refine if finish else 0
        return [
            attempt(self._estimate, face, answer, rounds, dict(each))
            for face, answer in zip(candidates, answers, strict=True)
        ]

    @torch.no_grad()
    def glance(self, photo: Photo, five: Float[Tensor, "5 2"]) -> Glance:
        """One look at the face at these five points, photo pixels: landmarks and coefficients, neither mesh nor fit.

        Raises:
            SettingsError: the network sees no landmarks.
            ReconstructionError: the points span no face in the photo.
        """
        size = self.rnet.crop_size
        aligned = align.align_face(photo, five, size=size, rescale=align.CROP_RESCALE * size / CROP_SIZE, exact=False)
        (answer,) = self._look([aligned])
        if answer.belief is None:
            raise SettingsError(f"expected a network that sees landmarks, received weights {self.weights!r}")
        return Glance(aligned, answer.coefficients, answer.belief, answer.dense)

    def estimate_at(self, glance: Glance) -> Estimate:
        """The whole estimate that a glance amounts to."""
        return estimate_of(self.face_model, glance.coefficients, glance.aligned, belief=glance.belief)

    def _estimate(self, face: Candidate, answer: "RNetAnswer", rounds: int, seconds: dict[str, float]) -> Estimate:
        coefficients, residuals = answer.coefficients, dict[str, float]()
        if rounds > 0:
            settings = self.fit.refining(rounds)
            with timed(seconds, "fit"):
                result = fit_from(
                    coefficients,
                    answer.aligned,
                    face.detection,
                    self.plan,
                    settings,
                    belief=answer.belief,
                    dense=None if self.seen is None or answer.dense is None else Seen(self.seen, answer.dense),
                )
            coefficients, residuals = result.coefficients, result.residuals
        found = estimate_of(
            self.face_model,
            coefficients,
            answer.aligned,
            belief=answer.belief,
            residuals=residuals,
            seconds=seconds,
        )
        return replace(found, start=answer.coefficients, dense=answer.dense)

    @torch.no_grad()
    def answers(self, candidates: Sequence[Candidate]) -> list["RNetAnswer"]:
        """What R-Net says about each face after all its looks.

        Args:
            candidates: with crops of ``crop``.
        """
        crops = [face.aligned for face in candidates]
        answers = self._look(crops)
        for _ in range(self.looks - 1):
            crops = [self._cut_again(face.photo, answer) for face, answer in zip(candidates, answers, strict=True)]
            answers = self._look(crops)
        return answers

    def _look(self, crops: list[AlignedFace]) -> list["RNetAnswer"]:
        if not crops:
            return []
        finer = crops[0].crop.shape[-1] // self.rnet.crop_size
        pictures = torch.stack([aligned.crop for aligned in crops])
        pictures = torch.nn.functional.avg_pool2d(pictures, finer) if finer > 1 else pictures
        answers = [predicted(self.rnet, some, self.mirror) for some in pictures.split(MAX_CROPS_TOGETHER)]
        each = [(answer, k) for answer in answers for k in range(len(answer.coefficients.id))]
        return [
            RNetAnswer(
                aligned,
                self._possible(answer.coefficients.one(k)),
                _belief(answer, k, finer),
                dense_belief(answer, k, finer),
            )
            for aligned, (answer, k) in zip(crops, each, strict=True)
        ]

    def _possible(self, coefficients: FaceCoefficients) -> FaceCoefficients:
        """Blendshapes between none and all; a network knows no bounds."""
        if not self.plan.exp_is_box:
            return coefficients
        return replace(coefficients, exp=coefficients.exp.clamp(0.0, 1.0))

    def _cut_again(self, photo: Photo, answer: "RNetAnswer") -> AlignedFace:
        """The crop by the landmarks that were seen; the same one where they make no sense."""
        if answer.belief is None:
            return answer.aligned
        five_crop = align.five_from_68(answer.belief.points_px)
        again = attempt(self.crop, photo, apply_homogeneous(answer.aligned.T_photo_crop, five_crop))
        return answer.aligned if isinstance(again, FacewrightError) else again


@dataclass(frozen=True)
class RNetAnswer:
    """What R-Net says about a face, and the crop that it says it of.

    Attributes:
        aligned: that crop.
        coefficients: of the net's face model, posed before the crop's camera.
        belief: landmarks, crop pixels; None from a net that sees none.
        dense: many points, depths and doubts; None from a net that sees landmarks alone.
    """

    aligned: AlignedFace
    coefficients: FaceCoefficients
    belief: LandmarkBelief | None
    dense: DenseBelief | None = None


def _belief(answer: RNetPrediction, k: int, finer: int) -> LandmarkBelief | None:
    """The k-th face's landmarks in a crop that is so many times finer than what the net saw."""
    if answer.landmarks_px is None or answer.landmarks_sigma_px is None:
        return None
    # Pixel centres: column i of the net's crop is the middle of columns finer * i to finer * (i + 1) - 1.
    return LandmarkBelief(finer * answer.landmarks_px[k] + (finer - 1) / 2, finer * answer.landmarks_sigma_px[k])
