"""3DMM-CNN: one crop -> who it is, as the shape and albedo of a face model (Tran et al. 2017; docs/maths.md).

No pose, no expression, no light: a face gets the same answer in all its photographs. Ours may also read what other
networks in the package have made of a face already, instead of a trunk of its own.
"""

import hashlib
from collections.abc import Mapping
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from facewright.errors import WeightsError
from facewright.regress.backbones import BACKBONES, build_backbone
from facewright.regress.cards import (
    DEEP3D_CROPS,
    LONGEST_TEXT,
    MOST_COEFFICIENTS,
    Card,
    Entry,
    Kind,
    flag,
    one_of,
    whole,
    width,
)

TRAN_LANDMARK_CROPS, TRAN_BOX_CROPS = "tran-landmarks", "tran-box"
"""Crops by the box of 68 landmarks, or by that of a detector (``facewright.align.tran``)."""
SHARED = "shared"
"""Instead of a trunk's name: it reads the pooled features of other networks, which stay as they are."""
CAFFE_MEAN_BGR = (85.24, 96.97, 119.07)
"""Averages of the published mean picture, 0..255: what is taken off where there is none."""
LEAST_VARIANCE, MOST_DEVIATIONS = 1e-8, 4.0
"""Pooled features may be far smaller than 1, which a norm's usual 1e-5 would flatten; one that hardly ever moved in
training must not outweigh all others when it does: what is normed is held within so many standard deviations."""
MOST_FEATURES, MOST_HIDDEN, MOST_TRUNKS = 100_000, 16_384, 8

CodeInput = Literal["rgb_0_1", "bgr_less_mean"]
"""How a trunk was taught to see sRGB: R, G, B in 0..1, or B, G, R in 0..255 less a mean picture (the release)."""


