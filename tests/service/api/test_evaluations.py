"""Evaluations and scores over HTTP."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
import xarray as xr

from pear.client.datasets import scores_dataset
from pear.metrics import ScoreAccumulator
from pear.metrics.dataset import scores_to_dataset, sums_to_dataset
from pear.typing import Channel
from pear.variables import Layout
from pipelines.catalog import Catalog
from pipelines.evaluation.scores import FILE, write_scores
from pipelines.storage.data_folder import DataFolder
from service.app import create_app
from service.settings import Settings
from tests.fixtures.service import NSIDE, SHA, StubEngine, in_process, problem
from tests.fixtures.service import write_scores as write_made_up_scores


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


@pytest.fixture
def six_hourly(data: DataFolder) -> Iterator[str]:
    """An evaluation that errs by 1 in forecasts from 00 UTC and by 3 in those from 18 UTC."""
    inits = np.array(["2001-03-01T00", "2001-03-01T18", "2001-03-02T00"], "M8[s]")
    leads = np.array([6, 12], "timedelta64[h]")
    channels: tuple[Channel, ...] = (("2m_temperature", None), ("temperature", 850))
    sums = {name: ScoreAccumulator(inits, leads, channels) for name in ("pear", "persistence")}
    for factor, table in enumerate(sums.values(), start=1):
        for time, error in zip(inits, (1.0, 3.0, 1.0), strict=True):
            for lead in leads:
                table.add(time, lead, np.full((2, 48), factor * error), *np.zeros((2, 2, 48)))
    scores = scores_to_dataset(sums).assign(sums=sums_to_dataset(sums)["sums"])
    folder = data.evaluation("evaluation-six-hourly")
    folder.mkdir()
    write_scores(scores.assign_attrs(model=SHA[:12]), folder / FILE)
    yield folder.name
    shutil.rmtree(folder)


def test_scores_by_hour_of_day_are_of_the_forecasts_from_that_hour(
    client: httpx.Client, six_hourly: str
) -> None:
    asked = {"evaluation": six_hourly, "variable": "t2m", "metric": "rmse", "by_hour": "true"}
    answer = client.get("/v1/scores", params=asked).json()
    records = answer["records"]
    found = {
        (row["forecaster"], row["init_hour"], row["valid_hour"]): row["rmse"] for row in records
    }
    assert found == {
        **{("pear", 0, 6): 1.0, ("pear", 0, 12): 1.0, ("pear", 18, 0): 3.0, ("pear", 18, 6): 3.0},
        **{("persistence", 0, 6): 2.0, ("persistence", 0, 12): 2.0},
        **{("persistence", 18, 0): 6.0, ("persistence", 18, 6): 6.0},
    }
    assert {row["variable"] for row in records} == {"2m_temperature"}
    assert [row["init_times"] for row in records if row["init_hour"] == 18] == [1] * 4
    assert all("mae" not in row for row in records)
    scores = scores_dataset(answer)  # as the Python client returns them
    series = scores["2m_temperature"].sel(metric="rmse", forecaster="pear", region="global")
    assert series.dims == ("init_hour", "prediction_timedelta")
    assert series.sel(init_hour=18).values.tolist() == [3.0, 3.0]
    assert series["valid_hour"].values.tolist() == [[6, 12], [0, 6]]
    text = client.get("/v1/scores", params={**asked, "variable": "t850", "format": "csv"}).text
    rows = list(csv.DictReader(io.StringIO(text)))
    assert {(row["level"], row["init_hour"]) for row in rows} == {("850", "0"), ("850", "18")}
    pooled = client.get("/v1/scores", params={**asked, "by_hour": "false"}).json()["records"]
    assert pooled[0]["rmse"] == pytest.approx(np.sqrt((1 + 9 + 1) / 3))
    assert "init_hour" not in pooled[0]


def test_scores_by_hour_that_an_evaluation_lacks_are_refused(
    client: httpx.Client, data: DataFolder, six_hourly: str
) -> None:
    base = f"/v1/scores?by_hour=true&evaluation={six_hourly}"
    assert problem(client.get(base), 422)["hint"] == "set variable as well"
    assert problem(client.get(f"{base}&variable=u10"), 422)["field"] == "variable"
    assert problem(client.get(f"{base}&variable=t2m&region=mars"), 422)["field"] == "region"
    former = client.get("/v1/scores?by_hour=true&variable=z500&evaluation=evaluation-0123456789ab")
    assert "earlier version" in problem(former, 422)["detail"]
    path = data.evaluation(six_hourly) / FILE
    whole = xr.load_dataset(path, decode_timedelta=True)
    write_scores(whole.isel(time=[0, 2]), path)
    one_hour = problem(client.get(f"{base}&variable=t2m"), 422)
    assert one_hour["field"] == "by_hour"
    assert "same hour" in one_hour["detail"]


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


def test_what_is_on_disk_is_listed_and_a_failure_has_a_remedy(tmp_path: Path) -> None:
    """The catalog owns the list: `pear evaluate` and the demo write scores without a job."""
    folder = DataFolder.create(tmp_path / "data")
    with Catalog(folder.catalog_url) as catalog:
        catalog.models.add(SHA, "models/none", nside=NSIDE, step_hours=24, name="made-up")
        write_made_up_scores(folder)
        failed, _ = catalog.evaluations.submit(SHA[:12], {"lead_hours": 48})
        catalog.evaluations.claim(failed.id, "test")
        catalog.evaluations.fail(failed.id, "No space left on device", owner="test")
        engine = StubEngine(catalog, folder)
        with in_process(create_app(Settings(data=folder.root), engine=engine)) as client:
            name = client.get("/v1/scores").json()["evaluation"]
            listed = {each["id"]: each for each in client.get("/v1/evaluations").json()["items"]}
            one = client.get(f"/v1/evaluations/{name}").json()
            reason = client.get(f"/v1/evaluations/{failed.id}").json()
    assert set(listed) == {name, failed.id}
    assert one == listed[name]
    assert (one["status"], one["model"], one["remedy"]) == ("succeeded", SHA[:12], None)
    assert one["links"]["scores"] == f"/v1/scores?evaluation={name}"
    assert "make room" in reason["remedy"]
