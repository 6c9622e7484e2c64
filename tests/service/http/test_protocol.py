"""Deadlines of the HTTP protocol, on a real socket."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from fastapi import FastAPI, Response
from starlette.responses import FileResponse, StreamingResponse

from pipelines.catalog import Catalog
from pipelines.storage.data_folder import DataFolder
from service.app import create_app
from service.http.protocol import TimeoutHttpToolsProtocol
from service.settings import Settings
from tests.fixtures.service import StubEngine, served

SHARD = Path()
"""File that the application below sends."""


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


def big_app() -> FastAPI:
    """An application with large responses, streamed and whole."""
    app = FastAPI()

    @app.get("/big")
    async def big() -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            for _ in range(320):
                yield b"x" * 65_536

        return StreamingResponse(parts())

    @app.get("/whole")
    async def whole() -> Response:
        return Response(b"x" * 20_000_000)

    @app.get("/shard")
    async def shard() -> FileResponse:
        return FileResponse(SHARD)

    return app


def ask(base: str, path: str) -> socket.socket:
    """Send a request over a connection with a small receive buffer."""
    place = urlsplit(base)
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect((place.hostname, place.port))
    connection.settimeout(20)
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    return connection


@pytest.mark.parametrize("path", ["/big", "/whole", "/shard"])
def test_clients_that_do_not_read_are_cut_off(
    path: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "0").write_bytes(b"x" * 20_000_000)  # as a shard of a Zarr store at nside 64
    monkeypatch.setattr(f"{__name__}.SHARD", tmp_path / "0")
    monkeypatch.setattr("service.http.protocol.STALL_SECONDS", 0.5)
    with served(big_app(), http=TimeoutHttpToolsProtocol) as base:
        stalled = ask(base, path)
        with stalled:
            stalled.recv(1, socket.MSG_PEEK)  # the response has begun
            time.sleep(2.0)
            got = 0
            with suppress(ConnectionResetError):
                while part := stalled.recv(65_536):
                    got += len(part)
            assert got < 20_000_000


def test_a_slow_client_that_reads_gets_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slower than the time limit altogether, but never without progress."""
    monkeypatch.setattr("service.http.protocol.STALL_SECONDS", 0.5)
    with served(big_app(), http=TimeoutHttpToolsProtocol) as base, ask(base, "/whole") as slow:
        got, started = 0, time.monotonic()
        while got < 20_000_000:
            part = slow.recv(400_000)
            assert part, "closed too early"
            got += len(part)
            due = started + 2.0 * got / 20_000_000
            time.sleep(max(0.0, due - time.monotonic()))
        assert time.monotonic() - started > 1.9


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /%s HTTP/1.1\r\nHost: localhost\r\n\r\n" % (b"x" * 65_535), 414),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nA: %s\r\n\r\n" % (b"x" * 70_000), 431),
        (b"GET /\xff\xfe HTTP/9\r\n\r\n", 400),
        (b"\x16\x03\x01 a handshake of TLS\r\n\r\n", 400),
    ],
)
def test_what_is_not_a_request_is_a_problem_document(sent: bytes, status: int) -> None:
    with served(big_app(), http=TimeoutHttpToolsProtocol) as base:
        place = urlsplit(base)
        with socket.create_connection((place.hostname, place.port), timeout=20) as connection:
            connection.sendall(sent)
            answer = b""
            with suppress(ConnectionResetError):
                while part := connection.recv(65_536):
                    answer += part
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status), head
    assert b"application/problem+json" in head
    problem = json.loads(body)
    assert (problem["status"], bool(problem["hint"])) == (status, True)
