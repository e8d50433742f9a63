"""C-Net: how sure one photo's identity is, coefficient by coefficient; many photos become one identity.

Deng et al. 2019, section 5. It reads the features of an R-Net that stays as it is: the maps after the first residual
stage, where blur and occlusion still show, and the pooled ones, which know pose and light. Ours has a second answer
beside the published one: a code of who is seen, by which the photos of an album are sorted by person.
"""

import hashlib
from dataclasses import asdict
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from facewright.errors import WeightsError
from facewright.records import CoefficientLayout
from facewright.regress.cards import Card, Kind, one_of, text, whole
from facewright.regress.rnet import RNet

Scores = Literal["coefficients", "one"]
"""A confidence for each identity coefficient; or one for the whole photo, as in set-based face recognition."""

MOST_CHANNELS, MOST_FEATURES = 4096, 100_000
CONVOLUTIONS = 3
SLOPE = 8.0
"""Evidence by cosine of an untrained network, nats: it learns a factor of this."""


class CNet(nn.Module):
    """Three strided convolutions on the shallow maps, then two layers on theirs and the pooled features; a sigmoid.

    The last layer starts at zero: an untrained C-Net gives every photo the same say. With the trunk of the paper
    (``resnet_v1_50_slim``: maps of 28x28x256, 2048 features) it has 2,991,440 weights. Maps of any size do: 56x56
    of torchvision's layout, 26x26x32 of dlib's trunk.

    Args:
        layout: of the face model; its ``id`` is how many confidences there are.
        shallow: channels of the maps after R-Net's first stage.
        features: how many pooled features R-Net has.
        crop_size: side of the R-Net's crops, px.
        channels: of the convolutions.
        hidden: width of the layer between.
        scores: of coefficients, or of whole photos.
        codes: length of the codes of who is seen; 0: there are none, as published.
        trunk: which R-Net's features it has learnt to read (``trunk_fingerprint``); empty before that.

    Raises:
        ValueError: no such kind of scores.
    """

    def __init__(
        self,
        layout: CoefficientLayout,
        *,
        shallow: int = 256,
        features: int = 2048,
        crop_size: int = 224,
        channels: int = 256,
        hidden: int = 512,
        scores: Scores = "coefficients",
        codes: int = 0,
        trunk: str = "",
    ) -> None:
        super().__init__()
        if scores not in get_args(Scores):
            raise ValueError(f"expected scores of {get_args(Scores)}, received {scores!r}")
        self.layout, self.shallow, self.features, self.crop_size = layout, shallow, features, crop_size
        self.channels, self.hidden, self.codes, self.trunk = channels, hidden, codes, trunk
        self.scores: Scores = scores
        self.convolutions = nn.ModuleList(
            nn.Conv2d(channels if k else shallow, channels, 3, 2, padding=1) for k in range(CONVOLUTIONS)
        )
        self.mixing = nn.Linear(channels + features, hidden)
        self.confidence = nn.Linear(hidden, layout.id if scores == "coefficients" else 1)
        self.who: nn.Sequential | None = None
        if codes > 0:
            middle = nn.Linear(features, hidden)
            self.who = nn.Sequential(nn.LayerNorm(features), middle, nn.ReLU(), nn.Linear(hidden, codes))
            self.sameness = nn.Parameter(torch.tensor([1.0, 1.0]))
        for part in self.convolutions:
            nn.init.kaiming_normal_(part.weight, nonlinearity="relu")  # pyright: ignore[reportArgumentType] - a tensor
        nn.init.zeros_(self.confidence.weight)
        nn.init.zeros_(self.confidence.bias)

    def forward(self, shallow: Float[Tensor, "B C H W"], pooled: Float[Tensor, "B F"]) -> Float[Tensor, "B Kid"]:
        """Confidences, 0..1, of the identity that R-Net reads from each crop.

        Args:
            shallow: maps of the trunk's first stage.
            pooled: what R-Net's heads see.
        """
        for part in self.convolutions:
            shallow = torch.relu(part(shallow))
        seen = torch.relu(self.mixing(torch.cat([shallow.mean((-2, -1)), pooled], -1)))
        return torch.sigmoid(self.confidence(seen)).expand(-1, self.layout.id)

    def person_codes(self, pooled: Float[Tensor, "B F"]) -> Float[Tensor, "B D"]:
        """Who is seen: of two photos ``likeness`` is the evidence that they are of one person, nats.

        Args:
            pooled: what R-Net's heads see.

        Raises:
            ValueError: a network without such codes.
        """
        if self.who is None:
            raise ValueError("expected a C-Net with codes of who is seen, received one without; train it with --codes")
        directions = nn.functional.normalize(self.who(pooled), dim=-1)
        # the angle alone says who it is; its evidence is a straight line whose two numbers are learnt
        return torch.cat([directions, self.sameness.expand(len(directions), 2)], -1)


