"""Feeds: new and finished runs as server-sent events, `since=`, and conditional requests."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import anyio
import httpx
import numpy as np
import pytest
from fastapi import FastAPI

from pipelines.catalog import Catalog, Run, RunEvent
from pipelines.storage.data_folder import DataFolder
from service.app import create_app
from service.readers import run_feed
from service.readers.run_feed import RunFeed
from service.settings import Settings
from tests.fixtures.service import SHA, StubEngine, problem, served

INIT = np.datetime64("2010-01-01T00:00:00", "s")


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalog]:
    """A catalog of its own: what other tests submit is not told here."""
    with Catalog(tmp_path_factory.mktemp("feed") / "catalog.sqlite") as opened:
        opened.models.add(SHA, "models/none", nside=8, step_hours=24, name="made-up")
        yield opened


@pytest.fixture(scope="module")
def app(data: DataFolder, catalog: Catalog) -> FastAPI:
    settings = Settings(data=data.root, max_listeners=2)
    return create_app(settings, catalog, StubEngine(catalog, data))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def base(app: FastAPI) -> Iterator[str]:
    with served(app) as url:
        yield url


def submit(catalog: Catalog, day: int) -> Run:
    return catalog.runs.submit(SHA[:12], INIT + np.timedelta64(day, "D"), 24)[0]


@contextmanager
def stream(base: str, last: int | None = None) -> Iterator[Iterator[dict[str, str]]]:
    headers = {} if last is None else {"Last-Event-ID": str(last)}
    with httpx.stream("GET", f"{base}/v1/events", headers=headers, timeout=20) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = answer.iter_lines()
        assert next(lines) == "retry: 3000"
        next(lines)
        yield events(lines)


def events(lines: Iterator[str]) -> Iterator[dict[str, str]]:
    found: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(": ")
            found[name] = value
        elif found:
            yield found
            found = {}


def test_runs_are_told_as_they_come_and_end(base: str, catalog: Catalog) -> None:
    with stream(base) as found:
        time.sleep(2 * run_feed.POLL_SECONDS)
        run = submit(catalog, 0)
        first = next(found)
        assert first["event"] == "queued"
        document = json.loads(first["data"])
        assert (document["id"], document["init_time"]) == (run.id, "2010-01-01T00:00:00Z")
        assert document["href"] == f"/v1/forecasts/{run.id}"
        catalog.evaluations.submit(SHA[:12], {"lead_hours": 24}, total=1)  # is not told
        catalog.runs.claim(run.id, "test")
        catalog.runs.succeed(run.id, owner="test")
        later = [next(found), next(found)]
        assert [each["event"] for each in later] == ["started", "succeeded"]
        numbers = [int(each["id"]) for each in (first, *later)]
        assert numbers == sorted(set(numbers))


def test_a_listener_resumes_behind_its_last_event(base: str, catalog: Catalog) -> None:
    before = catalog.runs.last_log_number()
    ids = [submit(catalog, day).id for day in (10, 11, 12)]
    with stream(base, before) as found:
        told = [next(found) for _ in ids]
    assert [json.loads(each["data"])["id"] for each in told] == ids
    with stream(base, int(told[0]["id"])) as found:
        assert [json.loads(next(found)["data"])["id"] for _ in ids[1:]] == ids[1:]
    with stream(base, 10**12) as found:  # the catalog was made anew since
        reset = next(found)
    assert (reset["event"], int(reset["id"])) == ("reset", catalog.runs.last_log_number())
    problem(httpx.get(f"{base}/v1/events", headers={"Last-Event-ID": "a"}), 422)


def test_too_many_listeners_are_refused_and_leave_their_seats(base: str, app: FastAPI) -> None:
    with stream(base), stream(base):
        refused = httpx.get(f"{base}/v1/events")
        assert problem(refused, 503)["hint"].startswith("ask GET /v1/forecasts?since=")
        assert refused.headers["retry-after"] == "30"
    until = time.monotonic() + 10
    while app.state.services.run_feed.listeners and time.monotonic() < until:
        time.sleep(0.05)
    assert app.state.services.run_feed.listeners == 0


def collect(feed: RunFeed, last: int | None, count: int) -> list[RunEvent | int | None]:
    """Return what a feed yields, for as long as it is accepting."""
    found: list[RunEvent | int | None] = []

    async def listen() -> None:
        async for event in feed.listen(last, lambda: len(found) < count):
            found.append(event)  # noqa: PERF401 - looked at meanwhile

    anyio.run(listen)
    return found


def test_heartbeats_and_the_end(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_feed, "HEARTBEAT_SECONDS", 0.0)
    monkeypatch.setattr(run_feed, "POLL_SECONDS", 0.01)
    assert collect(RunFeed(catalog.runs, 1), None, 2) == [None, None]


def test_who_missed_too_much_is_told_to_begin_anew(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_feed, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(run_feed, "MAX_REPLAY", 2)
    for day in (20, 21, 22):
        submit(catalog, day)
    head = catalog.runs.last_log_number()
    assert collect(RunFeed(catalog.runs, 1), head - 3, 1) == [head]


def test_a_number_that_is_passed_over_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgreSQL shows lines in the order of their commits."""

    class Late:
        rows: list[RunEvent]

        def last_log_number(self) -> int:
            return 7

        def log_after(self, number: int, limit: int) -> list[RunEvent]:
            return [row for row in self.rows if row.number > number][:limit]

    def line(number: int, seconds: float) -> RunEvent:
        return RunEvent(number, datetime.now(UTC) - timedelta(seconds=seconds), "", None)

    monkeypatch.setattr(run_feed, "POLL_SECONDS", 0.0)
    late = Late()
    late.rows = [line(8, 0), line(10, 0)]
    feed = RunFeed(late, 1)  # type: ignore[arg-type]
    assert anyio.run(_heads, feed, late, [late.rows, [line(8, 0), line(9, 0), line(10, 0)]]) == [
        8,
        10,
    ]
    late.rows = [line(12, 9)]
    assert anyio.run(_heads, feed, late, [late.rows]) == [12]


