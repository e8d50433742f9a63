"""What importers give, and other projects' output layers brought to R-Net's seven heads."""

from dataclasses import dataclass

import torch
from torch import Tensor

from facewright.errors import WeightsError
from facewright.records import CoefficientLayout
from facewright.regress.rnet import head_sizes

WHITE_LIGHT_SAVING = 18
"""Outputs that white light needs fewer: 9 numbers instead of 27."""

MOST_STEM_CHANNELS = 256
"""More than any known network has; a damaged or hostile file is not to claim all memory."""


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
        parts: weight (outputs, features, perhaps 1, 1) and bias (outputs) of each.

    Raises:
        WeightsError: they are not these seven.
    """
    parts = [_layer(source, weight, bias) for weight, bias in parts]
    sizes = [len(bias) for _, bias in parts]
    features = {weight.shape[1] for weight, _ in parts}
    if len(features) > 1 or len(parts) < 7 or sizes[3] != 3 or sizes[4] not in (9, 27) or sizes[5:7] != [2, 1]:
        raise WeightsError(
            f"{source}: expected output layers of id, exp, tex, 3 (angles), 27 or 9 (light), 2 and 1 (translation) "
            f"values on the same features, received {sizes} on {sorted(features)}; these weights predict something else"
        )
    layout = CoefficientLayout(*sizes[:3])
    weight, bias = (torch.cat([part[i] for part in parts]) for i in (0, 1))
    return _heads(weight, bias, layout, light="white" if sizes[4] == 9 else "color")


def heads_from_rows(source: str, weight: Tensor, bias: Tensor, layout: CoefficientLayout) -> ImportedHeads:
    """One output layer for everything, in the published order; values behind ``layout.size`` are dropped.

    Args:
        source: the file, for messages.
        weight: (outputs, features, perhaps 1, 1).
        bias: (outputs).
        layout: of the vector; white light is recognised by its exact length.

    Raises:
        WeightsError: too few outputs, or so many that it is a classifier.
    """
    weight, bias = _layer(source, weight, bias)
    white = len(bias) == layout.size - WHITE_LIGHT_SAVING
    if not white and not layout.size <= len(bias) < 2 * layout.size:
        raise WeightsError(
            f"{source}: expected an output layer of {layout.size} values ({layout}) or a few more, received "
            f"{len(bias)}; these weights predict something else, or belong to another face model"
        )
    return _heads(weight, bias, layout, light="white" if white else "color")


def trunk_width(source: str, stem: Tensor) -> float:
    """Factor on the channels of a trunk, from the weight of its first convolution.

    Raises:
        WeightsError: it is no 7x7 convolution of three channels, or a monstrous one.
    """
    if stem.shape[1:] != (3, 7, 7) or not 0 < len(stem) <= MOST_STEM_CHANNELS:
        raise WeightsError(
            f"{source}: expected a first convolution of shape (64, 3, 7, 7), received {tuple(stem.shape)}; "
            "the file is damaged or of another network"
        )
    return len(stem) / 64


def _layer(source: str, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    if weight.dim() < 2 or weight.shape[2:].numel() != 1 or bias.shape != weight.shape[:1]:
        raise WeightsError(
            f"{source}: expected output layers with one bias per row, received a weight of {tuple(weight.shape)} "
            f"with a bias of {tuple(bias.shape)}; the file is damaged"
        )
    return weight.flatten(1), bias


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
