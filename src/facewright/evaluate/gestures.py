"""Is found what a face plainly does: a blink, a wink, a wide mouth, a pout?

Means over all expressions hide these: most weights are near zero most of the time, and a network that leaves them there
errs little. Here only faces count that do the thing, and, against answers that always do it, those that do not.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from facewright.errors import BenchmarkError

PLAIN = 0.7
"""A weight above this is plainly done."""
ABSENT = 0.1
"""And one below this is not."""


@dataclass(frozen=True)
class PlainGesture:
    """What is looked for.

    Attributes:
        name: what it is called.
        sides: names of its expressions, which all make it together.
        one_sided: just one of them makes it, while the other rests.
    """

    name: str
    sides: tuple[str, ...]
    one_sided: bool = False


PLAIN_GESTURES = (
    PlainGesture("blink", ("eyeBlinkLeft", "eyeBlinkRight")),
    PlainGesture("wink", ("eyeBlinkLeft", "eyeBlinkRight"), one_sided=True),
    PlainGesture("wide_mouth", ("jawOpen",)),
    PlainGesture("pout", ("mouthPucker",)),
)


def gesture_errors(
    found: Float[ndarray, "N K"], true: Float[ndarray, "N K"], names: tuple[str, ...]
) -> dict[str, tuple[Float[ndarray, " n"], Float[ndarray, " m"]]]:
    """Errors of the weights of plain gestures, of faces that make them and of faces that do not.

    Args:
        found: weights of expressions.
        true: weights of expressions, 0..1.
        names: of the expressions (ARKit's).

    Returns:
        By gesture: for each face that plainly makes it, the greatest error among its weights (a wink's open eye is one
        of them); for each face that has none of it, the greatest weight that was found nevertheless.

    Raises:
        BenchmarkError: arrays that do not belong together, or a name that the model lacks.
    """
    if found.shape != true.shape or found.shape[1:] != (len(names),):
        raise BenchmarkError(
            f"expected found and true weights of {len(names)} expressions, received {found.shape} and {true.shape}"
        )
    missing = sorted({name for gesture in PLAIN_GESTURES for name in gesture.sides} - set(names))
    if missing:
        raise BenchmarkError(f"expected a model with the expressions of ARKit, received one without {missing[0]}")
    errors = {}
    for gesture in PLAIN_GESTURES:
        columns = [names.index(name) for name in gesture.sides]
        theirs, ours = true[:, columns], found[:, columns]
        done = theirs > PLAIN
        alone = (done.sum(1) == 1) & ((theirs < PLAIN / 2).sum(1) == 1)
        made = alone if gesture.one_sided else done.all(1)
        none = (theirs < ABSENT).all(1)
        errors[gesture.name] = (np.abs(ours - theirs)[made].max(1, initial=0.0), np.abs(ours[none]).max(1, initial=0.0))
    return errors
