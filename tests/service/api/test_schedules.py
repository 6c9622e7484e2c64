"""Schedules over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from pipelines.catalog import Catalog
from tests.fixtures.service import INIT, SHA, problem


def test_add_pause_run_and_remove_a_schedule(client: httpx.Client) -> None:
    body = {"name": "daily", "cron": "30 6 * * *", "action": {"forecast": {"lead_hours": 240}}}
    made = client.post("/v1/schedules", json=body)
    assert made.status_code == 201, made.text
    assert made.json()["next_run_at"].endswith("T06:30:00Z")
    assert made.json()["action"]["forecast"]["lead_hours"] == 240
    paused = client.patch("/v1/schedules/daily", json={"paused": True}).json()
    assert (paused["paused"], paused["next_run_at"]) == (True, None)
    started = client.post("/v1/schedules/daily/run")
    assert started.status_code == 202
    where, job = started.headers["location"], started.json()
    assert (job["status"], job["result"], job["waits_for"]) == ("queued", None, [])
    assert client.post("/v1/schedules/daily/run").json()["id"] == job["id"], "it has not ended"
    assert client.get(where).json() == job
    assert [each["id"] for each in client.get("/v1/schedules/daily/jobs").json()] == [job["id"]]
    problem(client.get(where.replace("/daily/", "/other/")), 404)
    assert client.post(f"{where}/cancel").json()["status"] == "cancelled"
    problem(client.post(f"{where}/cancel"), 409)
    assert len(client.get("/v1/schedules/daily/runs").json()) >= 2
    assert [each["name"] for each in client.get("/v1/schedules").json()["items"]] == ["daily"]
    assert client.delete("/v1/schedules/daily").status_code == 204
    problem(client.get("/v1/schedules/daily"), 404)


@pytest.mark.parametrize(
    "change",
    [
        {"cron": "every day"},
        {"cron": "99 * * * *"},
        {"name": "../x"},
        {"name": ""},
        {"action": {}},
        {"action": {"dance": {}}},
        {"action": {"forecast": {"lead": 3}}},
        {"action": {"ingest": {"sources": ["http://169.254.169.254/"], "store": "x"}}},
        {"action": {"fetch": {"source": "http://169.254.169.254/"}}},
        {"action": {"fetch": {"source": "ifs", "mirror": "http://169.254.169.254/"}}},
        {"action": {"publish": {"to": "s3://bucket/x"}}},
        {"action": {"publish": {"to": "http://169.254.169.254/"}}},
        {"action": {"publish": {"to": "nowhere"}}},
    ],
)
def test_invalid_schedules_are_refused(client: httpx.Client, change: dict[str, Any]) -> None:
    body = {"name": "odd", "cron": "0 6 * * *", "action": {"forecast": {}}, **change}
    problem(client.post("/v1/schedules", json=body), 422)
    assert client.get("/v1/schedules").json()["items"] == []


def test_sources_and_destinations_go_by_the_names_of_the_operator(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PEAR_DESTINATIONS", f"public=file://{tmp_path}/out")
    action = {"fetch": {"source": "arco"}, "publish": {"to": "public"}}
    body = {"name": "live", "cron": "30 8 * * *", "action": action}
    made = client.post("/v1/schedules", json=body)
    assert made.status_code == 201, made.text
    assert made.json()["action"]["publish"]["to"] == "public"
    assert client.delete("/v1/schedules/live").status_code == 204


ODD: tuple[Any, ...] = ("a", [1], {"a": 1}, True, 1e308, 10**30, -1, "", "/etc/passwd", ["a"])


@pytest.mark.parametrize(
    ("part", "name"),
    [
        *(("forecast", name) for name in ("lead_hours", "newest", "every_hours", "options")),
        *(("evaluate", name) for name in ("lead_hours", "climatology", "options")),
        *(("expire", name) for name in ("keep_days", "keep_latest", "grace_hours")),
    ],
)
def test_odd_values_of_every_setting_are_refused_with_its_name(
    client: httpx.Client, part: str, name: str
) -> None:
    for value in ODD:
        if name == "climatology" and value == "a":
            continue
        body = {"name": "odd", "cron": "0 6 * * *", "action": {part: {name: value}}}
        found = problem(client.post("/v1/schedules", json=body), 422)
        assert found["field"].startswith(f"action.{part}.{name}"), (value, found)
        assert "SELECT" not in str(found)
    assert client.get("/v1/schedules").json()["items"] == []


@pytest.mark.parametrize(
    ("forecast", "field"),
    [
        ({"model": 1}, "action.forecast.model"),
        ({"model": "nobody"}, "action.forecast.model"),
        ({"lead_hours": 30}, "action.forecast.lead_hours"),
        ({"lead_hours": 24 * 365}, "action.forecast.lead_hours"),
        ({"options": {"members": "x"}}, "action.forecast.options.members"),
        ({"options": {"levels": [123]}}, "action.forecast.options.levels"),
    ],
)
def test_settings_are_those_that_a_forecast_may_have(
    client: httpx.Client, forecast: dict[str, Any], field: str
) -> None:
    body = {"name": "odd", "cron": "@daily", "action": {"forecast": forecast}}
    assert problem(client.post("/v1/schedules", json=body), 422)["field"] == field


def test_schedules_of_earlier_versions_stay_readable(
    client: httpx.Client, catalog: Catalog
) -> None:
    old = {"forecast": {"model": 1, "lead_hours": "abc"}, "evaluate": {"climatology": 1}}
    catalog.schedules.add("old", "0 0 last * *", old)
    try:
        (listed,) = client.get("/v1/schedules").json()["items"]
        assert (listed["action"], listed["next_run_at"]) == (old, None)
        assert client.get("/v1/schedules/old").status_code == 200
        assert client.get("/schedules", headers={"Accept": "text/html"}).status_code == 200
        found = problem(client.get("/v1/schedules/old/runs"), 409)
        assert found["field"] == "forecast.lead_hours"
    finally:
        client.delete("/v1/schedules/old")


def test_answers_have_neither_sql_nor_tracebacks(client: httpx.Client, catalog: Catalog) -> None:
    run, _ = catalog.runs.submit(SHA[:12], INIT + np.timedelta64(9, "D"), 240)
    catalog.runs.claim(run.id, "test")
    catalog.runs.log(run.id, "failed", level="error", traceback="Traceback (most recent …")
    try:
        log = client.get(f"/v1/forecasts/{run.id}/log")
        assert "failed" in log.text
        page = client.get(f"/forecasts/{run.id}", headers={"Accept": "text/html"})
        assert page.status_code == 200
        assert "Traceback" not in log.text + page.text
    finally:
        catalog.runs.fail(run.id, "test")
