"""R-Net: one crop -> all coefficients of a face (Deng et al. 2019, section 3; docs/deep3d.md section 2)."""

from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from facewright.records import CoefficientLayout, FaceCoefficients
from facewright.regress.backbones import build_backbone

InputCoding = Literal["rgb_0_1", "bgr_0_255"]
"""How a trunk was taught to see sRGB: as R, G, B in 0..1, or as B, G, R in 0..255 (the TensorFlow release)."""


def head_sizes(layout: CoefficientLayout) -> dict[str, int]:
    """Heads in the order of the packed vector; together they are ``layout.size`` wide."""
    return {"id": layout.id, "exp": layout.exp, "tex": layout.tex, "angles": 3, "sh": 27, "xy": 2, "z": 1}


class RNet(nn.Module):
    """A trunk and seven linear heads on its pooled features.

    The heads start at zero: an untrained R-Net answers with the mean face, looking at the camera.

    Args:
        layout: numbers of coefficients, of the face model that the net is for.
        architecture: name of the trunk (``BACKBONES``).
        width: factor on the trunk's channel counts.
        crop_size: side of the square crops, px.
        input_coding: what the trunk's first layer sees.
    """

    def __init__(
        self,
        layout: CoefficientLayout,
        *,
        architecture: str = "resnet50",
        width: float = 1.0,
        crop_size: int = 224,
        input_coding: InputCoding = "rgb_0_1",
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
        for parameter in self.heads.parameters():
            nn.init.zeros_(parameter)

    def forward_vector(self, crops: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B K"]:
        """Packed coefficients, in the published order (``CoefficientLayout``).

        Args:
            crops: sRGB-coded, 0..1, aligned as ``align_face`` does.

        Raises:
            ValueError: crops of another size than the net was trained on.
        """
        if crops.shape[-1] != self.crop_size:
            raise ValueError(
                f"expected crops of {self.crop_size} px, received {tuple(crops.shape)}; align to the weights' size"
            )
        features = self.backbone(_encode_input(crops, self.input_coding))
        return torch.cat([head(features) for head in self.heads.values()], dim=-1)

    def forward(self, crops: Float[Tensor, "B 3 S S"]) -> FaceCoefficients:
        """Coefficients of each crop; arguments and errors as ``forward_vector``."""
        return self.layout.unpack(self.forward_vector(crops))


def _encode_input(srgb: Float[Tensor, "B 3 S S"], coding: InputCoding) -> Float[Tensor, "B 3 S S"]:
    return srgb.flip(1) * 255.0 if coding == "bgr_0_255" else srgb
