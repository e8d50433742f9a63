"""The trunk of dlib's face recognition network (ResNet-29 v1): 27 small convolutions, no batch norm.

Useful to start from: its published weights (CC0) have seen millions of real faces. dlib's affine layers and the
centring of colours are folded into the convolutions, so that pictures go in as they are, 0..1.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

WIDTHS = (32, 32, 32, 64, 64, 64, 64, 128, 128, 128, 256, 256, 256, 256)
STRIDED = (3, 7, 10, 13)
"""Blocks that halve the picture."""
BLOCKS_WITH_PLACE = 13
"""The 14th block leaves one pixel of a chip: enough for who it is, too little for where things are."""
SHORT_BLOCKS = 10
"""The blocks before the widest ones: a quarter of the weights."""
CELLS = 3
"""Rows and columns of the last map that R-Net sees, one after the other: features know where they were seen."""


class DlibBlock(nn.Module):
    """Two convolutions beside a skip; of the two sums, what one lacks in channels or pixels is zero."""

    def __init__(self, channels_in: int, channels: int, *, strided: bool) -> None:
        super().__init__()
        self.strided = strided
        self.first = nn.Conv2d(channels_in, channels, 3, 2 if strided else 1, 0 if strided else 1)
        self.second = nn.Conv2d(channels, channels, 3, 1, 1)
        nn.init.kaiming_normal_(self.first.weight)
        nn.init.zeros_(self.second.weight)  # without norms, a block that starts as its skip can be trained

    def forward(self, x: Float[Tensor, "B Cin H W"]) -> Float[Tensor, "B C h w"]:
        """Filtered map."""
        change = self.second(F.relu(self.first(x)))
        skip = F.avg_pool2d(x, 2, 2) if self.strided else x
        channels, rows, columns = (max(int(a), int(b)) for a, b in zip(change.shape[1:], skip.shape[1:], strict=True))
        return F.relu(_zero_padded(change, channels, rows, columns) + _zero_padded(skip, channels, rows, columns))


class DlibTrunk(nn.Module):
    """Stem and residual blocks.

    Args:
        blocks: how many of the 14.
        width: factor on all channel counts.
        cells: features are the means of so many rows and columns of parts of the last map; 1: the global mean.
    """

    def __init__(self, blocks: int = BLOCKS_WITH_PLACE, *, width: float = 1.0, cells: int = CELLS) -> None:
        super().__init__()
        widths = [max(1, round(channels * width)) for channels in WIDTHS[:blocks]]
        self.cells = cells
        self.num_features = widths[-1] * cells**2
        self.stem = nn.Conv2d(3, widths[0], 7, 2)
        nn.init.kaiming_normal_(self.stem.weight)
        inputs = [widths[0], *widths[:-1]]
        self.blocks = nn.ModuleList(
            DlibBlock(a, b, strided=i in STRIDED) for i, (a, b) in enumerate(zip(inputs, widths, strict=True))
        )

    def stages(self, images: Float[Tensor, "B 3 H W"]) -> list[Tensor]:
        """The last map of each resolution (strides 4, 8, 16, 32)."""
        x, maps = F.max_pool2d(F.relu(self.stem(images)), 3, 2), []
        for i, block in enumerate(self.blocks):
            if i in STRIDED:
                maps.append(x)
            x = block(x)
        return [*maps, x]

    def pooled(self, last: Float[Tensor, "B C h w"]) -> Float[Tensor, "B F"]:
        """Features out of the last map: its means over the cells."""
        # As products with constant matrices, which every program that runs networks knows; adaptive pooling few do.
        rows, columns = (cell_shares(int(side), self.cells).to(last) for side in last.shape[2:])
        return (rows @ last @ columns.T).flatten(1)

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B F"]:
        """Means over the cells of the last map."""
        return self.pooled(self.stages(images)[-1])


def cell_shares(side: int, cells: int) -> Float[Tensor, "C S"]:
    """How much each of so many places counts for each cell: cells cover them all, and share those on their borders."""
    shares = torch.zeros(cells, side)
    for cell in range(cells):
        first, end = cell * side // cells, -(-(cell + 1) * side // cells)
        shares[cell, first:end] = 1.0 / (end - first)
    return shares


def _zero_padded(x: Tensor, channels: int, rows: int, columns: int) -> Tensor:
    """Zeros after the last channel, row and column, up to a shape (channels, rows, columns)."""
    missing = (columns - x.shape[3], rows - x.shape[2], channels - x.shape[1])
    return F.pad(x, (0, missing[0], 0, missing[1], 0, missing[2])) if any(missing) else x
