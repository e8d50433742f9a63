"""Weight files: safetensors with a card that says what the weights are and what they fit."""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from facewright.assets import embedded_path
from facewright.errors import AssetNotFoundError, WeightsError
from facewright.files import written_whole
from facewright.records import CoefficientLayout
from facewright.regress.cards import (
    CROP_SIZES,
    DEEP3D_CROPS,
    MOST_EDITIONS,
    Card,
    Entry,
    Kind,
    figures,
    one_of,
    text,
    whole,
    wrong_entry,
)
from facewright.regress.cards import layout as layout_entry
from facewright.regress.kinds import KINDS, kind_of

FORMAT = "facewright-weights/1"
"""Value of ``format`` in the file's metadata; ``card`` beside it is JSON."""

EMBEDDED_CNET, EMBEDDED_IDENTITY, EMBEDDED_PARSING = "cnet", "identity", "parsing"
EMBEDDED_WEIGHTS = {
    "open": "rnet_open.safetensors",
    "fast": "rnet_fast.safetensors",
    "prnet": "prnet_open.safetensors",
    EMBEDDED_CNET: "cnet_open.safetensors",
    EMBEDDED_IDENTITY: "identity.safetensors",
    EMBEDDED_PARSING: "parsing_open.safetensors",
    "3dmm-cnn": "3dmm-cnn_open.safetensors",
}
"""Weights in the package, for the open head: R-Nets ``open`` for photographs, ``fast`` for video and browsers; the
light PRNet of the same trunk; ``cnet``, which weighs the answers of ``open`` about photos of one person; ``3dmm-cnn``,
which says who is seen in codes of the head. Without a head: ``identity`` says it in numbers of its own, ``parsing``
tells a head's own surface from hair and things."""

_FIND_WEIGHTS = "bring one made by `facewright weights import FILE --out F.safetensors` or by training"


