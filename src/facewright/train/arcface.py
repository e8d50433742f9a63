"""Recognition networks that users bring (ArcFace and its kin) as ``FaceEmbedder`` of the perceptual loss."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from facewright.align.chips import cut_chips, resized
from facewright.bounds import Use, bounded, only
from facewright.errors import WeightsError
from facewright.geometry.similarity import similarity_from_points
from facewright.train.dlib_resnet import DlibResNet, load_dlib_resnet
from facewright.train.iresnet import is_state_dict, load_iresnet
from facewright.train.losses.perceptual import EmbeddingMetric
from facewright.train.onnx_network import read_onnx_network
from facewright.train.torchscript import load_torchscript

CHIP_SIZE = 112
# Where ArcFace's chips have eye centres, nose tip and mouth corners, px (docs/deep3d.md section 6.2).
_FIVE_PX = ((38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041))
_TORCHSCRIPT = (".pt", ".pth", ".ts", ".torchscript", ".jit")


OF_A_FILE = Use("with a file as --embedder", lambda options: options["embedder"] not in ("", "dlib"))


@dataclass(frozen=True)
class ChipCoding:
    """What a network's first layer was taught to see: ``(255 srgb - mean) / divisor``.

    Attributes:
        mean: 127.5 of almost all; 0 with a divisor of 1 where the file subtracts by itself.
        divisor: 127.5 (ArcFace) or 128.
        channels: order of the colours.
    """

    mean: float = bounded(127.5, use=OF_A_FILE)
    divisor: float = bounded(127.5, above=0, use=OF_A_FILE)
    channels: Literal["rgb", "bgr"] = only(OF_A_FILE, "rgb")


class ArcFace(nn.Module):
    """A ``FaceEmbedder`` around a network of 112-px chips; embeddings are compared by their angle.

    Args:
        network: chips (B, 3, 112, 112) to embeddings (B, E).
        coding: of the chips.
    """

    metric: EmbeddingMetric = "cosine"

    def __init__(self, network: nn.Module, coding: ChipCoding | None = None) -> None:
        super().__init__()
        self.network = network
        self.coding = coding or ChipCoding()

    def forward(
        self, crop_srgb: Float[Tensor, "B 3 H W"], five_px: Float[Tensor, "B 5 2"] | None
    ) -> Float[Tensor, "B E"]:
        """Embed the faces at the five points, or whole crops, differentiably in the pixels."""
        return self.embed_chips(resized(crop_srgb, CHIP_SIZE) if five_px is None else arcface_chips(crop_srgb, five_px))

    def embed_chips(self, chips_srgb: Float[Tensor, "B 3 112 112"]) -> Float[Tensor, "B E"]:
        """Embed faces that are cut already: sRGB-coded, 0..1."""
        seen = chips_srgb.flip(1) if self.coding.channels == "bgr" else chips_srgb
        return self.network((255.0 * seen - self.coding.mean) / self.coding.divisor)


def arcface_chips(crop_srgb: Float[Tensor, "B 3 H W"], five_px: Float[Tensor, "B 5 2"]) -> Float[Tensor, "B 3 112 112"]:
    """Cut faces by the similarity that brings five points closest to ArcFace's (the distance is taken in the chip).

    Args:
        crop_srgb: sRGB-coded, 0..1.
        five_px: right eye, left eye, nose tip, right and left mouth corner, in pixels of the crop.
    """
    scale, rotation, translation = similarity_from_points(five_px, five_px.new_tensor(_FIVE_PX).expand_as(five_px))
    back = rotation.transpose(-1, -2)
    offset = -(back @ translation[..., None])[..., 0] / scale[..., None]
    return cut_chips(crop_srgb, (1.0 / scale, back, offset), CHIP_SIZE)


def load_embedder(spec: str, coding: ChipCoding | None = None) -> DlibResNet | ArcFace:
    """A recognition network by name or file, frozen, on the CPU.

    Args:
        spec: ``dlib``, a TorchScript file (``.pt``, ...), the state dict of an IResNet (ArcFace's ``backbone.pth``), or
            an ONNX file (``.onnx``).
        coding: of a file's chips; ArcFace's own if None.

    Raises:
        MissingExtraError: onnx is not installed.
        AssetNotFoundError: no such file.
        WeightsError: neither ``dlib`` nor a file of a known kind; a file that cannot be read safely, or whose network
            does not turn pictures into embeddings one by one.
    """
    if spec == "dlib":
        return load_dlib_resnet()
    suffix = Path(spec).suffix.lower()
    if suffix == ".onnx":
        network: nn.Module = read_onnx_network(spec)
    elif suffix in _TORCHSCRIPT:
        network = load_iresnet(spec) if is_state_dict(spec) else load_torchscript(spec)
    else:
        raise WeightsError(
            f"expected dlib, or a network as TorchScript (.pt), as ArcFace's state dict (.pth) or as ONNX (.onnx), "
            f"received {spec!r}"
        )
    embedder = ArcFace(network, coding).eval()
    _check_answers(spec, embedder)
    return embedder


def _check_answers(spec: str, embedder: ArcFace) -> None:
    """Raise ``WeightsError`` unless chips get finite embeddings that do not depend on the other chips."""
    chips = torch.rand(2, 3, CHIP_SIZE, CHIP_SIZE, generator=torch.Generator().manual_seed(0))
    chips = chips * torch.tensor([1.0, 0.2])[:, None, None, None]  # statistics of both together are those of neither
    try:
        with torch.no_grad():
            together = embedder.network(chips)
            alone = torch.cat([embedder.network(chip[None]) for chip in chips])
    except Exception as error:  # whatever a stranger's network raises
        raise WeightsError(
            f"{spec}: expected a network for any number of {CHIP_SIZE}-px chips, received one that fails on two chips "
            f"or on one ({error}); export it with a batch of any size"
        ) from error
    if not isinstance(together, Tensor) or together.dim() != 2 or not bool(together.isfinite().all()):
        raise WeightsError(f"{spec}: expected one finite embedding per chip, received something else")
    if float((together - alone).norm()) > 1e-2 * float(alone.norm()):
        raise WeightsError(
            f"{spec}: expected embeddings of each chip by itself, received others in company; it was exported for "
            "training: export it after eval()"
        )
