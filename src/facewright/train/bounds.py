"""Bounds of settings: each number says beside its default what it may be, and one walk refuses what is not."""

import math
from collections.abc import Iterator
from dataclasses import field, fields, is_dataclass
from typing import Any

from facewright.errors import TrainingError

LARGEST = 2**63 - 1
"""Of whole numbers: seeds of torch are no larger."""
_LEAST, _ABOVE, _MOST, _BELOW = "least", "above", "most", "below"


def bounded(default: Any, **bounds: int | float) -> Any:
    """A dataclass field of a number.

    Args:
        default: of the field.
        bounds: any of ``least``, ``above`` (not itself), ``most`` and ``below`` (not itself). Without ``least`` or
            ``above`` numbers are 0 or more; all are finite, always.
    """
    if strange := bounds.keys() - {_LEAST, _ABOVE, _MOST, _BELOW}:
        raise ValueError(f"expected the bounds least, above, most and below, received {', '.join(strange)}")
    return field(default=default, metadata=bounds)


def check_bounds(settings: Any) -> None:
    """Walk through settings and all settings within; numbers without stated bounds must be finite and 0 or more.

    Raises:
        TrainingError: naming the option, what it may be, and what it was.
    """
    for name, value, bounds in _numbers(settings):
        least, above = bounds.get(_LEAST, -math.inf), bounds.get(_ABOVE, -math.inf)
        if max(least, above) == -math.inf:
            least = 0
        most, below = bounds.get(_MOST, LARGEST if isinstance(value, int) else math.inf), bounds.get(_BELOW, math.inf)
        if not (math.isfinite(value) and least <= value <= most and above < value < below):
            lower = f"of at least {least:g}" if least > above else f"above {above:g}"
            upper = f", below {below:g}" if below < most else f", at most {most:g}" if most < math.inf else ""
            raise TrainingError(f"expected --{name.replace('_', '-')} {lower}{upper}; received {value}")


def _numbers(settings: Any) -> Iterator[tuple[str, int | float, dict[str, int | float]]]:
    for entry in fields(settings):
        value = getattr(settings, entry.name)
        if is_dataclass(value):
            yield from _numbers(value)
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, int | float) and not isinstance(number, bool):
                yield entry.name, number, dict(entry.metadata)
