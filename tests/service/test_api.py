"""The API: every read against the made-up truth, every refusal as a problem document."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from service_world import INIT, LEADS, NSIDE, SHA, StubEngine, truth

from pear.sphere.grid import cell_of, coarsen
from pipelines.catalog import Catalog

PROBLEM = "application/problem+json"
REQUEST = {"init_time": "2002-01-01T00:00:00Z", "lead_hours": 240}


def problem(answer: Any, status: int) -> dict[str, Any]:
    """Check the form of an error and return its document."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == PROBLEM
    document = answer.json()
    assert document["status"] == status
    assert document["request_id"] == answer.headers["x-request-id"]
    assert document["detail"]
    return dict(document)


def test_health_and_readiness(client: httpx.Client, engine: StubEngine) -> None:
    assert client.get("/healthz").json() == {"status": "alive"}
    assert client.get("/readyz").json()["checks"] == {
        "catalog": "ok", "data": "ok", "engine": "ok",
    }  # fmt: skip
    engine.up = False
    try:
        assert "engine" in problem(client.get("/readyz"), 503)["detail"]
        assert client.get("/healthz").status_code == 200, "alive, though not ready"
    finally:
        engine.up = True


def test_submit_watch_and_cancel(client: httpx.Client) -> None:
    first = client.post("/v1/forecasts", json=REQUEST)
    assert first.status_code == 202
    body = first.json()
    assert first.headers["location"] == f"/v1/forecasts/{body['id']}"
    assert int(first.headers["retry-after"]) > 0
    assert body["status"] == "queued"
    assert body["queue_position"] == 0
    assert body["progress"] == {"step": 0, "total": 10, "fraction": 0.0, "eta_seconds": None}
    assert client.post("/v1/forecasts", json=REQUEST).json()["id"] == body["id"]

    link = first.headers["location"]
    problem(client.get(f"{link}/point", params={"latitude": 0, "longitude": 0}), 409)
    stopped = client.post(f"{link}/cancel")
    assert stopped.json()["status"] == "cancelled"
    problem(client.post(f"{link}/cancel"), 409)
    log = client.get(f"{link}/log").json()
    assert log[0]["message"] == "queued"


def test_finished_request_answers_200(client: httpx.Client, run_id: str) -> None:
    answer = client.post(
        "/v1/forecasts",
        json={"init_time": "2001-03-01T00:00:00Z", "lead_hours": 240, "analysis": "made-up"},
    )
    assert answer.status_code == 200
    assert answer.json()["id"] == run_id