class MorphableCNN(nn.Module):
    """A trunk and one layer; or a norm, two layers and the features of other networks.

    The last layer starts at zero: an untrained net answers with the mean face.

    Args:
        id: how many shape coefficients it says: the first of the face model's.
        tex: how many albedo coefficients.
        architecture: name of the trunk (``BACKBONES``), or ``SHARED``.
        width: factor on the trunk's channel counts.
        crop_size: side of the square crops, px; of shared trunks that of the first one's.
        input_coding: what the trunk's first layer sees.
        hidden: width of a layer between features and codes; 0: none, as published.
        mirrored: it was made to be asked about crops and their mirror images, and what it says of both is averaged.
        trunks: of ``SHARED``: by the names of weights files in the package, which trunks it has learnt to read
            (``features_fingerprint``), in their order.
        features: of ``SHARED``: how many features they are together.

    Raises:
        ValueError: no such coding; trunks without ``SHARED`` or the reverse.
    """

    def __init__(
        self,
        id: int = 99,
        tex: int = 99,
        *,
        architecture: str = "resnet101_caffe",
        width: float = 1.0,
        crop_size: int = 224,
        input_coding: CodeInput = "rgb_0_1",
        hidden: int = 0,
        mirrored: bool = False,
        trunks: Mapping[str, str] | None = None,
        features: int = 0,
    ) -> None:
        super().__init__()
        if input_coding not in get_args(CodeInput):
            raise ValueError(f"expected an input coding of {get_args(CodeInput)}, received {input_coding!r}")
        if (architecture == SHARED) != bool(trunks) or (architecture == SHARED) != (features > 0):
            raise ValueError(f"expected trunks and features with {SHARED!r} alone, received {trunks} and {features}")
        self.id, self.tex, self.architecture, self.width = id, tex, architecture, width
        self.crop_size, self.hidden, self.mirrored, self.trunks = crop_size, hidden, mirrored, dict(trunks or {})
        self.input_coding: CodeInput = input_coding
        self.mean_bgr: Tensor | None
        self.register_buffer("mean_bgr", plain_mean(crop_size) if input_coding == "bgr_less_mean" else None)
        self.backbone = None if architecture == SHARED else build_backbone(architecture, width=width)
        self.features = features if self.backbone is None else self.backbone.num_features
        self.neck: nn.Sequential | None = None
        if hidden > 0:
            norm = nn.BatchNorm1d(self.features, eps=LEAST_VARIANCE)
            within = nn.Hardtanh(-MOST_DEVIATIONS, MOST_DEVIATIONS)
            self.neck = nn.Sequential(norm, within, nn.Linear(self.features, hidden), nn.ReLU())
        self.codes = nn.Linear(hidden or self.features, id + tex)
        nn.init.zeros_(self.codes.weight)
        nn.init.zeros_(self.codes.bias)

    def set_mean_picture(self, mean_bgr: Float[Tensor, "3 S S"]) -> None:
        """Say which picture is taken off crops: blue, green and red, 0..255.

        Raises:
            ValueError: a net that takes none off.
        """
        if self.mean_bgr is None:
            raise ValueError("expected a network that takes a mean picture off its crops, received one that does not")
        self.mean_bgr.copy_(mean_bgr)

    def features_of(self, crops: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B F"]:
        """What the last layers see.

        Args:
            crops: sRGB-coded, 0..1, cut as the card's template says.

        Raises:
            WeightsError: it has no trunk: its features are other networks' to make.
            ValueError: crops of another size than the net was trained on.
        """
        if self.backbone is None:
            raise WeightsError(
                f"this 3DMM-CNN reads the features of {', '.join(self.trunks)} and has no trunk to look at crops with; "
                "take it through --method 3dmm-cnn"
            )
        if crops.shape[-1] != self.crop_size:
            raise ValueError(
                f"expected crops of {self.crop_size} px, received {tuple(crops.shape)}; align to the weights' size"
            )
        if self.mean_bgr is None:
            return self.backbone(crops)
        return self.backbone(crops.flip(1) * 255.0 - self.mean_bgr)

    def codes_from(self, features: Float[Tensor, "B F"]) -> Float[Tensor, "B K"]:
        """Shape codes and, behind them, albedo codes, in standard deviations; from ``features_of``."""
        return self.codes(features if self.neck is None else self.neck(features))

    def forward(self, crops: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B K"]:
        """Shape codes and, behind them, albedo codes; arguments and errors as ``features_of``."""
        return self.codes_from(self.features_of(crops))


def plain_mean(crop_size: int) -> Float[Tensor, "3 S S"]:
    """A mean picture of one colour: blue, green and red, 0..255."""
    return torch.tensor(CAFFE_MEAN_BGR)[:, None, None].expand(3, crop_size, crop_size).contiguous()


def features_fingerprint(trunk: nn.Module, coding: str) -> str:
    """What tells a trunk that others read from all others: a hash of its weights, the same in half precision.

    Args:
        trunk: whose pooled features are read.
        coding: how it sees its crops.
    """
    digest = hashlib.sha256(coding.encode())
    for name, value in sorted(trunk.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().half().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def check_trunks(net: MorphableCNN, found: Mapping[str, str], source: str) -> None:
    """Refuse a net that has learnt to read other trunks than those that are there.

    Args:
        net: reads.
        found: fingerprints of what is there, by name.
        source: of the net, for the message.

    Raises:
        WeightsError: it does.
    """
    for name, wanted in net.trunks.items():
        if found.get(name) != wanted:
            raise WeightsError(
                f"{source}: this 3DMM-CNN reads the features of {name!r} with trunk {wanted[:12]}, this package has "
                f"{(found.get(name) or 'none')[:12]}; take the version of this package that it was made with, or train "
                "one for this (`facewright train 3dmm-cnn`)"
            )


def _build(card: Card) -> MorphableCNN:
    shared = card["architecture"] == SHARED
    if shared != bool(card["trunks"]):
        raise WeightsError(
            f"expected a 3DMM-CNN with a trunk of its own or with others' trunks to read, received architecture "
            f"{card['architecture']!r} and trunks {sorted(card['trunks'])}; fetch the weights again"
        )
    return MorphableCNN(
        card["id"],
        card["tex"],
        architecture=card["architecture"],
        width=card["width"],
        crop_size=card["crop_size"],
        input_coding=card["input_coding"],
        hidden=card["hidden"],
        mirrored=card["mirrored"],
        trunks=card["trunks"],
        features=card["features"] if shared else 0,
    )


def _describe(net: MorphableCNN) -> dict[str, Any]:
    names = ("id", "tex", "architecture", "width", "crop_size", "input_coding", "hidden", "mirrored", "trunks")
    return {name: getattr(net, name) for name in names} | {"features": net.features}


def _answers(net: MorphableCNN, crops: Tensor) -> dict[str, Tensor]:
    shape, albedo = net(crops).split([net.id, net.tex], -1)
    return {"id": shape, "tex": albedo}


def _fits_trunks(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and len(value) <= MOST_TRUNKS
        and all(isinstance(text, str) and 0 < len(text) <= LONGEST_TEXT for item in value.items() for text in item)
    )


MORPHABLE_CNN = Kind(
    label="3DMM-CNN",
    network=MorphableCNN,
    entries={
        "id": whole(1, MOST_COEFFICIENTS),
        "tex": whole(0, MOST_COEFFICIENTS),
        "architecture": one_of((SHARED, *BACKBONES)),
        "width": width(),
        "input_coding": one_of(get_args(CodeInput)),
        "hidden": whole(0, MOST_HIDDEN),
        "mirrored": flag(needed=True),
        "trunks": Entry("fingerprints of trunks by name", _fits_trunks),
        "features": whole(1, MOST_FEATURES),
    },
    build=_build,
    describe=_describe,
    answers=_answers,
    layout=False,
    templates=(TRAN_LANDMARK_CROPS, TRAN_BOX_CROPS, DEEP3D_CROPS),
)