@dataclass(frozen=True)
class WeightsCard:
    """Where weights come from and what they are for; the network's own numbers are added on saving.

    Attributes:
        face_model: name of the face model that the coefficients belong to; crops and variants of it are called
            ``<face_model>-...`` and fit too. Empty where the answers belong to none.
        face_model_edition: of its coefficients (``FaceModel.edition``); a card that does not say is of the first.
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
    face_model_edition: int = 1
    template: str = DEEP3D_CROPS
    light: str = "color"
    training_data: str = ""
    recipe: str = ""
    commit: str = ""
    seed: int | None = None
    figures: dict[str, float] = field(default_factory=dict)
    licence: str = ""
    source: str = ""


_PROVENANCE: Mapping[str, Entry] = {
    "face_model": text(empty=False, needed=True),
    "face_model_edition": whole(1, MOST_EDITIONS, needed=False),
    "light": one_of(("color", "white"), needed=False),
    **{name: text() for name in ("training_data", "recipe", "commit", "licence", "source")},
    "seed": Entry("a whole number or null", lambda value: value is None or type(value) is int, needed=False),
    "figures": figures(),
}


def weights_path(weights: str | os.PathLike[str]) -> Path:
    """Where a weights file is: a name in ``EMBEDDED_WEIGHTS``, or a path.

    Raises:
        AssetNotFoundError: an embedded file is missing.
    """
    name = os.fspath(weights)
    return embedded_path(EMBEDDED_WEIGHTS[name]) if name in EMBEDDED_WEIGHTS else Path(name)


def save_weights(net: nn.Module, card: WeightsCard, path: str | os.PathLike[str], *, half: bool = False) -> None:
    """Write a network and its card.

    Args:
        net: the network, of a kind in ``KINDS``.
        card: provenance.
        path: file to write (``.safetensors``).
        half: store convolutions and heads as float16 (half the size; statistics and biases stay float32).

    Raises:
        WeightsError: a network of no kind, or one that could not be loaded again (by the name of what is wrong).
        ExportError: the file cannot be written.
    """
    described = card_entries(net, card)
    state = {name: value.detach().cpu().contiguous() for name, value in net.state_dict().items()}
    if half:
        halves = {name: value.half() for name, value in state.items() if value.dim() > 1 and value.is_floating_point()}
        state = state | halves
    with written_whole(path) as temporary:
        save_file(state, temporary, metadata={"format": FORMAT, "card": json.dumps(described, sort_keys=True)})


def card_entries(net: nn.Module, card: WeightsCard) -> dict[str, Any]:
    """What a file says of its network: the card, with the network's own numbers; JSON-able.

    Raises:
        WeightsError: as ``save_weights``.
    """
    name, kind = kind_of(net)
    entries = {"kind": name, **kind.describe(net), **asdict(card)}
    _check_card(f"the card of this {kind.label}", entries)
    return entries


def describe_weights(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The card of a weights file, with ``kind``, ``architecture``, ``layout``, ...; the tensors are not read.

    Raises:
        AssetNotFoundError: no such file.
        WeightsError: not a weights file of this project, a malformed one, or one whose card says what cannot be.
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
    except (KeyError, ValueError, RecursionError) as error:
        raise WeightsError(f"{path}: its card is missing or not JSON ({error}); {_FIND_WEIGHTS}") from error
    if not isinstance(card, dict):
        raise WeightsError(f"{path}: expected a card of named entries, received {type(card).__name__}; {_FIND_WEIGHTS}")
    _check_card(str(path), card)
    return card


def read_card(path: str | os.PathLike[str]) -> WeightsCard:
    """The provenance part of ``describe_weights``; the same errors."""
    described = describe_weights(path)
    known = {entry.name for entry in fields(WeightsCard)}
    return WeightsCard(**{name: value for name, value in described.items() if name in known})


def load_weights(
    path: str | os.PathLike[str],
    *,
    layout: CoefficientLayout | None = None,
    face_model: str | None = None,
    edition: int | None = None,
    kind: str | None = None,
) -> Any:
    """Read a network, in float32, ready to predict (evaluation mode).

    The card is checked before anything is built, and the file's shapes before anything is allocated.

    Args:
        path: weights file, or the name of an embedded one.
        layout: of the face model that will decode the coefficients; not checked if None.
        face_model: name of that model; not checked if None.
        edition: of that model's coefficients; not checked if None.
        kind: that the network must be of, by its name in ``KINDS``; any if None.

    Returns:
        A network of the class of the file's kind.

    Raises:
        AssetNotFoundError: no such file.
        WeightsError: malformed, of another kind of network, or for another face model or edition of it; the message
            names both.
    """
    path = weights_path(path)
    card = describe_weights(path)
    _check_fit(path, card, layout, face_model, edition, kind)
    found = KINDS[card["kind"]]
    with safe_open(path, framework="pt") as file:
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 - not a dict
        return filled(str(path), found.label, lambda: found.build(card), shapes, file.get_tensor)


def filled(
    source: str,
    label: str,
    build: Callable[[], nn.Module],
    shapes: Mapping[str, tuple[int, ...]],
    read: Callable[[str], Tensor],
) -> Any:
    """A network with tensors from elsewhere, in float32, in evaluation mode; nothing of its own is allocated.

    Args:
        source: where they come from, for messages.
        label: what the network is called.
        build: makes it.
        shapes: of the tensors that are there.
        read: gives the tensor of a name; its memory becomes the network's where it is float32 already.

    Raises:
        WeightsError: the tensors are not exactly the network's, of its shapes and kinds of number, and finite.
    """
    with torch.device("meta"), _NothingDrawn():
        net = build()
    expected = net.state_dict()
    _check_shapes(source, label, expected, shapes)
    state = {name: _plain(source, name, read(name), like) for name, like in expected.items()}
    net.load_state_dict(state, assign=True)
    # a fifth faster on CPUs in batches: the channels of a pixel lie together
    net.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] - missing from torch's stubs
    return net.eval()


class _NothingDrawn(TorchFunctionMode):
    """Initial weights are not drawn: on the meta device they would be nothing, and torch would load its compiler."""

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        if func in (Tensor.normal_, Tensor.uniform_):
            return args[0]
        return func(*args, **(kwargs or {}))


def _plain(source: str, name: str, value: Tensor, like: Tensor) -> Tensor:
    """A tensor as the network computes with it: finite float32, or whole numbers where the network counts."""
    floats = like.is_floating_point()
    if value.is_floating_point() != floats or (not floats and value.dtype != like.dtype):
        wanted = "floating-point numbers" if floats else like.dtype
        raise WeightsError(f"{source}: expected {name} to hold {wanted}, received {value.dtype}; {_FIND_WEIGHTS}")
    if not floats:
        return value
    value = value.float()
    if not bool(value.isfinite().all()):
        raise WeightsError(f"{source}: {name} holds NaN or infinity; the file is damaged, fetch it again")
    return value


def _check_shapes(
    source: str, label: str, expected: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]]
) -> None:
    missing, unknown = sorted(expected.keys() - shapes.keys()), sorted(shapes.keys() - expected.keys())
    if missing or unknown:
        raise WeightsError(
            f"{source} does not hold the tensors of the {label} that it is said to be: missing {_some(missing)}, "
            f"unexpected {_some(unknown)}; {_FIND_WEIGHTS}"
        )
    for name, shape in shapes.items():
        if shape != tuple(expected[name].shape):
            raise WeightsError(
                f"{source}: expected {name} of shape {tuple(expected[name].shape)}, received {shape}; {_FIND_WEIGHTS}"
            )


def _check_card(source: str, card: Card) -> None:
    """Raise ``WeightsError`` unless every entry is what it may be; names the entry, what it may be and what it is."""
    if wrong := wrong_entry(card, {"kind": one_of(KINDS)}):
        raise WeightsError(f"{source}: {wrong}; {_FIND_WEIGHTS}")
    kind: Kind = KINDS[card["kind"]]
    own = dict(kind.entries) | ({"layout": layout_entry()} if kind.layout else {})
    crops = {"crop_size": whole(*CROP_SIZES), "template": one_of(kind.templates, needed=False)}
    rest = dict(_PROVENANCE) | ({} if kind.face_model else {"face_model": text()})
    if wrong := wrong_entry(card, own | crops | rest):
        raise WeightsError(f"{source}: its card describes no {kind.label}: {wrong}; {_FIND_WEIGHTS}")


def _check_fit(
    path: str | os.PathLike[str],
    card: Card,
    layout: CoefficientLayout | None,
    face_model: str | None,
    edition: int | None,
    kind: str | None,
) -> None:
    if kind is not None and card["kind"] != kind:
        wanted = KINDS[kind].label if kind in KINDS else repr(kind)
        raise WeightsError(f"{path}: expected weights of {wanted}, received {card['kind']!r}; {_FIND_WEIGHTS}")
    made_for = card["face_model"]
    if face_model is not None and face_model != made_for and not face_model.startswith(f"{made_for}-"):
        raise WeightsError(
            f"{path} was made for face model {made_for!r}, and face model {face_model!r} is to decode it; "
            f"give --face-model the {made_for!r} file, or weights made for {face_model!r}"
        )
    made_in = card.get("face_model_edition", 1)
    if edition is not None and edition != made_in:
        raise WeightsError(
            f"{path} was made for edition {made_in} of face model {made_for!r}, and edition {edition} is to decode it, "
            f"in which the same coefficients mean other faces; give weights made for edition {edition}, or "
            f"--face-model a {made_for!r} file of edition {made_in}"
        )
    if layout is not None and asdict(layout) != card.get("layout"):
        raise WeightsError(
            f"{path} predicts {card.get('layout')} coefficients, and the face model has {asdict(layout)}; "
            f"give --face-model the {made_for!r} file with the same numbers of coefficients"
        )


def _some(names: list[str]) -> str:
    return "none" if not names else ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
