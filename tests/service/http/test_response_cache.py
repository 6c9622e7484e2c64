"""Responses of finished runs are sent again without the handler."""

from __future__ import annotations

import time

import httpx
import pytest

from pipelines.catalog import Catalog
from pipelines.storage.data_folder import DataFolder
from service.app import create_app
from service.http import response_cache
from service.settings import Settings
from tests.fixtures.service import StubEngine, in_process


@pytest.fixture
def fresh(
    data: DataFolder, catalog: Catalog, engine: StubEngine, monkeypatch: pytest.MonkeyPatch
) -> tuple[Settings, Catalog, StubEngine, list[str]]:
    """What an application needs, and a list of the runs that handlers look up."""
    calls: list[str] = []
    get = type(catalog.runs).get

    def noted(self: object, run: str) -> object:
        calls.append(run)
        return get(self, run)  # type: ignore[arg-type]

    monkeypatch.setattr(type(catalog.runs), "get", noted)
    return Settings(data=data.root), catalog, engine, calls


Parts = tuple[Settings, Catalog, StubEngine, list[str]]


def point(run: str) -> str:
    return f"/v1/forecasts/{run}/point?latitude=10&longitude=20&variables=t2m"


def test_a_repeated_request_does_not_reach_the_handler(fresh: Parts, run_id: str) -> None:
    *parts, calls = fresh
    with in_process(create_app(*parts)) as client:
        first, second = client.get(point(run_id)), client.get(point(run_id))
    assert calls == [run_id]
    assert second.content == first.content
    for name in ("etag", "content-type", "content-length", "cache-control"):
        assert second.headers[name] == first.headers[name]
    assert second.headers["x-request-id"] != first.headers["x-request-id"]


def test_latest_always_reaches_the_handler_and_shares_the_body(fresh: Parts, run_id: str) -> None:
    *parts, _ = fresh
    app = create_app(*parts)
    with in_process(app) as client:
        answers = [client.get(point("latest")) for _ in range(3)]
        client.get(point(run_id))
        cache = app.state.services.response_cache
        assert cache.bodies.hits == 3
        assert cache.entries.hits == 0
    assert {answer.headers["cache-control"] for answer in answers} == {"no-cache"}


def test_a_cached_response_answers_conditional_requests(fresh: Parts, run_id: str) -> None:
    *parts, calls = fresh
    with in_process(create_app(*parts)) as client:
        etag = client.get(point(run_id)).headers["etag"]
        again = client.get(point(run_id), headers={"If-None-Match": f'"other", {etag}'})
        other = client.get(point(run_id), headers={"If-None-Match": '"other"'})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    assert "content-type" not in again.headers
    assert other.status_code == 200
    assert calls == [run_id]


def test_entries_expire(fresh: Parts, run_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    *parts, calls = fresh
    now = time.monotonic()
    monkeypatch.setattr(response_cache.time, "monotonic", lambda: now)
    with in_process(create_app(*parts)) as client:
        client.get(point(run_id))
        now += 59
        client.get(point(run_id))
        assert calls == [run_id]
        now += 2
        client.get(point(run_id))
        assert calls == [run_id] * 2


def test_errors_are_not_cached(fresh: Parts, run_id: str) -> None:
    *parts, calls = fresh
    wrong = f"/v1/forecasts/{run_id}/point?latitude=100&longitude=0"
    with in_process(create_app(*parts)) as client:
        statuses = [client.get(wrong).status_code for _ in range(2)]
    assert statuses == [422, 422]
    assert calls == [run_id] * 2


def test_the_rate_limit_counts_cached_responses(fresh: Parts, run_id: str) -> None:
    settings, catalog, engine, _ = fresh
    limited = settings.model_copy(update={"rate_limit": 3})
    with in_process(create_app(limited, catalog, engine)) as client:
        answers = [client.get(point(run_id)) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200] * 3 + [429] * 2
    assert isinstance(answers[-1], httpx.Response)
    assert answers[-1].json()["status"] == 429
