"""Who is seen: dlib's face recognition network (ResNet-29 v1), rebuilt in torch.

128 numbers a face, compared by Euclidean distance: below 0.6 it is one person. By its author 99.38 % on LFW; trained on
some three million photographs from the web and dedicated to the public domain (CC0). It has never seen a drawn face.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from facewright.inference import Inference
from facewright.regress.backbones.dlib import WIDTHS, DlibTrunk
from facewright.regress.cards import Card, Kind

SAME_PERSON_DISTANCE = 0.6
"""Largest distance of two descriptors of one person, as the network's author states it."""
IDENTITY_CHIPS, IDENTITY_CHIP_PX = "dlib-five-150", 150
"""Rule and side of the crops that it sees (``align.chips``)."""
DESCRIPTOR = 128


class IdentityNet(nn.Module):
    """dlib's trunk, its global mean, and one matrix; 5,607,488 weights."""

    crop_size = IDENTITY_CHIP_PX

    def __init__(self) -> None:
        super().__init__()
        self.trunk = DlibTrunk(len(WIDTHS), cells=1)
        self.head = nn.Linear(WIDTHS[-1], DESCRIPTOR, bias=False)
        self._inference = Inference(self, self._answers, side=IDENTITY_CHIP_PX)

    def forward(self, chips_srgb: Float[Tensor, "B 3 150 150"]) -> Float[Tensor, "B 128"]:
        """Descriptors of faces, differentiable in the pixels.

        Args:
            chips_srgb: cut by ``align.chips.identity_chips``; sRGB-coded, 0..1.
        """
        return self.head(self.trunk(chips_srgb))

    def infer(self, chips_srgb: Float[Tensor, "B 3 150 150"]) -> Float[Tensor, "B 128"]:
        """The same without derivatives, by the quicker engine; a chip and its mirror image get the mean of theirs.

        Who it is does not depend on the side that the light comes from: the mean is steadier than either.
        """
        both = self._inference(torch.cat([chips_srgb, chips_srgb.flip(-1)]))["descriptor"]
        return both.unflatten(0, (2, -1)).mean(0)

    def _answers(self, chips: Float[Tensor, "B 3 150 150"]) -> dict[str, Tensor]:
        return {"descriptor": self(chips)}


def descriptor_distances(first: Float[Tensor, "N D"], second: Float[Tensor, "M D"]) -> Float[Tensor, "N M"]:
    """Euclidean distances of descriptors: below ``SAME_PERSON_DISTANCE`` it is one person.

    Args:
        first: descriptors.
        second: descriptors.
    """
    return torch.cdist(first, second, compute_mode="donot_use_mm_for_euclid_dist")


def _build(card: Card) -> IdentityNet:
    return IdentityNet()


def _describe(net: IdentityNet) -> dict[str, Any]:
    return {"crop_size": net.crop_size}


def _named(net: IdentityNet, chips: Tensor) -> dict[str, Tensor]:
    return {"descriptor": net(chips)}


IDENTITY = Kind(
    label="identity network",
    network=IdentityNet,
    entries={},
    build=_build,
    describe=_describe,
    answers=_named,
    layout=False,
    face_model=False,
    templates=(IDENTITY_CHIPS,),
)
