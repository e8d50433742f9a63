"""Weight files: safetensors with a card that says what the weights are and what they fit."""

import json
import os
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from facewright.assets import embedded_path
from facewright.errors import AssetNotFoundError, WeightsError
from facewright.files import written_whole
from facewright.records import CoefficientLayout
from facewright.regress.rnet import RNet

FORMAT = "facewright-weights/1"
"""Value of ``format`` in the file's metadata; ``card`` beside it is JSON."""

EMBEDDED_WEIGHTS = {"open": "rnet_open.safetensors", "fast": "rnet_fast.safetensors"}
"""Weights in the package, both for the open head: ``open`` for photographs, ``fast`` for video and browsers."""

_FIND_WEIGHTS = "bring one made by `facewright weights import FILE --out F.safetensors` or by training"


@dataclass(frozen=True)
class WeightsCard:
    """Where weights come from and what they are for; the network's own numbers are added on saving.

    Attributes:
        face_model: name of the face model that the coefficients belong to; crops and variants of it are called
            ``<face_model>-...`` and fit too.
        template: landmark template and scale of the crops.
        light: ``color`` or ``white`` (trained with one light colour: the three channels are equal).
        training_data: what it was trained on.
        recipe: preset or paper, and what differs from it.
        commit: of the code that trained it.
        seed: of that run; None if unknown.
        figures: measured results, name -> value.
        licence: of the weights.
        source: file or address that they were converted from; empty for own trainings.
    """

    face_model: str
    template: str = "deep3d-five-102"
    light: str = "color"
    training_data: str = ""
    recipe: str = ""
    commit: str = ""
    seed: int | None = None
    figures: dict[str, float] = field(default_factory=dict)
    licence: str = ""
    source: str = ""


def weights_path(weights: str | os.PathLike[str]) -> Path:
    """Where a weights file is: a name in ``EMBEDDED_WEIGHTS``, or a path.

    Raises:
        AssetNotFoundError: an embedded file is missing.
    """
    name = os.fspath(weights)
    return embedded_path(EMBEDDED_WEIGHTS[name]) if name in EMBEDDED_WEIGHTS else Path(name)


def save_weights(net: RNet, card: WeightsCard, path: str | os.PathLike[str], *, half: bool = False) -> None:
    """Write a network and its card.

    Args:
        net: the network.
        card: provenance.
        path: file to write (``.safetensors``).
        half: store convolutions and heads as float16 (half the size; statistics and biases stay float32).

    Raises:
        ExportError: the file cannot be written.
    """
    described = card_entries(net, card)
    state = {name: value.detach().cpu().contiguous() for name, value in net.state_dict().items()}
    if half:
        state = {name: value.half() if value.dim() > 1 else value for name, value in state.items()}
    with written_whole(path) as temporary:
        save_file(state, temporary, metadata={"format": FORMAT, "card": json.dumps(described, sort_keys=True)})


def card_entries(net: RNet, card: WeightsCard) -> dict[str, Any]:
    """What a file says of its network: the card, with the network's own numbers; JSON-able."""
    return {
        "kind": "rnet",
        "architecture": net.architecture,
        "width": net.width,
        "crop_size": net.crop_size,
        "input_coding": net.input_coding,
        "landmark_head": net.landmark_head is not None,
        "layout": asdict(net.layout),
        **asdict(card),
    }


