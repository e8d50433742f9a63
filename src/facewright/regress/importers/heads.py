"""What importers give, and other projects' output layers brought to R-Net's seven heads."""

from dataclasses import dataclass

import torch
from torch import Tensor

from facewright.errors import WeightsError
from facewright.records import CoefficientLayout
from facewright.regress.rnet import head_sizes

WHITE_LIGHT_SAVING = 18
"""Outputs that white light needs fewer: 9 numbers instead of 27."""


@dataclass(frozen=True)
class ImportedHeads:
    """Heads under R-Net's names.

    Attributes:
        state: ``heads.<name>.weight`` and ``.bias``.
        layout: numbers of coefficients.
        light: ``color`` or ``white``.
        notes: what was changed on the way.
    """

    state: dict[str, Tensor]
    layout: CoefficientLayout
    light: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class ImportedNetwork:
    """A whole network under R-Net's names.

    Attributes:
        trunk: ``backbone.*``.
        heads: output layers.
        architecture: name of the trunk.
        width: factor on its channel counts.
    """

    trunk: dict[str, Tensor]
    heads: ImportedHeads
    architecture: str
    width: float


def heads_from_parts(source: str, parts: list[tuple[Tensor, Tensor]]) -> ImportedHeads:
    """Seven separate output layers (id, exp, tex, angles, gamma, xy, z), and perhaps more behind, which are dropped.

    Args:
        source: the file, for messages.
        parts: weight (outputs, features) and bias (outputs) of each.

    Raises:
        WeightsError: they are not these seven.
    """
    sizes = [len(bias) for _, bias in parts]
    if len(parts) < 7 or sizes[3] != 3 or sizes[4] not in (9, 27) or sizes[5:7] != [2, 1]:
        raise WeightsError(
            f"{source}: expected output layers of id, exp, tex, 3 (angles), 27 or 9 (light), 2 and 1 (translation) "
            f"values, received {sizes}; these weights predict something else"
        )
    layout = CoefficientLayout(*sizes[:3])
    weight, bias = (torch.cat([part[i] for part in parts]) for i in (0, 1))
    return _heads(weight, bias, layout, light="white" if sizes[4] == 9 else "color")


def heads_from_rows(source: str, weight: Tensor, bias: Tensor, layout: CoefficientLayout) -> ImportedHeads:
    """One output layer for everything, in the published order; values behind ``layout.size`` are dropped.

    Args:
        source: the file, for messages.
        weight: (outputs, features).
        bias: (outputs).
        layout: of the vector; white light is recognised by its exact length.

    Raises:
        WeightsError: too few outputs, or so many that it is a classifier.
    """
    white = len(bias) == layout.size - WHITE_LIGHT_SAVING
    if not white and not layout.size <= len(bias) < 2 * layout.size:
        raise WeightsError(
            f"{source}: expected an output layer of {layout.size} values ({layout}) or a few more, received "
            f"{len(bias)}; these weights predict something else, or belong to another face model"
        )
    return _heads(weight, bias, layout, light="white" if white else "color")


def _heads(weight: Tensor, bias: Tensor, layout: CoefficientLayout, *, light: str) -> ImportedHeads:
    notes = []
    if light == "white":
        start, end = layout.size - 30, layout.size - 21
        rows = [*range(start), *[row for _ in range(3) for row in range(start, end)], *range(end, len(bias))]
        weight, bias = weight[rows], bias[rows]
        notes.append("white light (9 values) was repeated for red, green and blue")
    if extra := len(bias) - layout.size:
        notes.append(f"the last {extra} of {len(bias)} outputs were dropped")
    state: dict[str, Tensor] = {}
    start = 0
    for name, size in head_sizes(layout).items():
        state[f"heads.{name}.weight"] = weight[start : start + size].float().contiguous()
        state[f"heads.{name}.bias"] = bias[start : start + size].float().contiguous()
        start += size
    return ImportedHeads(state, layout, light, tuple(notes))
