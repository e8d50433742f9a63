"""Learning rates and averaging as functions of the step (and of what ``plateau`` remembers)."""

import math
from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor


def lr_factor(
    step: int,
    *,
    schedule: Literal["constant", "cosine", "linear", "plateau", "step"],
    steps: int,
    warmup_steps: int = 0,
    decay_every: int = 1,
    decay_factor: float = 1.0,
    drops: int = 0,
) -> float:
    """Factor 0..1 on the learning rate of a step.

    Args:
        step: number of the step, from 0.
        schedule: ``constant``; ``cosine``: half a wave from 1 after the warm-up to 0 at ``steps``; ``linear``: a
            line there; ``step``: times ``decay_factor`` after every ``decay_every`` steps (both of Deng's programs);
            ``plateau``: times ``decay_factor`` for each of the ``drops``.
        steps: of the whole run.
        warmup_steps: over which the factor rises in a line; step 0 has its first part, not 0.
        decay_every: steps.
        decay_factor: 0..1.
        drops: as ``Plateau`` counts them.
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    done = min(1.0, (step - warmup_steps) / max(1, steps - warmup_steps))
    if schedule == "cosine":
        return 0.5 * (1.0 + math.cos(math.pi * done))
    if schedule == "linear":
        return 1.0 - done
    return decay_factor ** {"step": step // decay_every, "plateau": drops}.get(schedule, 0)


def ema_decay_at(step: int, decay: float) -> float:
    """Decay of the averaged weights at a step: less at first, so that the random start is forgotten.

    ``min(decay, (1 + step) / (10 + step))``.
    """
    return min(decay, (1.0 + step) / (10.0 + step))


@torch.no_grad()
def update_average(average: Iterable[Tensor], present: Iterable[Tensor], decay: float) -> None:
    """``average <- decay * average + (1 - decay) * present``, in place; whole numbers (counters) are copied."""
    for mean, value in zip(average, present, strict=True):
        if mean.is_floating_point():
            mean.lerp_(value.to(mean), 1.0 - decay)
        else:
            mean.copy_(value)
