"""Statistics of all vertices of all scans together (NoW), gathered scan by scan in constant memory. numpy, mm."""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from facewright.evaluate.bootstrap import Interval

BIN_MM = 0.001
LIMIT_MM = 100.0
REPLICATE_BIN_MM = 0.01
NUM_REPLICATES = 200


@dataclass(frozen=True)
class PooledStatistics:
    """Of every distance that was added, each vertex counting once, so that dense scans weigh more.

    Attributes:
        median_mm: to half a micrometre.
        mean_mm: exact.
        std_mm: exact; population.
        count: distances.
        scans: calls of ``add``.
    """

    median_mm: Interval
    mean_mm: Interval
    std_mm: float
    count: int
    scans: int


@dataclass
class PooledDistances:
    """Gathers distances; holds histograms, never the distances (about 16 MB, whatever is added).

    Intervals come from the Poisson bootstrap (Chamandy 2012): each person enters replicate r as often as a Poisson
    variable of mean one says, drawn from the seed and the person's number.

    Attributes:
        seed: of the draws.
    """

    seed: int = 0
    _histogram: Int[ndarray, " bins"] = field(default_factory=lambda: np.zeros(round(LIMIT_MM / BIN_MM) + 1, np.int64))
    _replicates: Float[ndarray, "R coarse"] = field(
        default_factory=lambda: np.zeros((NUM_REPLICATES, round(LIMIT_MM / REPLICATE_BIN_MM) + 1))
    )
    _sums: Float[ndarray, "R 2"] = field(default_factory=lambda: np.zeros((NUM_REPLICATES, 2)))
    _count: int = 0
    _sum: float = 0.0
    _sum_squares: float = 0.0
    _scans: int = 0
    _persons: set[int] = field(default_factory=set)

    def add(self, distances_mm: Float[ndarray, " N"], person: int | None = None) -> None:
        """Add one scan's distances; beyond 100 mm they count as "more than 100 mm" for the median alone.

        Args:
            distances_mm: of the scan's counted vertices.
            person: number of the person: the photos of one person are not independent, and enter a replicate together.
                None makes each call a person of its own; do not mix.

        Raises:
            ValueError: a distance is negative or not finite.
        """
        if not np.isfinite(distances_mm).all() or (len(distances_mm) and distances_mm.min() < 0):
            raise ValueError("expected finite distances of at least 0 mm, received others; leave the scan out")
        fine = np.minimum(distances_mm / BIN_MM, len(self._histogram) - 1).astype(np.int64)
        np.add.at(self._histogram, fine, 1)
        person = self._scans if person is None else person
        self._persons.add(person)
        times = np.random.default_rng([self.seed, person]).poisson(1.0, NUM_REPLICATES)
        step = round(REPLICATE_BIN_MM / BIN_MM)
        coarse = np.bincount(fine // step, minlength=self._replicates.shape[1])
        seen = np.flatnonzero(coarse)
        self._replicates[:, seen] += times[:, None] * coarse[seen]
        total = float(distances_mm.sum())
        self._sums += times[:, None] * np.array([total, len(distances_mm)])
        self._sum += total
        self._sum_squares += float(np.square(distances_mm).sum())
        self._count += len(distances_mm)
        self._scans += 1

    def statistics(self, level: float = 0.95) -> PooledStatistics:
        """Median, mean and standard deviation with intervals over persons.

        Raises:
            ValueError: nothing was added.
        """
        if not self._count:
            raise ValueError("expected at least one distance, received none; no scan was measured")
        mean = self._sum / self._count
        std = float(np.sqrt(max(0.0, self._sum_squares / self._count - mean**2)))
        drawn = self._sums[:, 1] > 0
        medians = np.array([_histogram_median(row, REPLICATE_BIN_MM) for row in self._replicates[drawn]])
        means = self._sums[drawn, 0] / self._sums[drawn, 1]
        return PooledStatistics(
            self._interval(_histogram_median(self._histogram, BIN_MM), medians, level),
            self._interval(mean, means, level),
            std,
            self._count,
            self._scans,
        )

    def shares(self, thresholds_mm: Float[ndarray, " T"]) -> Float[ndarray, " T"]:
        """The cumulative curve: share of all distances up to each threshold, to a micrometre."""
        upto = np.concatenate([[0], np.cumsum(self._histogram)])
        bins = np.clip(np.round(np.asarray(thresholds_mm) / BIN_MM), 0, len(self._histogram)).astype(int)
        return upto[bins] / max(1, self._count)

    def _interval(self, value: float, draws: ndarray, level: float) -> Interval:
        tail = 50.0 * (1.0 - level)
        low, high = np.percentile(draws, [tail, 100.0 - tail]) if len(draws) else (np.nan, np.nan)
        return Interval(float(value), float(low), float(high), len(self._persons), level)


def _histogram_median(histogram: ndarray, bin_mm: float) -> float:
    """Half of the cases lie below; linear inside the bin."""
    cumulative = np.cumsum(histogram)
    half = cumulative[-1] / 2.0
    place = int(np.searchsorted(cumulative, half))
    before = cumulative[place - 1] if place else 0
    return float(bin_mm * (place + (half - before) / histogram[place]))
