"""The published 3DMM-CNN: Caffe's ResNet under our names, its BatchNorm and Scale layers as one norm each."""

import numpy as np
import torch
from torch import Tensor

from facewright.errors import WeightsError
from facewright.regress.backbones.resnet import DEPTHS
from facewright.regress.importers.heads import trunk_width
from facewright.regress.importers.lazy import TensorFile

OUTPUT = "fc_ftnew"
"""The layer that says the codes."""
_TRUNKS = {50: "resnet50_caffe", 101: "resnet101_caffe"}
_SCALED, _NVIDIA = 3, 5
"""Blobs of a norm: mean, variance and the factor of both; in NVIDIA's Caffe scale and shift behind them."""
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def holds_resnet(arrays: TensorFile[np.ndarray]) -> bool:
    """Whether the layers are a ResNet's."""
    return "conv1/0" in arrays and "res2a_branch2a/0" in arrays


def read_network(arrays: TensorFile[np.ndarray]) -> tuple[dict[str, Tensor], str, float]:
    """State of a ``MorphableCNN`` but for its mean picture, the name of its trunk, and its width.

    Raises:
        WeightsError: another network, or an incomplete one.
    """
    depth = _depth(arrays)
    state = _normed(arrays, "conv1", "conv1", "backbone.conv1", "backbone.bn1")
    for stage, units in enumerate(DEPTHS[depth], start=2):
        for unit, name in enumerate(_unit_names(stage, units, depth)):
            ours = f"backbone.layer{stage - 1}.{unit}"
            for k, letter in enumerate("abc", start=1):
                state |= _normed(
                    arrays, f"res{name}_branch2{letter}", f"{name}_branch2{letter}", f"{ours}.conv{k}", f"{ours}.bn{k}"
                )
            if unit == 0:
                shortcut = f"{ours}.downsample"
                state |= _normed(arrays, f"res{name}_branch1", f"{name}_branch1", f"{shortcut}.0", f"{shortcut}.1")
    weight = _tensor(arrays, f"{OUTPUT}/0")
    weight = weight.reshape(weight.shape[-2:]) if weight.dim() > 2 and weight.shape[:-2].numel() == 1 else weight
    state |= {"codes.weight": weight, "codes.bias": _tensor(arrays, f"{OUTPUT}/1").flatten()}
    return state, _TRUNKS[depth], trunk_width(arrays.path, state["backbone.conv1.weight"])


def _depth(arrays: TensorFile[np.ndarray]) -> int:
    """Of the networks that we know the one whose units are there."""
    for depth in sorted(_TRUNKS, reverse=True):
        names = [
            name for stage, units in enumerate(DEPTHS[depth], start=2) for name in _unit_names(stage, units, depth)
        ]
        if all(f"res{name}_branch2a/0" in arrays for name in names):
            return depth
    raise WeightsError(
        f"{arrays.path}: expected the layers of a ResNet-101 (or -50) with an output layer {OUTPUT!r}, found some of "
        "another network; 3dmm_cnn_resnet_101.caffemodel is the published one"
    )


def _unit_names(stage: int, units: int, depth: int) -> list[str]:
    """``3a 3b 3c``; of deep stages ``4a 4b1 4b2``."""
    if depth > 50 and stage in (3, 4):
        return [f"{stage}a", *(f"{stage}b{unit}" for unit in range(1, units))]
    return [f"{stage}{_LETTERS[unit]}" for unit in range(units)]


def _normed(
    arrays: TensorFile[np.ndarray], convolution: str, norm: str, our_convolution: str, our_norm: str
) -> dict[str, Tensor]:
    """A convolution and its norm: y = scale (x - mean / factor) / sqrt(variance / factor + eps) + shift."""
    norms = f"bn_{norm}" if norm == "conv1" else f"bn{norm}"
    scales = f"scale_{norm}" if norm == "conv1" else f"scale{norm}"
    count = sum(f"{norms}/{place}" in arrays for place in range(_NVIDIA + 1))
    if count not in (_SCALED, _NVIDIA):
        raise WeightsError(f"{arrays.path}: expected {norms} of 3 blobs (or of 5), received {count}; fetch it again")
    weight = _tensor(arrays, f"{convolution}/0")
    channels, factor = len(weight), float(_vector(arrays, f"{norms}/2", 1)[0])
    share = 0.0 if factor == 0.0 else 1.0 / factor
    mean, variance = (share * _vector(arrays, f"{norms}/{place}", channels) for place in (0, 1))
    own = count == _NVIDIA and f"{scales}/0" not in arrays
    places = [f"{norms}/{_SCALED}", f"{norms}/{_SCALED + 1}"] if own else [f"{scales}/0", f"{scales}/1"]
    scale, shift = (_vector(arrays, place, channels) for place in places)
    if f"{convolution}/1" in arrays:  # a convolution with a bias of its own
        mean = mean - _vector(arrays, f"{convolution}/1", channels)
    return {
        f"{our_convolution}.weight": weight,
        f"{our_norm}.weight": scale,
        f"{our_norm}.bias": shift,
        f"{our_norm}.running_mean": mean,
        f"{our_norm}.running_var": variance,
        f"{our_norm}.num_batches_tracked": torch.zeros((), dtype=torch.int64),
    }


def _vector(arrays: TensorFile[np.ndarray], name: str, count: int) -> Tensor:
    vector = _tensor(arrays, name).flatten()
    if len(vector) != count:
        raise WeightsError(f"{arrays.path}: expected {name} of {count} numbers, received {len(vector)}; fetch it again")
    return vector


def _tensor(arrays: TensorFile[np.ndarray], name: str) -> Tensor:
    if name not in arrays:
        raise WeightsError(f"{arrays.path}: expected a blob {name}, found none; the file is incomplete, fetch it again")
    return torch.from_numpy(np.array(arrays[name], np.float32))
