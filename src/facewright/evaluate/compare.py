"""Two results of one protocol on the same data: paired differences with intervals."""

from dataclasses import dataclass

import numpy as np

from facewright.errors import BenchmarkError
from facewright.evaluate.bootstrap import Interval, bootstrap_interval
from facewright.evaluate.results import NUM_RESAMPLES, Metric, Result


@dataclass(frozen=True)
class Difference:
    """How one metric changed.

    Attributes:
        metric: which.
        first: its value in A over the common cases.
        second: in B.
        change: B - A, paired over the common cases.
        verdict: "better", "worse", or "no difference beyond chance".
    """

    metric: Metric
    first: float
    second: float
    change: Interval
    verdict: str


def compare(first: Result, second: Result) -> list[Difference]:
    """Differences of all metrics that both have cases of; whole persons are resampled.

    Raises:
        BenchmarkError: the results are of different benchmarks, protocols or data, or share no case.
    """
    for name in ("benchmark", "protocol", "data_sha256"):
        ours, theirs = getattr(first, name), getattr(second, name)
        if ours != theirs:
            raise BenchmarkError(
                f"expected two results of one {name}, received {ours!r} and {theirs!r}; only the same measurement on "
                "the same data can be compared: evaluate both again"
            )
    others = {case.name: case for case in second.cases}
    differences = []
    for metric in first.metrics:
        rows, names = [], []
        for case in first.cases:
            other = others.get(case.name)
            if other is not None and metric.key in case.values and metric.key in other.values:
                rows.append((case.values[metric.key], other.values[metric.key]))
                names.append(case.group or case.name)
        if rows:
            differences.append(_difference(metric, np.array(rows), names))
    if not differences:
        raise BenchmarkError("expected results with cases in common, found none that both could measure")
    return differences


def _difference(metric: Metric, rows: np.ndarray, names: list[str]) -> Difference:
    reduce = np.median if metric.statistic == "median" else np.mean
    unique, groups = np.unique(names, return_inverse=True)

    def change(sample: np.ndarray) -> float:
        return float(reduce(sample[:, 1]) - reduce(sample[:, 0]))

    interval = bootstrap_interval(
        rows, change, groups=None if len(unique) == len(names) else groups, num_resamples=NUM_RESAMPLES
    )
    improved = interval.value < 0 if metric.better == "lower" else interval.value > 0
    verdict = "no difference beyond chance"
    if interval.excludes_zero and metric.better != "neither":
        verdict = "better" if improved else "worse"
    return Difference(metric, float(reduce(rows[:, 0])), float(reduce(rows[:, 1])), interval, verdict)


def comparison_lines(first: Result, second: Result) -> list[str]:
    """The comparison as text, one metric a line."""
    lines = [f"{first.benchmark}, protocol {first.protocol['name']}: A {first.method} -> B {second.method}"]
    for row in compare(first, second):
        unit = "" if row.metric.unit == "1" else f" {row.metric.unit}"
        lines.append(
            f"{row.metric.key:18s} {row.first:9.3f} -> {row.second:9.3f}{unit}   change {row.change.value:+.3f} "
            f"[{row.change.low:+.3f}, {row.change.high:+.3f}]   {row.verdict} (n = {row.change.n})"
        )
    return lines
