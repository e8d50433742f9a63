"""The three networks of the detector, layer for layer as published in mediapipe 0.10.14.

BlazeFace (Bazarevsky et al. 2019): box and six keypoints per anchor; a short-range one (faces that fill a fifth of the
picture and more) and a full-range one. Face mesh (Kartynnik et al. 2019): 468 points in a crop around one face.

Convolutions are declared in the order of the published graphs, which is how ``scripts/convert_detector.py`` fills them.
The two BlazeFaces are fully convolutional: any picture whose sides are multiples of ``STRIDE`` goes in.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from facewright.inference import Inference

NUM_KEYPOINTS = 6
REGRESSION_SIZE = 4 + 2 * NUM_KEYPOINTS


class Network(nn.Module):
    """What the three have in common: where they live, and how they answer.

    Args:
        answers: names of what ``forward`` gives.
        any_size: they take pictures of any sides that are multiples of ``STRIDE``.
    """

    SIZE: int

    def __init__(self, *answers: str, any_size: bool = False) -> None:
        super().__init__()
        self._names = answers
        self._inference = Inference(self, self._answers, side=self.SIZE, any_size=any_size)

    def _answers(self, images: Float[Tensor, "B 3 H W"]) -> dict[str, Tensor]:
        return dict(zip(self._names, self(images), strict=True))

    def infer(self, images: Float[Tensor, "B 3 H W"]) -> tuple[Tensor, ...]:
        """What ``forward`` gives, without derivatives, by the quicker engine."""
        return tuple(self._inference(images).values())

    @property
    def weight(self) -> Tensor:
        """Any weight; tells device and dtype."""
        return next(self.parameters())


class BlazeUnit(nn.Module):
    """Depthwise 3x3 and pointwise convolution beside a skip, which is max-pooled and zero-padded to the new shape."""

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1, prelu: bool = False) -> None:
        super().__init__()
        self.stride = stride
        self.extra_channels = outputs - inputs
        # TFLite's SAME padding of an even picture is one-sided at stride 2: nothing left and above, one right and below
        self.pad = nn.ZeroPad2d((0, 1, 0, 1)) if stride == 2 else nn.ZeroPad2d(1)
        self.depthwise = nn.Conv2d(inputs, inputs, 3, stride, groups=inputs)
        self.pointwise = nn.Conv2d(inputs, outputs, 1)
        self.activation = nn.PReLU(outputs) if prelu else nn.ReLU(inplace=True)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D Y X"]:
        """One unit."""
        skip = F.max_pool2d(x, 2) if self.stride == 2 else x
        if self.extra_channels:
            skip = F.pad(skip, (0, 0, 0, 0, 0, self.extra_channels))
        return self.activation(skip + self.pointwise(self.depthwise(self.pad(x))))


class BlazeFaceShort(Network):
    """Short-range BlazeFace; its home size is 128 px."""

    SIZE = 128
    STRIDE = 16

    def __init__(self) -> None:
        super().__init__("regressions", "scores", any_size=True)
        self.stem = nn.Sequential(nn.ZeroPad2d((1, 2, 1, 2)), nn.Conv2d(3, 24, 5, 2), nn.ReLU(inplace=True))
        widths = [24, 24, 28, 32, 36, 42, 48, 56, 64, 72, 80, 88]
        self.fine = nn.Sequential(*(BlazeUnit(a, b, stride=2 if b in (32, 48) else 1) for a, b in pairwise(widths)))
        self.coarse = nn.Sequential(BlazeUnit(88, 96, stride=2), *(BlazeUnit(96, 96) for _ in range(4)))
        self.scores = nn.ModuleList([nn.Conv2d(88, 2, 1), nn.Conv2d(96, 6, 1)])
        self.regressions = nn.ModuleList([nn.Conv2d(88, 32, 1), nn.Conv2d(96, 96, 1)])

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> tuple[Float[Tensor, "B A 16"], Float[Tensor, "B A"]]:
        """Regressions (px, relative to the anchor) and score logits per anchor.

        Args:
            images: RGB, -1..1.
        """
        fine = self.fine(self.stem(images))
        features = (fine, self.coarse(fine))
        scores = [per_anchor(head(f), 1) for head, f in zip(self.scores, features, strict=True)]
        boxes = [per_anchor(head(f), REGRESSION_SIZE) for head, f in zip(self.regressions, features, strict=True)]
        return torch.cat(boxes, 1), torch.cat(scores, 1)[..., 0]


def per_anchor(features: Float[Tensor, "B C H W"], values: int) -> Float[Tensor, "B A N"]:
    """Channels that hold several anchors of a cell, as rows: row by row, cell by cell, anchor by anchor."""
    return features.permute(0, 2, 3, 1).flatten(1).unflatten(1, (-1, values))


class Bottleneck(nn.Module):
    """Depthwise and pointwise convolution twice, through fewer channels; with a skip unless the shape changes."""

    def __init__(self, inputs: int, middle: int, outputs: int, *, stride: int = 1) -> None:
        super().__init__()
        self.skip = stride == 1
        self.layers = nn.Sequential(
            nn.Conv2d(inputs, inputs, 3, stride, 1, groups=inputs),
            nn.Conv2d(inputs, middle, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(middle, middle, 3, 1, 1, groups=middle),
            nn.Conv2d(middle, outputs, 1),
        )

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D Y X"]:
        """One unit."""
        return (x + self.layers(x) if self.skip else self.layers(x)).relu_()


class BlazeFaceFull(Network):
    """Full-range BlazeFace: an encoder, a decoder with laterals, an anchor per four pixels; its home size is 192 px."""

    SIZE = 192
    STRIDE = 32

    def __init__(self) -> None:
        super().__init__("regressions", "scores", any_size=True)
        self.stem = nn.Sequential(
            nn.Conv2d(3, 32, 3, 2, 1), nn.ReLU(inplace=True), *(Bottleneck(32, 8, 32) for _ in range(2))
        )
        self.down4, self.lateral4 = self._level(32, 16, 64, 2), self._narrow(64, 48)
        self.down8, self.lateral8 = self._level(64, 32, 128, 2), self._narrow(128, 64)
        self.down16, self.lateral16 = self._level(128, 48, 192, 2), self._narrow(192, 96)
        self.down32, self.top = self._level(192, 96, 384, 3), self._narrow(384, 96)
        self.up16 = nn.Sequential(*(Bottleneck(96, 48, 96) for _ in range(2)), self._narrow(96, 64))
        self.up8 = nn.Sequential(*(Bottleneck(64, 32, 64) for _ in range(2)), self._narrow(64, 48))
        self.up4 = Bottleneck(48, 24, 48)
        self.scores = nn.Sequential(nn.Conv2d(48, 4, 1), nn.Conv2d(4, 4, 3, 2, 1, groups=4))
        self.regressions = nn.Sequential(nn.Conv2d(48, 64, 1), nn.Conv2d(64, 64, 3, 2, 1, groups=64))

    @staticmethod
    def _level(inputs: int, middle: int, outputs: int, repeats: int) -> nn.Sequential:
        units = [Bottleneck(outputs, middle, outputs) for _ in range(repeats)]
        return nn.Sequential(Bottleneck(inputs, middle, outputs, stride=2), *units)

    @staticmethod
    def _narrow(inputs: int, outputs: int) -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(inputs, outputs, 1), nn.ReLU(inplace=True))

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> tuple[Float[Tensor, "B A 16"], Float[Tensor, "B A"]]:
        """Regressions (px, relative to the anchor) and score logits per anchor.

        Args:
            images: RGB, -1..1.
        """
        at4 = self.down4(self.stem(images))
        at8 = self.down8(at4)
        at16 = self.down16(at8)
        x = self.top(self.down32(at16))
        x = self.up16(doubled(x) + self.lateral16(at16))
        x = self.up8(doubled(x) + self.lateral8(at8))
        x = self.up4(doubled(x) + self.lateral4(at4))
        boxes = per_anchor(depth_to_space(self.regressions(x)), REGRESSION_SIZE)
        return boxes, per_anchor(depth_to_space(self.scores(x)), 1)[..., 0]


def doubled(features: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C Y X"]:
    """Twice the size, bilinear, half-pixel centres."""
    return F.interpolate(features, scale_factor=2.0, mode="bilinear", align_corners=False)


def depth_to_space(features: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D Y X"]:
    """Four channel groups become the four pixels of a 2x2 cell (TFLite's order: the group is the outer index)."""
    channels = features.shape[1] // 4
    return F.pixel_shuffle(features.unflatten(1, (4, channels)).transpose(1, 2).flatten(1, 2), 2)


class FaceMeshNet(Network):
    """468 points of the face in a 192 px crop, and whether there is a face in it."""

    SIZE = 192

    def __init__(self) -> None:
        super().__init__("points", "presence")
        self.stem = nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(3, 16, 3, 2), nn.PReLU(16))
        units = [BlazeUnit(16, 16, prelu=True) for _ in range(2)]
        for inputs, outputs in ((16, 32), (32, 64), (64, 128), (128, 128)):
            units.append(BlazeUnit(inputs, outputs, stride=2, prelu=True))
            units.extend(BlazeUnit(outputs, outputs, prelu=True) for _ in range(2))
        self.trunk = nn.Sequential(*units)
        self.presence = nn.Sequential(BlazeUnit(128, 128, stride=2, prelu=True), *self._head(1))
        units = [BlazeUnit(128, 128, stride=stride, prelu=True) for stride in (2, 1, 1)]
        self.points = nn.Sequential(*units, *self._head(3 * 468))

    @staticmethod
    def _head(outputs: int) -> list[nn.Module]:
        return [nn.Conv2d(128, 32, 1), nn.PReLU(32), BlazeUnit(32, 32, prelu=True), nn.Conv2d(32, outputs, 3)]

    def forward(self, images: Float[Tensor, "B 3 192 192"]) -> tuple[Float[Tensor, "B 468 3"], Float[Tensor, " B"]]:
        """Points (crop px of 0..192: pixel i spans i..i+1; z in the same unit, away from the camera) and face logit.

        Args:
            images: RGB, 0..1.
        """
        features = self.trunk(self.stem(images))
        return self.points(features).flatten(1).unflatten(1, (468, 3)), self.presence(features).flatten()
