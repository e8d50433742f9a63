"""Random faces out of a face model's own priors."""

from collections.abc import Sequence
from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor

from facewright.morphable.linear import FaceModel
from facewright.records import FaceCoefficients

ACTIVE_EXPRESSIONS = 4
"""How many blendshapes a random face shows on average."""
_TURNED_TOGETHER = {"eyeLookInLeft": "eyeLookOutRight", "eyeLookOutLeft": "eyeLookInRight"}


def sample_coefficients(
    model: FaceModel,
    generator: torch.Generator | Sequence[torch.Generator],
    batch: int = 1,
    *,
    truncation: float = 2.5,
    expressions: bool = True,
) -> FaceCoefficients:
    """Draw faces: identity and albedo truncated normal, expression by the model's prior; frontal, in the default light.

    Drawn on the CPU, so that a seed means the same faces everywhere; move the record afterwards.

    Args:
        model: gives counts and the kind of expression prior.
        generator: CPU random state; it advances. Several, one a face: each face is the one that its state alone gives.
        batch: how many faces each state gives.
        truncation: identity and albedo coefficients are redrawn into -truncation..truncation.
        expressions: False leaves all faces neutral.

    Raises:
        ValueError: ``truncation`` is not positive.
    """
    if not truncation > 0:
        raise ValueError(f"expected a positive truncation, received {truncation}; 2.5 keeps 99 % of the prior")
    generators = [generator] if isinstance(generator, torch.Generator) else generator
    zeros = model.layout.zeros(batch * len(generators))
    id_part = _truncated_normal((batch, model.layout.id), truncation, generators)
    tex = _truncated_normal((batch, model.layout.tex), truncation, generators)
    exp = zeros.exp
    if expressions and model.exp_is_box:
        active, strength = (_uniform((batch, model.layout.exp), generators, torch.float32) for _ in range(2))
        exp = plausible_blendshapes(_sparse_box(active, strength), model.exp_names)
    elif expressions:
        exp = _truncated_normal((batch, model.layout.exp), truncation, generators)
    return FaceCoefficients(id_part, exp, tex, zeros.angles, zeros.sh, zeros.translation)


def plausible_blendshapes(weights: Float[Tensor, "B K"], names: tuple[str, ...]) -> Float[Tensor, "B K"]:
    """Weights as faces show them, for the expressions that have ARKit's names; others stay as they are.

    Both eyes blink, squint and turn together (looking left is out for one eye and in for the other); other left-right
    pairs share three quarters of their weight; ``mouthClose``, which undoes the parting of the lips by ``jawOpen``,
    never exceeds it.
    """
    left, right, shares = _pairs(names)
    plausible = weights.clone()
    plausible[:, right] = shares.to(weights) * weights[:, left] + (1.0 - shares.to(weights)) * weights[:, right]
    if "mouthClose" in names and "jawOpen" in names:
        close, jaw = names.index("mouthClose"), names.index("jawOpen")
        plausible[:, close] = torch.minimum(plausible[:, close], plausible[:, jaw])
    return plausible


@cache
def _pairs(names: tuple[str, ...]) -> tuple[list[int], list[int], Float[Tensor, " P"]]:
    """Places of what the left and the right side do together, and how much of the left's the right shares."""
    place = {name: index for index, name in enumerate(names)}
    paired = [name for name in names if name.endswith("Left") and _other_side(name) in place]
    shares = [1.0 if name.startswith("eye") else 0.75 for name in paired]
    return [place[name] for name in paired], [place[_other_side(name)] for name in paired], torch.tensor(shares)


def _other_side(name: str) -> str:
    """The expression that accompanies a left one on the right: the eyes turn to one side together."""
    return _TURNED_TOGETHER.get(name, name.removesuffix("Left") + "Right")


def _uniform(shape: tuple[int, int], generators: Sequence[torch.Generator], dtype: torch.dtype) -> Tensor:
    return torch.cat([torch.rand(shape, generator=generator, dtype=dtype) for generator in generators])


def _truncated_normal(shape: tuple[int, int], limit: float, generators: Sequence[torch.Generator]) -> Tensor:
    """Standard normal numbers within -limit..limit, by inverting the distribution function."""
    tail = 0.5 * (1.0 + torch.erf(torch.tensor(limit / 2**0.5, dtype=torch.float64)))
    uniform = _uniform(shape, generators, torch.float64)
    quantile = (1.0 - tail) + uniform * (2.0 * tail - 1.0)
    return (2**0.5 * torch.erfinv(2.0 * quantile - 1.0)).clamp(-limit, limit).float()


def _sparse_box(active: Tensor, strength: Tensor) -> Tensor:
    """Weights in 0..1 of uniform numbers, at least half of them zero; small ones are commoner than large ones."""
    share = min(0.5, ACTIVE_EXPRESSIONS / max(active.shape[1], 1))
    return torch.where(active < share, strength.square(), torch.zeros_like(strength))
