"""What the card of a weights file may say: entries by name, each with what it must be; what a kind of network is."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from facewright.records import CoefficientLayout

DEEP3D_CROPS = "deep3d-five-102"
"""Crops by five points of the Deep3D template, 102 px a decimetre (``facewright.align.align_face``)."""

CROP_SIZES = (16, 4096)
"""Least and largest side of a network's crops, px."""
MOST_COEFFICIENTS = 100_000
MOST_EDITIONS = 1_000_000
MOST_WIDTH = 8.0
"""Largest factor on a trunk's channels: twice that of any known network."""
LONGEST_TEXT = 100_000

Card = Mapping[str, Any]
"""A card as JSON has it."""


@dataclass(frozen=True)
class Entry:
    """What one entry of a card may be.

    Attributes:
        expected: in words, for messages.
        fits: whether a value is that; called with whatever JSON holds.
        needed: whether the card must have it.
    """

    expected: str
    fits: Callable[[Any], bool]
    needed: bool = True


@dataclass(frozen=True)
class Kind:
    """A kind of network: all that weights files, ONNX files and ``weights info`` need to know of it.

    Attributes:
        label: what people call it.
        network: its class.
        entries: of its card, beside those that all cards have.
        build: the network that a card, already checked, describes. It is called on the meta device, where nothing is
            allocated: whatever the network computes with must be in its state.
        describe: the inverse: ``entries`` of a network, and its ``crop_size``.
        answers: what a network says of crops (B, 3, S, S), by name and in the order of an ONNX file's outputs; None of
            networks that see no crops, of which no ONNX files are made.
        layout: whether its answers are coefficients, whose layout the card then holds.
        face_model: whether they belong to a face model, whose name the card then holds.
        templates: crop rules that it may have been trained with.
    """

    label: str
    network: type[nn.Module]
    entries: Mapping[str, Entry]
    build: Callable[[Card], nn.Module]
    describe: Callable[[Any], dict[str, Any]]
    answers: Callable[[Any, Tensor], dict[str, Tensor]] | None
    layout: bool = True
    face_model: bool = True
    templates: tuple[str, ...] = (DEEP3D_CROPS,)


def wrong_entry(card: Card, entries: Mapping[str, Entry]) -> str:
    """The first entry of a card that is not what it must be, as a message; empty if all are."""
    for name, entry in entries.items():
        if name not in card and entry.needed:
            return f"expected {name}, {entry.expected}, received none"
        if name in card and not entry.fits(card[name]):
            return f"expected {name} to be {entry.expected}, received {_shown(card[name])}"
    return ""


def text(*, empty: bool = True, needed: bool = False) -> Entry:
    """Words."""
    return Entry(
        "text" if empty else "a name",
        lambda value: isinstance(value, str) and len(value) <= LONGEST_TEXT and (empty or value != ""),
        needed,
    )


def flag(*, needed: bool = False) -> Entry:
    """True or false."""
    return Entry("true or false", lambda value: isinstance(value, bool), needed)


def one_of(names: Sequence[str] | Mapping[str, Any], *, needed: bool = True) -> Entry:
    """One of some names; a mapping is asked when a card is checked, not before."""
    return Entry(f"one of {', '.join(names)}", lambda value: isinstance(value, str) and value in names, needed)


def whole(least: int, most: int, *, needed: bool = True) -> Entry:
    """A whole number; JSON's 64.0 is none."""
    return Entry(
        f"a whole number, {least} to {most}", lambda value: type(value) is int and least <= value <= most, needed
    )


def width() -> Entry:
    """A factor on channel counts."""
    return Entry(f"a number above 0, at most {MOST_WIDTH:g}", lambda value: _number(value) and 0 < value <= MOST_WIDTH)


def layout() -> Entry:
    """Numbers of coefficients."""
    parts = tuple(CoefficientLayout.__dataclass_fields__)
    return Entry(
        f"whole numbers {', '.join(parts)}, 1 to {MOST_COEFFICIENTS} together",
        lambda value: (
            isinstance(value, dict)
            and value.keys() == set(parts)
            and all(type(part) is int and part >= 0 for part in value.values())
            and 1 <= sum(value.values()) <= MOST_COEFFICIENTS
        ),
    )


def figures() -> Entry:
    """Measured results by name."""
    return Entry(
        "finite numbers by name",
        lambda value: isinstance(value, dict) and all(_number(number) for number in value.values()),
        needed=False,
    )


def _number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) <= 1e300 and math.isfinite(value)


def _shown(value: Any) -> str:
    """A value for a message, however long it is."""
    shown = repr(value)
    return shown if len(shown) <= 80 else f"{shown[:60]}... of {len(shown)} characters"
