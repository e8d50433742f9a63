"""Forward passes of both official networks, written without the package: what the modules are compared with."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

TORCH_HEADS = (80, 64, 80, 3, 27, 2, 1)
SLIM_HEADS = {"fc-id": 80, "fc-ex": 64, "fc-tex": 80, "fc-angles": 3, "fc-gamma": 27, "fc-XY": 2, "fc-Z": 1}
UNITS = (3, 4, 6, 3)


def random_official_state(seed: int, *, width: float, heads: tuple[int, ...] = TORCH_HEADS) -> dict[str, Tensor]:
    """Random tensors under the names and shapes of ``net_recon`` (ResNet-50)."""
    rng = torch.Generator().manual_seed(seed)
    state: dict[str, Tensor] = {}

    def conv(name: str, norm: str, kernel: int, channels_in: int, channels: int) -> None:
        spread = (2 / (kernel * kernel * channels_in)) ** 0.5
        state[f"{name}.weight"] = torch.randn(channels, channels_in, kernel, kernel, generator=rng) * spread
        state[f"{norm}.weight"] = torch.rand(channels, generator=rng) * 0.6 + 0.4
        state[f"{norm}.bias"] = torch.randn(channels, generator=rng) * 0.1
        state[f"{norm}.running_mean"] = torch.randn(channels, generator=rng) * 0.1
        state[f"{norm}.running_var"] = torch.rand(channels, generator=rng) + 0.5
        state[f"{norm}.num_batches_tracked"] = torch.tensor(1000)

    stem = channels_in = round(64 * width)
    conv("backbone.conv1", "backbone.bn1", 7, 3, stem)
    for i, units in enumerate(UNITS):
        inner = stem * 2**i
        for unit in range(units):
            name = f"backbone.layer{i + 1}.{unit}"
            conv(f"{name}.conv1", f"{name}.bn1", 1, channels_in, inner)
            conv(f"{name}.conv2", f"{name}.bn2", 3, inner, inner)
            conv(f"{name}.conv3", f"{name}.bn3", 1, inner, 4 * inner)
            if unit == 0:
                conv(f"{name}.downsample.0", f"{name}.downsample.1", 1, channels_in, 4 * inner)
            channels_in = 4 * inner
    for i, size in enumerate(heads):
        state[f"final_layers.{i}.weight"] = torch.randn(size, channels_in, 1, 1, generator=rng) * 0.05
        state[f"final_layers.{i}.bias"] = torch.randn(size, generator=rng) * 0.1
    return state


def official_forward(state: dict[str, Tensor], crops: Tensor) -> Tensor:
    """ResNet-50 with the stride in the first unit's 3x3, average pooling, seven 1x1 convolutions, concatenated."""

    def conv(x: Tensor, name: str, norm: str, stride: int = 1) -> Tensor:
        weight = state[f"{name}.weight"].to(x)
        x = F.conv2d(x, weight, None, stride, weight.shape[-1] // 2)
        mean, var, scale, shift = (
            state[f"{norm}.{k}"].to(x)[:, None, None] for k in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (var + 1e-5).sqrt() * scale + shift

    x = conv(crops, "backbone.conv1", "backbone.bn1", 2).relu()
    x = F.max_pool2d(x, 3, 2, 1)
    for i, units in enumerate(UNITS):
        for unit in range(units):
            name = f"backbone.layer{i + 1}.{unit}"
            stride = 2 if i > 0 and unit == 0 else 1
            y = conv(x, f"{name}.conv1", f"{name}.bn1").relu()
            y = conv(y, f"{name}.conv2", f"{name}.bn2", stride).relu()
            y = conv(y, f"{name}.conv3", f"{name}.bn3")
            if unit == 0:
                x = conv(x, f"{name}.downsample.0", f"{name}.downsample.1", stride)
            x = (x + y).relu()
    x = F.adaptive_avg_pool2d(x, 1)
    count = sum(name.startswith("final_layers") for name in state) // 2
    heads = [
        F.conv2d(x, state[f"final_layers.{i}.weight"].to(x), state[f"final_layers.{i}.bias"].to(x))
        for i in range(count)
    ]
    return torch.cat(heads, 1).flatten(1)


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """TensorFlow's rule: as many windows as strides fit in, the odd pixel of padding at the end."""
    windows = (size + stride - 1) // stride
    total = max((windows - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def same_max_pool(x: np.ndarray, kernel: int, stride: int) -> np.ndarray:
    """Max pooling of a plane with "SAME" padding, window by window."""
    (top, _), (left, _) = (same_padding(n, kernel, stride) for n in x.shape)
    rows, columns = ((n + stride - 1) // stride for n in x.shape)
    pooled = np.zeros((rows, columns), x.dtype)
    for i in range(rows):
        for j in range(columns):
            r, c = i * stride - top, j * stride - left
            pooled[i, j] = x[max(r, 0) : r + kernel, max(c, 0) : c + kernel].max()
    return pooled


def slim_forward(
    variables: dict[str, np.ndarray], images_bgr_255: Tensor, heads: tuple[str, ...] = tuple(SLIM_HEADS)
) -> Tensor:
    """resnet_v1_50 of TF-slim on B H W 3 pictures (BGR, 0..255), and its output layers concatenated."""

    def conv(x: Tensor, scope: str, stride: int = 1) -> Tensor:
        kernel = torch.from_numpy(variables[f"{scope}/weights"]).to(x)
        size = kernel.shape[0]
        # conv2d_same: a strided convolution pads kernel - 1 in all, whatever the picture's size, then runs "VALID".
        before, after = ((size - 1) // 2, size - 1 - (size - 1) // 2) if stride > 1 else same_padding(7, size, 1)
        x = F.conv2d(F.pad(x, (before, after, before, after)), kernel.permute(3, 2, 0, 1), None, stride)
        mean, var, shift = (
            torch.from_numpy(variables[f"{scope}/BatchNorm/{k}"]).to(x)[:, None, None]
            for k in ("moving_mean", "moving_variance", "beta")
        )
        scale = torch.from_numpy(variables.get(f"{scope}/BatchNorm/gamma", np.ones(len(mean), np.float32))).to(x)
        return (x - mean) / (var + 1e-5).sqrt() * scale[:, None, None] + shift

    x = conv(images_bgr_255.permute(0, 3, 1, 2), "resnet_v1_50/conv1", 2).relu()
    (top, bottom), (left, right) = (same_padding(n, 3, 2) for n in x.shape[2:])
    x = F.max_pool2d(F.pad(x, (left, right, top, bottom), value=-1e30), 3, 2)
    for block, units in enumerate(UNITS, start=1):
        for unit in range(1, units + 1):
            scope = f"resnet_v1_50/block{block}/unit_{unit}/bottleneck_v1"
            stride = 2 if unit == units and block < 4 else 1
            y = conv(x, f"{scope}/conv1").relu()
            y = conv(y, f"{scope}/conv2", stride).relu()
            y = conv(y, f"{scope}/conv3")
            shortcut = conv(x, f"{scope}/shortcut", stride) if unit == 1 else x[:, :, ::stride, ::stride]
            x = (shortcut + y).relu()
    x = x.mean((2, 3))
    weights = [torch.from_numpy(variables[f"{h}/weights"]).to(x)[0, 0] for h in heads]
    return torch.cat(
        [x @ w + torch.from_numpy(variables[f"{h}/biases"]).to(x) for w, h in zip(weights, heads, strict=True)], 1
    )
