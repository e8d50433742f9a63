"""A learning rate that falls when validation stops falling: the one schedule with a memory."""

import math
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Plateau:
    """What has been seen of the validation loss.

    Attributes:
        best: the least so far.
        waited: validations since, or since the rate last fell, that were no better.
        drops: how often the rate has fallen.
    """

    best: float = math.inf
    waited: int = 0
    drops: int = 0

    def after(self, loss: float, *, patience: int, least_gain: float) -> "Plateau":
        """After one more validation, as torch's ``ReduceLROnPlateau`` counts.

        Args:
            loss: of the validation; one that is not finite is no better than any.
            patience: validations without gain that are borne; the next one lets the rate fall.
            least_gain: share of the best loss that counts as a gain.
        """
        gain = least_gain * abs(self.best) if math.isfinite(self.best) else 0.0
        if math.isfinite(loss) and loss < self.best - gain:
            return replace(self, best=loss, waited=0)
        if self.waited < patience:
            return replace(self, waited=self.waited + 1)
        return replace(self, waited=0, drops=self.drops + 1)
