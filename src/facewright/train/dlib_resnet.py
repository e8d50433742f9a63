"""The identity network in training: a ``FaceEmbedder`` of the perceptual loss, and a trunk to start from."""

from jaxtyping import Float
from torch import Tensor, nn

from facewright.align.chips import IDENTITY_CHIP_PX, identity_chips, resized
from facewright.errors import WeightsError
from facewright.regress.backbones.dlib import DlibTrunk
from facewright.regress.identity import IdentityNet
from facewright.regress.weights import EMBEDDED_IDENTITY, load_weights
from facewright.train.losses.perceptual import EmbeddingMetric


def load_dlib_resnet() -> "DlibResNet":
    """The network with its published weights, frozen.

    Raises:
        AssetNotFoundError: the package lacks them.
    """
    return DlibResNet(load_weights(EMBEDDED_IDENTITY, kind="identity")).requires_grad_(False)


def start_from_dlib(trunk: DlibTrunk) -> None:
    """Give a trunk the features of dlib's network, which have seen real faces by the million; in place.

    Args:
        trunk: of full width, with any number of blocks.

    Raises:
        WeightsError: a trunk of other channels.
    """
    published = load_dlib_resnet().network.trunk.state_dict()
    wanted = {name: published[name] for name in trunk.state_dict()}
    if any(value.shape != wanted[name].shape for name, value in trunk.state_dict().items()):
        raise WeightsError("expected a dlib_resnet29 of width 1, received another width; its weights fit no other")
    trunk.load_state_dict(wanted)


class DlibResNet(nn.Module):
    """A ``FaceEmbedder`` around the identity network.

    Args:
        network: chips to descriptors.
    """

    metric: EmbeddingMetric = "euclidean"

    def __init__(self, network: IdentityNet) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, crop_srgb: Float[Tensor, "B 3 H W"], five_px: Float[Tensor, "B 5 2"] | None
    ) -> Float[Tensor, "B 128"]:
        """Embed the faces at the five points, or whole crops, differentiably in the pixels."""
        whole = five_px is None
        return self.network(resized(crop_srgb, IDENTITY_CHIP_PX) if whole else identity_chips(crop_srgb, five_px))
