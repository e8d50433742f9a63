"""The networks that weights files can hold: a line each."""

from torch import nn

from facewright.errors import WeightsError
from facewright.regress.cards import Kind
from facewright.regress.cnet import CNET
from facewright.regress.identity import IDENTITY
from facewright.regress.morphable_cnn import MORPHABLE_CNN
from facewright.regress.parsing import PARSING
from facewright.regress.prnet import PRNET
from facewright.regress.rnet import RNET

KINDS: dict[str, Kind] = {
    "rnet": RNET,
    "prnet": PRNET,
    "cnet": CNET,
    "3dmm-cnn": MORPHABLE_CNN,
    "identity": IDENTITY,
    "parsing": PARSING,
}
"""By the name that cards have. A new network is a file in this folder that ends in a ``Kind``, and a line here."""


def kind_of(net: nn.Module) -> tuple[str, Kind]:
    """Name and kind of a network, by its class.

    Raises:
        WeightsError: it is of no kind in ``KINDS``.
    """
    for name, kind in KINDS.items():
        if type(net) is kind.network:
            return name, kind
    raise WeightsError(
        f"expected a network of {', '.join(kind.label for kind in KINDS.values())}, received {type(net).__name__}; "
        "add its kind to KINDS"
    )
