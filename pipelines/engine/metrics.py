"""Prometheus metrics of the engine, read from the catalog at each scrape."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

import numpy as np
from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from pipelines.catalog import Catalog, Status

_BUCKETS: Final = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
_NEWEST_RUNS: Final = 1000


class EngineCollector(Collector):
    """Queue depth, seconds per step, failures by reason and age of the newest forecast.

    All processes of an engine write to the catalog, so every process that serves it reports the
    same metrics, and a worker that dies loses none.

    Parameters
    ----------
    catalog
        Catalog to read.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        yield self._queue()
        yield self._pace()
        yield self._failures()
        yield from self._age()

    def _queue(self) -> Metric:
        family = GaugeMetricFamily("pear_queue_depth", "Number of queued jobs.", labels=["kind"])
        family.add_metric(["runs"], self._catalog.runs.counts()[Status.QUEUED])
        family.add_metric(["evaluations"], self._catalog.evaluations.counts()[Status.QUEUED])
        return family

    def _pace(self) -> Metric:
        runs = self._catalog.runs.page(status=("running", "succeeded"), limit=_NEWEST_RUNS).items
        paces = [run.progress.seconds_per_step for run in runs]
        known = np.array([pace for pace in paces if pace is not None])
        family = HistogramMetricFamily(
            "pear_step_seconds",
            f"Seconds per step, mean of each of the newest {_NEWEST_RUNS} runs.",
        )
        counts = [(str(edge), float((known <= edge).sum())) for edge in _BUCKETS]
        family.add_metric(
            [], buckets=[*counts, ("+Inf", float(known.size))], sum_value=float(known.sum())
        )
        return family

    def _failures(self) -> Metric:
        family = GaugeMetricFamily(
            "pear_failed", "Number of failed jobs by reason.", labels=["reason"]
        )
        for reason, number in self._catalog.failures().items():
            family.add_metric([reason], number)
        return family

    def _age(self) -> Iterator[Metric]:
        age = GaugeMetricFamily(
            "pear_newest_forecast_age_seconds", "Time since the newest forecast was finished."
        )
        init = GaugeMetricFamily(
            "pear_newest_forecast_init_timestamp_seconds",
            "Newest init time of a finished forecast.",
        )
        latest = self._catalog.runs.latest()
        if latest is not None and latest.finished_at is not None:
            age.add_metric([], (datetime.now(UTC) - latest.finished_at).total_seconds())
            init.add_metric([], float(latest.init_time.astype("datetime64[s]").astype(np.int64)))
        yield age
        yield init