def test_events_tell_progress_and_end(client: httpx.Client, catalog: Catalog, run_id: str) -> None:
    with client.stream("GET", f"/v1/forecasts/{run_id}/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        lines = [line for line in stream.iter_lines() if line]
    assert lines[0] == "event: end"
    document = json.loads(lines[1].removeprefix("data: "))
    assert document["status"] == "succeeded"
    assert document["progress"]["fraction"] == 1.0


def test_latest_and_list(client: httpx.Client, run_id: str) -> None:
    latest = client.get("/v1/forecasts/latest")
    assert latest.json()["id"] == run_id
    assert latest.headers["cache-control"] == "no-cache"
    assert "last-modified" in latest.headers
    listed = client.get("/v1/forecasts", params={"status": "succeeded"}).json()["items"]
    assert run_id in [run["id"] for run in listed]


def test_pages_follow_the_cursor(client: httpx.Client, catalog: Catalog) -> None:
    for hour in (1, 2, 3):
        catalog.submit_run(SHA[:12], INIT + np.timedelta64(hour, "h"), 24)
    seen: list[str] = []
    url: str | None = "/v1/forecasts?limit=2"
    while url:
        answer = client.get(url)
        seen += [run["id"] for run in answer.json()["items"]]
        link = answer.headers.get("link")
        url = link.partition(">")[0].removeprefix("<") if link else None
    every = client.get("/v1/forecasts?limit=500").json()["items"]
    assert seen == [run["id"] for run in every]
    assert len(seen) == len(set(seen)) >= 4


def test_point_is_the_cell_that_holds_it(client: httpx.Client, run_id: str) -> None:
    answer = client.get(
        f"/v1/forecasts/{run_id}/point",
        params={"latitude": "59.3,-33.9", "longitude": "18.1,151.2", "variables": "t2m,z500"},
    )
    document = answer.json()
    assert document["lead_hours"] == list(LEADS)
    assert document["init_time"] == "2001-03-01T00:00:00Z"
    assert document["valid_times"][0] == "2001-03-02T00:00:00Z"
    assert document["model"] == SHA[:12]
    for point, cell in zip(
        document["points"], cell_of([59.3, -33.9], [18.1, 151.2], NSIDE), strict=True
    ):
        assert point["cell"] == cell
        temperature, height = point["series"]
        assert (temperature["variable"], temperature["level"]) == ("2m_temperature", None)
        assert (height["variable"], height["level"]) == ("geopotential", 500)
        assert (temperature["units"], height["units"]) == ("K", "m2 s-2")
        want = [truth("2m_temperature", None, lead)[cell] for lead in LEADS]
        np.testing.assert_allclose(temperature["values"], want, rtol=1e-6)
        want = [truth("geopotential", 500, lead)[cell] for lead in LEADS]
        np.testing.assert_allclose(height["values"], want, rtol=1e-6)


def test_bilinear_is_closer_to_a_smooth_field(client: httpx.Client, run_id: str) -> None:
    lat, lon = np.array([12.3, -40.0, 71.5, 3.0]), np.array([45.6, 200.0, 301.0, 90.0])
    exact = (
        285
        + 20 * np.cos(np.radians(lat)) * np.cos(np.radians(lon - 12))
        + 2 * np.sin(np.radians(lat))
    )
    errors = {}
    for how in ("nearest", "bilinear"):
        params = {
            "latitude": ",".join(map(str, lat)), "longitude": ",".join(map(str, lon)),
            "variables": "t2m", "interpolation": how,
        }  # fmt: skip
        document = client.get(f"/v1/forecasts/{run_id}/point", params=params).json()
        got = np.array([point["series"][0]["values"][0] for point in document["points"]])
        errors[how] = np.abs(got - exact).max()
    assert errors["bilinear"] < 0.15
    assert errors["bilinear"] < errors["nearest"] / 3


def test_wind_speed_and_direction_are_derived(client: httpx.Client, run_id: str) -> None:
    params = {
        "latitude": 10, "longitude": 20,
        "variables": "u10,v10,10m_wind_speed,10m_wind_direction,wind_speed", "levels": "850",
    }  # fmt: skip
    series = client.get(f"/v1/forecasts/{run_id}/point", params=params).json()["points"][0]
    u, v, speed, direction, aloft = (np.array(s["values"]) for s in series["series"])
    np.testing.assert_allclose(speed, np.hypot(u, v), rtol=1e-5)
    toward = np.radians(direction + 180)
    np.testing.assert_allclose(speed * np.sin(toward), u, atol=1e-4)
    np.testing.assert_allclose(speed * np.cos(toward), v, atol=1e-4)
    assert series["series"][-1]["level"] == 850
    assert aloft.shape == speed.shape


def test_point_as_csv(client: httpx.Client, run_id: str) -> None:
    params = {"latitude": 59.3, "longitude": 18.1, "variables": "t2m", "format": "csv"}
    answer = client.get(f"/v1/forecasts/{run_id}/point", params=params)
    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [int(row["lead_hours"]) for row in rows] == list(LEADS)
    cell = cell_of(59.3, 18.1, NSIDE)
    assert float(rows[0]["value"]) == pytest.approx(truth("2m_temperature", None, 24)[cell])
    assert rows[0]["units"] == "K"


@pytest.mark.parametrize("encoding", ["f32", "u16", "json"])
def test_field_is_what_was_written(client: httpx.Client, run_id: str, encoding: str) -> None:
    url = f"/v1/forecasts/{run_id}/fields/temperature"
    params: dict[str, Any] = {"lead_time": 48, "level": 850, "format": encoding}
    answer = client.get(url, params=params)
    want = truth("temperature", 850, 48)
    if encoding == "json":
        document = answer.json()
        got = np.array(document["values"])
        assert (document["units"], document["valid_time"]) == ("K", "2001-03-03T00:00:00Z")
    elif encoding == "u16":
        packed = np.frombuffer(answer.content, "<u2")
        scale, offset = (float(answer.headers[f"pear-{name}"]) for name in ("scale", "offset"))
        got = offset + scale * packed
        assert np.abs(got - want).max() <= scale * 0.51
    else:
        got = np.frombuffer(answer.content, "<f4")
        np.testing.assert_array_equal(got, want)
    np.testing.assert_allclose(got, want, rtol=1e-4)
    assert answer.headers["pear-valid-time"] == "2001-03-03T00:00:00Z"
    assert answer.headers["pear-units"] == "K"


def test_field_on_a_coarser_grid(client: httpx.Client, run_id: str) -> None:
    params: dict[str, Any] = {"lead_time": 24, "nside": 2}
    answer = client.get(f"/v1/forecasts/{run_id}/fields/msl", params=params)
    got = np.frombuffer(answer.content, "<f4")
    want = coarsen(truth("mean_sea_level_pressure", None, 24), 2)
    np.testing.assert_allclose(got, want, rtol=1e-6)


def test_finished_runs_are_immutable(client: httpx.Client, run_id: str) -> None:
    url = f"/v1/forecasts/{run_id}/fields/t2m?lead_time=24"
    first = client.get(url)
    assert "immutable" in first.headers["cache-control"]
    assert not first.headers["etag"].startswith("W/")
    again = client.get(url, headers={"If-None-Match": first.headers["etag"]})
    assert again.status_code == 304
    assert again.content == b""
    other = client.get(
        url.replace("time=24", "time=48"), headers={"If-None-Match": first.headers["etag"]}
    )
    assert other.status_code == 200


def test_map_is_a_png_of_the_size_asked_for(client: httpx.Client, run_id: str) -> None:
    url = f"/v1/forecasts/{run_id}/maps/z500.png"
    answer = client.get(url, params={"lead_time": 24, "width": 400})
    assert answer.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(answer.content)).width == 400
    assert answer.content == client.get(url, params={"lead_time": 24, "width": 400}).content


