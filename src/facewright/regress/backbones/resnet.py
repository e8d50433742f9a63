"""Residual networks in three layouts, with one set of names (conv1, bn1, layer1.0.conv1, ..., layer1.0.downsample.0).

``resnet``: He et al. 2016 with the stride in the 3x3 of a stage's first unit ("v1.5"), as torchvision and the PyTorch
release of Deep3D have it. ``resnet_v1_50_slim``: TF-slim's ``resnet_v1_50``, as the TensorFlow release has it: stages
1-3 stride in the 3x3 of their *last* unit and subsample its identity shortcut; stage 4 does not stride
(docs/deep3d.md section 2.2). ``resnet_caffe``: the first release in Caffe, of which 3DMM-CNN is made: the stride is in
the first 1x1 of a stage's first unit, and the stem pools without padding, counting a last window that is cut off.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

Layout = Literal["torchvision", "slim", "caffe"]
DEPTHS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}


class BasicUnit(nn.Module):
    """Two 3x3 convolutions beside a shortcut."""

    expansion = 1

    def __init__(
        self, channels_in: int, channels: int, stride: int, *, project: bool, stride_first: bool = False
    ) -> None:
        super().__init__()  # its first convolution strides anyway
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = _shortcut(channels_in, channels, stride, project=project)

    def forward(self, x: Float[Tensor, "B Cin H W"]) -> Float[Tensor, "B C h w"]:
        """Residual plus shortcut."""
        residual = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(residual)) + self.downsample(x))


class BottleneckUnit(nn.Module):
    """1x1, 3x3, 1x1 convolutions beside a shortcut; the 3x3 strides, or the first one."""

    expansion = 4

    def __init__(
        self, channels_in: int, channels: int, stride: int, *, project: bool, stride_first: bool = False
    ) -> None:
        super().__init__()
        first, second = (stride, 1) if stride_first else (1, stride)
        self.conv1 = nn.Conv2d(channels_in, channels, 1, first, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        # Padding 1 on both sides is also what slim does here: its strided convolutions pad explicitly, not "SAME".
        self.conv2 = nn.Conv2d(channels, channels, 3, second, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, 4 * channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * channels)
        self.downsample = _shortcut(channels_in, 4 * channels, stride, project=project)

    def forward(self, x: Float[Tensor, "B Cin H W"]) -> Float[Tensor, "B C h w"]:
        """Residual plus shortcut."""
        residual = F.relu(self.bn1(self.conv1(x)))
        residual = F.relu(self.bn2(self.conv2(residual)))
        return F.relu(self.bn3(self.conv3(residual)) + self.downsample(x))


class Subsample(nn.Module):
    """Every ``stride``-th row and column, from the first."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C h w"]:
        """Pick."""
        return x[..., :: self.stride, :: self.stride]


def _shortcut(channels_in: int, channels: int, stride: int, *, project: bool) -> nn.Module:
    if project:
        convolution = nn.Conv2d(channels_in, channels, 1, stride, bias=False)
        return nn.Sequential(convolution, nn.BatchNorm2d(channels))
    return Subsample(stride) if stride > 1 else nn.Identity()


class ResNet(nn.Module):
    """Stem, four stages, global average.

    Args:
        unit: kind of residual unit.
        depths: units per stage.
        width: factor on all channel counts.
        layout: whose strides and stem pooling.
    """

    def __init__(
        self,
        unit: type[BasicUnit] | type[BottleneckUnit],
        depths: tuple[int, int, int, int],
        *,
        width: float = 1.0,
        layout: Layout = "torchvision",
    ) -> None:
        super().__init__()
        self.layout, slim = layout, layout == "slim"
        stem = round(64 * width)
        self.conv1 = nn.Conv2d(3, stem, 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        channels_in = stem
        for i, depth in enumerate(depths):
            channels = round(64 * width) * 2**i
            strides = [1] * depth
            if slim and i < 3:
                strides[-1] = 2
            elif not slim and i > 0:
                strides[0] = 2
            units = []
            for stride in strides:
                wide = channels * unit.expansion
                project = channels_in != wide or (stride > 1 and not slim)
                units.append(unit(channels_in, channels, stride, project=project, stride_first=layout == "caffe"))
                channels_in = wide
            self.add_module(f"layer{i + 1}", nn.Sequential(*units))
        self.num_features = channels_in
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def stages(self, images: Float[Tensor, "B 3 H W"]) -> list[Tensor]:
        """Maps after each of the four stages (strides 4, 8, 16, 32; of slim 8, 16, 32, 32)."""
        x = F.relu(self.bn1(self.conv1(images)))
        x = self._stem_pooled(x)
        maps = []
        for i in range(4):
            x = self.get_submodule(f"layer{i + 1}")(x)
            maps.append(x)
        return maps

    def _stem_pooled(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C h w"]:
        if self.layout == "slim":
            return F.max_pool2d(_pad_same(x, 3, 2), 3, 2)
        if self.layout == "caffe":
            return F.max_pool2d(x, 3, 2, ceil_mode=True)
        return F.max_pool2d(x, 3, 2, padding=1)

    def pooled(self, last: Float[Tensor, "B C h w"]) -> Float[Tensor, "B C"]:
        """Features out of the last map: its global average."""
        return last.mean((-2, -1))

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B C"]:
        """Global average of the last stage."""
        return self.pooled(self.stages(images)[-1])


def _pad_same(x: Float[Tensor, "B C H W"], kernel: int, stride: int) -> Float[Tensor, "B C h w"]:
    """TensorFlow's "SAME" for a following max pooling: just enough to cover the input, the odd pixel at the end."""
    total = [max((-(-n // stride) - 1) * stride + kernel - n, 0) for n in x.shape[-2:]]
    (top, bottom), (left, right) = [(t // 2, t - t // 2) for t in total]
    return F.pad(x, (left, right, top, bottom), value=-torch.inf)


def resnet(depth: int, width: float = 1.0) -> ResNet:
    """ResNet-18, -34, -50 or -101, v1.5."""
    return ResNet(BasicUnit if depth < 50 else BottleneckUnit, DEPTHS[depth], width=width)


def resnet_v1_50_slim(width: float = 1.0) -> ResNet:
    """TF-slim's ResNet-50."""
    return ResNet(BottleneckUnit, DEPTHS[50], width=width, layout="slim")


def resnet_caffe(depth: int, width: float = 1.0) -> ResNet:
    """ResNet-50 or -101 as first released."""
    return ResNet(BottleneckUnit, DEPTHS[depth], width=width, layout="caffe")