def trunk_fingerprint(rnet: RNet) -> str:
    """What tells an R-Net's trunk from all others: a hash of its weights, the same for a file of half precision."""
    digest = hashlib.sha256(f"{rnet.architecture} {rnet.width} {rnet.crop_size} {rnet.input_coding}".encode())
    for name, value in sorted(rnet.backbone.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().half().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def check_trunk(net: CNet, rnet: RNet, source: str = "these weights") -> None:
    """Refuse a C-Net that reads the features of another R-Net.

    Raises:
        WeightsError: it does.
    """
    wanted = trunk_fingerprint(rnet)
    if net.trunk != wanted:
        raise WeightsError(
            f"{source}: this C-Net reads the features of the R-Net with trunk {net.trunk[:12] or 'unknown'}, received "
            f"one with trunk {wanted[:12]}; give the weights of that R-Net, or train a C-Net for this one "
            "(`facewright train cnet --rnet F.safetensors`)"
        )


def likeness(codes: Float[Tensor, "N D"]) -> Float[Tensor, "N N"]:
    """Evidence, of all pairs of photos, for one person over that for two, nats: a straight line of the cosine.

    Args:
        codes: ``CNet.person_codes``.
    """
    directions, line = codes[:, :-2], codes[0, -2:]
    return SLOPE * line[0] * (directions @ directions.T) - SLOPE / 2 * line[1]


def aggregated(codes: Float[Tensor, "M K"], weights: Float[Tensor, "M K"]) -> Float[Tensor, " K"]:
    """One code of many, element by element: sum of w a over sum of w (Deng et al. 2019, equation 7).

    Summed in float64, so that the order of the photos does not show; one photo's code comes back as it is.

    Args:
        codes: of each photo.
        weights: confidences, above 0; factors common to all photos do not matter.
    """
    if len(codes) == 1:
        return codes[0]
    share = weights.double()
    return ((share * codes.double()).sum(0) / share.sum(0).clamp_min(1e-12)).to(codes)


def _build(card: Card) -> CNet:
    return CNet(
        CoefficientLayout(**card["layout"]),
        shallow=card["shallow"],
        features=card["features"],
        crop_size=card["crop_size"],
        channels=card["channels"],
        hidden=card["hidden"],
        scores=card["scores"],
        codes=card["codes"],
        trunk=card["trunk"],
    )


def _describe(net: CNet) -> dict[str, Any]:
    names = ("shallow", "features", "crop_size", "channels", "hidden", "scores", "codes", "trunk")
    return {name: getattr(net, name) for name in names} | {"layout": asdict(net.layout)}


CNET = Kind(
    label="C-Net",
    network=CNet,
    entries={
        "shallow": whole(1, MOST_CHANNELS),
        "features": whole(1, MOST_FEATURES),
        "channels": whole(1, MOST_CHANNELS),
        "hidden": whole(1, MOST_CHANNELS),
        "scores": one_of(get_args(Scores)),
        "codes": whole(0, MOST_CHANNELS),
        "trunk": text(needed=True),
    },
    build=_build,
    describe=_describe,
    answers=None,  # it sees no crops, but what an R-Net has made of them
)
