"""What a benchmark hands to the report: the result, the worst cases as pictures, and where on the face it errs."""

import heapq
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from facewright.evaluate.results import (
    Case,
    Curve,
    DataDigest,
    Figure,
    Metric,
    Result,
    curves_of,
    figures_of,
    gain_over,
)
from facewright.evaluate.surfaces import Surface
from facewright.provenance import VERSION, source_commit

Progress = Callable[[str, float], None]
"""Told what is being done, and the fraction done, 0..1."""
WORST = 12


def silent(message: str, fraction: float) -> None:
    """Progress that nobody follows."""


@dataclass(order=True)
class _Entry:
    error: float
    order: int
    title: str = field(compare=False)
    picture: Tensor = field(compare=False)


class WorstCases:
    """Keeps pictures of the worst cases alone, however many are offered."""

    def __init__(self, limit: int = WORST) -> None:
        self._limit, self._heap, self._count = limit, [], 0

    def offer(self, error: float, title: str, draw: Callable[[], Float[Tensor, "3 H W"]]) -> None:
        """Show a case; ``draw`` is called only if it is among the worst so far."""
        self._count += 1
        if not np.isfinite(error) or (len(self._heap) == self._limit and error <= self._heap[0].error):
            return
        heapq.heappush(self._heap, _Entry(error, -self._count, title, draw()))
        if len(self._heap) > self._limit:
            heapq.heappop(self._heap)

    def tiles(self) -> list[tuple[str, Tensor]]:
        """Title and picture, the worst first."""
        return [(entry.title, entry.picture) for entry in sorted(self._heap, reverse=True)]


class HeatMap:
    """Mean error per vertex of one mesh.

    Args:
        surface: the mesh that it is drawn on, mm.
    """

    def __init__(self, surface: Surface) -> None:
        self.surface = surface
        self._sum = np.zeros(len(surface.vertices_mm))
        self._count = np.zeros(len(surface.vertices_mm))

    def add(self, vertex_ids: Int[ndarray, " N"], errors_mm: Float[ndarray, " N"]) -> None:
        """Errors at vertices; a vertex may come several times."""
        self._sum += np.bincount(vertex_ids, weights=errors_mm, minlength=len(self._sum))
        self._count += np.bincount(vertex_ids, minlength=len(self._sum))

    @property
    def mean_mm(self) -> Float[ndarray, " V"]:
        """NaN where nothing was measured."""
        return np.where(self._count > 0, self._sum / np.maximum(self._count, 1), np.nan)

    @property
    def empty(self) -> bool:
        """Whether nothing was added."""
        return not self._count.any()


@dataclass(frozen=True)
class Evaluation:
    """A result and its pictures.

    Attributes:
        result: all numbers.
        worst: title and picture of the worst cases, worst first.
        heat: error map; None where a benchmark has none.
    """

    result: Result
    worst: list[tuple[str, Tensor]] = field(default_factory=list)
    heat: HeatMap | None = None


class CaseRecorder:
    """Gathers the cases of a running benchmark and closes them into an evaluation.

    Args:
        benchmark: name on the command line.
        title: for people.
        protocol: its name and constants.
        metrics: the first is the one that cases are ranked by.
        heat: mesh of the error map.
    """

    def __init__(
        self,
        benchmark: str,
        title: str,
        protocol: dict[str, Any],
        metrics: Sequence[Metric],
        *,
        heat: HeatMap | None = None,
    ) -> None:
        self.benchmark, self.title, self.protocol, self.metrics = benchmark, title, protocol, tuple(metrics)
        self.heat, self.worst, self.digest = heat, WorstCases(), DataDigest()
        self.cases: list[Case] = []
        self.baseline_cases: list[Case] = []
        self.problems: list[str] = []
        self.missing: list[str] = []
        self._begun, self._commit = time.perf_counter(), source_commit()

    def fail(self, name: str, problem: str, *, group: str = "", strata: dict[str, str] | None = None) -> None:
        """A case that cannot be measured: it is named and changes no figure."""
        self.cases.append(Case(name, {}, group, strata or {}, problem))
        self.problems.append(f"{name}: {problem}")

    def close(
        self,
        *,
        method: str,
        weights: str = "",
        face_model: str = "",
        settings: dict[str, Any] | None = None,
        figures: dict[str, Figure] | None = None,
        baseline: dict[str, Figure] | None = None,
        curves: dict[str, Curve] | None = None,
    ) -> Evaluation:
        """Figures and curves of all cases; ``figures``, ``baseline`` and ``curves`` are added to those."""
        ours = figures_of(self.cases, self.metrics) | (figures or {})
        gain = gain_over(self.cases, self.baseline_cases, self.metrics[0].key)
        if gain is not None and self.metrics[0].better == "lower" and method != "mean":
            ours["gain_over_mean_head"] = gain
        result = Result(
            self.benchmark,
            self.title,
            self.protocol,
            self.digest.hexdigest(),
            method,
            weights,
            face_model,
            settings or {},
            self._commit,
            VERSION,
            time.perf_counter() - self._begun,
            self.metrics,
            ours,
            figures_of(self.baseline_cases, self.metrics) | (baseline or {}),
            curves_of(self.cases, self.baseline_cases, self.metrics) | (curves or {}),
            tuple(self.cases),
            tuple(self.baseline_cases),
            tuple(self.problems),
            tuple(self.missing),
        )
        return Evaluation(result, self.worst.tiles(), None if self.heat is None or self.heat.empty else self.heat)
