"""What a light PRNet knows before its first step: how faces differ, and all that an R-Net has learnt of seeing them."""

import torch
from jaxtyping import Float
from torch import Tensor

from facewright.errors import TrainingError
from facewright.morphable.linear import FaceModel
from facewright.regress.prnet import DIRECTIONS, LightDecoder, PRNet
from facewright.regress.rnet import RNet
from facewright.regress.weights import describe_weights, load_weights, read_card
from facewright.train.map_truth import LANDMARKS, MapTruth

EXPRESSION_SPREAD = 0.25
"""Root mean square of an expression's weight, where that of an identity's is 1."""


def principal_directions(
    truth: MapTruth, weights: Float[Tensor, " P"]
) -> tuple[Float[Tensor, "K P 3"], Float[Tensor, "K Kc"]]:
    """The directions in which a face model's people and expressions differ most, and how coefficients go along them.

    Args:
        truth: bases of the map's points.
        weights: how much each of these counts.

    Returns:
        K directions, dm per unit (as many as a light decoder has, zeros behind those of smaller models), and the matrix
        from identity and expression coefficients, one after the other, to units of them.
    """
    spread = torch.cat(
        [
            truth.id_basis.new_ones(truth.id_basis.shape[-1]),
            truth.exp_basis.new_full((truth.exp_basis.shape[-1],), EXPRESSION_SPREAD),
        ]
    ).double()
    basis = torch.cat([truth.id_basis, truth.exp_basis], -1)[:-LANDMARKS].double() * spread
    weighed = (basis * weights.double().sqrt()[:, None, None]).flatten(0, 1)
    _, vectors = torch.linalg.eigh(weighed.T @ weighed)
    chosen = vectors.flip(1)[:, :DIRECTIONS]
    directions, codes = (basis @ chosen).permute(2, 0, 1), chosen.T / spread
    missing = DIRECTIONS - len(directions)
    padded = torch.cat([directions, directions.new_zeros(missing, *directions.shape[1:])])
    return padded.to(truth.mean), torch.cat([codes, codes.new_zeros(missing, len(spread))]).to(truth.mean)


@torch.no_grad()
def start_prnet(net: PRNet, init: str, model: FaceModel, codes: Float[Tensor, "K Kc"]) -> None:
    """Earlier weights, in place: a PRNet's, or the trunk of an R-Net, and its heads too where they fit.

    Args:
        net: to be trained.
        init: name or file of the weights.
        model: whose maps ``net`` predicts.
        codes: from its coefficients to units of ``net``'s directions (``principal_directions``).

    Raises:
        TrainingError: they are another network's.
        AssetNotFoundError, WeightsError: of the file.
    """
    given: PRNet | RNet = load_weights(init)
    alike = (given.width, given.architecture) == (net.width, net.architecture)
    if not alike or getattr(given, "input_coding", "rgb_0_1") != "rgb_0_1":
        raise TrainingError(
            f"{init} holds a {describe_weights(init)['kind']} of {given.architecture}, width {given.width}, and a "
            f"{net.architecture} of width {net.width} is to be trained; give the same --backbone and --width, or other "
            "--init weights"
        )
    if isinstance(given, PRNet) and given.map_size == net.map_size:
        net.load_state_dict(given.state_dict())
        return
    net.backbone.load_state_dict(given.backbone.state_dict())
    card = read_card(init)
    same_face = (card.face_model, card.face_model_edition) == (model.name, model.edition)
    if isinstance(given, RNet) and net.decoder is not None and same_face and given.layout == model.layout:
        _start_as_rnet(net.decoder, given, codes)


def _start_as_rnet(decoder: LightDecoder, rnet: RNet, codes: Float[Tensor, "K Kc"]) -> None:
    """Let the decoder say what the R-Net's coefficients say, as far as its directions reach."""
    seen = [rnet.heads.get_submodule(name) for name in ("id", "exp")]
    posed = [rnet.heads.get_submodule(name) for name in ("angles", "xy", "z")]
    for part in ("weight", "bias"):
        decoder.shape.get_parameter(part).copy_(codes @ torch.cat([head.get_parameter(part) for head in seen]))
        decoder.pose.get_parameter(part).copy_(torch.cat([head.get_parameter(part) for head in posed]))
