"""Every answer is held against what was seen: a face must lie where the detector saw it."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

MOST_POINT_ERROR = 0.2
"""Farthest that the five points of an answer may lie from the detector's on average, as a share of the face's size.

The size is the root mean square distance of the detector's five points from their middle, times ``SIZE_TO_EYES``: the
eye distance of a face seen from the front, and hardly less in profile, where the eyes fall together.
"""
SIZE_TO_EYES = 1.584
MOST_ANSWER_DOUBT = 0.04
"""Most doubt of a network about its landmarks, as a share of the crop, with which its answer is kept."""


@dataclass(frozen=True)
class Contradiction:
    """Why an answer is not believed.

    Attributes:
        point_error: mean distance of the answer's five points from those that were seen, as a share of the face's size.
        doubt: of the network about its landmarks, as a share of the crop; 0 where nothing doubts.
        reason: for people.
    """

    point_error: float
    doubt: float
    reason: str


def contradiction(
    five_of_answer: Float[Tensor, "5 2"], five_seen: Float[Tensor, "5 2"], *, doubt: float = 0.0
) -> Contradiction | None:
    """What speaks against an answer; None if nothing does.

    Args:
        five_of_answer: eye centres, nose tip and mouth corners of the reconstruction, photo pixels.
        five_seen: those that the detector found or a person marked.
        doubt: mean deviation of the network's landmarks as a share of the crop; 0 for methods that know none.
    """
    error = point_error(five_of_answer, five_seen)
    reasons = []
    if not error <= MOST_POINT_ERROR:  # also where it is not a number
        reasons.append(
            f"expected eyes, nose and mouth within {MOST_POINT_ERROR:.0%} of the face's size from where they were "
            f"seen, received {error:.0%}"
        )
    if not doubt <= MOST_ANSWER_DOUBT:
        reasons.append(
            f"expected landmarks that are sure to {MOST_ANSWER_DOUBT:.1%} of the crop, received a doubt of {doubt:.1%}"
        )
    if not reasons:
        return None
    remedy = "is it a human face, and the right way up? --landmarks takes points of your own"
    return Contradiction(error, doubt, f"{'; '.join(reasons)}; {remedy}")


def point_error(five: Float[Tensor, "5 2"], five_seen: Float[Tensor, "5 2"]) -> float:
    """Mean distance of five points from those that were seen, as a share of the face's size."""
    seen = five_seen.double()
    size = SIZE_TO_EYES * (seen - seen.mean(0)).square().sum(-1).mean().sqrt()
    return float((five.to(seen) - seen).norm(dim=-1).mean() / size)
