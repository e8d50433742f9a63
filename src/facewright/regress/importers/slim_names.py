"""TensorFlow release networks: ``resnet_v1_50/...`` beside ``fc-*/{weights,biases}`` (docs/deep3d.md section 2.2)."""

import numpy as np
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
from facewright.regress.importers.tf_graph import Node

_STEM = "resnet_v1_50/conv1/"
_HEADS = ("fc-id", "fc-ex", "fc-tex", "fc-angles", "fc-gamma", "fc-XY", "fc-Z")
_EPSILON = 1e-5


def slim_scopes() -> dict[str, tuple[str, str]]:
    """Scope of each convolution below ``resnet_v1_50/`` -> names of R-Net's convolution and batch norm."""
    scopes = {"conv1": ("backbone.conv1", "backbone.bn1")}
    for stage, depth in enumerate(DEPTHS[50], start=1):
        for unit in range(depth):
            theirs, ours = f"block{stage}/unit_{unit + 1}/bottleneck_v1", f"backbone.layer{stage}.{unit}"
            scopes |= {f"{theirs}/conv{k}": (f"{ours}.conv{k}", f"{ours}.bn{k}") for k in (1, 2, 3)}
        first = f"backbone.layer{stage}.0.downsample"
        scopes[f"block{stage}/unit_1/bottleneck_v1/shortcut"] = (f"{first}.0", f"{first}.1")
    return scopes


def read_network(arrays: TensorFile[np.ndarray], layout: CoefficientLayout) -> ImportedNetwork:
    """The reconstruction network.

    Args:
        arrays: variables or graph constants by name, convolutions as (height, width, in, out).
        layout: assumed where one output layer predicts everything.

    Raises:
        WeightsError: not this network, or incomplete.
    """
    trunk = _trunk_prefix(arrays)
    state: dict[str, Tensor] = {}
    for scope, (convolution, norm) in slim_scopes().items():
        state |= _convolution(arrays, f"{trunk}{scope}", convolution, norm)
    width = trunk_width(arrays.path, state["backbone.conv1.weight"])
    return ImportedNetwork(state, _heads(arrays, trunk, layout), "resnet_v1_50_slim", width)


def check_graph(path: str, nodes: list[Node]) -> dict[str, float]:
    """Compare how the graph strides and pools with ``resnet_v1_50_slim``.

    Returns:
        Scope below ``resnet_v1_50/`` -> epsilon of its fused batch norm.

    Raises:
        WeightsError: it strides elsewhere: the same weights would mean another network.
    """
    epsilons: dict[str, float] = {}
    strides: dict[str, int] = {}
    for node in nodes:
        scope = node.name.partition("resnet_v1_50/")[2].rpartition("/")[0]
        if node.op == "Conv2D" and len(node.strides) == 4:
            strides[scope] = node.strides[1]
        elif node.op == "MaxPool" and scope == "pool1" and node.padding not in ("", "SAME"):
            raise WeightsError(f"{path}: expected pool1 to pad SAME, received {node.padding}; this is another network")
        elif node.op.startswith("FusedBatchNorm") and node.epsilon is not None:
            epsilons[scope.partition("/BatchNorm")[0]] = node.epsilon
    for scope in slim_scopes().keys() & strides.keys():
        if strides[scope] != _slim_stride(scope):
            raise WeightsError(
                f"{path}: expected resnet_v1_50/{scope} to stride by {_slim_stride(scope)} as TF-slim does, "
                f"received {strides[scope]}; the graph was built by another ResNet"
            )
    return epsilons


def _slim_stride(scope: str) -> int:
    last = [
        f"block{stage}/unit_{depth}/bottleneck_v1/conv2" for stage, depth in zip((1, 2, 3), DEPTHS[50], strict=False)
    ]
    return 2 if scope in ("conv1", *last) else 1


