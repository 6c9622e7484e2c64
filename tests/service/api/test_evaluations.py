"""Evaluations and scores over HTTP."""

from __future__ import annotations

import csv
import io

import httpx
import pytest

from tests.fixtures.service import problem


def test_submit_and_cancel_an_evaluation(client: httpx.Client) -> None:
    body = {"lead_hours": 48, "init_times": ["2001-03-01T00:00:00Z"]}
    asked = client.post("/v1/evaluations", json=body)
    assert asked.status_code == 202
    link = asked.headers["location"]
    assert client.get(link).json()["request"]["lead_hours"] == 48
    assert client.get("/v1/evaluations").json()["items"][0]["id"] == asked.json()["id"]
    assert client.post(f"{link}/cancel").json()["status"] == "cancelled"
    problem(client.post(f"{link}/cancel"), 409)


def test_scorecard_compares_with_the_baseline(client: httpx.Client) -> None:
    card = client.get("/v1/scorecard?metric=rmse&baseline=persistence").json()
    first = card["cells"][0]
    assert first["gain"] == pytest.approx(1 - first["model"] / first["baseline"])
    assert len(card["cells"]) == 20
    acc = client.get("/v1/scorecard?metric=acc&baseline=climatology").json()["cells"][0]
    assert acc["gain"] == pytest.approx(acc["model"] - acc["baseline"])


def test_scores_include_those_of_the_baselines(client: httpx.Client) -> None:
    answer = client.get("/v1/scores", params={"variable": "z500", "metric": "acc"})
    records = answer.json()["records"]
    assert len(records) == 30
    assert {record["forecaster"] for record in records} == {"pear", "persistence", "climatology"}
    assert all("acc" in record and "rmse" not in record for record in records)
    text = client.get("/v1/scores", params={"format": "csv", "baseline": "climatology"}).text
    rows = list(csv.DictReader(io.StringIO(text)))
    assert {row["forecaster"] for row in rows} == {"pear", "climatology"}
