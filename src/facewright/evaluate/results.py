"""Results of evaluations: figures with intervals, cases, provenance; written as ``result.json`` and read back."""

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from facewright.errors import BenchmarkError
from facewright.evaluate.bootstrap import Interval, bootstrap_interval
from facewright.evaluate.curves import cumulative_errors
from facewright.export.json import write_json

Better = Literal["lower", "higher", "neither"]
Average = Literal["mean", "median"]
NUM_RESAMPLES = 1000


@dataclass(frozen=True)
class Figure:
    """One number of a result.

    Attributes:
        value: the figure; None where there was nothing to measure.
        low: lower end of its 95 % interval.
        high: upper end.
        unit: of all three.
        n: independent cases behind it (persons, where cases come in persons).
        better: which way is good.
    """

    value: float | None
    low: float | None
    high: float | None
    unit: str
    n: int
    better: Better = "lower"

    @classmethod
    def of(cls, interval: Interval, unit: str, better: Better = "lower") -> "Figure":
        """From a bootstrap."""
        return cls(_finite(interval.value), _finite(interval.low), _finite(interval.high), unit, interval.n, better)

    @classmethod
    def bare(cls, value: float, unit: str, n: int, better: Better = "lower") -> "Figure":
        """Without an interval."""
        return cls(_finite(value), None, None, unit, n, better)


@dataclass(frozen=True)
class Case:
    """What was measured on one picture, mesh or pair.

    Attributes:
        name: unique in the result.
        values: metric -> value; empty where nothing could be measured.
        group: cases of one group (person) are resampled together; the name itself if empty.
        strata: property -> class.
        problem: why there are no values; empty where there are.
    """

    name: str
    values: dict[str, float] = field(default_factory=dict)
    group: str = ""
    strata: dict[str, str] = field(default_factory=dict)
    problem: str = ""


@dataclass(frozen=True)
class Metric:
    """How the cases' values of one name become a figure.

    Attributes:
        key: in ``Case.values``, and the figure's name.
        label: for people.
        unit: of the value.
        statistic: over cases.
        better: which way is good.
        curve_limit: right end of the cumulative curve; None draws none.
    """

    key: str
    label: str
    unit: str
    statistic: Average = "mean"
    better: Better = "lower"
    curve_limit: float | None = None


@dataclass(frozen=True)
class Curve:
    """A cumulative curve: share of cases (or of vertices) with at most an error.

    Attributes:
        label: of the error.
        unit: of the thresholds.
        thresholds: from 0 up.
        shares: of the method, 0..1; cases without a result never come in.
        baseline_shares: of the mean head; empty if it was not measured.
    """

    label: str
    unit: str
    thresholds: tuple[float, ...]
    shares: tuple[float, ...]
    baseline_shares: tuple[float, ...] = ()


@dataclass(frozen=True)
class Result:
    """Everything that an evaluation says; ``result.json`` is this record.

    Attributes:
        benchmark: its name on the command line.
        title: for people.
        protocol: its name and every constant of it.
        data_sha256: of all data that were read, in the order of reading.
        method: what was measured.
        weights: of its network.
        face_model: of its coefficients.
        settings: whatever else decides the result.
        commit: of the program.
        version: of the program.
        seconds: it took.
        metrics: how figures came from cases.
        figures: name -> figure.
        baseline: the same figures of the mean head.
        curves: cumulative errors by metric.
        cases: one by one.
        baseline_cases: of the mean head.
        problems: what was wrong with single files, each by name.
        missing: what the folder lacks as a whole, and where to obtain it.
    """

    benchmark: str
    title: str
    protocol: dict[str, Any]
    data_sha256: str
    method: str
    weights: str
    face_model: str
    settings: dict[str, Any]
    commit: str
    version: str
    seconds: float
    metrics: tuple[Metric, ...]
    figures: dict[str, Figure]
    baseline: dict[str, Figure]
    curves: dict[str, Curve]
    cases: tuple[Case, ...]
    baseline_cases: tuple[Case, ...] = ()
    problems: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


