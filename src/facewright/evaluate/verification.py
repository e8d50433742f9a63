"""Who is who: ROC, EER, 10-fold accuracy, TAR at FAR, rank-k identification. numpy; higher score = more alike."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from facewright.evaluate.extra import extra_package


@dataclass(frozen=True)
class RocCurve:
    """Receiver operating characteristic.

    Attributes:
        false_accept_rates: ascending, from 0 to 1.
        true_accept_rates: of the same thresholds.
        thresholds: descending; a pair is accepted when its score is at least the threshold; the first is infinite.
    """

    false_accept_rates: Float[ndarray, " T"]
    true_accept_rates: Float[ndarray, " T"]
    thresholds: Float[ndarray, " T"]

    @property
    def auc(self) -> float:
        """Area under the curve: the chance that a same pair scores above a different one (ties count half)."""
        return float(extra_package("sklearn.metrics").auc(self.false_accept_rates, self.true_accept_rates))

    @property
    def eer(self) -> float:
        """Equal error rate: where false accepts are as frequent as false rejects, on the curve's straight pieces."""
        gap = self.false_accept_rates + self.true_accept_rates - 1.0
        after = int(np.argmax(gap >= 0))
        if after == 0 or gap[after] == 0:
            return float(self.false_accept_rates[after])
        part = -gap[after - 1] / (gap[after] - gap[after - 1])
        far = self.false_accept_rates
        return float(far[after - 1] + part * (far[after] - far[after - 1]))

    def tar_at_far(self, far: float) -> float:
        """Largest true accept rate at a threshold whose false accept rate does not exceed ``far``."""
        allowed = self.false_accept_rates <= far
        return float(self.true_accept_rates[allowed].max())


def roc_curve(scores: Float[ndarray, " N"], same: Bool[ndarray, " N"]) -> RocCurve:
    """ROC of pairs by scikit-learn (extra ``evaluate``); one corner per different score.

    Raises:
        MissingExtraError: scikit-learn is not installed.
        ValueError: only same or only different pairs.
    """
    num_same = int(same.sum())
    if num_same in (0, len(same)):
        raise ValueError(f"expected same and different pairs, received {num_same} same of {len(same)}")
    return RocCurve(*extra_package("sklearn.metrics").roc_curve(same, scores, drop_intermediate=False))


@dataclass(frozen=True)
class FoldAccuracy:
    """Verification accuracy as LFW and YTF report it.

    Attributes:
        accuracies: per fold.
        thresholds: chosen on the other folds.
    """

    accuracies: Float[ndarray, " K"]
    thresholds: Float[ndarray, " K"]

    @property
    def mean(self) -> float:
        """Over the folds."""
        return float(self.accuracies.mean())

    @property
    def std(self) -> float:
        """Sample standard deviation over the folds."""
        return float(self.accuracies.std(ddof=1))

    @property
    def standard_error(self) -> float:
        """Std / sqrt(folds): what the LFW protocol prints after the plus-minus; papers often print ``std`` there."""
        return self.std / float(np.sqrt(len(self.accuracies)))


def fold_accuracy(scores: Float[ndarray, " N"], same: Bool[ndarray, " N"], folds: Int[ndarray, " N"]) -> FoldAccuracy:
    """Accuracy on each fold at the threshold that is best on all the others (LFW view 2)."""
    numbers = np.unique(folds)
    if len(numbers) < 2:
        raise ValueError(f"expected at least two folds, received {len(numbers)}")
    accuracies, thresholds = np.zeros(len(numbers)), np.zeros(len(numbers))
    for i, number in enumerate(numbers):
        held = folds == number
        thresholds[i] = best_threshold(scores[~held], same[~held])
        accuracies[i] = np.mean((scores[held] >= thresholds[i]) == same[held])
    return FoldAccuracy(accuracies, thresholds)


def best_threshold(scores: Float[ndarray, " N"], same: Bool[ndarray, " N"]) -> float:
    """The threshold of highest accuracy, half-way between the scores that it separates."""
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], same[order]
    right = np.concatenate([[0], np.cumsum(hits)]) + np.concatenate([np.cumsum(~hits[::-1])[::-1], [0]])
    possible = np.concatenate([[True], np.diff(ranked) != 0, [True]])
    accepted = int(np.argmax(np.where(possible, right, -1)))
    if accepted == 0:
        return float(ranked[0] + 1.0)
    if accepted == len(ranked):
        return float(ranked[-1])
    return float((ranked[accepted - 1] + ranked[accepted]) / 2.0)


def identification_ranks(
    similarities: Float[ndarray, "probes gallery"],
    probe_subjects: Int[ndarray, " probes"],
    gallery_subjects: Int[ndarray, " gallery"],
) -> Int[ndarray, " probes"]:
    """Rank (1 is first) of the best gallery entry of each probe's subject; entries of equal score go before it.

    Raises:
        ValueError: a probe's subject is not in the gallery (closed-set identification needs it).
    """
    mated = probe_subjects[:, None] == gallery_subjects[None, :]
    if not mated.any(1).all():
        raise ValueError("expected every probe's subject in the gallery, some are missing; leave those probes out")
    best = np.where(mated, similarities, -np.inf).max(1)
    return 1 + ((similarities >= best[:, None]) & ~mated).sum(1)


def rank_k_rate(ranks: Int[ndarray, " probes"], k: int) -> float:
    """Share of probes whose subject is among the first k: rank-1, rank-5 ... recognition rate."""
    return float(np.mean(ranks <= k))


def cosine_similarity(first: Float[ndarray, "N K"], second: Float[ndarray, "N K"]) -> Float[ndarray, " N"]:
    """Cosine of matched descriptors; zero where one of them is zero."""
    norms = np.linalg.norm(first, axis=-1) * np.linalg.norm(second, axis=-1)
    return (first * second).sum(-1) / np.where(norms > 0, norms, 1.0)