def test_differences_and_spread_are_mapped(client: httpx.Client, run_id: str) -> None:
    url = f"/v1/forecasts/{run_id}/maps/t2m.png"
    before = client.get("/v1/forecasts?init_time=2001-02-28T00:00:00Z").json()["items"][0]["id"]
    seen = set()
    for more in (
        {}, {"difference": "analysis"}, {"difference": before}, {"statistic": "spread"},
        {"statistic": "p00"}, {"wind": "true"}, {"projection": "south_polar"},
    ):  # fmt: skip
        answer = client.get(url, params={"lead_time": 48, "width": 300, **more})
        assert answer.status_code == 200, answer.text
        seen.add(answer.content)
    assert len(seen) == 7
    late = client.get(url, params={"lead_time": 240, "difference": "analysis"})
    assert "2001-03-11" in problem(late, 422)["detail"]
    problem(client.get(url, params={"lead_time": 24, "difference": "nobody"}), 404)


def test_an_ensembles_statistics_are_read_like_a_run(client: httpx.Client, run_id: str) -> None:
    url = f"/v1/forecasts/{run_id}/fields/t2m?lead_time=24"
    mean, spread = client.get(url), client.get(f"{url}&statistic=spread")
    got = np.frombuffer(spread.content, "<f4")
    np.testing.assert_allclose(got, 0.01 * np.frombuffer(mean.content, "<f4"), rtol=1e-5)
    assert "spread" in problem(client.get(f"{url}&statistic=q90"), 404)["hint"]
    problem(client.get(f"{url}&statistic=../x"), 422)
    likely = client.get(f"{url}&statistic=p00")
    assert likely.headers["pear-units"] == "1"
    assert mean.headers["pear-units"] == "K"
    assert 0 < np.frombuffer(likely.content, "<f4").min() < 0.1
    point = f"/v1/forecasts/{run_id}/point?latitude=80&longitude=0&variables=t2m&statistic=p00"
    assert client.get(point).json()["points"][0]["series"][0]["units"] == "1"


def test_idempotency_keys_and_waiting(client: httpx.Client) -> None:
    """The same idempotency key with another body is refused; waiting ends when it must."""
    body = {"init_time": "2003-01-01T00:00:00Z", "lead_hours": 24}
    headers = {"Idempotency-Key": "one", "Prefer": "wait=1"}
    first = client.post("/v1/forecasts", json=body, headers=headers)
    assert first.status_code == 202
    assert first.headers["preference-applied"] == "wait=1"
    assert client.post("/v1/forecasts", json=body, headers=headers).json() == first.json()
    other = client.post("/v1/forecasts", json={**body, "lead_hours": 48}, headers=headers)
    assert problem(other, 422)["field"] == "Idempotency-Key"
    client.post(f"{first.headers['location']}/cancel")


