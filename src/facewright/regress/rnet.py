"""R-Net: one crop -> all coefficients of a face (Deng et al. 2019, section 3; docs/deep3d.md section 2)."""

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from facewright.records import CoefficientLayout, FaceCoefficients, TensorRecord
from facewright.regress.backbones import BACKBONES, build_backbone
from facewright.regress.cards import Card, Kind, flag, one_of, width

LANDMARKS = 68
LEAST_DOUBT = 1e-3
"""Least deviation of a predicted landmark, as a share of the crop."""

InputCoding = Literal["rgb_0_1", "bgr_0_255"]
"""How a trunk was taught to see sRGB: as R, G, B in 0..1, or as B, G, R in 0..255 (the TensorFlow release)."""


def head_sizes(layout: CoefficientLayout) -> dict[str, int]:
    """Heads in the order of the packed vector; together they are ``layout.size`` wide."""
    return {"id": layout.id, "exp": layout.exp, "tex": layout.tex, "angles": 3, "sh": 27, "xy": 2, "z": 1}


@dataclass(frozen=True)
class RNetPrediction(TensorRecord):
    """All that an R-Net says about crops.

    Attributes:
        coefficients: of each face.
        landmarks_px: iBUG-68 (3D definition) in crop pixels, seen directly instead of through the face model; None from
            a net without a landmark head.
        landmarks_sigma_px: the net's own doubt about each: deviation of either coordinate; None likewise.
    """

    coefficients: FaceCoefficients
    landmarks_px: Float[Tensor, "B 68 2"] | None = None
    landmarks_sigma_px: Float[Tensor, "B 68"] | None = None


class RNet(nn.Module):
    """A trunk and seven linear heads on its pooled features; on request an eighth that sees the landmarks directly.

    The heads start at zero: an untrained R-Net answers with the mean face, looking at the camera.

    Args:
        layout: numbers of coefficients, of the face model that the net is for.
        architecture: name of the trunk (``BACKBONES``).
        width: factor on the trunk's channel counts.
        crop_size: side of the square crops, px.
        input_coding: what the trunk's first layer sees.
        landmark_head: predict iBUG-68 and their uncertainty too, as dense-landmark methods do (Wood et al. 2022).
    """

    def __init__(
        self,
        layout: CoefficientLayout,
        *,
        architecture: str = "resnet50",
        width: float = 1.0,
        crop_size: int = 224,
        input_coding: InputCoding = "rgb_0_1",
        landmark_head: bool = False,
    ) -> None:
        super().__init__()
        if input_coding not in get_args(InputCoding):
            raise ValueError(f"expected an input coding of {get_args(InputCoding)}, received {input_coding!r}")
        self.layout = layout
        self.architecture = architecture
        self.width = width
        self.crop_size = crop_size
        self.input_coding: InputCoding = input_coding
        self.backbone = build_backbone(architecture, width=width)
        features = self.backbone.num_features
        self.heads = nn.ModuleDict({name: nn.Linear(features, size) for name, size in head_sizes(layout).items()})
        self.landmark_head = nn.Linear(features, 3 * LANDMARKS) if landmark_head else None
        for name, parameter in self.named_parameters():
            if not name.startswith("backbone."):
                nn.init.zeros_(parameter)

    def features(self, crops: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B C"]:
        """What the heads see.

        Args:
            crops: sRGB-coded, 0..1, aligned as ``align_face`` does.

        Raises:
            ValueError: crops of another size than the net was trained on.
        """
        if crops.shape[-1] != self.crop_size:
            raise ValueError(
                f"expected crops of {self.crop_size} px, received {tuple(crops.shape)}; align to the weights' size"
            )
        return self.backbone(_encode_input(crops, self.input_coding))

    def forward_vector(self, crops: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B K"]:
        """Packed coefficients, in the published order (``CoefficientLayout``); arguments and errors as ``features``."""
        return self._vector(self.features(crops))

    def forward(self, crops: Float[Tensor, "B 3 S S"]) -> FaceCoefficients:
        """Coefficients of each crop; arguments and errors as ``features``."""
        return self.layout.unpack(self.forward_vector(crops))

    def predict(self, crops: Float[Tensor, "B 3 S S"]) -> RNetPrediction:
        """Coefficients and, where the net has the head, landmarks; arguments and errors as ``features``."""
        features = self.features(crops)
        coefficients = self.layout.unpack(self._vector(features))
        if self.landmark_head is None:
            return RNetPrediction(coefficients)
        answers = self.landmark_head(features).unflatten(-1, (LANDMARKS, 3))
        # In units of half a crop around its middle; the doubt starts at a tenth of a crop and never goes below 0.1 %.
        half = self.crop_size / 2.0
        points = half * answers[..., :2] + (self.crop_size - 1) / 2.0
        sigma = self.crop_size * (LEAST_DOUBT + 0.1 * torch.exp(answers[..., 2].clamp(-6.0, 3.0)))
        return RNetPrediction(coefficients, points, sigma)

    def _vector(self, features: Float[Tensor, "B C"]) -> Float[Tensor, "B K"]:
        return torch.cat([head(features) for head in self.heads.values()], dim=-1)


def _encode_input(srgb: Float[Tensor, "B 3 S S"], coding: InputCoding) -> Float[Tensor, "B 3 S S"]:
    return srgb.flip(1) * 255.0 if coding == "bgr_0_255" else srgb


def _build(card: Card) -> RNet:
    return RNet(
        CoefficientLayout(**card["layout"]),
        architecture=card["architecture"],
        width=card["width"],
        crop_size=card["crop_size"],
        input_coding=card["input_coding"],
        landmark_head=card.get("landmark_head", False),
    )


def _describe(net: RNet) -> dict[str, Any]:
    return {
        "architecture": net.architecture,
        "width": net.width,
        "crop_size": net.crop_size,
        "input_coding": net.input_coding,
        "landmark_head": net.landmark_head is not None,
        "layout": asdict(net.layout),
    }


def _answers(net: RNet, crops: Float[Tensor, "B 3 S S"]) -> dict[str, Tensor]:
    seen = net.predict(crops)
    named = {name: getattr(seen.coefficients, name) for name in ("id", "exp", "tex", "angles", "sh", "translation")}
    if seen.landmarks_px is not None and seen.landmarks_sigma_px is not None:
        named |= {"landmarks": seen.landmarks_px, "landmark_sigma": seen.landmarks_sigma_px}
    return named


RNET = Kind(
    label="R-Net",
    network=RNet,
    entries={
        "architecture": one_of(BACKBONES),
        "width": width(),
        "input_coding": one_of(get_args(InputCoding)),
        "landmark_head": flag(),
    },
    build=_build,
    describe=_describe,
    answers=_answers,
)
