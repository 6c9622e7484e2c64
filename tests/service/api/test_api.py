"""The API: every read against the made-up truth, every refusal as a problem document."""

from __future__ import annotations

import csv
import io
import json

import httpx
import numpy as np
import pytest

from tests.fixtures.service import NSIDE, PROBLEM, StubEngine, problem

REQUEST = {"init_time": "2002-01-01T00:00:00Z", "lead_hours": 240}


def test_health_and_readiness(client: httpx.Client, engine: StubEngine) -> None:
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


def test_scorecard_compares_with_the_baseline(client: httpx.Client) -> None:
    card = client.get("/v1/scorecard?metric=rmse&baseline=persistence").json()
    first = card["cells"][0]
    assert first["gain"] == pytest.approx(1 - first["model"] / first["baseline"])
    assert len(card["cells"]) == 20
    acc = client.get("/v1/scorecard?metric=acc&baseline=climatology").json()["cells"][0]
    assert acc["gain"] == pytest.approx(acc["model"] - acc["baseline"])


def test_scores_stand_beside_their_baselines(client: httpx.Client) -> None:
    answer = client.get("/v1/scores", params={"variable": "z500", "metric": "acc"})
    records = answer.json()["records"]
    assert len(records) == 30
    assert {record["forecaster"] for record in records} == {"pear", "persistence", "climatology"}
    assert all("acc" in record and "rmse" not in record for record in records)
    text = client.get("/v1/scores", params={"format": "csv", "baseline": "climatology"}).text
    rows = list(csv.DictReader(io.StringIO(text)))
    assert {row["forecaster"] for row in rows} == {"pear", "climatology"}


def test_models(client: httpx.Client) -> None:
    (model,) = client.get("/v1/models").json()["items"]
    assert model["cells"] == 12 * NSIDE**2
    assert model["longest_lead_hours"] % model["step_hours"] == 0
    assert client.get(f"/v1/models/{model['id']}").json() == model
    assert {variable["name"] for variable in model["variables"]} >= {"geopotential"}
    assert model["equivariance_error"] is None, "the made-up model was never added from files"
    skill = model["skill"]
    assert (skill["variable"], skill["level"], skill["region"]) == ("geopotential", 500, "global")
    assert skill["lead_days"] == list(range(1, 11))
    np.testing.assert_allclose(skill["acc"], 0.97 ** np.arange(1, 11))


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/v1/forecasts/nothing-here", 404, "nothing-here"),
        ("/v1/models/nobody", 404, "nobody"),
        ("/v1/scores?evaluation=none", 404, "none"),
        ("/v1/nowhere", 404, "/v1/nowhere"),
        ("/v1/forecasts/{run}/fields/t2n?lead_time=24", 422, "did you mean t2m?"),
        ("/v1/forecasts/{run}/fields/t2m?lead_time=25", 422, "24, 48"),
        ("/v1/forecasts/{run}/fields/t2m", 422, "lead_time"),
        ("/v1/forecasts/{run}/fields/z?lead_time=24", 422, "levels: 50"),
        ("/v1/forecasts/{run}/fields/z500?lead_time=24&level=850", 422, "500"),
        ("/v1/forecasts/{run}/fields/t2m?lead_time=24&level=850", 422, "surface"),
        ("/v1/forecasts/{run}/fields/t2m?lead_time=24&nside=3", 422, "power of two"),
        ("/v1/forecasts/{run}/fields/t2m?lead_time=24&nside=128", 422, "power of two"),
        ("/v1/forecasts/{run}/point?latitude=91&longitude=0", 422, "±90"),
        ("/v1/forecasts/{run}/point?latitude=nan&longitude=0", 422, "finite"),
        ("/v1/forecasts/{run}/point?latitude=1,2&longitude=0", 422, "equal length"),
        ("/v1/forecasts/{run}/point?latitude=x&longitude=0", 422, "numbers"),
        ("/v1/forecasts/{run}/point?latitude=0&longitude=0&variables=wind", 422, "wind"),
        ("/v1/forecasts/{run}/maps/t2m.png?lead_time=24&vmin=9&vmax=3", 422, "vmax"),
        ("/v1/forecasts/{run}/maps/t2m.png?lead_time=24&cmap=jet", 422, "jet"),
        ("/v1/forecasts?status=lost", 422, "status"),
        ("/v1/forecasts?cursor=%00", 422, "cursor"),
        ("/v1/initial-conditions?cursor=x", 422, "cursor"),
    ],
)
def test_refusals_say_what_and_why(
    client: httpx.Client, run_id: str, path: str, status: int, words: str
) -> None:
    document = problem(client.get(path.replace("{run}", run_id)), status)
    assert words in json.dumps(document, ensure_ascii=False)


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b"null",
        b'{"init_time": NaN}',
        b'{"init_time": 1e400}',
        b"\xff\xfe",
        b'{"init_time": "\xff"}',
        b'{"init_time": "soon", "lead_hours": 24}',
        b'{"init_time": "2001-01-01", "lead_hours": 25}',
        b'{"init_time": "2001-01-01", "lead_hours": 99999999999999999999999}',
        b'{"init_time": "2001-01-01", "lead_hours": 24, "colour": "red"}',
        b'{"init_time": "2001-01-01", "lead_hours": 24, "model": "\\ud800"}',
    ],
)
def test_malformed_bodies_never_break_the_answer(client: httpx.Client, body: bytes) -> None:
    answer = client.post(
        "/v1/forecasts", content=body, headers={"content-type": "application/json"}
    )
    assert answer.status_code in (400, 404, 422), answer.text
    document = problem(answer, answer.status_code)
    assert "99999999" not in json.dumps(document), "the input is echoed"


