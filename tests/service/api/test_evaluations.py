"""Evaluations and scores over HTTP."""

from __future__ import annotations

import csv
import io
import json
import shutil

import httpx
import pytest

from pear.variables import Layout
from pipelines.storage.data_folder import DataFolder
from tests.fixtures.service import SHA, problem


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
    assert answer.json()["fields"] == [
        {"variable": "mean_sea_level_pressure", "level": None},
        {"variable": "geopotential", "level": 500},
    ]
    assert answer.json()["regions"] == ["global"]
    text = client.get("/v1/scores", params={"format": "csv", "baseline": "climatology"}).text
    rows = list(csv.DictReader(io.StringIO(text)))
    assert {row["forecaster"] for row in rows} == {"pear", "climatology"}


def test_scores_of_what_was_not_evaluated_are_refused(client: httpx.Client) -> None:
    for query, field, known in (
        ("region=atlantis", "region", "global"),
        ("variable=z&level=501", "level", "500"),
        ("level=501", "level", "500"),
        ("variable=t2m", "variable", "geopotential"),
        ("variable=msl&level=500", "level", "omit"),
    ):
        refused = problem(client.get(f"/v1/scores?{query}"), 422)
        assert refused["field"] == field
        assert known in refused["hint"]
        problem(client.get(f"/v1/scores?format=csv&{query}"), 422)
    assert problem(client.get("/v1/scorecard?region=atlantis"), 422)["field"] == "region"


@pytest.mark.parametrize("path", ["/v1/scores", "/v1/scorecard"])
def test_scores_take_the_name_of_a_model(client: httpx.Client, path: str) -> None:
    by_id = client.get(path, params={"model": SHA[:12]})
    assert by_id.status_code == 200
    assert client.get(path, params={"model": "made-up"}).json() == by_id.json()
    refused = problem(client.get(path, params={"model": "nobody"}), 404)
    assert f"models with scores: {SHA[:12]}" in refused["hint"]


def test_no_answer_of_the_page_of_scores_is_large(client: httpx.Client, data: DataFolder) -> None:
    """An evaluation of every channel, ten days and eight regions, whose scores are megabytes."""
    folder = data.evaluation("evaluation-large")
    channels: list[tuple[str, int | None]] = [
        (name, level) for name in Layout.default().upper for level in Layout.default().levels
    ]
    channels += [(name, None) for name in Layout.default().surface]
    scores = dict.fromkeys(("acc", "rmse", "mae", "bias", "acc_low", "acc_high"), 0.123456789)
    records = [
        {
            **{"forecaster": forecaster, "variable": name, "level": level, "lead_days": day},
            **{"region": region, "init_times": 36, **scores},
        }
        for forecaster in ("pear", "persistence", "climatology")
        for name, level in channels
        for day in range(1, 11)
        for region in ("global", *(f"region-{number}" for number in range(7)))
    ]
    folder.mkdir()
    document = {"model": SHA[:12], "climatology": "demo", "scores": records}
    (folder / "scores.json").write_text(json.dumps(document))
    base = {"evaluation": folder.name}
    field = {**base, "variable": "geopotential", "level": 500, "region": "global"}
    try:
        whole = client.get("/v1/scores", params=base)
        selected = client.get("/v1/scores", params=field)
        asked = [
            selected,
            client.get("/v1/scorecard", params={**base, "region": "region-3"}),
            client.get("/scores"),
        ]
    finally:
        shutil.rmtree(folder)
    assert len(whole.json()["records"]) == len(records)
    assert len(whole.content) > 1_000_000
    assert len(selected.json()["records"]) == 30
    assert len(selected.json()["fields"]) == len(channels)
    assert len(selected.json()["regions"]) == 8
    assert [answer.status_code for answer in asked] == [200] * 3
    assert max(len(answer.content) for answer in asked) < 300_000


@pytest.mark.parametrize("path", ["/v1/forecasts", "/v1/evaluations"])
def test_lists_of_an_unknown_model_are_refused(client: httpx.Client, path: str) -> None:
    assert problem(client.get(f"{path}?model=nothing"), 422)["field"] == "model"
    by_name, by_id = (client.get(f"{path}?model={each}") for each in ("made-up", SHA[:12]))
    assert by_name.json()["items"] == by_id.json()["items"]
    items = "/v1/stac/collections/analysis-made-up/items"
    assert problem(client.get(f"{items}?cursor=x"), 422)["field"] == "cursor"
