"""The layers of ArcFace's networks (IResNet) in small."""

import torch
from torch import Tensor, nn


class Unit(nn.Module):
    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        self.path = nn.Sequential(
            nn.BatchNorm2d(channels_in),
            nn.Conv2d(channels_in, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.PReLU(channels),
            nn.Conv2d(channels, channels, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )
        self.skip = nn.Sequential(nn.Conv2d(channels_in, channels, 1, 2, bias=False), nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        return self.path(x) + self.skip(x)


class SmallIResNet(nn.Module):
    """112-px chips to 16 numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1, bias=False), nn.BatchNorm2d(4), nn.PReLU(4))
        self.units = nn.Sequential(Unit(4, 8), Unit(8, 8))
        self.norm, self.dropout = nn.BatchNorm2d(8), nn.Dropout(0.4)
        self.matrix, self.last = nn.Linear(8 * 14 * 14, 16), nn.BatchNorm1d(16)

    def forward(self, chips: Tensor) -> Tensor:
        seen = self.dropout(self.norm(self.units(self.stem(chips))))
        return self.last(self.matrix(torch.flatten(seen, 1)))


def small_iresnet() -> SmallIResNet:
    """Untrained, with batch statistics and slopes that are not those of the start."""
    net = SmallIResNet()
    with torch.no_grad():
        for part in net.modules():
            if isinstance(part, nn.PReLU):
                part.weight.uniform_(0.0, 0.5)
        for _ in range(3):
            net(2 * torch.rand(8, 3, 112, 112) - 1)
    return net.eval().requires_grad_(False)
