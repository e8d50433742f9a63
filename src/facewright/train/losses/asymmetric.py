"""The loss of 3DMM-CNN (Tran et al. 2017, section 3.3): falling short of a person costs more than overdoing it."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

OVER, UNDER = 1.0, 3.0
"""Costs as published."""


def asymmetric_loss(
    predicted: Float[Tensor, "B K"], true: Float[Tensor, "B K"], *, over: float = OVER, under: float = UNDER
) -> Float[Tensor, " B"]:
    """Per sample ``over ‖γ⁺ − γ_max‖² + under ‖γ_p⁺ − γ_max‖²`` with γ⁺ = |γ|, γ_p⁺ = sign(γ) γ_p, γ_max their greater.

    So an element that lies farther from the mean face than it should costs ``over`` d², one that lies nearer, or on the
    other side, ``under`` d². The formula says nothing where γ = 0 (its sign is 0): there every difference leads away
    from the mean face and costs ``over`` d².

    Args:
        predicted: codes, in standard deviations.
        true: what they should be.
        over: cost of too much.
        under: cost of too little.
    """
    difference = predicted - true
    short = difference * torch.sign(true) < 0
    return (torch.where(short, under, over) * difference.square()).sum(-1)


def apartness_loss(
    codes: Float[Tensor, "B K"], persons: Int[Tensor, " B"], temperature: Float[Tensor, ""] | float
) -> Float[Tensor, ""]:
    """How badly the directions of codes tell people apart, nats: the log-likelihood of finding a photo's own person.

    For each photo the others of its person are to be found among all photos of the batch by the cosine of codes
    (supervised contrast: Khosla et al. 2020, equation 2). Photos of whom there is one alone are only found wrongly.

    Args:
        codes: of each photo.
        persons: who each is.
        temperature: of the cosines, above 0.
    """
    directions = F.normalize(codes, dim=-1)
    others = ~torch.eye(len(codes), dtype=torch.bool, device=codes.device)
    evidence = (directions @ directions.T / temperature).masked_fill(~others, -1e9)
    same = (persons[:, None] == persons[None]) & others
    likelihood = evidence - torch.logsumexp(evidence, 1, keepdim=True)
    counts = same.sum(1)
    each = -(likelihood * same).sum(1) / counts.clamp_min(1)
    return each.sum() / (counts > 0).sum().clamp_min(1)
