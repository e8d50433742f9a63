"""MobileNetV3 (Howard et al. 2019, tables 1 and 2) without its classifier: the trunk for phones and browsers.

Key names are torchvision's (features.0.0, features.1.block.0.0, ...), so that ImageNet weights can start a training.
"""

from typing import Literal, NamedTuple

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class Row(NamedTuple):
    """One line of the paper's tables."""

    kernel: int
    expanded: int
    channels: int
    squeeze: bool
    hardswish: bool
    stride: int


TABLES = {
    "small": [
        Row(3, 16, 16, True, False, 2),
        Row(3, 72, 24, False, False, 2),
        Row(3, 88, 24, False, False, 1),
        Row(5, 96, 40, True, True, 2),
        Row(5, 240, 40, True, True, 1),
        Row(5, 240, 40, True, True, 1),
        Row(5, 120, 48, True, True, 1),
        Row(5, 144, 48, True, True, 1),
        Row(5, 288, 96, True, True, 2),
        Row(5, 576, 96, True, True, 1),
        Row(5, 576, 96, True, True, 1),
    ],
    "large": [
        Row(3, 16, 16, False, False, 1),
        Row(3, 64, 24, False, False, 2),
        Row(3, 72, 24, False, False, 1),
        Row(5, 72, 40, True, False, 2),
        Row(5, 120, 40, True, False, 1),
        Row(5, 120, 40, True, False, 1),
        Row(3, 240, 80, False, True, 2),
        Row(3, 200, 80, False, True, 1),
        Row(3, 184, 80, False, True, 1),
        Row(3, 184, 80, False, True, 1),
        Row(3, 480, 112, True, True, 1),
        Row(3, 672, 112, True, True, 1),
        Row(5, 672, 160, True, True, 2),
        Row(5, 960, 160, True, True, 1),
        Row(5, 960, 160, True, True, 1),
    ],
}


def _divisible(channels: float) -> int:
    """Nearest multiple of 8, not more than 10 % below (the paper's rule for width factors)."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


class ConvNorm(nn.Sequential):
    """Convolution, batch norm, and an activation or none."""

    def __init__(
        self,
        channels_in: int,
        channels: int,
        kernel: int,
        *,
        stride: int = 1,
        groups: int = 1,
        activation: type[nn.Module] = nn.Identity,
    ) -> None:
        convolution = nn.Conv2d(channels_in, channels, kernel, stride, kernel // 2, groups=groups, bias=False)
        super().__init__(convolution, nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01), activation())


class SqueezeExcite(nn.Module):
    """Weighs channels by a gate computed from their means."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, squeezed, 1)
        self.fc2 = nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        """Gated map."""
        gate = F.hardsigmoid(self.fc2(F.relu(self.fc1(x.mean((-2, -1), keepdim=True)))))
        return x * gate


class InvertedResidual(nn.Module):
    """Expand, filter per channel, gate, project; with a shortcut where shapes allow."""

    def __init__(self, channels_in: int, row: Row, width: float) -> None:
        super().__init__()
        expanded, channels = _divisible(row.expanded * width), _divisible(row.channels * width)
        activation = nn.Hardswish if row.hardswish else nn.ReLU
        layers: list[nn.Module] = []
        if expanded != channels_in:
            layers.append(ConvNorm(channels_in, expanded, 1, activation=activation))
        filters = ConvNorm(expanded, expanded, row.kernel, stride=row.stride, groups=expanded, activation=activation)
        layers.append(filters)
        if row.squeeze:
            layers.append(SqueezeExcite(expanded, _divisible(expanded / 4)))
        layers.append(ConvNorm(expanded, channels, 1))
        self.block = nn.Sequential(*layers)
        self.stride = row.stride
        self.residual = row.stride == 1 and channels_in == channels

    def forward(self, x: Float[Tensor, "B Cin H W"]) -> Float[Tensor, "B C h w"]:
        """Filtered map."""
        return x + self.block(x) if self.residual else self.block(x)


class MobileNetV3(nn.Module):
    """The feature extractor, globally averaged.

    Args:
        rows: the inverted residuals.
        width: factor on all channel counts, rounded to multiples of 8.
    """

    def __init__(self, rows: list[Row], *, width: float = 1.0) -> None:
        super().__init__()
        channels = _divisible(16 * width)
        layers: list[nn.Module] = [ConvNorm(3, channels, 3, stride=2, activation=nn.Hardswish)]
        for row in rows:
            layers.append(InvertedResidual(channels, row, width))
            channels = _divisible(row.channels * width)
        self.num_features = 6 * channels
        layers.append(ConvNorm(channels, self.num_features, 1, activation=nn.Hardswish))
        self.features = nn.Sequential(*layers)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def stages(self, images: Float[Tensor, "B 3 H W"]) -> list[Tensor]:
        """The last map of each resolution (strides 4, 8, 16, 32)."""
        maps: list[Tensor] = []
        x = images
        for layer in self.features:
            if isinstance(layer, InvertedResidual) and layer.stride == 2:
                maps.append(x)
            x = layer(x)
        return [*maps[-3:], x]

    def pooled(self, last: Float[Tensor, "B C h w"]) -> Float[Tensor, "B C"]:
        """Features out of the last map: its global average."""
        return last.mean((-2, -1))

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B C"]:
        """Global average of the last map."""
        return self.pooled(self.features(images))


def mobilenet_v3(size: Literal["small", "large"], width: float = 1.0) -> MobileNetV3:
    """MobileNetV3-Small or -Large."""
    return MobileNetV3(TABLES[size], width=width)
