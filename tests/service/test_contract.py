"""The service against its own OpenAPI document, and against random bytes."""

from __future__ import annotations

import os
import random
import socket
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.fixtures.api_contract import check_contract

CASES = int(os.environ.get("PEAR_CONTRACT_EXAMPLES", "15"))
"""Examples per operation and phase; 200 makes more than 5 000 cases in all."""


RAW = int(os.environ.get("PEAR_RAW_REQUESTS", "3000"))


@pytest.mark.slow
def test_no_request_breaks_the_contract(url: str, run_id: str, tmp_path: Path) -> None:
    """Every operation, valid and invalid input, every check: status, type, headers, body."""
    made = check_contract(url, run_id, tmp_path, CASES, "--exclude-method", "DELETE")
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
