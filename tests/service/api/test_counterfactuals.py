"""Counterfactual runs over HTTP: links of the pair, figures, their page and requests."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from pipelines.catalog import Catalog, Run
from pipelines.forecasting.counterfactual import ATTRIBUTE
from pipelines.storage.data_folder import DataFolder
from service.app import create_app
from service.readers.nature import FIGURES
from service.settings import Settings
from tests.fixtures.service import INIT, NSIDE, SHA, StubEngine, in_process, problem, write_run

EVENT = "2m_temperature>286 at 59.3,18.1 day 3"
FOUND = {
    "event": EVENT,
    "description": "air temperature at 2 m at 59.3°N, 18.1°E above 286 K",
    "units": "K",
    "lead_hours": 72,
    "valid_time": "2001-03-04T00:00:00Z",
    "threshold": 286.0,
    "factual": 283.25,
    "counterfactual": 286.001,
    "coordinates": "chart",
    "length": 1.234,
    "probability": 0.1086,
    "converged": True,
    "gradients": 4,
    "evaluations": 6,
    "size": 0.21,
    "near": 0.55,
    "small_scales": 0.03,
    "off_chart": 0.0,
    "raised": 0.0,
    "largest": [
        {"variable": "temperature", "level": 850, "units": "K", "rms": 0.5, "largest": -2.125}
    ],
    "chart": {
        "id": "0" * 12,
        "analysis": "made-up",
        "states": 365,
        "directions": 36,
        "share": 0.566,
        "period": ["2000-01-01T00:00:00Z", "2000-12-31T00:00:00Z"],
    },
    "notes": ["the chart was fitted on 365 states"],
    "label": "a model's sensitivity, not a cause",
}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[httpx.Client, Run, Run]]:
    folder = DataFolder.create(tmp_path_factory.mktemp("pair"))
    with Catalog(folder.catalog) as catalog:
        catalog.models.add(SHA, "models/none", nside=NSIDE, step_hours=24, name="made-up")
        options = {"analysis": "made-up"}
        runs = []
        for more in ({}, {"counterfactual": EVENT, "chart": "0" * 12}):
            run, _ = catalog.runs.submit(SHA[:12], INIT, 240, options=options | more)
            catalog.runs.claim(run.id, "test")
            write_run(folder, run, scale=1.01 if more else 1, about=more and {ATTRIBUTE: FOUND})
            catalog.runs.succeed(run.id, owner="test")
            runs.append(run)
        app = create_app(Settings(data=folder.root), catalog, StubEngine(catalog, folder))
        with in_process(app) as client:
            yield client, runs[0], runs[1]


def test_each_run_of_a_pair_names_the_other(pair: tuple[httpx.Client, Run, Run]) -> None:
    client, factual, changed = pair
    found = client.get(f"/v1/forecasts/{changed.id}").json()
    assert (found["kind"], found["factual"]) == ("counterfactual", factual.id)
    assert found["links"]["factual"] == f"/v1/forecasts/{factual.id}"
    assert found["counterfactual"] == FOUND
    plain = client.get(f"/v1/forecasts/{factual.id}").json()
    assert (plain["kind"], plain["counterfactuals"]) == ("forecast", [changed.id])
    assert plain["counterfactual"] is None
    items = client.get("/v1/forecasts").json()["items"]
    assert {item["kind"] for item in items} == {"forecast", "counterfactual"}
    assert FIGURES == ATTRIBUTE


def test_the_page_says_what_would_have_had_to_be_different(
    pair: tuple[httpx.Client, Run, Run],
) -> None:
    client, factual, changed = pair
    text = client.get(f"/forecasts/{changed.id}", headers={"Accept": "text/html"}).text
    for part in (
        "What would have had to be different",
        "A model&#39;s sensitivity, not a cause.",
        "283.25 K",
        "probability 0.11 under the climate",
        "36 directions of 365 states of made-up, 57% of the variance",
        f'href="/forecasts/{factual.id}"',
        "-2.12 K",
        f"difference={factual.id}",
    ):
        assert part in text
    other = client.get(f"/forecasts/{factual.id}", headers={"Accept": "text/html"}).text
    assert f'href="/forecasts/{changed.id}"' in other
    assert "What would have had to be different" not in other
    assert "counterfactual" in client.get("/forecasts", headers={"Accept": "text/html"}).text


def test_a_wrong_event_is_one_problem(pair: tuple[httpx.Client, Run, Run]) -> None:
    client = pair[0]
    request = {"init_time": "2001-03-01T00:00:00Z", "lead_hours": 72}
    for wrong in ("t2m>warm at 1,2", 5, "t2m>300"):
        found = problem(
            client.post("/v1/forecasts", json={**request, "counterfactual": wrong}), 422
        )
        assert "counterfactual" in str(found)
    accepted = client.post("/v1/forecasts", json={**request, "counterfactual": "t2m>300 at 1,2"})
    assert accepted.status_code == 202
    assert accepted.json()["options"]["counterfactual"] == "2m_temperature>300 at 1,2"
