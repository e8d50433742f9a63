"""Several photos of one person: one identity and one albedo, with a pose, an expression and a light for each photo.

The energy is the sum of what ``fit_face`` minimises for each photo alone, with shared unknowns. Photos are visited one
after the other, and what one shows is let go before the next is asked: each settles on its own with the shared unknowns
held, and leaves what it has to say about those (its own ones eliminated, by the Schur complement); then all step
together. What grows with their number are coefficients.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from facewright.fit.evidence import Evidence
from facewright.fit.face import FitResult, fit_face, terms_at
from facewright.fit.parameters import Unknowns
from facewright.fit.plan import FitPlan
from facewright.fit.prior import held_fast
from facewright.fit.settings import FitSettings
from facewright.fit.solver import Prior, normal_equations
from facewright.records import FaceCoefficients

LARGEST_STEP = 0.5
"""Farthest that a shared coefficient goes in a round, deviations of the prior: what is linear is so near by."""
STEADY = 1e-6
"""Added to what is eliminated, as a share of its largest diagonal: a pose that nothing holds."""


@dataclass(frozen=True)
class PhotoEvidence:
    """One photo of the person.

    Attributes:
        look: what it says; asked for when its turn comes, so that not all are in memory.
        start: where its face is about, in its crop.
        prior: what is believed of this face before looking, as ``fit_face`` takes it; of the shared unknowns it is one
            vote of many.
    """

    look: Callable[[], Evidence]
    start: FaceCoefficients
    prior: Prior


def fit_together(
    photos: Sequence[PhotoEvidence],
    plan: FitPlan,
    shared: FaceCoefficients,
    settings: FitSettings | None = None,
    *,
    rounds: int = 2,
) -> list[FitResult]:
    """Find one identity and albedo, and for each photo the rest.

    Args:
        photos: at least one.
        plan: of the face model.
        shared: identity and albedo to begin with; nothing else of it is looked at.
        settings: as of ``fit_face``.
        rounds: joint steps.

    Returns:
        A face per photo; all have the same identity and albedo.

    Raises:
        ReconstructionError: an optimum is not finite.
    """
    settings = settings or FitSettings()
    unknowns = plan.unknowns
    common = _common(unknowns)
    states = [photo.start for photo in photos]
    values = unknowns.values(shared)[common].double()
    for _ in range(rounds):
        hessian = torch.zeros(len(common), len(common), dtype=torch.float64, device=values.device)
        gradient = torch.zeros_like(values)
        for k, photo in enumerate(photos):
            evidence = photo.look()
            states[k] = _settled(evidence, photo, plan, states[k], values, settings).coefficients
            says, pulls = _about_common(evidence, photo.prior, plan, states[k], common, settings)
            hessian, gradient = hessian + says, gradient + pulls
            del evidence  # before the next photo is asked for its own
        free = ~torch.stack([photo.prior.precision[common].isinf() for photo in photos]).any(0)
        step = torch.zeros_like(values)
        inner = hessian[free][:, free]
        step[free] = torch.linalg.solve(inner + STEADY * torch.eye(len(inner)).to(inner), -gradient[free])
        values = values + step.clamp(-LARGEST_STEP, LARGEST_STEP)
    return [
        _settled(photo.look(), photo, plan, state, values, settings)
        for photo, state in zip(photos, states, strict=True)
    ]


def _common(unknowns: Unknowns) -> Tensor:
    """Places of the shared unknowns in the step vector."""
    places = torch.arange(unknowns.size)
    return torch.cat([places[unknowns.id], places[unknowns.tex]])


def _settled(
    evidence: Evidence,
    photo: PhotoEvidence,
    plan: FitPlan,
    state: FaceCoefficients,
    common: Float[Tensor, " C"],
    settings: FitSettings,
) -> FitResult:
    """The photo's own fit, with the shared unknowns held."""
    unknowns = plan.unknowns
    identity, albedo = common.split([plan.layout.id, plan.layout.tex])
    state = replace(state, id=identity[None].to(state.id), tex=albedo[None].to(state.tex))
    values = unknowns.values(state)
    prior = held_fast(held_fast(photo.prior, unknowns.id, values), unknowns.tex, values)
    return fit_face(evidence, plan, prior, state, settings)


def _about_common(
    evidence: Evidence,
    prior: Prior,
    plan: FitPlan,
    state: FaceCoefficients,
    common: Tensor,
    settings: FitSettings,
) -> tuple[Float[Tensor, "C C"], Float[Tensor, " C"]]:
    """Half Hessian and gradient of a photo's energy by the shared unknowns, its own ones following in the best way."""
    unknowns = plan.unknowns
    values = unknowns.values(state)
    equations = normal_equations(terms_at(evidence, plan, state, settings), prior, values)
    hessian, gradient = (part.double() for part in equations)
    own = torch.ones(unknowns.size, dtype=torch.bool, device=values.device)
    own[common] = False
    own &= ~_pinned(prior, values, gradient)
    a, b = hessian[common][:, common], hessian[common][:, own]
    inner = hessian[own][:, own]
    inner = inner + STEADY * inner.diagonal().max() * torch.eye(len(inner)).to(inner)
    solved = torch.cholesky_solve(torch.cat([b.T, gradient[own, None]], 1), torch.linalg.cholesky(inner))
    return a - b @ solved[:, :-1], gradient[common] - b @ solved[:, -1]


def _pinned(prior: Prior, values: Float[Tensor, " P"], gradient: Float[Tensor, " P"]) -> Bool[Tensor, " P"]:
    """Unknowns that lie at a bound and are pulled beyond it, or that the prior holds."""
    low = (values <= prior.lower) & (gradient > 0)
    return low | ((values >= prior.upper) & (gradient < 0)) | prior.precision.isinf()