def test_limits(client: httpx.Client, run_id: str) -> None:
    big = client.post("/v1/forecasts", content=b"x" * 70_000)
    problem(big, 413)
    streamed = client.post("/v1/forecasts", content=(b"x" * 10_000 for _ in range(10)))
    problem(streamed, 413)
    problem(client.get("/v1/forecasts?model=" + "x" * 9000), 414)
    many = ",".join(["1"] * 101)
    params = {"latitude": many, "longitude": many}
    problem(client.get(f"/v1/forecasts/{run_id}/point", params=params), 422)


def test_every_answer_is_marked(client: httpx.Client) -> None:
    answer = client.get("/healthz", headers={"X-Request-ID": "mine-1"})
    assert answer.headers["x-request-id"] == "mine-1"
    assert client.get("/healthz", headers={"X-Request-ID": "<b>"}).headers["x-request-id"] != "<b>"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "script-src 'self'" in answer.headers["content-security-policy"]


def test_metrics_count_by_route(client: httpx.Client, run_id: str) -> None:
    client.get(f"/v1/forecasts/{run_id}")
    text = client.get("/metrics").text
    assert 'route="/v1/forecasts/{run_id}"' in text
    assert run_id not in text
    assert 'pear_jobs{kind="runs",status="succeeded"}' in text


def test_every_operation_is_described_with_examples(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    lacking = []
    for path, verbs in document["paths"].items():
        for method, operation in verbs.items():
            where = f"{method} {path}"
            if not (operation.get("summary") and operation.get("description")):
                lacking.append(f"{where}: words")
            lacking += [
                f"{where}: example of {parameter['name']}"
                for parameter in operation.get("parameters", [])
                if parameter["required"] and "example" not in parameter
            ]
            body = operation.get("requestBody")
            if body is not None:
                name = body["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
                if not document["components"]["schemas"][name].get("examples"):
                    lacking.append(f"{where}: example of the body")
            for status, answer in operation["responses"].items():
                problem_type = list(answer.get("content", {}))
                if int(status) >= 400 and int(status) != 416 and problem_type != [PROBLEM]:
                    lacking.append(f"{where}: {status} is {problem_type}")
    assert lacking == []


def test_the_api_page_lists_every_operation(client: httpx.Client) -> None:
    page = client.get("/docs").text
    for path in client.get("/openapi.json").json()["paths"]:
        assert path in page
