"""What networks in the package make of a face, for a network that reads their features instead of looking itself."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from facewright.align.chips import identity_chips, resized
from facewright.errors import WeightsError
from facewright.geometry.five_points import five_from_68
from facewright.regress.identity import IdentityNet
from facewright.regress.morphable_cnn import features_fingerprint
from facewright.regress.rnet import RNet
from facewright.regress.weights import EMBEDDED_WEIGHTS, load_weights


@dataclass(frozen=True)
class SharedTrunks:
    """Networks whose pooled features are read.

    Attributes:
        nets: an R-Net and identity networks, by their names in ``EMBEDDED_WEIGHTS``; the R-Net first, others by name.
            Features come in this order, in whichever the names were given.
    """

    nets: Mapping[str, nn.Module]

    @classmethod
    def load(cls, names: Collection[str], given: Mapping[str, nn.Module] | None = None) -> "SharedTrunks":
        """Read them, frozen.

        Args:
            names: of weights in the package.
            given: some that are loaded already.

        Raises:
            WeightsError: a name of no weights in the package, or of a network whose features nobody reads; no R-Net
                among them.
        """
        strange = [name for name in names if name not in EMBEDDED_WEIGHTS]
        if strange:
            raise WeightsError(f"expected trunks of {', '.join(EMBEDDED_WEIGHTS)}, received {', '.join(strange)}")
        nets: dict[str, nn.Module] = {name: (given or {}).get(name) or load_weights(name) for name in names}
        sizes = [net.crop_size for net in nets.values() if isinstance(net, RNet)]
        if any(not isinstance(net, RNet | IdentityNet) for net in nets.values()) or len(sizes) != 1:
            raise WeightsError(
                f"expected trunks of one R-Net, and of the identity network, received {', '.join(nets)}; "
                "R-Nets are open and fast"
            )
        for net in nets.values():
            net.eval().requires_grad_(False)
        return cls(dict(sorted(nets.items(), key=lambda item: (not isinstance(item[1], RNet), item[0]))))

    def to(self, device: torch.device) -> "SharedTrunks":
        """The same, moved in place."""
        for net in self.nets.values():
            net.to(device)
        return self

    @property
    def features(self) -> int:
        """How many features they are together."""
        trunks = (net.backbone if isinstance(net, RNet) else net.trunk for net in self.nets.values())
        return sum(int(getattr(trunk, "num_features")) for trunk in trunks)  # noqa: B009 - a module's, untyped

    @property
    def fingerprints(self) -> dict[str, str]:
        """What tells each from all others, by name."""
        found = {}
        for name, net in self.nets.items():
            if isinstance(net, RNet):
                found[name] = features_fingerprint(net.backbone, f"{net.crop_size} {net.input_coding}")
            elif isinstance(net, IdentityNet):
                found[name] = features_fingerprint(net.trunk, f"{net.crop_size} chips")
        return found

    @torch.no_grad()
    def seen(self, crops: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B F"]:
        """Features of crops; what an identity network sees of them is cut where the R-Net sees the landmarks.

        Args:
            crops: of ``align_face``, of any size.
        """
        (rnet,) = (net for net in self.nets.values() if isinstance(net, RNet))
        size = crops.shape[-1]
        whole = size % rnet.crop_size == 0
        smaller = F.avg_pool2d(crops, size // rnet.crop_size) if whole else resized(crops, rnet.crop_size)
        pooled = rnet.features(smaller)
        chips = None
        if len(self.nets) > 1:
            marks, finer = rnet.predict_from(pooled).landmarks_px, size / rnet.crop_size
            assert marks is not None  # those in the package see them
            chips = identity_chips(crops, five_from_68(finer * (marks + 0.5) - 0.5))  # pixel centres are at integers
        parts = (
            pooled if isinstance(net, RNet) else cast("IdentityNet", net).trunk(chips) for net in self.nets.values()
        )
        return torch.cat(list(parts), -1)
