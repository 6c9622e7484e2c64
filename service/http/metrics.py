"""Prometheus metrics, in a registry that belongs to the application."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pipelines.catalog import Catalog
from pipelines.engine.engine import EngineCollector

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class _JobCollector(Collector):
    """Runs and evaluations by status, read from the catalog at every scrape."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def collect(self) -> Iterator[Metric]:
        """Yield one gauge."""
        family = GaugeMetricFamily(
            "pear_jobs", "Runs and evaluations by status.", labels=["kind", "status"]
        )
        runs, evaluations = self._catalog.runs.counts(), self._catalog.evaluations.counts()
        for kind, counts in (("runs", runs), ("evaluations", evaluations)):
            for status, number in counts.items():
                family.add_metric([kind, status], number)
        yield family


class Metrics:
    """Number and duration of requests, and the status of jobs."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "pear_http_requests",
            "Requests answered.",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "pear_http_request_seconds",
            "Response time, seconds.",
            ["route"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._children: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def add_catalog(self, catalog: Catalog) -> None:
        """Also export the jobs of this catalog."""
        self.registry.register(_JobCollector(catalog))
        self.registry.register(EngineCollector(catalog))

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request; ``route`` is a path pattern, so that labels stay few."""
        verb = method if method in _METHODS else "other"
        key = (verb, route, status)
        if key not in self._children:
            labelled = self._requests.labels(verb, route, str(status))
            self._children[key] = (labelled, self._seconds.labels(route))
        requests, durations = self._children[key]
        requests.inc()
        durations.observe(seconds)

    def exposition(self) -> bytes:
        """Return all metrics in the Prometheus text format."""
        return bytes(generate_latest(self.registry))