async def _heads(feed: RunFeed, late: object, steps: list[list[RunEvent]]) -> list[int]:
    await feed._refresh()
    heads = []
    for rows in steps:
        late.rows = rows  # type: ignore[attr-defined]
        heads.append(await feed._refresh())
    return heads


def test_since_lists_what_has_changed(base: str, catalog: Catalog) -> None:
    time.sleep(1.1)
    moment = datetime.now(UTC).replace(microsecond=0)
    old, new = submit(catalog, 30), submit(catalog, 31)
    since = moment.strftime("%Y-%m-%dT%H:%M:%SZ")

    def listed(**params: str) -> list[str]:
        answer = httpx.get(f"{base}/v1/forecasts", params=params)
        return [each["id"] for each in answer.json()["items"]]

    assert set(listed(since=since)) == {old.id, new.id}
    first = httpx.get(f"{base}/v1/forecasts", params={"since": since, "limit": 1}).json()
    assert len(listed(since=since, limit="1", cursor=first["next"])) == 1
    time.sleep(1.1)  # the last was submitted up to now, however long that took
    later = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert listed(since=later) == []
    catalog.runs.cancel(old.id)
    assert listed(since=later) == [old.id]
    problem(httpx.get(f"{base}/v1/forecasts?since=yesterday"), 422)


def test_a_list_has_a_date_once_its_runs_have_ended(base: str, catalog: Catalog) -> None:
    waiting = httpx.get(f"{base}/v1/forecasts")
    assert "last-modified" not in waiting.headers
    url = f"{base}/v1/forecasts?status=succeeded"
    until = time.monotonic() + 10
    while "last-modified" not in (found := httpx.get(url)).headers and time.monotonic() < until:
        time.sleep(0.2)  # of the last change
    date = found.headers["last-modified"]
    assert httpx.get(url, headers={"If-Modified-Since": date}).status_code == 304
    run = submit(catalog, 40)
    catalog.runs.claim(run.id, "test")
    catalog.runs.succeed(run.id, owner="test")
    assert httpx.get(url, headers={"If-Modified-Since": date}).status_code == 200


def test_head_of_a_stream_ends_and_leaves_its_place(base: str) -> None:
    for _ in range(5):  # two may listen at once
        answer = httpx.head(f"{base}/v1/events", timeout=20)
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
