"""One person out of what several photos say: an identity and an albedo; for each photo pose, expression and light."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from facewright.errors import SettingsError
from facewright.fit import (
    Evidence,
    FitPlan,
    FitResult,
    FitSettings,
    PhotoEvidence,
    Prior,
    around,
    fit_together,
    prior_of,
)
from facewright.morphable.linear import FaceModel
from facewright.pipeline.album.observations import Observation, crop_of
from facewright.pipeline.estimator import Estimator, estimate_of
from facewright.pipeline.evidence import Seen, SeenPoints, evidence_of
from facewright.pipeline.face import FaceInPhoto
from facewright.pipeline.fit_estimator import FitEstimator
from facewright.pipeline.reconstruction import Reconstruction, reconstruction_of
from facewright.pipeline.rnet_estimator import RNetEstimator
from facewright.records import FaceCoefficients, Photo
from facewright.regress.cnet import aggregated


@dataclass(frozen=True)
class AlbumMethod:
    """What an album needs of the flow's method: its fit.

    Attributes:
        face_model: decodes.
        plan: of the face model.
        fit: settings of the joint refinement.
        rounds: of it; 0: none.
        seen: the points that a network sees.
    """

    face_model: FaceModel
    plan: FitPlan
    fit: FitSettings
    rounds: int = 2
    seen: SeenPoints | None = None

    @classmethod
    def of(cls, estimator: Estimator, rounds: int | None = None) -> "AlbumMethod":
        """Of a loaded method; it refines albums where it refines single photos.

        Args:
            estimator: the method.
            rounds: of the joint refinement; None: two where single photos are refined, else none.

        Raises:
            SettingsError: a method without coefficients.
        """
        if isinstance(estimator, FitEstimator):
            usual = 2 if rounds is None else rounds
            return cls(estimator.face_model, estimator.plan, estimator.fit, usual)
        if not isinstance(estimator, RNetEstimator):
            raise SettingsError(
                f"expected a method whose faces are coefficients for --album, received {estimator.method!r}; "
                "take --method rnet or fit"
            )
        usual = (2 if estimator.refine > 0 else 0) if rounds is None else rounds
        settings = estimator.fit.refining(max(1, estimator.refine))
        return cls(estimator.face_model, estimator.plan, settings, usual, estimator.seen)


@dataclass(frozen=True)
class Person:
    """Somebody in an album.

    Attributes:
        identity: and albedo; neutral, looking at the camera, in the default light.
        faces: in each photo, with this identity and albedo, posed before the crop's camera.
        shares: of each photo in the identity, mean over its coefficients; they sum to one.
        coefficient_shares: the same for each coefficient.
    """

    identity: FaceCoefficients
    faces: tuple[FaceCoefficients, ...]
    shares: Float[Tensor, " M"]
    coefficient_shares: Float[Tensor, "M Kid"]


def person_of(observations: Sequence[Observation], method: AlbumMethod) -> Person:
    """Join what the photos say. One photo alone gives what it gives alone, exactly.

    Args:
        observations: of one person.
        method: decodes and refines.

    Raises:
        ReconstructionError: the joint optimum is not finite.
    """
    confidence = torch.stack([seen.confidence for seen in observations])
    coefficient_shares = confidence / confidence.sum(0).clamp_min(1e-12)
    shares = coefficient_shares.mean(1)
    if len(observations) == 1:
        alone = observations[0].single
        return Person(_neutral(alone), (alone,), shares, coefficient_shares)
    together = joined(observations)
    starts = [replace(seen.single, id=together.id, tex=together.tex) for seen in observations]
    if method.rounds == 0:
        return Person(_neutral(together), tuple(starts), shares, coefficient_shares)
    found = refined(observations, together, starts, method)
    faces = tuple(result.coefficients for result in found)
    return Person(_neutral(faces[0]), faces, shares, coefficient_shares)


def joined(observations: Sequence[Observation]) -> FaceCoefficients:
    """Identity by equation 7 out of the networks' answers; albedo alike, by their doubts where they state some."""
    first = observations[0].start
    identity = aggregated(
        torch.stack([seen.start.id[0] for seen in observations]),
        torch.stack([seen.confidence for seen in observations]),
    )
    albedos = torch.stack([seen.start.tex[0] for seen in observations])
    weights = torch.stack(
        [
            torch.ones_like(seen.start.tex[0]) if seen.dense is None else seen.dense.tex_sigma.pow(-2)
            for seen in observations
        ]
    )
    return replace(first, id=identity[None], tex=aggregated(albedos, weights)[None])


def refined(
    observations: Sequence[Observation],
    together: FaceCoefficients,
    starts: Sequence[FaceCoefficients],
    method: AlbumMethod,
) -> list[FitResult]:
    """The joint fit around what the photos say together.

    Args:
        observations: of one person.
        together: identity and albedo that all expect.
        starts: faces with those, a photo each.
        method: plan and settings.

    Raises:
        ReconstructionError: the optimum is not finite.
    """
    photos = [
        PhotoEvidence(partial(_evidence, seen, method), start, _prior(seen, start, method))
        for seen, start in zip(observations, starts, strict=True)
    ]
    return fit_together(photos, method.plan, together, method.fit, rounds=method.rounds)


def _evidence(seen: Observation, method: AlbumMethod) -> Evidence:
    dense = None if method.seen is None or seen.dense is None else Seen(method.seen, seen.dense)
    aligned = replace(seen.aligned, crop=crop_of(seen))
    return evidence_of(aligned, seen.detection, method.plan, method.fit, seen.belief, dense)


def _prior(seen: Observation, start: FaceCoefficients, method: AlbumMethod) -> Prior:
    """What one photo's answer makes expect; of identity and albedo around what all say together."""
    settings, unknowns = method.fit, method.plan.unknowns
    prior = prior_of(method.plan, settings)
    if seen.dense is None:
        sigmas = settings.start_id_sigma, settings.start_exp_sigma, settings.tex_sigma
        ids, exps, texs = sigmas
        return around(prior, start, unknowns, id=ids, exp=exps, tex=torch.full_like(start.tex[0], texs))
    own, wider = seen.dense.to(start.id.device), settings.doubt_scale
    return around(prior, start, unknowns, id=wider * own.id_sigma, exp=wider * own.exp_sigma, tex=wider * own.tex_sigma)


def _neutral(face: FaceCoefficients) -> FaceCoefficients:
    return FaceCoefficients(
        face.id,
        torch.zeros_like(face.exp),
        face.tex,
        torch.zeros_like(face.angles),
        torch.zeros_like(face.sh),
        torch.zeros_like(face.translation),
    )


def face_in_photo(photo: Photo, seen: Observation, face: FaceCoefficients, model: FaceModel) -> Reconstruction:
    """A face of a person as a reconstruction of the photo.

    Args:
        photo: read again.
        seen: what it said.
        face: posed before the crop's camera.
        model: decodes.
    """
    answer = estimate_of(model, face, seen.aligned, belief=seen.belief)
    answer = replace(answer, start=seen.start, dense=seen.dense)
    found: FaceInPhoto = reconstruction_of(photo, seen.detection, answer, method=seen.method, weights=seen.weights)
    return replace(found, face=seen.face)  # pyright: ignore[reportReturnType] - of the same class
