"""Face parsing: which pixels of a crop show the head's own surface, hair, or things in front of it.

A U-Net (Ronneberger et al. 2015) upon the first blocks of the trunk that R-Net has, which have seen real faces.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from facewright.records import PARTS, TensorRecord
from facewright.regress.backbones.dlib import DlibTrunk
from facewright.regress.cards import DEEP3D_CROPS, Card, Kind, whole, width

VIEW = 1.25
"""Side of what a parsing network sees, in sides of the Deep3D crop about the same middle: ears, neck and hair too."""
BLOCKS = (3, 10)
"""Least and largest number of a trunk's blocks."""
_SHARP = 8
"""Channels of the one layer that sees every pixel."""


@dataclass(frozen=True)
class ParsingPrediction(TensorRecord):
    """What a parsing network says about crops.

    Attributes:
        shares: of ``records.PARTS`` in each pixel, 0..1; they sum to 1.
    """

    shares: Float[Tensor, "B 4 S S"]


class ParsingNet(nn.Module):
    """A crop, ``VIEW`` times as wide as R-Net's, to the share of each part in its pixels.

    Args:
        crop_size: side of the crops, px.
        blocks: of the trunk.
        width: factor on the trunk's channels.
        channels: of the decoder, at a quarter of the crop's size; fewer where it is larger.
    """

    def __init__(self, *, crop_size: int = 112, blocks: int = 7, width: float = 1.0, channels: int = 48) -> None:
        super().__init__()
        self.crop_size, self.blocks, self.width, self.channels = crop_size, blocks, width, channels
        self.backbone = DlibTrunk(blocks, width=width)
        first = self.backbone.stem.out_channels
        widths = [len(block.get_parameter("first.weight")) for block in self.backbone.blocks]
        maps = [widths[i - 1] for i in (3, 7, 10) if i < blocks] + [widths[-1]]
        self.sharp = nn.Conv2d(3, _SHARP, 3, padding=1)
        skips = [*reversed(maps[:-1]), first, _SHARP]
        counts = [max(16, channels // 2 ** max(0, level - len(maps) + 2)) for level in range(len(skips))]
        inputs = [maps[-1], *counts[:-1]]
        self.joins = nn.ModuleList(
            nn.Conv2d(a + skip, b, 3, padding=1) for a, skip, b in zip(inputs, skips, counts, strict=True)
        )
        self.last = nn.Conv2d(counts[-1], len(PARTS), 3, padding=1)
        for layer in (self.sharp, *self.joins):
            nn.init.kaiming_normal_(layer.get_parameter("weight"))
            nn.init.zeros_(layer.get_parameter("bias"))

    def logits(self, crops: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B 4 S S"]:
        """Unnormalised logarithms of the shares.

        Args:
            crops: sRGB-coded, 0..1, of any size of at least 48 px.
        """
        trunk = self.backbone
        stem = F.relu(trunk.stem(crops))
        x, maps = F.max_pool2d(stem, 3, 2), []
        for i, block in enumerate(trunk.blocks):
            if i in (3, 7, 10):
                maps.append(x)
            x = block(x)
        for join, skip in zip(self.joins, [*reversed(maps), stem, F.relu(self.sharp(crops))], strict=True):
            size = (int(skip.shape[2]), int(skip.shape[3]))
            larger = F.interpolate(x, size=size, mode="bilinear", align_corners=False)
            x = F.relu(join(torch.cat([larger, skip], 1)))
        return self.last(x)

    def predict(self, crops: Float[Tensor, "B 3 S S"]) -> ParsingPrediction:
        """The parts of crops.

        Raises:
            ValueError: crops of another size than the net was trained on.
        """
        if crops.shape[-1] != self.crop_size:
            raise ValueError(
                f"expected crops of {self.crop_size} px, received {tuple(crops.shape)}; align to the weights' size"
            )
        return ParsingPrediction(self.logits(crops).softmax(1))

    def forward(self, crops: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B 4 S S"]:
        """The shares of ``predict`` alone."""
        return self.predict(crops).shares


def _describe(net: ParsingNet) -> dict[str, Any]:
    return {"crop_size": net.crop_size, "blocks": net.blocks, "width": net.width, "channels": net.channels}


def _build(card: Card) -> ParsingNet:
    return ParsingNet(
        crop_size=card["crop_size"], blocks=card["blocks"], width=card["width"], channels=card["channels"]
    )


PARSING = Kind(
    label="parsing network",
    network=ParsingNet,
    entries={"blocks": whole(*BLOCKS), "width": width(), "channels": whole(8, 512)},
    build=_build,
    describe=_describe,
    answers=lambda net, crops: {"shares": net(crops)},
    layout=False,
    templates=(DEEP3D_CROPS,),
)
