"""Bounds of numbers, and which options have a use beside which: said beside the default, and checked by one walk each.

``bounded`` and ``only`` make the fields of settings; ``check_bounds`` and ``check_uses`` are the walks.
"""

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from typing import Any

from facewright.errors import FacewrightError, SettingsError

LARGEST = 2**63 - 1
"""Of whole numbers: seeds of torch are no larger."""
_LEAST, _ABOVE, _MOST, _BELOW = _KINDS = "least", "above", "most", "below"
_USE = "use"


@dataclass(frozen=True)
class Use:
    """When an option has a use.

    Attributes:
        words: for messages: "beside --predictions".
        holds: whether it has one, by the values of all settings, by the names of their fields.
    """

    words: str
    holds: Callable[[Mapping[str, Any]], bool]


def only(use: Use, default: Any = MISSING) -> Any:
    """A dataclass field, no number, that is refused where it would be ignored.

    Args:
        use: when it is not.
        default: of the field.
    """
    return field(default=default, metadata={_USE: use})


def bounded(default: Any = MISSING, *, use: Use | None = None, **bounds: int | float) -> Any:
    """A dataclass field of a number, of several, or of one that may be None.

    Args:
        default: of the field; without one the field must be given.
        use: as of ``only``.
        bounds: any of ``least``, ``above`` (not itself), ``most`` and ``below`` (not itself). Without ``least`` or
            ``above`` numbers are 0 or more; all are finite, always.
    """
    if strange := bounds.keys() - set(_KINDS):
        raise ValueError(f"expected the bounds least, above, most and below, received {', '.join(strange)}")
    return field(default=default, metadata=bounds if use is None else {**bounds, _USE: use})


def check_bounds(settings: Any, error: type[FacewrightError] = SettingsError) -> None:
    """Walk through settings and all settings within; numbers without stated bounds must be finite and 0 or more.

    Args:
        settings: a dataclass.
        error: class of what is raised.

    Raises:
        FacewrightError: of that class, naming the option, what it may be, and what it was.
    """
    for name, value, bounds in _numbers(settings):
        check_number(f"--{name.replace('_', '-')}", value, error, **bounds)


def check_uses(settings: Any, given: Collection[str], error: type[FacewrightError] = SettingsError) -> None:
    """Walk through settings and all settings within; refuse what was given and would be ignored.

    Args:
        settings: a dataclass.
        given: names of the options that were given, with their dashes; the default of an option is no wish.
        error: class of what is raised.

    Raises:
        FacewrightError: of that class, naming the option and when it has a use.
    """
    entries = list(_entries(settings))
    values = {name: value for name, value, _ in entries}
    for name, _, metadata in entries:
        option, use = name.replace("_", "-"), metadata.get(_USE)
        asked = next((form for form in ("--" + option, "--" + "no-" + option) if form in given), None)
        if asked is not None and isinstance(use, Use) and not use.holds(values):
            raise error(f"expected {asked} only {use.words}; it would be ignored")


def check_number(name: str, value: int | float, error: type[FacewrightError], **bounds: int | float) -> None:
    """Refuse one number; bounds are those of ``bounded``.

    Raises:
        FacewrightError: of the class ``error``.
    """
    least, above = bounds.get(_LEAST, -math.inf), bounds.get(_ABOVE, -math.inf)
    if max(least, above) == -math.inf:
        least = 0
    most, below = bounds.get(_MOST, LARGEST if isinstance(value, int) else math.inf), bounds.get(_BELOW, math.inf)
    # Compared before anything becomes a float: whole numbers may be too large for that.
    if not (least <= value <= most and above < value < below and math.isfinite(value)):
        lower = f"of at least {_said(least)}" if least > above else f"above {_said(above)}"
        upper = f", below {_said(below)}" if below < most else f", at most {_said(most)}" if most < math.inf else ""
        raise error(f"expected {name} {lower}{upper}; received {value}")


def _said(bound: int | float) -> str:
    return f"{bound:g}" if isinstance(bound, float) else str(bound)


def _entries(settings: Any) -> Iterator[tuple[str, Any, Mapping[str, Any]]]:
    """Name, value and metadata of all settings."""
    for entry in fields(settings):
        value = getattr(settings, entry.name)
        if is_dataclass(value):
            yield from _entries(value)
        else:
            yield entry.name, value, entry.metadata


def _numbers(settings: Any) -> Iterator[tuple[str, int | float, Mapping[str, int | float]]]:
    for name, value, metadata in _entries(settings):
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, int | float) and not isinstance(number, bool):
                yield name, number, {key: bound for key, bound in metadata.items() if key in _KINDS}
