"""Hostile input: every request is answered 4xx or closed, and a neighbour is served meanwhile."""

from __future__ import annotations

import logging
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
    CLOSED,
    Attack,
    answered,
    attacks,
    check,
    neighbour,
    request,
)
from tests.fixtures.service import StubEngine, served

pytestmark = pytest.mark.usefixtures("quiet")


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the log to the table."""
    for chatty in ("pear.access", "httpx"):
        monkeypatch.setattr(logging.getLogger(chatty), "disabled", True)


@pytest.fixture(scope="module")
def url(data: DataFolder, catalog: Catalog, engine: StubEngine) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("service.http.protocol.HEADER_SECONDS", 1.0)
        patch.setattr("service.http.middleware._BODY_SECONDS", 1.0)
        app = create_app(Settings(data=data.root), catalog, engine)
        with served(app, http=TimeoutHttpToolsProtocol) as base:
            yield base


def test_every_attack_is_refused_and_disturbs_nobody(url: str, run_id: str) -> None:
    """Traversal, numbers, types, sizes, headers, framing. ``--log-cli-level INFO``: the table."""
    with neighbour(url, run_id) as times:
        outcome = {attack: answered(url, attack.raw) for attack in attacks(run_id)}
    assert len(outcome) >= 400
    check(outcome, times)


def test_bad_keys_are_refused(data: DataFolder, catalog: Catalog, engine: StubEngine) -> None:
    settings = Settings(data=data.root, require_keys=True, keys_file=data.root / "hostile.json")
    good = KeyFile(data.root / "hostile.json").add("reader", "read", "2001-01-01T00:00:00Z")
    keys = [
        b"",
        b"wrong",
        good.encode()[:-1],
        good.encode() + b"x",
        good.encode().upper(),
        b"a" * 10_000,
        b"\xff\xfe",
        "ключ".encode(),
        b"' OR 1=1",
        b"null",
        b"*",
        b"../keys.json",
        b"sha256:" + b"0" * 64,
    ]
    with served(create_app(settings, catalog, engine)) as base:
        outcome = {
            Attack("keys", repr(key[:20]), raw): answered(base, raw)
            for key in keys
            for raw in (request("/v1/models", head=b"X-API-Key: " + key + b"\r\n"),)
        }
        outcome[Attack("keys", "in the query", b"")] = answered(
            base, request(f"/v1/models?X-API-Key={good}&key={good}")
        )
        assert answered(base, request("/v1/models", head=f"X-API-Key: {good}\r\n".encode())) == 200
    assert set(outcome.values()) <= {400, 401}


def test_crowds_of_slow_clients_are_closed_and_disturb_nobody(url: str, run_id: str) -> None:
    """300 connections that send nothing, half a head, or half a body, one byte at a time."""
    place = urlsplit(url)
    slow = b"Content-Type: application/json\r\nContent-Length: 99\r\n"
    begun = [
        b"",
        b"G",
        b"GET /v1/models HTTP/1.1\r\nHost: local",
        request("/v1/forecasts", "POST", slow),
    ]
    crowd = [socket.create_connection((place.hostname, place.port), 30) for _ in range(300)]
    outcome: dict[Attack, int] = {}
    try:
        with neighbour(url, run_id) as times:
            for number, connection in enumerate(crowd):
                connection.sendall(begun[number % 4])
            for _ in range(5):  # a byte now and then must not keep a connection open
                time.sleep(0.3)
                for connection in crowd:
                    try:
                        connection.sendall(b"x")
                    except OSError:
                        continue
            for number, connection in enumerate(crowd):
                try:
                    answer = connection.recv(64)
                except OSError:
                    answer = b""
                status = int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/") else CLOSED
                outcome[Attack("slow clients", str(number), b"")] = status
    finally:
        for connection in crowd:
            connection.close()
    check(outcome, times)
    assert httpx.get(f"{url}/healthz").status_code == 200