def _trunk_prefix(arrays: TensorFile[np.ndarray]) -> str:
    stems = {name.partition(_STEM)[0] for name in arrays if _STEM in name}
    prefixes = sorted(p for p in stems if p + _STEM + "weights" in arrays or p + _STEM + "Conv2D_weights" in arrays)
    if len(prefixes) != 1:
        found = ", ".join(sorted(arrays)[:3]) or "no constants at all"
        raise WeightsError(
            f"{arrays.path}: expected one network with {_STEM}weights (FaceReconModel), found {len(prefixes)}; "
            f"the file begins with {found}"
        )
    return f"{prefixes[0]}resnet_v1_50/"


def _convolution(arrays: TensorFile[np.ndarray], scope: str, convolution: str, norm: str) -> dict[str, Tensor]:
    """A convolution and its batch norm; one that was folded into the weights comes back as a plain shift."""
    kernel = _kernel(arrays, f"{scope}/weights", f"{scope}/Conv2D_weights")
    channels = len(kernel)
    if f"{scope}/BatchNorm/moving_variance" in arrays:
        mean = _tensor(arrays, f"{scope}/BatchNorm/moving_mean")
        variance = _tensor(arrays, f"{scope}/BatchNorm/moving_variance")
        shift = _tensor(arrays, f"{scope}/BatchNorm/beta")
        scaled = f"{scope}/BatchNorm/gamma" in arrays
        scale = _tensor(arrays, f"{scope}/BatchNorm/gamma") if scaled else torch.ones(channels)
    else:
        shift = _tensor(arrays, f"{scope}/Conv2D_bn_offset", f"{scope}/biases")
        mean, variance, scale = torch.zeros(channels), torch.full((channels,), 1.0 - _EPSILON), torch.ones(channels)
    return {
        f"{convolution}.weight": kernel,
        f"{norm}.weight": scale,
        f"{norm}.bias": shift,
        f"{norm}.running_mean": mean,
        f"{norm}.running_var": variance,
        f"{norm}.num_batches_tracked": torch.zeros((), dtype=torch.int64),
    }


def _heads(arrays: TensorFile[np.ndarray], trunk: str, layout: CoefficientLayout) -> ImportedHeads:
    prefix = _head_prefix(arrays, trunk)
    if prefix is None:
        weight = _kernel(arrays, f"{trunk}logits/weights", "fc/weights")
        bias = _tensor(arrays, f"{trunk}logits/biases", "fc/biases")
        return heads_from_rows(arrays.path, weight, bias, layout)
    others = sorted({name.rpartition("/")[0] for name in arrays if name.startswith(f"{prefix}fc-")})
    scopes = [prefix + head for head in _HEADS]
    scopes += [scope for scope in others if scope not in scopes and f"{scope}/weights" in arrays]
    weights = [_kernel(arrays, f"{scope}/weights") for scope in scopes]
    biases = [_tensor(arrays, f"{scope}/biases") for scope in scopes]
    return heads_from_parts(arrays.path, list(zip(weights, biases, strict=True)))


def _head_prefix(arrays: TensorFile[np.ndarray], trunk: str) -> str | None:
    candidates = [name.removesuffix("fc-id/weights") for name in arrays if name.endswith("fc-id/weights")]
    beside = trunk.removesuffix("resnet_v1_50/")
    return beside if beside in candidates else (candidates[0] if candidates else None)


def _kernel(arrays: TensorFile[np.ndarray], *names: str) -> Tensor:
    """Weights of a convolution (height, width, in, out) or full layer (in, out) in torch's order: out, in, ..."""
    kernel = _tensor(arrays, *names)
    if kernel.dim() not in (2, 4):
        raise WeightsError(f"{arrays.path}: expected {names[0]} of four axes, received {tuple(kernel.shape)}")
    return kernel.T.contiguous() if kernel.dim() == 2 else kernel.permute(3, 2, 0, 1).contiguous()


def _tensor(arrays: TensorFile[np.ndarray], *names: str) -> Tensor:
    for name in names:
        if name in arrays:
            return torch.from_numpy(np.array(arrays[name], np.float32))
    raise WeightsError(f"{arrays.path}: expected a tensor {names[0]}, found none; the file is incomplete")
