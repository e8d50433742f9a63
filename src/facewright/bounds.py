"""Bounds of numbers: each says beside its default what it may be, and one walk refuses what is not."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, field, fields, is_dataclass
from typing import Any

from facewright.errors import FacewrightError, SettingsError

LARGEST = 2**63 - 1
"""Of whole numbers: seeds of torch are no larger."""
_LEAST, _ABOVE, _MOST, _BELOW = _KINDS = "least", "above", "most", "below"


def bounded(default: Any = MISSING, **bounds: int | float) -> Any:
    """A dataclass field of a number, of several, or of one that may be None.

    Args:
        default: of the field; without one the field must be given.
        bounds: any of ``least``, ``above`` (not itself), ``most`` and ``below`` (not itself). Without ``least`` or
            ``above`` numbers are 0 or more; all are finite, always.
    """
    if strange := bounds.keys() - set(_KINDS):
        raise ValueError(f"expected the bounds least, above, most and below, received {', '.join(strange)}")
    return field(default=default, metadata=bounds)


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


def _numbers(settings: Any) -> Iterator[tuple[str, int | float, Mapping[str, int | float]]]:
    for entry in fields(settings):
        value = getattr(settings, entry.name)
        if is_dataclass(value):
            yield from _numbers(value)
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, int | float) and not isinstance(number, bool):
                yield entry.name, number, {key: bound for key, bound in entry.metadata.items() if key in _KINDS}
