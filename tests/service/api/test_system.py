"""Liveness, readiness, and metrics."""

from __future__ import annotations

import httpx

from tests.fixtures.service import StubEngine, problem


def test_readiness_names_the_check_that_fails(client: httpx.Client, engine: StubEngine) -> None:
    assert client.get("/healthz").json() == {"status": "alive"}
    assert client.get("/readyz").json()["checks"] == {
        "catalog": "ok",
        "data": "ok",
        "engine": "ok",
    }
    engine.up = False
    try:
        assert "engine" in problem(client.get("/readyz"), 503)["detail"]
        assert client.get("/healthz").status_code == 200, "alive, though not ready"
    finally:
        engine.up = True


def test_metrics_count_requests_by_route_pattern(client: httpx.Client, run_id: str) -> None:
    client.get(f"/v1/forecasts/{run_id}")
    text = client.get("/metrics").text
    assert 'route="/v1/forecasts/{run_id}"' in text
    assert run_id not in text
    assert 'pear_jobs{kind="runs",status="succeeded"}' in text
