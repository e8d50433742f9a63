"""The published PRNet: variables below ``resfcn256/`` of a TensorFlow checkpoint (docs/coming-from-prnet.md)."""

import numpy as np
import torch
from torch import Tensor

from facewright.errors import WeightsError
from facewright.regress.importers.heads import MOST_STEM_CHANNELS
from facewright.regress.importers.lazy import TensorFile

SCOPE = "resfcn256/"
_STEM = "Conv/weights"
FIRST_CHANNELS = 16
BLOCKS, LAYERS = 10, 17
_NORM = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
_SLOTS = ("/Adam", "/Adam_1", "/Momentum", "/ExponentialMovingAverage")


def holds_resfcn(arrays: TensorFile[np.ndarray]) -> bool:
    """Whether a checkpoint holds this network."""
    return any(name.startswith(SCOPE) or f"/{SCOPE}" in name for name in arrays)


def convolutions() -> dict[str, str]:
    """Ours -> theirs, below the scope, for all kernels."""
    named = {"stem": "Conv"}
    for block in range(BLOCKS):
        theirs = _numbered("resBlock", block)
        parts = {"reduce": "Conv", "filter": "Conv_1", "expand": "Conv_2"}
        named |= {f"blocks.{block}.{ours}": f"{theirs}/{name}" for ours, name in parts.items()}
        if block % 2 == 0:
            named[f"blocks.{block}.shortcut"] = f"{theirs}/shortcut"
    return named | {f"layers.{layer}.filter": _numbered("Conv2d_transpose", layer) for layer in range(LAYERS)}


def norms() -> dict[str, str]:
    """Ours -> theirs, below the scope, for all batch norms."""
    named = {"stem_norm": "Conv/BatchNorm"}
    for block in range(BLOCKS):
        theirs = _numbered("resBlock", block)
        parts = {"reduce_norm": "Conv/BatchNorm", "filter_norm": "Conv_1/BatchNorm", "norm": "BatchNorm"}
        named |= {f"blocks.{block}.{ours}": f"{theirs}/{name}" for ours, name in parts.items()}
    return named | {f"layers.{k}.norm": f"{_numbered('Conv2d_transpose', k)}/BatchNorm" for k in range(LAYERS)}


def read_resfcn(arrays: TensorFile[np.ndarray]) -> tuple[dict[str, Tensor], float, tuple[str, ...]]:
    """The network's tensors under our names, the factor on its channels, and notes.

    Kernels are (height, width, in, out), of transposed convolutions (height, width, out, in): both come to torch's
    order by the same exchange of axes, without a flip.

    Raises:
        WeightsError: incomplete, or not this network.
    """
    prefix = _prefix(arrays)
    state: dict[str, Tensor] = {}
    for ours, theirs in convolutions().items():
        kernel = _tensor(arrays, f"{prefix}{theirs}/weights")
        if kernel.dim() != 4:
            raise WeightsError(
                f"{arrays.path}: expected {theirs}/weights of four axes, received {tuple(kernel.shape)}; fetch it again"
            )
        state[f"backbone.{ours}.weight"] = kernel.permute(3, 2, 0, 1).contiguous()
    for ours, theirs in norms().items():
        for name, called in _NORM.items():
            state[f"backbone.{ours}.{name}"] = _tensor(arrays, f"{prefix}{theirs}/{called}")
        state[f"backbone.{ours}.num_batches_tracked"] = torch.zeros((), dtype=torch.int64)
    stem = state["backbone.stem.weight"]
    if stem.shape[1:] != (3, 4, 4) or not 0 < len(stem) <= MOST_STEM_CHANNELS:
        raise WeightsError(
            f"{arrays.path}: expected a first convolution of shape (16, 3, 4, 4), received {tuple(stem.shape)}; "
            "the file is damaged or of another network"
        )
    slots = sum(name.endswith(_SLOTS) or name in ("beta1_power", "beta2_power") for name in arrays)
    notes = (f"{slots} variables of its optimiser were left aside",) if slots else ()
    return state, len(stem) / FIRST_CHANNELS, notes


def _numbered(name: str, k: int) -> str:
    """As TensorFlow names scopes of one name."""
    return name if k == 0 else f"{name}_{k}"


def _prefix(arrays: TensorFile[np.ndarray]) -> str:
    found = sorted(name.removesuffix(_STEM) for name in arrays if name.endswith(f"{SCOPE}{_STEM}"))
    if len(found) != 1:
        raise WeightsError(
            f"{arrays.path}: expected one network with {SCOPE}{_STEM}, found {len(found)}; the checkpoint is incomplete"
        )
    return found[0]


def _tensor(arrays: TensorFile[np.ndarray], name: str) -> Tensor:
    if name not in arrays:
        raise WeightsError(f"{arrays.path}: expected a variable {name}, found none; the checkpoint is incomplete")
    return torch.from_numpy(np.array(arrays[name], np.float32))
