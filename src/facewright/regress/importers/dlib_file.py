"""dlib's network files (``.dat``): tensors of convolutions, affine layers and one matrix; the identity network.

What dlib writes, as far as it is needed here: whole numbers are a byte that says how many bytes follow (low four bits;
the top bit is the sign), then those bytes, little-endian. Names are a whole number and the letters. A tensor is the
number 2 (its version), four sizes, and float32 values, little-endian, last axis fastest. Layers stand in the order of
the forward pass; a layer's tensor follows its name, and what stands between layers is whole numbers only.
"""

import re
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from facewright.errors import WeightsError
from facewright.regress.identity import IdentityNet

MEAN_RGB = (122.782, 117.001, 104.298)
"""Of 255: the published network sees the difference over 256."""
_TENSOR_VERSION = 2
# Names of layers with learnt values, and how many whole numbers stand between name and tensor.
_LAYERS = {b"con_4": 0, b"affine_": 0, b"fc_2": 2}
_LAYER_NAME = re.compile(b"|".join(re.escape(bytes([1, len(name)]) + name) for name in _LAYERS))


@dataclass(frozen=True)
class DlibLayer:
    """One layer's learnt values.

    Attributes:
        name: ``con_4`` (filters, then biases), ``affine_`` (scales, then shifts) or ``fc_2`` (inputs, outputs).
        values: with the four sizes of the file, as float32.
    """

    name: str
    values: Float[Tensor, "N K R C"]


def identity_from_dlib(path: Path) -> IdentityNet:
    """The identity network out of its published file, affine layers and the centring of colours in the convolutions.

    Args:
        path: ``dlib_face_recognition_resnet_model_v1.dat``.

    Raises:
        WeightsError: the file is not that network.
    """
    layers, net = read_dlib_layers(path), IdentityNet()
    own = [part for part in net.modules() if isinstance(part, nn.Conv2d)]
    names = ["con_4", "affine_"] * len(own) + ["fc_2"]
    sizes = [n for part in own for n in (part.weight.numel() + part.out_channels, 2 * part.out_channels)]
    sizes.append(net.head.weight.numel())
    if [(layer.name, layer.values.numel()) for layer in layers] != list(zip(names, sizes, strict=True)):
        raise WeightsError(
            f"{path}: expected the {len(names)} layers of dlib's face recognition ResNet v1, received {len(layers)} "
            "layers that differ; take dlib_face_recognition_resnet_model_v1.dat as published"
        )
    with torch.no_grad():
        for part, conv, affine in zip(own, layers[0:-1:2], layers[1:-1:2], strict=True):
            filters, bias = conv.values.double().flatten().split([part.weight.numel(), part.out_channels])
            scale, shift = affine.values.double().flatten().chunk(2)
            filters = filters.view_as(part.weight)
            if part is net.trunk.stem:  # it sees (255 x - mean) / 256
                bias = bias - (filters.sum((2, 3)) @ filters.new_tensor(MEAN_RGB)) / 256.0
                filters = filters * (255.0 / 256.0)
            part.weight.copy_(filters * scale[:, None, None, None])
            part.bias.copy_(scale * bias + shift)  # pyright: ignore[reportOptionalMemberAccess] - all have one
        net.head.weight.copy_(layers[-1].values[:, :, 0, 0].T)
    return net.eval()


def read_dlib_layers(path: Path) -> list[DlibLayer]:
    """All layers with learnt values, in the order of the forward pass.

    Raises:
        WeightsError: the file ends too early, or holds what dlib does not write.
    """
    reader, layers = _Reader(path.read_bytes(), path), []
    while name := reader.skip_to_next_layer():
        for _ in range(_LAYERS[name]):
            reader.whole_number()
        layers.append(DlibLayer(name.decode(), reader.tensor()))
    return layers


class _Reader:
    """A place in the bytes of a file."""

    def __init__(self, data: bytes, path: Path) -> None:
        self._data, self._path, self._at = data, path, 0

    def skip_to_next_layer(self) -> bytes | None:
        """Move behind the next name of a layer with learnt values; None if there is no more."""
        found = _LAYER_NAME.search(self._data, self._at)
        if found is None:
            return None
        self._at = found.end()
        return found[0][2:]

    def whole_number(self) -> int:
        control = self._take(1)[0]
        number = int.from_bytes(self._take(control & 0x0F), "little")
        return -number if control & 0x80 else number

    def tensor(self) -> Tensor:
        version, sizes = self.whole_number(), [self.whole_number() for _ in range(4)]
        if version != _TENSOR_VERSION or min(sizes) < 1:
            self._refuse(f"a tensor of version {_TENSOR_VERSION}", f"version {version} of sizes {sizes}")
        values = np.frombuffer(self._take(4 * prod(sizes)), "<f4").astype(np.float32)
        if not np.isfinite(values).all():
            self._refuse("finite weights", "others")
        return torch.from_numpy(values.reshape(sizes))

    def _take(self, count: int) -> bytes:
        taken = self._data[self._at : self._at + count]
        if len(taken) < count:
            self._refuse(f"{count} more bytes", f"{len(taken)}")
        self._at += count
        return taken

    def _refuse(self, expected: str, received: str) -> None:
        raise WeightsError(
            f"{self._path}: expected {expected} at byte {self._at}, received {received}; take the file as published"
        )