class DataDigest:
    """A running hash of everything that was read, names included."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def add(self, name: str, content: bytes | Path) -> None:
        """Count a file or bytes in."""
        self._hash.update(name.encode() + b"\0")
        if isinstance(content, bytes):
            self._hash.update(content)
            return
        with content.open("rb") as file:
            while block := file.read(1 << 20):
                self._hash.update(block)

    def hexdigest(self) -> str:
        """So far."""
        return self._hash.hexdigest()


def measured(cases: Sequence[Case], *keys: str) -> tuple[Float[ndarray, "N K"], Int[ndarray, " N"] | None]:
    """Values of the cases that have them all, and the groups (None where every case is its own)."""
    having = [case for case in cases if all(key in case.values for key in keys)]
    values = np.array([[case.values[key] for key in keys] for case in having], np.float64).reshape(-1, len(keys))
    names = [case.group or case.name for case in having]
    _, groups = np.unique(names, return_inverse=True)
    return values, None if len(set(names)) == len(names) else groups


def figures_of(cases: Sequence[Case], metrics: Sequence[Metric]) -> dict[str, Figure]:
    """A figure for each metric that any case has a value of."""
    statistics: dict[Average, Callable[[ndarray], float]] = {"mean": np.mean, "median": np.median}
    figures = {}
    for metric in metrics:
        values, groups = measured(cases, metric.key)
        if len(values):
            statistic = statistics[metric.statistic]
            interval = bootstrap_interval(values[:, 0], statistic, groups=groups, num_resamples=NUM_RESAMPLES)
            figures[metric.key] = Figure.of(interval, metric.unit, metric.better)
    return figures


def deviation_of(cases: Sequence[Case], key: str, unit: str) -> dict[str, Figure]:
    """Sample standard deviation of a metric over cases, as tables print it after the plus-minus; none of one case."""
    values, _ = measured(cases, key)
    if len(values) < 2:
        return {}
    name = key.removesuffix(f"_{unit}") + f"_std_{unit}"
    return {name: Figure.bare(float(values[:, 0].std(ddof=1)), unit, len(values), "neither")}


def curves_of(cases: Sequence[Case], baseline: Sequence[Case], metrics: Sequence[Metric]) -> dict[str, Curve]:
    """A curve for each metric that has a limit and cases."""
    curves = {}
    for metric in metrics:
        limit = metric.curve_limit
        if limit is None or not any(metric.key in case.values for case in cases):
            continue
        ours, theirs = (
            np.array([case.values.get(metric.key, np.inf) for case in some], np.float64) for some in (cases, baseline)
        )
        ced = cumulative_errors(ours, limit, steps=100)
        shares = cumulative_errors(theirs, limit, steps=100).shares if len(theirs) else np.zeros(0)
        curves[metric.key] = Curve(metric.label, metric.unit, *map(_rounded, (ced.thresholds, ced.shares, shares)))
    return curves


def _rounded(values: Float[ndarray, " T"]) -> tuple[float, ...]:
    return tuple(np.round(values, 6).tolist())


def gain_over(cases: Sequence[Case], baseline: Sequence[Case], key: str) -> Figure | None:
    """How much smaller the mean error is than the baseline's on the same cases, per cent; None without such cases."""
    others = {case.name: case for case in baseline}
    paired = [
        Case(case.name, {"method": case.values[key], "mean": others[case.name].values[key]}, case.group)
        for case in cases
        if key in case.values and case.name in others and key in others[case.name].values
    ]
    values, groups = measured(paired, "method", "mean")
    if not len(values) or not values[:, 1].any():
        return None  # nothing can be smaller than no error

    def gain(rows: ndarray) -> float:
        error, constant = rows.mean(0)
        return float(100.0 * (1.0 - error / constant)) if constant > 0 else float("nan")

    interval = bootstrap_interval(values, gain, groups=groups, num_resamples=NUM_RESAMPLES)
    return Figure.of(interval, "%", "higher")


def write_result(result: Result, path: Path) -> None:
    """Write ``result.json``.

    Raises:
        ExportError: it cannot be written.
    """
    write_json(path, {entry.name: getattr(result, entry.name) for entry in fields(result)})


def read_result(path: Path) -> Result:
    """Read a ``result.json``.

    Raises:
        BenchmarkError: missing, or not such a file.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        content["metrics"] = tuple(Metric(**entry) for entry in content["metrics"])
        for name in ("figures", "baseline"):
            content[name] = {key: Figure(**entry) for key, entry in content[name].items()}
        content["curves"] = {key: _curve(entry) for key, entry in content["curves"].items()}
        for name in ("cases", "baseline_cases"):
            content[name] = tuple(Case(**entry) for entry in content[name])
        for name in ("problems", "missing"):
            content[name] = tuple(content[name])
        return Result(**content)
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise BenchmarkError(
            f"expected a result.json written by `facewright evaluate` at {path}, cannot read it: {error}"
        ) from error


def _curve(entry: dict[str, Any]) -> Curve:
    rows = (tuple(entry[name]) for name in ("thresholds", "shares", "baseline_shares"))
    return Curve(entry["label"], entry["unit"], *rows)


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
