"""Prometheus metrics of the engine."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from pipelines.catalog import Catalog
from pipelines.engine.metrics import EngineCollector

DAY = np.datetime64("2001-03-01T00:00:00")


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with Catalog(tmp_path / "catalog.sqlite") as made:
        made.models.add("ab" * 32, "models/x", nside=8, step_hours=24, name="small")
        yield made


def samples(catalog: Catalog) -> dict[tuple[str, str], float]:
    registry = CollectorRegistry()
    registry.register(EngineCollector(catalog))
    text = generate_latest(registry).decode()
    return {
        (sample.name, ",".join(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_an_empty_catalog_has_no_newest_forecast(catalog: Catalog) -> None:
    found = samples(catalog)
    assert found["pear_queue_depth", "runs"] == 0
    assert ("pear_newest_forecast_age_seconds", "") not in found
    assert found["pear_step_seconds_count", ""] == 0


def test_queue_pace_failures_and_age(catalog: Catalog) -> None:
    for day, pace in enumerate((0.02, 0.5, None)):
        run, _ = catalog.runs.submit("small", DAY + np.timedelta64(day, "D"), 48)
        catalog.runs.claim(run.id, "w")
        catalog.runs.set_progress(run.id, 1, 2, seconds_per_step=pace, owner="w")
        if pace is None:
            catalog.runs.fail(run.id, "step 2: temperature", kind="InputError", owner="w")
        else:
            catalog.runs.succeed(run.id, owner="w")
    catalog.runs.submit("small", DAY, 72)
    catalog.evaluations.submit("small", {})
    found = samples(catalog)
    assert found["pear_queue_depth", "runs"] == 1
    assert found["pear_queue_depth", "evaluations"] == 1
    assert found["pear_failed", "InputError"] == 1
    assert found["pear_step_seconds_count", ""] == 2
    assert found["pear_step_seconds_sum", ""] == pytest.approx(0.52)
    assert found["pear_step_seconds_bucket", "0.01"] == 0
    assert found["pear_step_seconds_bucket", "0.03"] == 1
    assert found["pear_step_seconds_bucket", "1.0"] == 2
    assert 0 <= found["pear_newest_forecast_age_seconds", ""] < 60
    init = datetime.fromtimestamp(found["pear_newest_forecast_init_timestamp_seconds", ""], UTC)
    assert init == datetime(2001, 3, 2, tzinfo=UTC)


def test_the_age_grows(tmp_path: Path) -> None:
    long_ago = datetime.now(UTC) - timedelta(hours=5)
    with Catalog(tmp_path / "old.sqlite", clock=lambda: long_ago) as catalog:
        catalog.models.add("ab" * 32, "models/x", nside=8, step_hours=24, name="small")
        run, _ = catalog.runs.submit("small", DAY, 24)
        catalog.runs.claim(run.id, "w")
        catalog.runs.succeed(run.id, owner="w")
        age = samples(catalog)["pear_newest_forecast_age_seconds", ""]
    assert age == pytest.approx(5 * 3600, abs=60)
