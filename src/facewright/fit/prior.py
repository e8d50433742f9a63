"""What is believed of a face before its picture is looked at."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from facewright.fit.parameters import Unknowns
from facewright.fit.plan import FitPlan
from facewright.fit.settings import FitSettings
from facewright.fit.solver import Prior
from facewright.records import FaceCoefficients

BOUNDED_EXP_SIGMA, NORMAL_EXP_SIGMA = 0.8, 1.0
"""Scale of expressions that are weights in 0..1, and of standard-normal ones."""


def no_prior(plan: FitPlan) -> Prior:
    """Nothing is believed: every unknown is free."""
    zeros = plan.shape.mean.new_zeros(plan.unknowns.size)
    unbounded = torch.full_like(zeros, torch.inf)
    return Prior(zeros, zeros, zeros, -unbounded, unbounded)


def prior_of(plan: FitPlan, settings: FitSettings) -> Prior:
    """Gaussian identity, albedo and light; sparse bounded or Gaussian expression; pose and place are free."""
    unknowns, prior = plan.unknowns, no_prior(plan)
    usual = BOUNDED_EXP_SIGMA if plan.exp_is_box else NORMAL_EXP_SIGMA
    exp_sigma = usual if settings.exp_sigma is None else settings.exp_sigma
    for columns, sigma in (
        (unknowns.id, settings.id_sigma),
        (unknowns.exp, exp_sigma),
        (unknowns.tex, settings.tex_sigma),
        (unknowns.sh, settings.light_sigma),
    ):
        prior = prior.expecting(columns, prior.mean[columns], sigma)
    if not plan.exp_is_box:
        return prior
    slope, lower, upper = prior.slope.clone(), prior.lower.clone(), prior.upper.clone()
    slope[unknowns.exp], lower[unknowns.exp], upper[unknowns.exp] = settings.exp_slope, 0.0, 1.0
    return replace(prior, slope=slope, lower=lower, upper=upper)


def around(
    prior: Prior,
    coefficients: FaceCoefficients,
    unknowns: Unknowns,
    *,
    id: float | Float[Tensor, " Kid"],
    exp: float | Float[Tensor, " Kexp"],
    tex: float | Float[Tensor, " Ktex"] | None = None,
) -> Prior:
    """The same prior with shape and expression expected where they were seen, not at the mean face, and not sparse.

    Args:
        prior: of the face model.
        coefficients: what was seen, by a network for example.
        unknowns: order of the step vector.
        id: how far off the identity may be; one number, or one for each coefficient.
        exp: the same of the expression.
        tex: the same of the albedo; None expects that at the mean, as before.
    """
    prior = prior.expecting(unknowns.id, coefficients.id[0], id).expecting(unknowns.exp, coefficients.exp[0], exp)
    if tex is not None:
        prior = prior.expecting(unknowns.tex, coefficients.tex[0], tex)
    return replace(prior, slope=torch.zeros_like(prior.slope))


def held_fast(prior: Prior, columns: slice, values: Float[Tensor, " P"]) -> Prior:
    """The same prior with some unknowns held at given values."""
    return prior.expecting(columns, values[columns], 0.0)
