"""Schedules over HTTP."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.fixtures.service import problem


def test_add_pause_run_and_remove_a_schedule(client: httpx.Client) -> None:
    body = {"name": "daily", "cron": "30 6 * * *", "action": {"forecast": {"lead_hours": 240}}}
    made = client.post("/v1/schedules", json=body)
    assert made.status_code == 201, made.text
    assert made.json()["next_run_at"].endswith("T06:30:00Z")
    assert made.json()["action"]["forecast"]["lead_hours"] == 240
    paused = client.patch("/v1/schedules/daily", json={"paused": True}).json()
    assert (paused["paused"], paused["next_run_at"]) == (True, None)
    assert client.post("/v1/schedules/daily/run").json()["runs"]
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
    ],
)
def test_invalid_schedules_are_refused(client: httpx.Client, change: dict[str, Any]) -> None:
    body = {"name": "odd", "cron": "0 6 * * *", "action": {"forecast": {}}, **change}
    problem(client.post("/v1/schedules", json=body), 422)
    assert client.get("/v1/schedules").json()["items"] == []
