"""Forecast runs over HTTP: submit, follow, list, cancel and remove."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import httpx
import numpy as np
import pytest

from pear.errors import InputError
from pipelines.catalog import Catalog, Status
from pipelines.catalog.retention import run_stores
from pipelines.storage.atomic import shared_lock
from pipelines.storage.data_folder import DataFolder
from service.app import create_app
from service.settings import Settings
from tests.fixtures.service import INIT, SHA, StubEngine, in_process, problem, write_run

REQUEST = {"init_time": "2002-01-01T00:00:00Z", "lead_hours": 240}


def test_submit_follow_and_cancel_a_run(client: httpx.Client) -> None:
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


def test_a_finished_request_answers_200(client: httpx.Client, run_id: str) -> None:
    answer = client.post(
        "/v1/forecasts",
        json={"init_time": "2001-03-01T00:00:00Z", "lead_hours": 240, "analysis": "made-up"},
    )
    assert answer.status_code == 200
    assert answer.json()["id"] == run_id


def test_the_event_stream_ends_with_the_final_state(
    client: httpx.Client, catalog: Catalog, run_id: str
) -> None:
    with client.stream("GET", f"/v1/forecasts/{run_id}/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        lines = [line for line in stream.iter_lines() if line]
    assert lines[0] == "event: end"
    document = json.loads(lines[1].removeprefix("data: "))
    assert document["status"] == "succeeded"
    assert document["progress"]["fraction"] == 1.0


def test_latest_is_the_newest_finished_run(client: httpx.Client, run_id: str) -> None:
    latest = client.get("/v1/forecasts/latest")
    assert latest.json()["id"] == run_id
    assert latest.headers["cache-control"] == "no-cache"
    assert "last-modified" in latest.headers
    listed = client.get("/v1/forecasts", params={"status": "succeeded"}).json()["items"]
    assert run_id in [run["id"] for run in listed]


def test_the_cursor_leads_through_all_pages(client: httpx.Client, catalog: Catalog) -> None:
    for hour in (1, 2, 3):
        catalog.runs.submit(SHA[:12], INIT + np.timedelta64(hour, "h"), 24)
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


def test_idempotency_keys_and_prefer_wait(client: httpx.Client) -> None:
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


def test_a_refused_request_does_not_use_its_idempotency_key_up(client: httpx.Client) -> None:
    headers = {"Idempotency-Key": "two"}
    body = {"init_time": "2003-01-02T00:00:00Z", "lead_hours": 24}
    problem(client.post("/v1/forecasts", json={**body, "lead_hours": 25}, headers=headers), 422)
    problem(client.post("/v1/forecasts", json={**body, "model": "none"}, headers=headers), 404)
    assert client.post("/v1/forecasts", json=body, headers=headers).status_code == 202


def test_a_run_that_is_being_read_is_not_removed(
    client: httpx.Client, catalog: Catalog, data: DataFolder
) -> None:
    init = INIT - np.timedelta64(20, "D")
    run, _ = catalog.runs.submit(SHA[:12], init, 240, options={"analysis": "made-up"})
    catalog.runs.claim(run.id, "test")
    write_run(data, run)
    write_run(data, run, ".spread")
    catalog.runs.succeed(run.id, owner="test")
    with shared_lock(data.forecast(f"{run.id}.spread")):  # as an evaluation holds it
        answer = problem(client.delete(f"/v1/forecasts/{run.id}"), 409)
        assert "being read" in answer["detail"]
        assert catalog.runs.get(run.id).status is Status.SUCCEEDED
        assert len(run_stores(data, run.id)) == 2
    assert client.delete(f"/v1/forecasts/{run.id}").status_code == 204
    assert catalog.runs.get(run.id).status is Status.EXPIRED
    assert run_stores(data, run.id) == []
    assert client.delete(f"/v1/forecasts/{run.id}").status_code == 204


@pytest.mark.parametrize("end", ["failed", "cancelled"])
def test_a_run_without_a_result_is_removed_too(
    client: httpx.Client, catalog: Catalog, data: DataFolder, end: str
) -> None:
    init = INIT - np.timedelta64(21 if end == "failed" else 22, "D")
    run, _ = catalog.runs.submit(SHA[:12], init, 240, options={"analysis": "made-up"})
    catalog.runs.claim(run.id, "test")
    assert problem(client.delete(f"/v1/forecasts/{run.id}"), 409)["detail"]
    write_run(data, run)
    if end == "failed":
        catalog.runs.fail(run.id, "the disk is full", kind="OSError", owner="test")
    else:
        catalog.runs.mark_cancelled(run.id, owner="test")
    assert client.delete(f"/v1/forecasts/{run.id}").status_code == 204
    assert client.get(f"/v1/forecasts/{run.id}").json()["status"] == "expired"
    assert run_stores(data, run.id) == []


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
def test_malformed_bodies_are_client_errors(client: httpx.Client, body: bytes) -> None:
    answer = client.post(
        "/v1/forecasts", content=body, headers={"content-type": "application/json"}
    )
    assert answer.status_code in (400, 404, 422), answer.text
    document = problem(answer, answer.status_code)
    assert not {"NaN", "Infinity"} & set(json.dumps(document).split()), "the input is echoed"


EDGES = ("0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "0000-01-01", "now", "2001")


@pytest.mark.parametrize("time", EDGES)
def test_times_outside_the_calendar_are_refused_on_every_route(
    client: httpx.Client, time: str
) -> None:
    answers = {
        "init_time": client.post("/v1/forecasts", json={"init_time": time}),
        "init_times.1": client.post(
            "/v1/evaluations", json={"init_times": ["2001-03-01T00:00:00Z", time]}
        ),
    }
    for field, answer in answers.items():
        assert problem(answer, 422)["field"] == field
    listed = client.get("/v1/forecasts", params={"init_time": time})
    assert problem(listed, 422)["field"] == "init_time"


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])
def test_the_ends_of_the_calendar_are_times_without_runs(client: httpx.Client, time: str) -> None:
    assert client.get("/v1/forecasts", params={"init_time": time}).json()["items"] == []


@pytest.mark.parametrize("time", [0, 983_404_800, 1e300, True, None, ["2001-03-01"], {"a": 1}])
def test_times_must_be_text(client: httpx.Client, time: object) -> None:
    answer = client.post("/v1/forecasts", json={"init_time": time})
    assert problem(answer, 422)["field"] == "init_time"


@pytest.mark.parametrize(
    "text",
    [
        "0001-01-01T00:00:00+23:59|x",
        "9999-12-31T23:59:59-23:59|x",
        "2001-03-01T00:00:00|x",
        "|x",
        "2001-03-01T00:00:00+00:00",
        "\0|\0",
    ],
)
def test_a_forged_cursor_is_refused_or_an_empty_page(client: httpx.Client, text: str) -> None:
    cursor = base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")
    for path in ("/v1/forecasts", "/v1/evaluations", "/forecasts"):
        assert client.get(path, params={"cursor": cursor}).status_code in (200, 422)
    for other in ("é", "=" * 99, "a", "\0"):
        assert client.get("/v1/forecasts", params={"cursor": other}).status_code == 422


def test_no_answer_tells_where_the_data_folder_lies(
    client: httpx.Client, data: DataFolder, monkeypatch: pytest.MonkeyPatch, engine: StubEngine
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise InputError(f"no analysis 'x' in {data.root}", hint=f"look into {data.root}/analyses")

    monkeypatch.setattr(engine, "submit_forecasts", refuse)
    found = problem(client.post("/v1/forecasts", json=REQUEST), 422)
    assert found["detail"] == "no analysis 'x' in the data folder"
    assert found["hint"] == "look into the data folder/analyses"


def test_runs_are_listed_by_submission_or_by_init_time(tmp_path: Path) -> None:
    folder = DataFolder.create(tmp_path / "data")
    with Catalog(folder.catalog) as own:
        own.models.add(SHA, "models/none", nside=8, step_hours=24, name="made-up")
        made = [
            own.runs.submit(SHA[:12], np.datetime64(f"1990-01-0{day}", "s"), 24)[0].id
            for day in (2, 3, 1)
        ]
        app = create_app(Settings(data=folder.root), own, StubEngine(own, folder))
        with in_process(app) as client:
            found = [each["id"] for each in client.get("/v1/forecasts").json()["items"]]
            assert found == made[::-1]
            query, pages = {"sort": "init_time", "limit": "1"}, []
            for _ in range(3):
                page = client.get("/v1/forecasts", params=query).json()
                pages += [each["id"] for each in page["items"]]
                cursor = query["cursor"] = page["next"] or query["cursor"]
            assert (pages, page["next"]) == ([made[1], made[0], made[2]], None)
            other = client.get("/v1/forecasts", params={"cursor": cursor})
    assert problem(other, 422)["detail"].count("is of a list in another order") == 1
