"""Networks of the PyTorch release and its many users: ``backbone.*`` beside ``final_layers.*``.

Facts: docs/deep3d.md sections 2.3 and 2.4.
"""

import re

import torch
from torch import Tensor

from facewright.errors import WeightsError
from facewright.records import CoefficientLayout
from facewright.regress.backbones.resnet import DEPTHS
from facewright.regress.importers.heads import (
    ImportedHeads,
    ImportedNetwork,
    heads_from_parts,
    heads_from_rows,
    trunk_width,
)
from facewright.regress.importers.lazy import TensorFile

_STEM, _HEAD, _ONE_HEAD = "backbone.conv1.weight", "final_layers.0.weight", "backbone.fc.weight"


def find_network(names: TensorFile[Tensor]) -> str:
    """Prefix of the reconstruction network's tensors (``net_recon.``, ``module.``, ``face_3drecon.``, ...).

    Raises:
        WeightsError: there is none, or several that look alike; the message says what was found instead.
    """
    roots = [name.removesuffix(_STEM) for name in names if name.endswith(_STEM)]
    roots = [root for root in roots if root + _HEAD in names or root + _ONE_HEAD in names]
    if len(roots) > 1:
        roots = [root for root in roots if re.search(r"(^|\.)(net_recon|face_3drecon)\.", root)]
    if len(roots) == 1:
        return roots[0]
    expected = f"{names.path}: expected one ResNet of {_STEM!r} beside {_HEAD!r} (epoch_20.pth and its kin)"
    if any(name.endswith("backbone.features.0.0.weight") for name in names):
        raise WeightsError(f"{expected}, received a MobileNet; bring the ResNet-50 file (net_recon.pth)")
    if any(name.endswith("fc.weight") and names[name].shape[:1] == (1000,) for name in names):
        raise WeightsError(f"{expected}, received an ImageNet classifier; it starts trainings, it reconstructs nothing")
    found = ", ".join(sorted(names)[:3]) or "no tensors at all"
    raise WeightsError(f"{expected}, found {len(roots)}; the file begins with {found}")


def read_network(tensors: TensorFile[Tensor], root: str, layout: CoefficientLayout) -> ImportedNetwork:
    """The reconstruction network.

    Args:
        tensors: by name.
        root: prefix found by ``find_network``.
        layout: assumed where one output layer predicts everything.

    Raises:
        WeightsError: not a ResNet of a known depth, or not its output layers.
    """
    trunk = {name.removeprefix(root): name for name in tensors if name.startswith(f"{root}backbone.")}
    state = {name: tensors[key] for name, key in trunk.items() if not name.startswith("backbone.fc.")}
    for name in [name for name in state if name.endswith(".running_mean")]:
        state.setdefault(name.replace("running_mean", "num_batches_tracked"), torch.zeros((), dtype=torch.int64))
    architecture = _architecture(tensors.path, state)
    return ImportedNetwork(state, _heads(tensors, root, layout), architecture, trunk_width(tensors.path, state[_STEM]))


def _heads(tensors: TensorFile[Tensor], root: str, layout: CoefficientLayout) -> ImportedHeads:
    if root + _HEAD not in tensors:
        stem = root + _ONE_HEAD.removesuffix("weight")
        return heads_from_rows(tensors.path, tensors[f"{stem}weight"], _get(tensors, f"{stem}bias"), layout)
    parts = []
    while (name := f"{root}final_layers.{len(parts)}.") + "weight" in tensors:
        parts.append((tensors[f"{name}weight"], _get(tensors, f"{name}bias")))
    return heads_from_parts(tensors.path, parts)


def _get(tensors: TensorFile[Tensor], name: str) -> Tensor:
    if name not in tensors:
        raise WeightsError(f"{tensors.path}: expected a tensor {name}, found none; the file is incomplete")
    return tensors[name]


def _architecture(source: str, names: dict[str, Tensor]) -> str:
    units = [{m[1] for name in names if (m := re.match(rf"backbone\.layer{i}\.(\d+)\.", name))} for i in (1, 2, 3, 4)]
    depths = tuple(len(stage) for stage in units)
    bottleneck = "backbone.layer1.0.conv3.weight" in names
    for depth, known in DEPTHS.items():
        if depths == known and bottleneck == (depth >= 50):
            return f"resnet{depth}"
    raise WeightsError(
        f"{source}: expected the stages of ResNet-18, -34, -50 or -101, received {depths} units"
        f"{' of three convolutions' if bottleneck else ''}; the file is incomplete or of another network"
    )
