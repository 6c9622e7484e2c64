"""Deadlines of the HTTP protocol, on a real socket."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

import httpx
import pytest

from pipelines.catalog import Catalog
from pipelines.storage.data_folder import DataFolder
from service.app import create_app
from service.http.protocol import TimeoutHttpToolsProtocol
from service.settings import Settings
from tests.fixtures.service import StubEngine, served


def test_slow_clients_are_closed_while_others_are_served(
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
