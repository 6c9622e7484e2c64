"""Request ids, security headers, limits, allowed hosts and CORS."""

from __future__ import annotations

import json
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio
import httpx
import pytest
from starlette.types import Message, Receive, Scope, Send

from pipelines.catalog import Catalog
from pipelines.storage.data_folder import DataFolder
from service.app import create_app
from service.http.middleware import Limits
from service.http.request_state import RequestState
from service.settings import Settings
from tests.fixtures.service import StubEngine, problem, served


def test_every_response_has_an_id_and_security_headers(client: httpx.Client) -> None:
    answer = client.get("/healthz", headers={"X-Request-ID": "mine-1"})
    assert answer.headers["x-request-id"] == "mine-1"
    assert client.get("/healthz", headers={"X-Request-ID": "<b>"}).headers["x-request-id"] != "<b>"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "script-src 'self'" in answer.headers["content-security-policy"]


def test_large_requests_are_refused(client: httpx.Client, url: str, run_id: str) -> None:
    problem(client.post("/v1/forecasts", content=b"x" * 70_000), 413)
    chunks = (b"x" * 10_000 for _ in range(10))
    problem(httpx.post(f"{url}/v1/forecasts", content=chunks), 413)
    problem(client.get("/v1/forecasts?model=" + "x" * 9000), 414)
    many = ",".join(["1"] * 101)
    params = {"latitude": many, "longitude": many}
    problem(client.get(f"/v1/forecasts/{run_id}/point", params=params), 422)


def test_on_loopback_only_its_own_host_names_are_allowed(client: httpx.Client) -> None:
    """Otherwise a web page could reach the service by resolving its own name to this address."""
    document = problem(client.get("/v1/models", headers={"Host": "evil.example"}), 421)
    assert "evil.example" in document["detail"]
    assert "PEAR_ALLOWED_HOSTS" in document["hint"]
    assert client.get("/v1/models", headers={"Host": "localhost:1"}).status_code == 200


def test_other_origins_may_read_but_not_write(client: httpx.Client) -> None:
    body: dict[str, Any] = {"init_time": "2001-03-01T00:00:00Z", "lead_hours": 24}
    other = {"Origin": "https://evil.example"}
    assert client.post("/v1/forecasts", json=body, headers=other).status_code == 403
    assert client.get("/v1/models", headers=other).status_code == 200
    before = client.options("/v1/models", headers={**other, "Access-Control-Request-Method": "GET"})
    assert before.status_code == 200
    assert "POST" not in before.headers["access-control-allow-methods"]
    own = {"Origin": str(client.base_url).rstrip("/")}
    mine = client.post("/v1/forecasts", json=body, headers=own)
    assert mine.status_code == 202
    client.post(f"{mine.headers['location']}/cancel")


def test_more_concurrent_requests_than_the_limit_get_503(
    data: DataFolder, catalog: Catalog, engine: StubEngine, run_id: str
) -> None:
    app = create_app(Settings(data=data.root, max_concurrent_requests=8), catalog, engine)
    waiting, _ = catalog.runs.submit(catalog.models.get().id, "2004-01-01", 24)
    with served(app) as base, ThreadPoolExecutor(12) as pool:
        stream = f"{base}/v1/forecasts/{waiting.id}/events"

        def watch(_: int) -> int:
            with httpx.stream("GET", stream, timeout=30) as answer:
                if answer.status_code == 503:
                    assert answer.headers["retry-after"]
                    return 503
                list(answer.iter_lines())
                return answer.status_code

        watchers = [pool.submit(watch, number) for number in range(12)]
        time.sleep(1.5)
        assert httpx.get(f"{base}/healthz", timeout=5).status_code == 200
        catalog.runs.cancel(waiting.id)
        statuses = sorted(watcher.result() for watcher in watchers)
        assert statuses == [200] * 8 + [503] * 4
        assert httpx.get(f"{base}/v1/models", timeout=5).status_code == 200


def test_one_client_gets_only_its_share_and_probes_are_always_answered(
    data: DataFolder, catalog: Catalog, engine: StubEngine
) -> None:
    settings = Settings(data=data.root, max_concurrent_requests=8, max_requests_per_client=4)
    app = create_app(settings, catalog, engine)
    waiting, _ = catalog.runs.submit(catalog.models.get().id, "2004-01-02", 24)
    with served(app) as base, ThreadPoolExecutor(4) as pool:
        stream = f"{base}/v1/forecasts/{waiting.id}/events"
        watchers = [pool.submit(httpx.get, stream, timeout=30) for _ in range(4)]
        time.sleep(1.5)
        refused = httpx.get(f"{base}/v1/models", timeout=5)
        assert problem(refused, 429)["detail"].startswith("the limit of 4 concurrent requests")
        assert refused.headers["retry-after"]
        for probe in ("/healthz", "/readyz"):
            assert httpx.get(f"{base}{probe}", timeout=5).status_code == 200
        catalog.runs.cancel(waiting.id)
        assert [watcher.result().status_code for watcher in watchers] == [200] * 4
        assert httpx.get(f"{base}/v1/models", timeout=5).status_code == 200


def test_an_unexpected_error_is_a_problem_with_id_and_headers(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("made up")

    monkeypatch.setattr("service.api.models._describe", fail)
    answer = client.get("/v1/models", headers={"X-Request-ID": "mine-2"})
    document = problem(answer, 500)
    assert "ZeroDivisionError" in document["detail"]
    assert "made up" not in document["detail"], "messages may contain secrets"
    assert document["request_id"] == "mine-2"
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_each_request_is_logged_once(
    client: httpx.Client, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("pear"), "propagate", True)
    with caplog.at_level(logging.INFO, logger="pear"):
        client.get("/v1/models/made-up")
    (line,) = [json.loads(record.message) for record in caplog.records if record.name == "pear"]
    assert line["event"] == "request"
    assert (line["route"], line["path"]) == ("/v1/models/{model_id}", "/v1/models/made-up")
    assert line["status"] == 200


async def _probe_in_a_burst() -> int:
    """Begin 200 requests and one health check; return how many had begun before its answer."""
    begun: list[str] = []
    answered: list[int] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/healthz":
            answered.append(len(begun))
        else:
            begun.append(scope["path"])
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(_: Message) -> None:
        return

    limits = Limits(
        app, max_body_bytes=10, max_query_bytes=10, max_concurrent=500, max_per_client=500
    )
    async with anyio.create_task_group() as tasks:
        for number in range(201):
            path = "/healthz" if number == 200 else f"/{number}"
            scope = {"type": "http", "method": "GET", "path": path, "headers": []}
            RequestState.attach(scope)
            tasks.start_soon(limits, scope, receive, send)
    assert len(begun) == 200
    return answered[0]


def test_a_health_check_does_not_wait_for_a_burst() -> None:
    """Requests begin one by one, with a turn of the event loop between any two."""
    assert anyio.run(_probe_in_a_burst) < 10