def test_initial_conditions(client: httpx.Client) -> None:
    document = client.get("/v1/initial-conditions?limit=3").json()
    times = [each["init_time"] for each in document["items"]]
    assert times == [f"2001-03-0{day}T00:00:00Z" for day in (4, 3, 2)]
    assert all(each["complete"] for each in document["items"])
    rest = client.get("/v1/initial-conditions", params={"cursor": document["next"]}).json()
    assert [each["init_time"] for each in rest["items"]] == ["2001-03-01T00:00:00Z"]
    assert rest["next"] is None
    assert client.get("/v1/initial-conditions?complete=false").json()["items"] == []


def test_evaluations_are_jobs_too(client: httpx.Client) -> None:
    body = {"lead_hours": 48, "init_times": ["2001-03-01T00:00:00Z"]}
    asked = client.post("/v1/evaluations", json=body)
    assert asked.status_code == 202
    link = asked.headers["location"]
    assert client.get(link).json()["request"]["lead_hours"] == 48
    assert client.get("/v1/evaluations").json()["items"][0]["id"] == asked.json()["id"]
    assert client.post(f"{link}/cancel").json()["status"] == "cancelled"
    problem(client.post(f"{link}/cancel"), 409)


def test_schedules_come_pause_fire_and_go(client: httpx.Client) -> None:
    body = {"name": "daily", "cron": "30 6 * * *", "action": {"forecast": {"lead_hours": 240}}}
    made = client.post("/v1/schedules", json=body)
    assert made.status_code == 201, made.text
    assert made.json()["next_fire"].endswith("T06:30:00Z")
    assert made.json()["action"]["forecast"]["lead_hours"] == 240
    paused = client.patch("/v1/schedules/daily", json={"paused": True}).json()
    assert (paused["paused"], paused["next_fire"]) == (True, None)
    assert client.post("/v1/schedules/daily/run").json()["runs"]
    assert len(client.get("/v1/schedules/daily/runs").json()) >= 2
    assert [each["name"] for each in client.get("/v1/schedules").json()["items"]] == ["daily"]
    assert client.delete("/v1/schedules/daily").status_code == 204
    problem(client.get("/v1/schedules/daily"), 404)


@pytest.mark.parametrize(
    "change",
    [
        {"cron": "every day"}, {"cron": "99 * * * *"}, {"name": "../x"}, {"name": ""},
        {"action": {}}, {"action": {"dance": {}}}, {"action": {"forecast": {"lead": 3}}},
        {"action": {"ingest": {"sources": ["http://169.254.169.254/"], "store": "x"}}},
    ],
)  # fmt: skip
def test_schedules_that_make_no_sense(client: httpx.Client, change: dict[str, Any]) -> None:
    body = {"name": "odd", "cron": "0 6 * * *", "action": {"forecast": {}}, **change}
    problem(client.post("/v1/schedules", json=body), 422)
    assert client.get("/v1/schedules").json()["items"] == []


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
)  # fmt: skip
def test_refusals_say_what_and_why(
    client: httpx.Client, run_id: str, path: str, status: int, words: str
) -> None:
    document = problem(client.get(path.replace("{run}", run_id)), status)
    assert words in json.dumps(document, ensure_ascii=False)


@pytest.mark.parametrize(
    "body",
    [
        b"{", b"[]", b"null", b'{"init_time": NaN}', b'{"init_time": 1e400}', b"\xff\xfe",
        b'{"init_time": "\xff"}', b'{"init_time": "soon", "lead_hours": 24}',
        b'{"init_time": "2001-01-01", "lead_hours": 25}',
        b'{"init_time": "2001-01-01", "lead_hours": 99999999999999999999999}',
        b'{"init_time": "2001-01-01", "lead_hours": 24, "colour": "red"}',
        b'{"init_time": "2001-01-01", "lead_hours": 24, "model": "\\ud800"}',
    ],
)  # fmt: skip
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
