"""Convolutional trunks by name. Each gives pooled features, and on request the maps of its stages."""

from collections.abc import Callable
from typing import Protocol

from jaxtyping import Float
from torch import Tensor

from facewright.regress.backbones.mobilenet import mobilenet_v3
from facewright.regress.backbones.resnet import resnet, resnet_v1_50_slim


class Backbone(Protocol):
    """What R-Net asks of a trunk (an ``nn.Module``)."""

    num_features: int

    def __call__(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B C"]:
        """Pooled features."""
        ...

    def stages(self, images: Float[Tensor, "B 3 H W"]) -> list[Tensor]:
        """Feature maps ``B C h w`` from fine to coarse; the pooled features are the mean of the last."""
        ...


BACKBONES: dict[str, Callable[[float], Backbone]] = {
    "resnet18": lambda width: resnet(18, width),
    "resnet34": lambda width: resnet(34, width),
    "resnet50": lambda width: resnet(50, width),
    "resnet101": lambda width: resnet(101, width),
    "resnet_v1_50_slim": resnet_v1_50_slim,
    "mobilenet_v3_small": lambda width: mobilenet_v3("small", width),
    "mobilenet_v3_large": lambda width: mobilenet_v3("large", width),
}


def build_backbone(name: str, *, width: float = 1.0) -> Backbone:
    """A randomly initialised trunk.

    Args:
        name: a key of ``BACKBONES``.
        width: factor on every channel count, > 0.

    Raises:
        ValueError: no such backbone, or a width that is not positive.
    """
    if name not in BACKBONES:
        raise ValueError(f"expected a backbone of {', '.join(sorted(BACKBONES))}; received {name!r}")
    if not width > 0:
        raise ValueError(f"expected a width factor above 0, received {width}")
    return BACKBONES[name](width)
