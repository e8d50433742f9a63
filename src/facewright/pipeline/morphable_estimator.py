"""Method ``3dmm-cnn``: who it is by a network; how it stands, looks and is lit by a fit around that."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from facewright import align
from facewright.align.tran import crop_tran, tran_box, tran_box_of_landmarks
from facewright.errors import FacewrightError, WeightsError
from facewright.fit import FitPlan, FitSettings, around, first_pose, fit_face, prior_of
from facewright.geometry.frames import apply_homogeneous
from facewright.geometry.ibug68 import MESH_TO_IBUG68
from facewright.morphable.linear import FaceModel
from facewright.morphable.mirror import MirrorMap
from facewright.pipeline.attempts import attempt, timed
from facewright.pipeline.estimator import Candidate, Estimate, estimate_of
from facewright.pipeline.evidence import Seen, evidence_of
from facewright.pipeline.rnet_estimator import RNetAnswer, RNetEstimator
from facewright.pipeline.shared_trunks import SharedTrunks
from facewright.records import AlignedFace, FaceCoefficients, LandmarkBelief, Photo
from facewright.regress.cards import DEEP3D_CROPS
from facewright.regress.morphable_cnn import TRAN_LANDMARK_CROPS, MorphableCNN

ROUNDS = 1
"""Of the fit on sharp pixels, where an R-Net has found pose, expression and light already."""
NEARNESSES = (0.97, 1.03)
"""Crops that shared trunks look at, as factors on their scale; codes are averaged over them."""


@dataclass(frozen=True)
class Identity:
    """Who it is.

    Attributes:
        id: shape codes, as many as the face model has.
        tex: albedo codes likewise.
    """

    id: Float[Tensor, "1 Kid"]
    tex: Float[Tensor, "1 Ktex"]


@dataclass(frozen=True)
class MorphableEstimator:
    """Shape and albedo that the fit of pose, expression and light does not touch.

    Attributes:
        net: the network.
        face_model: decodes the answers: the model that the network is for, or the same with more vertices.
        plan: of the face model.
        fit: settings.
        template: crops that the net was trained with (``Kind.templates``); a net that reads others' trunks has no say.
        trunks: of such a net.
        guide: with the R-Net among them, which finds everything else.
        mirror: codes of mirrored faces, of a net that is asked about mirrored crops too.
        weights: name of its weights.
    """

    net: MorphableCNN
    face_model: FaceModel
    plan: FitPlan
    fit: FitSettings
    template: str
    trunks: SharedTrunks | None = None
    guide: RNetEstimator | None = None
    mirror: MirrorMap | None = None
    weights: str = ""
    method: str = "3dmm-cnn"
    photos_together: int = 16
    landmarks_dm: None = None

    @property
    def settings(self) -> dict[str, Any]:
        """See ``Estimator``."""
        return {"fit": asdict(self.fit), "rounds": 0 if self.guide is None else ROUNDS}

    @property
    def most_doubt(self) -> float | None:
        """See ``Estimator``: an R-Net's where there is one."""
        return None if self.guide is None else self.guide.most_doubt

    def crop(self, photo: Photo, five: Float[Tensor, "5 2"], *, turn: align.Turn = "auto") -> AlignedFace:
        """The crop that the fit wants; what the network sees besides it cuts itself."""
        return (
            align.align_face(photo, five, turn=turn) if self.guide is None else self.guide.crop(photo, five, turn=turn)
        )

    def estimates(self, candidates: Sequence[Candidate], *, finish: bool = True) -> list[Estimate | FacewrightError]:
        """See ``Estimator``."""
        spent: dict[str, float] = {}
        with timed(spent, "regress"):
            answers = [None] * len(candidates) if self.guide is None else self.guide.answers(candidates)
        each = {stage: seconds / len(answers) for stage, seconds in spent.items() if answers}
        return [
            attempt(self._estimate, face, answer, finish, dict(each))
            for face, answer in zip(candidates, answers, strict=True)
        ]

    @torch.no_grad()
    def identity(self, face: Candidate, answer: RNetAnswer | None = None) -> Identity:
        """Who a face is; one by one, so that an answer does not depend on what else is looked at.

        Args:
            face: with a crop of ``crop``.
            answer: what the R-Net among the trunks says about it.

        Raises:
            ReconstructionError: no crop can be cut.
        """
        look = self.net.features_of if self.trunks is None else self.trunks.seen
        if self.trunks is None or answer is None or answer.belief is None:
            crops = [self._looked_at(face)]
        else:
            crops = self._looks_around(face.photo, answer.aligned, answer.belief)
        shapes, albedos = [], []
        for crop in crops:
            shape, albedo = self.net.codes_from(look(crop)).split([self.net.id, self.net.tex], -1)
            shapes.append(shape)
            albedos.append(albedo)
            if self.mirror is not None:
                back = self.net.codes_from(look(crop.flip(-1))).split([self.net.id, self.net.tex], -1)
                shapes.append(back[0] @ self.mirror.id[: self.net.id, : self.net.id].T.to(shape))
                albedos.append(back[1] @ self.mirror.tex[: self.net.tex, : self.net.tex].T.to(albedo))
        shape, albedo = torch.stack(shapes).mean(0), torch.stack(albedos).mean(0)
        layout = self.face_model.layout
        pad = torch.nn.functional.pad
        return Identity(pad(shape, (0, layout.id - self.net.id)), pad(albedo, (0, layout.tex - self.net.tex)))

    def _looks_around(
        self, photo: Photo, aligned: AlignedFace, belief: LandmarkBelief
    ) -> list[Float[Tensor, "1 3 S S"]]:
        """What the trunks see: the face where its landmarks are, a little wider and a little closer.

        Between pixels: crops of whole pixels of a photo and of its mirror image differ by up to a pixel.
        """
        five = apply_homogeneous(aligned.T_photo_crop, align.five_from_68(belief.points_px))
        turn: align.Turn = "auto" if aligned.roll else "never"
        crops = []
        for nearness in NEARNESSES:
            size = aligned.crop.shape[-1]
            rescale = align.CROP_RESCALE * size / 224 * nearness
            found = attempt(self._between_pixels, photo, five, size, rescale, turn)
            crops.append(aligned.crop[None] if isinstance(found, FacewrightError) else found)
        return crops

    def _between_pixels(
        self, photo: Photo, five: Float[Tensor, "5 2"], size: int, rescale: float, turn: align.Turn
    ) -> Float[Tensor, "1 3 S S"]:
        return align.align_face(
            photo, five, size=size, rescale=rescale, turn=turn, exact=False, whole_pixels=False
        ).crop[None]

    def _looked_at(self, face: Candidate) -> Float[Tensor, "1 3 S S"]:
        """What a net with a trunk of its own sees."""
        size, aligned, seen = self.net.crop_size, face.aligned, face.detection
        if self.template == DEEP3D_CROPS:
            rescale = align.CROP_RESCALE * size / 224
            return align.align_face(face.photo, seen.five, size=size, rescale=rescale).crop[None]
        if self.template == TRAN_LANDMARK_CROPS and seen.mesh is not None:
            box = tran_box_of_landmarks(seen.mesh[MESH_TO_IBUG68, :2])
        else:
            box = tran_box(seen.box)
        return crop_tran(face.photo, box, seen.five, size=size).crop[None].to(aligned.crop)

    def _estimate(
        self, face: Candidate, answer: RNetAnswer | None, finish: bool, seconds: dict[str, float]
    ) -> Estimate:
        with timed(seconds, "identity"):
            who = self.identity(face, answer)
        aligned = face.aligned if answer is None else answer.aligned
        start, residuals = None if answer is None else replace(answer.coefficients, id=who.id, tex=who.tex), {}
        belief = None if answer is None else answer.belief
        coefficients = start
        if coefficients is None or finish:
            with timed(seconds, "fit"):
                coefficients, residuals = self._fitted(face, aligned, who, answer, start)
        found = estimate_of(self.face_model, coefficients, aligned, belief=belief, residuals=residuals, seconds=seconds)
        return replace(found, start=start, dense=None if answer is None else answer.dense)

    def _fitted(
        self,
        face: Candidate,
        aligned: AlignedFace,
        who: Identity,
        answer: RNetAnswer | None,
        start: FaceCoefficients | None,
    ) -> tuple[FaceCoefficients, dict[str, float]]:
        """Pose, expression and light by landmarks and pixels; shape and albedo are held where the network has them."""
        settings = self.fit if start is None else self.fit.refining(ROUNDS)
        dense = None
        if answer is not None and self.guide is not None and self.guide.seen is not None and answer.dense is not None:
            dense = Seen(self.guide.seen, answer.dense)
        belief = None if answer is None else answer.belief
        evidence = evidence_of(aligned, face.detection, self.plan, settings, belief, dense)
        prior, unknowns = prior_of(self.plan, settings), self.plan.unknowns
        if start is None:
            begun = first_pose(evidence, self.plan, iterations=settings.point_iterations)
            start = replace(begun, id=who.id.to(begun.id), tex=who.tex.to(begun.tex))
            for columns in (unknowns.id, unknowns.tex):
                prior = prior.expecting(columns, unknowns.values(start)[columns], 0.0)
        else:
            doubt = settings.start_exp_sigma if dense is None else settings.doubt_scale * dense.belief.exp_sigma
            prior = around(prior, start, unknowns, id=0.0, exp=doubt, tex=0.0)
        result = fit_face(evidence, self.plan, prior, start, settings)
        return result.coefficients, result.residuals


def check_codes(net: MorphableCNN, model: FaceModel, source: str) -> None:
    """Refuse a net that says more codes than a face model has.

    Raises:
        WeightsError: it does.
    """
    if net.id > model.layout.id or net.tex > model.layout.tex:
        raise WeightsError(
            f"{source} says {net.id} shape and {net.tex} albedo codes, face model {model.name!r} has "
            f"{model.layout.id} and {model.layout.tex}; give --face-model one with as many (`facewright model import`)"
        )
