"""The API against its own OpenAPI document, and against bytes that no client library would send."""

from __future__ import annotations

import inspect
import os
import random
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from fastapi.routing import APIRoute

from pipelines.catalog import Catalog
from pipelines.storage.data_folder import DataFolder
from service.app import ROUTERS, create_app
from service.http.protocol import TimeoutHttpToolsProtocol
from service.settings import Settings
from tests.fixtures.api_contract import keep_the_contract
from tests.fixtures.service import StubEngine, served

CASES = int(os.environ.get("PEAR_CONTRACT_EXAMPLES", "30"))
"""Examples per operation and phase; 200 makes more than 5 000 cases in all."""
RAW = int(os.environ.get("PEAR_RAW_REQUESTS", "3000"))


@pytest.fixture(scope="module")
def url(data: DataFolder, catalog: Catalog, engine: StubEngine) -> Iterator[str]:
    with served(create_app(Settings(data=data.root), catalog, engine)) as base:
        yield base


@pytest.mark.slow
def test_no_request_breaks_the_contract(url: str, run_id: str, tmp_path: Path) -> None:
    """Every operation, valid and invalid input, every check: status, type, headers, body."""
    made = keep_the_contract(url, run_id, tmp_path, CASES, "--exclude-method", "DELETE")
    assert made >= 400


def fragments(source: random.Random) -> bytes:
    """Bytes that break parsers: wrong encodings, huge numbers, quotes, dots, nulls."""
    known = [
        b"..",
        b"%2e%2e",
        b"%00",
        b"\xff\xfe",
        b"%ff",
        b"'",
        b'"',
        b"NaN",
        b"1e400",
        b"-0",
        b"{}",
        b"[[",
        b"\\",
        b"%",
        b"%zz",
        b"latest",
        b"24",
        b"t2m",
        b"z500",
        b"&&",
        b"==",
        b";",
        b"$",
        b"\xf0\x9f\x8c\x8d",
        b"9" * 30,
        b"Infinity",
        b",,,",
        b"/",
        b"?",
        b"<script>",
        b"id=1",
    ]
    return b"".join(source.choice(known) for _ in range(source.randrange(1, 6)))


def raw_request(source: random.Random, run: str) -> bytes:
    stems = [
        "/v1/forecasts",
        f"/v1/forecasts/{run}/point",
        f"/v1/forecasts/{run}/fields/t2m",
        f"/v1/forecasts/{run}/maps/t2m.png",
        f"/v1/forecasts/{run}/zarr/",
        "/v1/scores",
        f"/v1/forecasts/{run}/download",
        "/v1/forecast",
        "/v1/models/",
        "/",
        "/static/",
        "/login",
    ]
    names = [
        b"latitude",
        b"longitude",
        b"variables",
        b"levels",
        b"lead_time",
        b"level",
        b"format",
        b"limit",
        b"cursor",
        b"status",
        b"width",
        b"vmin",
        b"grid",
        b"bbox",
        b"run",
        b"nside",
    ]
    method = source.choice(
        [b"GET"] * 6 + [b"POST", b"PUT", b"OPTIONS", b"HEAD", b"PATCH", b"TRACE"]
    )
    target = source.choice(stems).encode()
    if source.random() < 0.4:
        target += b"/" + fragments(source).replace(b" ", b"")
    if source.random() < 0.7:
        pairs = [
            source.choice(names) + b"=" + fragments(source) for _ in range(source.randrange(1, 5))
        ]
        target += b"?" + b"&".join(pairs)
    body = fragments(source) * source.randrange(0, 20) if method == b"POST" else b""
    if method == b"POST" and source.random() < 0.5:
        body = (
            b'{"init_time": ' + fragments(source) + b', "lead_hours": ' + fragments(source) + b"}"
        )
    kind = source.choice([b"application/json", b"text/plain", b"application/json; charset=\xff"])
    lines = [
        method + b" " + target + b" HTTP/1.1",
        b"Host: localhost",
        b"Content-Type: " + kind,
        b"Content-Length: " + str(len(body)).encode(),
        source.choice([b"Accept", b"If-None-Match", b"Range", b"Cookie", b"Prefer", b"Origin"])
        + b": "
        + fragments(source).replace(b"\x00", b""),
        b"Connection: close",
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


@pytest.mark.slow
def test_malformed_requests_never_break_it(url: str, run_id: str) -> None:
    """Raw bytes on the socket: every one is answered below 500 or refused, nothing is disturbed."""
    source, place = random.Random(7), urlsplit(url)
    statuses: dict[int, int] = {}
    for _ in range(RAW):
        request = raw_request(source, run_id)
        with socket.create_connection((place.hostname, place.port), timeout=30) as connection:
            connection.sendall(request)
            answer = connection.recv(200)
        status = int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/") else 0
        statuses[status] = statuses.get(status, 0) + 1
        assert status < 500, request
    assert statuses.get(200, 0) + statuses.get(422, 0) > RAW / 10, statuses
    assert httpx.get(f"{url}/healthz").status_code == 200


def test_slow_clients_are_closed_and_disturb_nobody(
    data: DataFolder, catalog: Catalog, engine: StubEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No whole head, or no whole body: closed or refused in time, while others are answered."""
    monkeypatch.setattr("service.http.protocol.HEADER_SECONDS", 1.0)
    monkeypatch.setattr("service.http.middleware._BODY_SECONDS", 1.0)
    app = create_app(Settings(data=data.root), catalog, engine)
    with served(app, http=TimeoutHttpToolsProtocol) as base:
        place = urlsplit(base)
        slow = [socket.create_connection((place.hostname, place.port)) for _ in range(40)]
        try:
            whole = b"POST /v1/forecasts HTTP/1.1\r\nHost: localhost\r\n"
            body = whole + b"Content-Type: application/json\r\nContent-Length: 99\r\n\r\n{"
            for number, connection in enumerate(slow):
                connection.settimeout(20)
                connection.sendall(body if number % 2 else whole[: number + 1])
            assert httpx.get(f"{base}/healthz", timeout=5).status_code == 200
            answers = [connection.recv(100) for connection in slow]
        finally:
            for connection in slow:
                connection.close()
        assert all(answer == b"" for answer in answers[::2]), "no head: closed"
        assert {answer[:12] for answer in answers[1::2]} == {b"HTTP/1.1 408"}
        assert httpx.get(f"{base}/v1/models", timeout=5).status_code == 200


def test_more_requests_than_fit_are_refused_with_a_time(
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


def test_nothing_slow_runs_on_the_event_loop() -> None:
    """Handlers are plain functions, run in threads, but for these few that only wait."""
    waiting = {
        route.endpoint.__name__
        for router in ROUTERS
        for route in router.routes
        if isinstance(route, APIRoute) and inspect.iscoroutinefunction(route.endpoint)
    }
    assert waiting == {"healthz", "readyz", "submit_forecast"}
