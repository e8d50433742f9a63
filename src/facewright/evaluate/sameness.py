"""Is it the same person, and stays so? Likeness tests on coefficients and landmarks that need no benchmark data. numpy.

Coefficients are in units of the prior's standard deviation, as the face model defines them.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from facewright.evaluate.landmarks import box_size
from facewright.evaluate.verification import roc_curve


@dataclass(frozen=True)
class IdentitySpread:
    """How much of the true identity comes back.

    Attributes:
        slope: of recovered on true identity energy |a|^2 over faces; 1 is perfect, 0 gives everyone the same energy.
        correlation: of those energies (Pearson).
        energy_ratio: mean recovered over mean true energy; below 1 faces regress to the mean head.
        gain: least-squares factor g of recovered = g true over all coefficients.
        explained: 1 - |recovered - true|^2 / |true - mean true|^2: variance of identity explained; the constant mean
            head scores 0.
    """

    slope: float
    correlation: float
    energy_ratio: float
    gain: float
    explained: float


def identity_spread(recovered: Float[ndarray, "N K"], truth: Float[ndarray, "N K"]) -> IdentitySpread:
    """Compare recovered with true identity coefficients of synthetic faces.

    Give either coefficients or any other linear description of identity (vertex offsets from the mean head).
    """
    energy, true_energy = np.square(recovered).sum(-1), np.square(truth).sum(-1)
    covariance = np.cov(true_energy, energy)
    spread = np.sqrt(covariance[0, 0] * covariance[1, 1])
    return IdentitySpread(
        slope=float(covariance[0, 1] / covariance[0, 0]),
        correlation=float(covariance[0, 1] / spread) if spread > 0 else 0.0,
        energy_ratio=float(energy.mean() / true_energy.mean()),
        gain=float((recovered * truth).sum() / true_energy.sum()),
        explained=float(1.0 - np.square(recovered - truth).sum() / np.square(truth - truth.mean(0)).sum()),
    )


@dataclass(frozen=True)
class Separation:
    """How well distances tell the same person from different ones.

    Attributes:
        auc: chance that a pair of one person is closer than a pair of two; 0.5 is blind, 1 perfect.
        within: mean distance of pairs of one person.
        between: mean distance of pairs of two persons.
        d_prime: (between - within) over the root mean variance of the two.
    """

    auc: float
    within: float
    between: float
    d_prime: float


def separation(descriptors: Float[ndarray, "N K"], subjects: Int[ndarray, " N"]) -> Separation:
    """Euclidean distances of all pairs of identity descriptors, within persons against between persons.

    Raises:
        ValueError: no pair of one person, or no pair of two.
    """
    first, second = np.triu_indices(len(subjects), k=1)
    distances = np.linalg.norm(descriptors[first] - descriptors[second], axis=-1)
    same = subjects[first] == subjects[second]
    auc = roc_curve(-distances, same).auc
    within, between = distances[same], distances[~same]
    spread = np.sqrt((within.var() + between.var()) / 2.0)
    d_prime = (between.mean() - within.mean()) / spread if spread > 0 else np.inf
    return Separation(auc, float(within.mean()), float(between.mean()), float(d_prime))


def mirror_consistency(
    points: Float[ndarray, "B N D"],
    of_mirrored: Float[ndarray, "B N D"],
    partner: Int[ndarray, " N"],
    axis_sum: float,
) -> Float[ndarray, " B"]:
    """Mean distance between a face's points and those of its mirrored photo, mirrored back; 0 is consistent.

    Args:
        points: from the photo; x is mirrored.
        of_mirrored: from the mirrored photo.
        partner: each point's left-right partner.
        axis_sum: x + x' of mirrored places: width - 1 for pixels of a photo, 0 for the model frame.
    """
    back = of_mirrored[..., partner, :].copy()
    back[..., 0] = axis_sum - back[..., 0]
    return np.linalg.norm(points - back, axis=-1).mean(-1)


@dataclass(frozen=True)
class Leakage:
    """How much of something else shows in identity coefficients.

    Attributes:
        variance_ratio: variance within persons over variance between persons' means; 0 is perfect.
        r2: share of the within-person variance that a linear function of the cause predicts on persons left out; 0 (or
            below, clipped to 0) is perfect.
    """

    variance_ratio: float
    r2: float


def leakage(
    identity: Float[ndarray, "N K"], cause: Float[ndarray, "N C"], subjects: Int[ndarray, " N"], *, ridge: float = 1e-3
) -> Leakage:
    """Leakage of a cause (true expression coefficients, or pose) into recovered identity.

    Both are centred per person, and identity is predicted from the cause by ridge regression, five groups of
    persons left out in turn, so that chance agreement counts for nothing.

    Args:
        identity: recovered coefficients.
        cause: what varied within each person.
        subjects: who each row is.
        ridge: relative to the mean variance of the cause.

    Raises:
        ValueError: fewer than two persons, or none with two rows.
    """
    people, index = np.unique(subjects, return_inverse=True)
    counts = np.bincount(index)
    if len(people) < 2 or counts.max() < 2:
        raise ValueError(f"expected two or more persons, some with several rows, received {counts.tolist()} rows")
    centred, means = _centred(identity, index, counts)
    causes = _centred(cause, index, counts)[0]
    within = np.square(centred).sum() / max(1, len(identity) - len(people))
    between = np.square(means - means.mean(0)).sum() / (len(people) - 1)
    left = 0.0
    penalty = ridge * np.square(causes).mean() * len(causes) + np.finfo(float).tiny
    for fold in range(min(5, len(people))):
        held = index % min(5, len(people)) == fold
        c = causes[~held]
        weights = np.linalg.solve(c.T @ c + penalty * np.eye(c.shape[1]), c.T @ centred[~held])
        left += np.square(centred[held] - causes[held] @ weights).sum()
    total = np.square(centred).sum()
    return Leakage(float(within / between), float(max(0.0, 1.0 - left / total)) if total > 0 else 0.0)


def _centred(rows: ndarray, index: ndarray, counts: ndarray) -> tuple[ndarray, ndarray]:
    means = np.zeros((len(counts), rows.shape[1]))
    np.add.at(means, index, rows)
    means /= counts[:, None]
    return rows - means[index], means


def pose_drift(
    identity: Float[ndarray, "N K"],
    yaw_deg: Float[ndarray, " N"],
    subjects: Int[ndarray, " N"],
    edges_deg: tuple[float, ...] = (30.0, 60.0),
) -> Float[ndarray, " bins"]:
    """Root-mean-square change of identity from a person's most frontal photo, per bin of |yaw|, over persons' spread.

    1 means that turning the head changes identity as much as meeting another person does (spread: root-mean-square
    distance of two persons' frontal identities); 0 is invariant; NaN for a bin without photos.
    """
    bins = np.searchsorted(np.array(edges_deg), np.abs(yaw_deg), side="left")
    people = np.unique(subjects)
    frontal = np.array([min(np.flatnonzero(subjects == p), key=lambda i: abs(yaw_deg[i])) for p in people])
    reference = identity[frontal]
    spread2 = 2.0 * np.square(reference - reference.mean(0)).sum() / (len(people) - 1)
    change2 = np.square(identity - reference[np.searchsorted(people, subjects)]).sum(-1)
    counted = ~np.isin(np.arange(len(identity)), frontal)
    return np.array(
        [
            np.sqrt(change2[chosen].mean() / spread2) if (chosen := counted & (bins == b)).any() else np.nan
            for b in range(len(edges_deg) + 1)
        ]
    )


def landmark_jitter(landmarks: Float[ndarray, "T L 2"], truth: Float[ndarray, "T L 2"] | None = None) -> float:
    """Root-mean-square acceleration of landmarks on a clip, as a share of the face's box, per frame squared.

    The true motion's own acceleration is taken off first where it is known. White noise of deviation s per
    coordinate gives sqrt(12) s over the box.
    """
    size = box_size(landmarks if truth is None else truth).mean()
    moving = landmarks if truth is None else landmarks - truth
    return float(np.sqrt(np.square(_acceleration(moving)).sum(-1).mean()) / size)


def coefficient_jitter(coefficients: Float[ndarray, "T K"], truth: Float[ndarray, "T K"] | None = None) -> float:
    """Root-mean-square acceleration per coefficient, in prior standard deviations per frame squared."""
    moving = coefficients if truth is None else coefficients - truth
    return float(np.sqrt(np.square(_acceleration(moving)).mean()))


def identity_wander(identity: Float[ndarray, "T K"]) -> float:
    """Root-mean-square distance of a clip's identities from their mean, per coefficient: 0 for one person, always."""
    return float(np.sqrt(np.square(identity - identity.mean(0)).mean()))


def _acceleration(signal: ndarray) -> ndarray:
    if len(signal) < 3:
        raise ValueError(f"expected at least three frames, received {len(signal)}; give a longer clip")
    return signal[2:] - 2.0 * signal[1:-1] + signal[:-2]
