"""Convolutional trunks by name. Each gives pooled features, and on request the maps of its stages."""

from collections.abc import Callable

from facewright.regress.backbones.dlib import SHORT_BLOCKS, DlibTrunk
from facewright.regress.backbones.mobilenet import MobileNetV3, mobilenet_v3
from facewright.regress.backbones.resnet import ResNet, resnet, resnet_caffe, resnet_v1_50_slim

Backbone = ResNet | MobileNetV3 | DlibTrunk
"""A trunk: called with pictures it gives pooled features, ``num_features`` wide; ``stages`` gives the maps before."""

BACKBONES: dict[str, Callable[[float], Backbone]] = {
    "resnet18": lambda width: resnet(18, width),
    "resnet34": lambda width: resnet(34, width),
    "resnet50": lambda width: resnet(50, width),
    "resnet101": lambda width: resnet(101, width),
    "resnet_v1_50_slim": resnet_v1_50_slim,
    "resnet50_caffe": lambda width: resnet_caffe(50, width),
    "resnet101_caffe": lambda width: resnet_caffe(101, width),
    "mobilenet_v3_small": lambda width: mobilenet_v3("small", width),
    "mobilenet_v3_large": lambda width: mobilenet_v3("large", width),
    "dlib_resnet29": lambda width: DlibTrunk(width=width),
    "dlib_resnet21": lambda width: DlibTrunk(SHORT_BLOCKS, width=width),
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
