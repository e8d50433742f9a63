"""PRNet: one crop -> the position map of a face (Feng et al. 2018, section 3; docs/coming-from-prnet.md).

A position map is a picture in texture space: each of its pixels is one point of the face, and its three channels say
where that point lies: column and row in the crop (px, y down) and depth (px, growing toward the camera).
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from facewright.geometry.frames import crop_camera
from facewright.geometry.map_pose import map_of_world
from facewright.geometry.rotations import rotation_from_angles
from facewright.records import TensorRecord
from facewright.regress.backbones import BACKBONES, build_backbone
from facewright.regress.cards import DEEP3D_CROPS, Card, Kind, one_of, whole, width

RESFCN = "resfcn256"
"""The published network; every other architecture is a trunk of ``BACKBONES`` before a light decoder."""
SQUARE_CROPS = "prnet-square"
"""Crops by a box around the landmarks, 1.6 times as large (``facewright.align.square``)."""

REACH = 1.1
"""Largest coordinate that the published network can say, in sides of the crop; the least is 0."""
LANDMARKS = 68
MAP_SIZES = (16, 1024)
"""Least and largest side of a position map."""
LEAST_DOUBT = 1e-3
"""Least deviation of a predicted point, as a share of the crop."""
PX_PER_DM = 102.0 / 224.0
"""Of the Deep3D crop, in sides of the crop: unit of what moves each point of a light net's map by itself."""
DIRECTIONS = 40
"""Numbers that say the shape of the face in a light decoder."""

_RESIDUALS = ((2, 2), (2, 1), (4, 2), (4, 1), (8, 2), (8, 1), (16, 2), (16, 1), (32, 2), (32, 1))
"""Channels in units of the first layer's, and stride, of the encoder's blocks."""
_TRANSPOSED = (
    *((32, 1), (16, 2), (16, 1), (16, 1), (8, 2), (8, 1), (8, 1)),
    *((4, 2), (4, 1), (4, 1), (2, 2), (2, 1), (1, 2), (1, 1)),
)
"""The same of the decoder's layers, but for the last three, which have three channels."""
_HALVED = 32
"""How many times smaller than a crop the encoder's last map is."""
_DECODED_FROM, _MIXED = 8, 192
"""Side of the first map of a light decoder, and how many numbers say what is on it."""


@dataclass(frozen=True)
class PRNetPrediction(TensorRecord):
    """What a PRNet says about crops.

    Attributes:
        positions_px: position maps: column, row (crop px, y down) and depth (px, growing toward the camera).
        sigma_px: the net's own doubt about each point: deviation of any coordinate; None from a net that has none.
    """

    positions_px: Float[Tensor, "B 3 N N"]
    sigma_px: Float[Tensor, "B N N"] | None = None


class SameConv2d(nn.Conv2d):
    """A convolution without bias that pads as TensorFlow's "SAME": the odd row and column at the end."""

    def __init__(self, channels_in: int, channels: int, kernel: int, stride: int = 1) -> None:
        super().__init__(channels_in, channels, kernel, stride, bias=False)

    def forward(self, input: Float[Tensor, "B Cin H W"]) -> Float[Tensor, "B C h w"]:
        """Ceil of the sides over the stride."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        rows, columns = (max(0, -(-side // stride) * stride - stride + kernel - side) for side in input.shape[2:])
        padded = F.pad(input, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))
        return F.conv2d(padded if rows or columns else input, self.weight, None, stride)


class SameTransposed2d(nn.ConvTranspose2d):
    """The transpose of ``SameConv2d``: as many pixels as the input has, times the stride."""

    def __init__(self, channels_in: int, channels: int, kernel: int, stride: int = 1) -> None:
        super().__init__(channels_in, channels, kernel, stride, bias=False)
        self.before = (kernel - stride) // 2

    def forward(self, input: Float[Tensor, "B Cin H W"]) -> Float[Tensor, "B C h w"]:
        """What "SAME" would have padded at the end is cut off."""
        rows, columns = (side * self.stride[0] for side in input.shape[2:])
        whole = F.conv_transpose2d(input, self.weight, None, self.stride, self.before)
        return whole[..., :rows, :columns]


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=1e-3)


class ResidualBlock(nn.Module):
    """1x1, 4x4 and 1x1 convolution beside a skip, and a norm behind the sum."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        inner = max(1, channels // 2)
        self.reduce, self.reduce_norm = SameConv2d(channels_in, inner, 1), _norm(inner)
        self.filter, self.filter_norm = SameConv2d(inner, inner, 4, stride), _norm(inner)
        self.expand, self.norm = SameConv2d(inner, channels, 1), _norm(channels)
        changes = stride > 1 or channels_in != channels
        self.shortcut = SameConv2d(channels_in, channels, 1, stride) if changes else None

    def forward(self, x: Float[Tensor, "B Cin H W"]) -> Float[Tensor, "B C h w"]:
        """Filtered map."""
        inner = F.relu(self.filter_norm(self.filter(F.relu(self.reduce_norm(self.reduce(x))))))
        return F.relu(self.norm(self.expand(inner) + (x if self.shortcut is None else self.shortcut(x))))


