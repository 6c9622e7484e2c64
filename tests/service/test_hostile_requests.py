"""Hostile input: every request is refused or closed, and an honest client is served meanwhile."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest

from pipelines.catalog import Catalog
from pipelines.storage.data_folder import DataFolder
from service.app import create_app
from service.http.protocol import TimeoutHttpToolsProtocol
from service.http.security import KeyFile
from service.settings import Settings
from tests.fixtures.hostile_requests import (
    assert_refused,
    honest_client,
    hostile_requests,
    receive_status,
    request,
    send_raw,
)
from tests.fixtures.service import StubEngine, served


@pytest.fixture(scope="module")
def impatient_url(data: DataFolder, catalog: Catalog, engine: StubEngine) -> Iterator[str]:
    """Address of a service with deadlines of one second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("service.http.protocol.HEADER_SECONDS", 1.0)
        patch.setattr("service.http.middleware._BODY_SECONDS", 1.0)
        app = create_app(Settings(data=data.root), catalog, engine)
        with served(app, http=TimeoutHttpToolsProtocol) as base:
            yield base


def test_hostile_requests_are_refused(impatient_url: str, run_id: str) -> None:
    requests = hostile_requests(run_id)
    with honest_client(impatient_url, run_id) as times:
        statuses = {each.name: send_raw(impatient_url, each.raw) for each in requests}
        time.sleep(0.2)
    assert len(statuses) == len(requests)
    assert_refused(statuses, times)


def test_invalid_keys_are_refused(data: DataFolder, catalog: Catalog, engine: StubEngine) -> None:
    path = data.root / "hostile.json"
    good = KeyFile(path).add("reader", "read", "2001-01-01T00:00:00Z")
    settings = Settings(data=data.root, require_keys=True, keys_file=path)
    keys = (
        *(b"", b"wrong", b"*", b"' OR 1=1", b"../keys.json", b"\xff\xfe", b"a" * 10_000),
        *(good.encode()[:-1], good.encode() + b"x", good.encode().upper()),
    )
    with served(create_app(settings, catalog, engine)) as base:
        statuses = {
            send_raw(base, request("/v1/models", head=b"X-API-Key: " + key + b"\r\n"))
            for key in keys
        }
        in_query = send_raw(base, request(f"/v1/models?X-API-Key={good}"))
        accepted = send_raw(base, request("/v1/models", head=f"X-API-Key: {good}\r\n".encode()))
    assert statuses <= {400, 401}
    assert (in_query, accepted) == (401, 200)


def test_slow_connections_are_closed(impatient_url: str, run_id: str) -> None:
    """300 connections send nothing, part of a head, or part of a body, one byte at a time."""
    place = urlsplit(impatient_url)
    slow = b"Content-Type: application/json\r\nContent-Length: 99\r\n"
    starts = [
        b"",
        b"G",
        b"GET /v1/models HTTP/1.1\r\nHost: local",
        request("/v1/forecasts", "POST", slow),
    ]
    connections = [socket.create_connection((place.hostname, place.port), 30) for _ in range(300)]
    try:
        with honest_client(impatient_url, run_id) as times:
            for number, connection in enumerate(connections):
                connection.sendall(starts[number % 4])
            for _ in range(5):  # single bytes must not keep a connection open
                time.sleep(0.3)
                for connection in connections:
                    try:
                        connection.sendall(b"x")
                    except OSError:
                        continue
            statuses = {str(n): receive_status(each) for n, each in enumerate(connections)}
    finally:
        for connection in connections:
            connection.close()
    assert_refused(statuses, times)
    assert httpx.get(f"{impatient_url}/healthz").status_code == 200