def describe_weights(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The card of a weights file, with ``kind``, ``architecture``, ``layout``, ...; the tensors are not read.

    Raises:
        AssetNotFoundError: no such file.
        WeightsError: not a weights file of this project, or a malformed one.
    """
    path = weights_path(path)
    if not path.is_file():
        raise AssetNotFoundError(f"expected a weights file at {path}, found none; {_FIND_WEIGHTS}")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise WeightsError(
            f"{path} is not a whole safetensors file ({error}); {_FIND_WEIGHTS}, or fetch it again"
        ) from error
    if metadata.get("format") != FORMAT:
        raise WeightsError(
            f"{path}: expected metadata format {FORMAT!r}, received {metadata.get('format')!r}; "
            "convert other projects' weights with `facewright weights import`"
        )
    try:
        card = json.loads(metadata["card"])
    except (KeyError, ValueError) as error:
        raise WeightsError(f"{path}: its card is missing or not JSON ({error}); {_FIND_WEIGHTS}") from error
    if not isinstance(card, dict):
        raise WeightsError(f"{path}: expected a card of named entries, received {type(card).__name__}; {_FIND_WEIGHTS}")
    return card


def read_card(path: str | os.PathLike[str]) -> WeightsCard:
    """The provenance part of ``describe_weights``; the same errors."""
    described = describe_weights(path)
    known = {entry.name for entry in fields(WeightsCard)}
    try:
        return WeightsCard(**{name: value for name, value in described.items() if name in known})
    except TypeError as error:
        raise WeightsError(f"{path}: its card is incomplete ({error}); {_FIND_WEIGHTS}") from error


def load_weights(
    path: str | os.PathLike[str], *, layout: CoefficientLayout | None = None, face_model: str | None = None
) -> RNet:
    """Read an R-Net, in float32, ready to predict (evaluation mode).

    Args:
        path: weights file, or the name of an embedded one.
        layout: of the face model that will decode the coefficients; not checked if None.
        face_model: name of that model; not checked if None.

    Raises:
        AssetNotFoundError: no such file.
        WeightsError: malformed, of another kind of network, or for another face model; the message names both.
    """
    path = weights_path(path)
    card = describe_weights(path)
    _check_fit(path, card, layout, face_model)
    try:
        with torch.random.fork_rng(devices=[]):  # the weights drawn here are thrown away: leave the caller's dice alone
            net = RNet(
                CoefficientLayout(**card["layout"]),
                architecture=card["architecture"],
                width=card["width"],
                crop_size=card["crop_size"],
                input_coding=card["input_coding"],
                landmark_head=card.get("landmark_head", False),
            )
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{path}: its card does not describe an R-Net ({error!r}); {_FIND_WEIGHTS}") from error
    with safe_open(path, framework="pt") as file:
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    check_state(path, net, state)
    state = {name: value.float() if value.is_floating_point() else value for name, value in state.items()}
    net.load_state_dict(state, assign=True)
    # a fifth faster on CPUs in batches: the channels of a pixel lie together
    net.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] - missing from torch's stubs
    return net.eval()


def check_state(path: str | os.PathLike[str], net: RNet, state: dict[str, Tensor]) -> None:
    """Raise ``WeightsError`` unless the tensors are exactly the network's, of its shapes, and finite."""
    expected = net.state_dict()
    missing, unknown = sorted(expected.keys() - state.keys()), sorted(state.keys() - expected.keys())
    if missing or unknown:
        raise WeightsError(
            f"{path} does not hold the tensors of a {net.architecture} R-Net: missing {_some(missing)}, "
            f"unexpected {_some(unknown)}; {_FIND_WEIGHTS}"
        )
    for name, value in state.items():
        if value.shape != expected[name].shape:
            raise WeightsError(
                f"{path}: expected {name} of shape {tuple(expected[name].shape)}, received {tuple(value.shape)}; "
                f"{_FIND_WEIGHTS}"
            )
        if value.is_floating_point() and not bool(value.isfinite().all()):
            raise WeightsError(f"{path}: {name} holds NaN or infinity; the file is damaged, fetch it again")


def _check_fit(
    path: str | os.PathLike[str], card: dict[str, Any], layout: CoefficientLayout | None, face_model: str | None
) -> None:
    if card.get("kind") != "rnet":
        raise WeightsError(f"{path}: expected weights of an R-Net, received kind {card.get('kind')!r}; {_FIND_WEIGHTS}")
    made_for = str(card.get("face_model", ""))
    if face_model is not None and face_model != made_for and not face_model.startswith(f"{made_for}-"):
        raise WeightsError(
            f"{path} was made for face model {made_for!r}, and face model {face_model!r} is to decode it; "
            f"give --face-model the {made_for!r} file, or weights made for {face_model!r}"
        )
    if layout is not None and asdict(layout) != card.get("layout"):
        raise WeightsError(
            f"{path} predicts {card.get('layout')} coefficients, and the face model has {asdict(layout)}; "
            f"give --face-model the {made_for!r} file with the same numbers of coefficients"
        )


def _some(names: list[str]) -> str:
    return "none" if not names else ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