class TransposedBlock(nn.Module):
    """A transposed convolution and its norm; the activation is the caller's."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.filter, self.norm = SameTransposed2d(channels_in, channels, 4, stride), _norm(channels)

    def forward(self, x: Float[Tensor, "B Cin H W"]) -> Float[Tensor, "B C h w"]:
        """Filtered map, not yet activated."""
        return self.norm(self.filter(x))


class ResFcn(nn.Module):
    """The published encoder and decoder: a map as large as the crop.

    Args:
        width: factor on all channel counts but the three of the last layers.
    """

    def __init__(self, width: float = 1.0) -> None:
        super().__init__()
        first = max(1, round(16 * width))
        self.stem, self.stem_norm = SameConv2d(3, first, 4), _norm(first)
        channels = [first] + [first * factor for factor, _ in _RESIDUALS]
        self.blocks = nn.ModuleList(
            ResidualBlock(channels[i], channels[i + 1], stride) for i, (_, stride) in enumerate(_RESIDUALS)
        )
        layers = [(first * factor, stride) for factor, stride in _TRANSPOSED] + [(3, 1)] * 3
        inputs = [channels[-1]] + [count for count, _ in layers[:-1]]
        self.layers = nn.ModuleList(
            TransposedBlock(a, b, stride) for a, (b, stride) in zip(inputs, layers, strict=True)
        )

    def forward(self, crops: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B 3 N N"]:
        """Positions in units of ``REACH`` sides of the crop, 0..1."""
        x = F.relu(self.stem_norm(self.stem(crops)))
        for block in self.blocks:
            x = block(x)
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return torch.sigmoid(self.layers[-1](x))


class LightDecoder(nn.Module):
    """From a trunk's features to a map: the mean face, reshaped and posed as a whole, and then each point by itself.

    It starts at zero: an untrained net answers with the mean face, looking at the camera, in the middle of the crop.
    What ``directions`` hold is the caller's to say; they are learnt like all else.

    Args:
        features: width of the trunk's.
        map_size: side of the map. What moves each point by itself is decoded at half of that or less: it is smoother
            than where the points are.

    Attributes:
        directions: how the mean face's points move with each number of its shape, dm.
    """

    def __init__(self, features: int, map_size: int) -> None:
        super().__init__()
        levels = max(0, (map_size // (2 * _DECODED_FROM)).bit_length() - 1)
        counts = [max(16, 32 // 2 ** max(0, level - 1)) for level in range(levels + 1)]
        self.map_size = map_size
        self.directions = nn.Parameter(torch.zeros(DIRECTIONS, 3, map_size, map_size))
        self.shape = nn.Linear(features, DIRECTIONS)
        self.pose = nn.Linear(features, 6)
        self.mix = nn.Linear(features, _MIXED)
        self.first = nn.Linear(_MIXED, counts[0] * _DECODED_FROM**2)
        self.filters = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(counts))
        self.last = nn.Conv2d(counts[-1], 4, 3, padding=1)
        for filter_ in self.filters:
            nn.init.kaiming_normal_(filter_.get_parameter("weight"))
        for layer in (self.shape, self.pose, self.last):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.get_parameter("bias"))

    def forward(
        self, features: Float[Tensor, "B C"], mean_dm: Float[Tensor, "3 N N"]
    ) -> tuple[Float[Tensor, "B 3 N N"], Float[Tensor, "B 4 N N"]]:
        """The reshaped face in the world of the crop's camera, dm; per point its own move and its doubt's logarithm."""
        shaped = mean_dm.flatten() + self.shape(features) @ self.directions.flatten(1)
        pose = self.pose(features)
        rotation = rotation_from_angles(pose[:, :3].float())
        world = rotation @ shaped.float().unflatten(1, (3, -1)) + pose[:, 3:, None].float()
        x = F.relu(self.first(F.relu(self.mix(features)))).unflatten(1, (-1, _DECODED_FROM, _DECODED_FROM))
        for filter_ in self.filters:
            x = F.relu(filter_(F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)))
        own = F.interpolate(self.last(x), size=(self.map_size, self.map_size), mode="bilinear", align_corners=False)
        return world.unflatten(2, (self.map_size, self.map_size)), own


class PRNet(nn.Module):
    """A network, and the tables without which its maps say nothing: they are part of its weights.

    Args:
        architecture: ``RESFCN``, or the name of a trunk (``BACKBONES``) before a light decoder.
        width: factor on channel counts.
        crop_size: side of the square crops, px.
        map_size: side of the maps; ``RESFCN`` has no choice: that of the crops, or the next multiple of 32.

    Attributes:
        mask: pixels of the map that are face; the others mean nothing.
        landmarks: row and column of each of the iBUG-68 in the map.
        canonical_dm: position map of the mean face in the model frame, dm, y up; zero outside of the mask.
        window: u0, v0, u1, v1: texture coordinates of the middle of the map's pixel at the bottom left and of that at
            the top right.
        offset: what is taken off the published network's positions, in sides of the crop: 0 in its own weights, which
            can say nothing left of the crop or above it.
    """

    mask: Bool[Tensor, "N N"]
    landmarks: Int[Tensor, "68 2"]
    canonical_dm: Float[Tensor, "3 N N"]
    window: Float[Tensor, "4"]
    offset: Float[Tensor, "3"]

    def __init__(
        self, *, architecture: str = RESFCN, width: float = 1.0, crop_size: int = 256, map_size: int = 256
    ) -> None:
        super().__init__()
        if architecture == RESFCN:
            map_size = -(-crop_size // _HALVED) * _HALVED
        self.architecture, self.width, self.crop_size, self.map_size = architecture, width, crop_size, map_size
        self.register_buffer("mask", torch.ones(map_size, map_size, dtype=torch.bool))
        self.register_buffer("landmarks", torch.zeros(LANDMARKS, 2, dtype=torch.int64))
        self.register_buffer("canonical_dm", torch.zeros(3, map_size, map_size))
        self.register_buffer("window", torch.tensor([0.0, 0.0, 1.0, 1.0]))
        self.register_buffer("offset", torch.zeros(3))
        self.backbone = ResFcn(width) if architecture == RESFCN else build_backbone(architecture, width=width)
        features = getattr(self.backbone, "num_features", 0)
        self.decoder = None if architecture == RESFCN else LightDecoder(features, map_size)

    def set_tables(
        self,
        mask: Bool[Tensor, "N N"],
        landmarks: Int[Tensor, "68 2"],
        canonical_dm: Float[Tensor, "3 N N"],
        window: Float[Tensor, "4"],
    ) -> None:
        """Say what the map's pixels are, in place; see the attributes."""
        for name, value in (
            ("mask", mask),
            ("landmarks", landmarks),
            ("canonical_dm", canonical_dm),
            ("window", window),
        ):
            self.get_buffer(name).copy_(value)

    def predict(self, crops: Float[Tensor, "B 3 S S"]) -> PRNetPrediction:
        """Position maps of crops.

        Args:
            crops: sRGB-coded, 0..1, cut as the card's template says.

        Raises:
            ValueError: crops of another size than the net was trained on.
        """
        if crops.shape[-1] != self.crop_size:
            raise ValueError(
                f"expected crops of {self.crop_size} px, received {tuple(crops.shape)}; align to the weights' size"
            )
        answer = self.backbone(crops)
        if self.decoder is None:
            return PRNetPrediction(self.crop_size * (REACH * answer - self.offset[:, None, None]))
        return self._moved(*self.decoder(answer, self.canonical_dm))

    def forward(self, crops: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B 3 N N"]:
        """The maps of ``predict`` alone."""
        return self.predict(crops).positions_px

    def _moved(self, world: Float[Tensor, "B 3 N N"], own: Float[Tensor, "B 4 N N"]) -> PRNetPrediction:
        """The face as the crop's camera sees it, each point moved by itself."""
        size, scale = self.crop_size, PX_PER_DM * self.crop_size
        seen = map_of_world(world.flatten(2).transpose(1, 2), crop_camera(size=size, like=world))
        sigma = size * (LEAST_DOUBT + 0.1 * torch.exp(own[:, 3].clamp(-6.0, 3.0)))
        return PRNetPrediction(seen.transpose(1, 2).unflatten(2, own.shape[2:]) + scale * own[:, :3], sigma)


def _build(card: Card) -> PRNet:
    return PRNet(
        architecture=card["architecture"],
        width=card["width"],
        crop_size=card["crop_size"],
        map_size=card["map_size"],
    )


def _describe(net: PRNet) -> dict[str, Any]:
    return {
        "architecture": net.architecture,
        "width": net.width,
        "crop_size": net.crop_size,
        "map_size": net.map_size,
    }


def _answers(net: PRNet, crops: Float[Tensor, "B 3 S S"]) -> dict[str, Tensor]:
    seen = net.predict(crops)
    return {"positions": seen.positions_px} | ({} if seen.sigma_px is None else {"sigma": seen.sigma_px})


PRNET = Kind(
    label="PRNet",
    network=PRNet,
    entries={
        "architecture": one_of((RESFCN, *BACKBONES)),
        "width": width(),
        "map_size": whole(*MAP_SIZES),
    },
    build=_build,
    describe=_describe,
    answers=_answers,
    layout=False,
    templates=(SQUARE_CROPS, DEEP3D_CROPS),
)
