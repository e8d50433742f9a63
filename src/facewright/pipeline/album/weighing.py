"""How much each photo's identity counts, coefficient by coefficient: by C-Net, by the network's doubts, or alike."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from facewright.errors import AssetNotFoundError, SettingsError, WeightsError
from facewright.pipeline.estimator import Estimator
from facewright.pipeline.face import FaceInPhoto
from facewright.pipeline.rnet_estimator import RNetEstimator
from facewright.regress.cnet import CNet, check_trunk
from facewright.regress.weights import EMBEDDED_CNET, load_weights

WeighingName = Literal["cnet", "doubts", "alike"]
AUTO = "auto"
CHOICES = (AUTO, "cnet", "doubts", "alike")
"""What ``load_weighing`` takes beside the file of a C-Net."""


@dataclass(frozen=True)
class Weighed:
    """What is said of a photo among others.

    Attributes:
        confidence: of each identity coefficient, above 0.
        who: code of who is seen (``regress.cnet.likeness``); None where nobody says.
    """

    confidence: Float[Tensor, " Kid"]
    who: Float[Tensor, " D"] | None = None


@dataclass(frozen=True)
class Weighing:
    """Weighs photos.

    Attributes:
        name: ``cnet``; ``doubts``: inverse variances that the R-Net states; ``alike``: plain averaging.
        cnet: the network.
        estimator: with the R-Net whose features it reads.
        weights: name of its file.
    """

    name: WeighingName = "alike"
    cnet: CNet | None = None
    estimator: RNetEstimator | None = None
    weights: str = ""

    @torch.no_grad()
    def weighed(self, faces: Sequence[FaceInPhoto]) -> list["Weighed"]:
        """Confidences of each face's identity; with a C-Net codes of who it is.

        Args:
            faces: with coefficients; their crops are those that the network looked at last.
        """
        alike = [torch.ones_like(face.coefficients.id[0]) for face in faces]
        if self.name == "doubts":
            doubts = (None if face.dense is None else face.dense.id_sigma for face in faces)
            return [Weighed(one if doubt is None else doubt.pow(-2)) for one, doubt in zip(alike, doubts, strict=True)]
        if self.cnet is None or self.estimator is None:
            return [Weighed(one) for one in alike]
        rnet = self.estimator.rnet
        found = []
        for face in faces:  # one by one, so that an answer does not depend on what else is in the album
            crop = face.aligned.crop
            picture = torch.nn.functional.avg_pool2d(crop[None], crop.shape[-1] // rnet.crop_size)
            shallow, pooled = rnet.shallow_and_pooled(picture)
            code = None if self.cnet.who is None else self.cnet.person_codes(pooled)[0]
            found.append(Weighed(self.cnet(shallow, pooled)[0], code))
        return found


def load_weighing(estimator: Estimator, choice: str | os.PathLike[str] = AUTO) -> Weighing:
    """What weighs the photos of an album.

    Args:
        estimator: the method of the flow.
        choice: ``cnet`` (in the package), ``doubts``, ``alike``, or the file of a C-Net. ``auto``: the C-Net in the
            package where it is for this R-Net; else doubts, where the network states some; else alike.

    Raises:
        SettingsError: a choice that the method cannot follow.
        AssetNotFoundError, WeightsError: no such file; a C-Net for another R-Net or face model.
    """
    network = estimator if isinstance(estimator, RNetEstimator) else None
    states_doubts = network is not None and network.rnet.doubt_head is not None
    if choice == AUTO:
        try:
            return load_weighing(estimator, "cnet")
        except (SettingsError, AssetNotFoundError, WeightsError):
            return load_weighing(estimator, "doubts" if states_doubts else "alike")
    if choice == "alike":
        return Weighing()
    if choice == "doubts":
        if not states_doubts:
            raise SettingsError(
                f"expected a network that states doubts of its coefficients, received method {estimator.method!r} with "
                f"weights {estimator.weights or 'none'}; take --weigh alike, or a C-Net"
            )
        return Weighing("doubts")
    if network is None:
        raise SettingsError(
            f"expected method 'rnet', whose features C-Net reads, received {estimator.method!r}; take --weigh alike"
        )
    path = EMBEDDED_CNET if choice == "cnet" else choice
    model = network.face_model
    cnet: CNet = load_weights(path, layout=model.layout, face_model=model.name, edition=model.edition, kind="cnet")
    check_trunk(cnet, network.rnet, os.fspath(path))
    return Weighing("cnet", cnet.to(model.mean_shape.device), network, Path(path).name)
