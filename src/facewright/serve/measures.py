"""What ``/metrics`` tells: counts and times, nothing of any picture."""

from collections.abc import Iterator
from typing import Any

from facewright.serve.crew import Crew

SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 60.0, 150.0)
"""Bounds of the histogram of answers."""


class Measures:
    """Counters of one service, in a registry of their own."""

    def __init__(self, crew: Crew) -> None:
        from prometheus_client import CollectorRegistry, Counter, Histogram

        self.registry = CollectorRegistry()
        self.requests = Counter(
            "facewright_requests", "Requests by route and status.", ["route", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "facewright_request_seconds",
            "From the first byte of a request to the last of its answer.",
            ["route"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.faces = Counter("facewright_faces", "Faces reconstructed.", registry=self.registry)
        self.registry.register(_OfCrew(crew))

    def text(self) -> tuple[bytes, str]:
        """What Prometheus reads, and its media type."""
        from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

        return generate_latest(self.registry), CONTENT_TYPE_LATEST


class _OfCrew:
    """Read off the queue and its processes when asked."""

    def __init__(self, crew: Crew) -> None:
        self._crew = crew

    def collect(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        crew = self._crew
        yield GaugeMetricFamily("facewright_requests_inside", "Requests waiting or in work.", crew.inside)
        yield GaugeMetricFamily("facewright_requests_waiting", "Requests whose turn has not come.", crew.waiting)
        yield GaugeMetricFamily("facewright_workers_ready", "Processes that are there.", crew.ready)
        yield CounterMetricFamily("facewright_workers_replaced", "Processes in lost ones' places.", crew.replaced)
        batches = sum(crew.sizes.values())
        yield CounterMetricFamily("facewright_batches", "Times that requests were worked on together.", batches)
        done = sum(size * count for size, count in crew.sizes.items())
        yield CounterMetricFamily("facewright_batched_requests", "Requests that were worked on.", done)
        lost = CounterMetricFamily("facewright_requests_lost", "Requests that cost their process.", labels=["how"])
        for how in ("died", "overdue"):
            lost.add_metric([how], crew.lost[how])
        yield lost
