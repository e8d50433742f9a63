"""Levenberg-Marquardt on weighted least-squares terms and a prior."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from facewright.fit.parameters import Unknowns
from facewright.records import FaceCoefficients, TensorRecord

Sigma = float | Float[Tensor, " K"]
"""Deviation of all coefficients of a kind, or of each; 0 holds a coefficient at its mean."""


@dataclass(frozen=True)
class LinearTerm:
    """One term of the energy around the present state: sum of weight * (residual + jacobian step)^2.

    Attributes:
        name: for the report.
        jacobian: derivative of the residuals by ``columns`` of the step vector.
        residual: at the present state.
        weight: per residual, robust weights included.
        columns: part of the step vector that the jacobian speaks of.
        cost: value of the term at the present state, robust cost included (a number that a step should lower).
    """

    name: str
    jacobian: Float[Tensor, "R Q"]
    residual: Float[Tensor, " R"]
    weight: Float[Tensor, " R"]
    columns: slice
    cost: float


@dataclass(frozen=True)
class Prior(TensorRecord):
    """What is believed before looking: sum of precision * (x - mean)^2 + 2 * slope * x, inside lower..upper.

    All are ordered as the step vector (``Unknowns``).

    Attributes:
        precision: inverse variances; infinite ones hold an unknown at its mean.
        mean: centres.
        slope: of the sparse (exponential) prior on unknowns that are bounded below by zero.
        lower: bounds.
        upper: bounds.
    """

    precision: Float[Tensor, " P"]
    mean: Float[Tensor, " P"]
    slope: Float[Tensor, " P"]
    lower: Float[Tensor, " P"]
    upper: Float[Tensor, " P"]

    def cost(self, values: Float[Tensor, " P"]) -> float:
        """Value of the prior's energy."""
        held = self.precision.isinf()
        quadratic = torch.where(held, 0.0, self.precision * (values - self.mean).square())
        return float((quadratic + 2.0 * self.slope * values).sum())

    def expecting(self, columns: slice, mean: Float[Tensor, " K"], sigma: Sigma) -> "Prior":
        """The same beliefs but for some unknowns, which are expected at ``mean``, give or take ``sigma``."""
        precisions, means = self.precision.clone(), self.mean.clone()
        precisions[columns], means[columns] = _precision(sigma).to(precisions), mean
        return replace(self, precision=precisions, mean=means)

    def placed(self, coefficients: FaceCoefficients, unknowns: Unknowns) -> FaceCoefficients:
        """Coefficients whose held unknowns are at their means; the others stay."""
        held = self.precision.isinf()
        if not bool(held.any()):
            return coefficients
        return unknowns.stepped(coefficients, torch.where(held, self.mean - unknowns.values(coefficients), 0.0))


def _precision(sigma: Sigma) -> Tensor:
    """Inverse variance; infinite for 0."""
    return torch.as_tensor(sigma, dtype=torch.float64).pow(-2)


def bounded_step(
    hessian: Float[Tensor, "P P"],
    gradient: Float[Tensor, " P"],
    lower: Float[Tensor, " P"],
    upper: Float[Tensor, " P"],
    held: Bool[Tensor, " P"],
) -> Float[Tensor, " P"]:
    """Minimise s'Hs / 2 + g's with s inside lower..upper, by block principal pivoting (Judice & Pires 1994).

    Pin what a free solve pushes out, release what its multiplier pulls back in, solve again until nothing changes.

    Args:
        hessian: positive definite on the unknowns that are not held.
        gradient: at s = 0.
        lower: at most 0.
        upper: at least 0.
        held: unknowns that stay where they are.
    """
    at_lower, at_upper = torch.zeros_like(held), torch.zeros_like(held)
    step = torch.zeros_like(gradient)
    for _ in range(30):
        step = torch.where(at_lower, lower, torch.where(at_upper, upper, torch.zeros_like(step)))
        index = (~(held | at_lower | at_upper)).nonzero()[:, 0]
        rhs = -(gradient + hessian @ step)[index]
        step[index] = torch.cholesky_solve(rhs[:, None], torch.linalg.cholesky(hessian[index][:, index]))[:, 0]
        slope = gradient + hessian @ step
        pinned_low = ~held & ((step < lower) | (at_lower & (slope > 0)))
        pinned_high = ~held & ((step > upper) | (at_upper & (slope < 0)))
        if bool((pinned_low == at_lower).all()) and bool((pinned_high == at_upper).all()):
            break
        at_lower, at_upper = pinned_low, pinned_high
    return torch.maximum(torch.minimum(step, upper), lower)


def normal_equations(
    terms: list[LinearTerm], prior: Prior, values: Float[Tensor, " P"]
) -> tuple[Float[Tensor, "P P"], Float[Tensor, " P"]]:
    """Half the energy's Gauss-Newton Hessian and gradient at the present state."""
    precision = torch.where(prior.precision.isinf(), 0.0, prior.precision)
    hessian = torch.diag(precision)
    gradient = precision * (values - prior.mean) + prior.slope
    for term in terms:
        weighted = term.jacobian * term.weight[:, None]
        hessian[term.columns, term.columns] += weighted.T @ term.jacobian
        gradient[term.columns] += weighted.T @ term.residual
    return hessian, gradient


def minimise(
    linearise: Callable[[FaceCoefficients], list[LinearTerm]],
    start: FaceCoefficients,
    unknowns: Unknowns,
    prior: Prior,
    *,
    iterations: int,
    tolerance: float = 1e-3,
) -> FaceCoefficients:
    """Levenberg-Marquardt: step, keep what lowers the energy, damp more after what does not.

    Args:
        linearise: the data terms at given coefficients.
        start: where to begin.
        unknowns: order of the step vector.
        prior: see ``Prior``.
        iterations: linearisations at most.
        tolerance: stop when an accepted step lowers the energy by less than this share of it.
    """
    held = prior.precision.isinf()
    damping, best_cost = 1e-3, float("inf")
    best = candidate = start
    best_terms: list[LinearTerm] = []
    for _ in range(iterations):
        terms = linearise(candidate)
        cost = sum(term.cost for term in terms) + prior.cost(unknowns.values(candidate))
        if cost < best_cost:
            gain, best_cost, best, best_terms = best_cost - cost, cost, candidate, terms
            damping = max(damping / 4.0, 1e-6)
            if gain < tolerance * cost:
                break
        elif damping < 1e3 and best_terms:
            damping *= 10.0
        else:
            break
        values = unknowns.values(best)
        hessian, gradient = (part.double() for part in normal_equations(best_terms, prior, values))
        hessian = hessian + torch.diag(damping * hessian.diagonal() + 1e-9)
        lower, upper = (bound.double() - values for bound in (prior.lower, prior.upper))
        candidate = unknowns.stepped(best, bounded_step(hessian, gradient, lower, upper, held).to(values))
    return best
