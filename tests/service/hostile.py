"""Requests that no honest client sends: bytes on the socket, and what may come back."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx

LOG = logging.getLogger("hostile")
CLOSED = 0
NEIGHBOUR_SECONDS = 2.0
"""Within this a neighbour is answered, on a machine that other work may share."""

_ASK = b'{"init_time": "2001-03-01T00:00:00Z", "lead_hours": '
JSON = b"Content-Type: application/json\r\n"
HUGE = "9" * 400
TRAVERSALS = (
    "../../etc/passwd",
    "..%2f..%2fetc%2fpasswd",
    "%2e%2e/%2e%2e/etc/passwd",
    "..%5c..%5cwin.ini",
    "%252e%252e%252fetc%252fpasswd",
    "....//....//etc/passwd",
    "/etc/passwd",
    "%2fetc%2fpasswd",
    "zarr.json%00.png",
    "%c0%ae%c0%ae/etc/passwd",
    "file:///etc/passwd",
    "~root/.ssh/id_rsa",
)
CRAFTED = ("' OR '1'='1", "1; DROP TABLE runs;--", "{{7*7}}", "${jndi:ldap://x}", "<svg/onload=1>")


@dataclass(frozen=True)
class Attack:
    """One request as it goes on the wire; all are to be answered 4xx, or closed."""

    kind: str
    name: str
    raw: bytes


def request(target: str, method: str = "GET", head: bytes = b"", body: bytes = b"") -> bytes:
    """A request as bytes; the target goes as it is."""
    length = b"Content-Length: %d\r\n" % len(body) if body and b"ength:" not in head else b""
    line = f"{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n".encode()
    return line + head + length + b"\r\n" + body


def attacks(run: str) -> Iterator[Attack]:
    """Every attack on a service that has this run."""
    yield from _paths(run)
    yield from _numbers(run)
    yield from _bodies()
    yield from _crafted(run)
    yield from _headers(run)
    yield from _framing()


def _paths(run: str) -> Iterator[Attack]:
    places = (
        "/static/{}",
        f"/v1/forecasts/{run}/zarr/{{}}",
        "/v1/forecasts/{}/point?latitude=1&longitude=1",
        "/v1/models/{}",
        "/v1/evaluations/{}",
        "/v1/evaluations/{}/plots/spectra.png",
        f"/v1/forecasts/{run}/fields/{{}}?lead_time=24",
        "/v1/schedules/{}",
    )
    for place in places:
        for text in TRAVERSALS:
            yield Attack("path traversal", place.format(text), request(place.format(text)))


def _numbers(run: str) -> Iterator[Attack]:
    own = f"/v1/forecasts/{run}"
    # Digits of another script, and a spelling that only Python knows.
    for value in (HUGE, "1e400", "-1e400", "NaN", "nan", "inf", "-Infinity", "0x10", "1_0_0", "١٢"):
        for target in (
            f"{own}/point?longitude=0&latitude={value}",
            f"{own}/fields/t2m?lead_time={value}",
            f"{own}/maps/t2m.png?lead_time=24&width={value}",
            f"{own}/maps/t2m.png?lead_time=24&vmin={value}",
            f"/v1/forecasts?limit={value}",
            f"{own}/fields/t2m?lead_time=24&nside={value}",
            f"{own}/download?format=netcdf&bbox={value},0,1,1",
            f"/v1/forecast?latitude=0&longitude={value}",
        ):
            if target != "/v1/forecasts?limit=1_0_0":  # read as 100, which it may be
                yield Attack("numbers", target, request(_escaped(target)))
    for key in ("latitude", "longitude", "variables", "format"):
        target = f"{own}/point?latitude=1&longitude=1&variables=t2m&format=json&{key}=2"
        yield Attack("given twice", target, request(target))
    for cursor in ("x", "AAAA", "..", "%00", "-1", HUGE, "eyJpZCI6IDF9", "' OR 1=1"):
        for target in ("/v1/forecasts", "/v1/evaluations", "/v1/initial-conditions"):
            yield Attack(
                "cursors", f"{target} {cursor[:12]}", request(_escaped(f"{target}?cursor={cursor}"))
            )


def _escaped(target: str) -> str:
    """Escape what would end the request line; the rest stays as it is."""
    return target.replace(" ", "%20")


def _bodies() -> Iterator[Attack]:
    bodies = {
        "no JSON": b"{",
        "no object": b"[]",
        "null": b"null",
        "text": b'"x"',
        "empty": b"",
        "NaN": b'{"init_time": NaN, "lead_hours": NaN}',
        "huge": b'{"lead_hours": 1e400}',
        "long number": b'{"lead_hours": ' + HUGE.encode() + b"}",
        "latin-1": b'{"init_time": "\xe5"}',
        "deep": b"[" * 20_000,
        "deep object": b'{"a":' * 5_000,
        "lone surrogate": b'{"model": "\\ud800"}',
        "wrong types": b'{"init_time": 7, "lead_hours": "x", "members": {}}',
        "year 99999": b'{"init_time": "99999-01-01T00:00:00Z", "lead_hours": 24}',
        "negative": _ASK + b"-24}",
        "too long": _ASK + b"999999999}",
        "members": _ASK + b'24, "members": 1000000}',
        "path as analysis": _ASK + b'24, "analysis": "../../etc"}',
        "address as analysis": _ASK + b'24, "analysis": "http://169.254.169.254/latest/meta-data"}',
        "address as model": _ASK + b'24, "model": "file:///etc"}',
        "unknown field": _ASK + b'24, "__class__": 1}',
        "gzip": b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03" + b"\x00" * 50,
    }
    for name, body in bodies.items():
        for target in ("/v1/forecasts", "/v1/evaluations", "/v1/schedules"):
            yield Attack("bodies", f"{target} {name}", request(target, "POST", JSON, body or b" "))
    large = b'{"init_time": "' + b"a" * 10_000_000 + b'"}'
    yield Attack("too large", "body of 10 MB", request("/v1/forecasts", "POST", JSON, large))
    chunked = JSON + b"Transfer-Encoding: chunked\r\nX-Length: none\r\n"
    stream = b"".join(b"10000\r\n" + b"a" * 65_536 + b"\r\n" for _ in range(40)) + b"0\r\n\r\n"
    yield Attack(
        "too large",
        "chunks of 2.6 MB",
        request("/v1/forecasts", "POST", chunked + b"X-Content-Length: 0\r\n", b"") + stream,
    )
    yield Attack("too large", "query of 100 kB", request("/v1/forecasts?status=" + "a" * 100_000))
    yield Attack(
        "too large", "header of 1 MB", request("/v1/x", head=b"X-A: " + b"a" * 10**6 + b"\r\n")
    )


def _crafted(run: str) -> Iterator[Attack]:
    texts = (*CRAFTED, "🌍", "\u202e\u2066t2m", "t2m\u0000", "\uff54\uff12\uff4d", "%", "a" * 3000)
    own = f"/v1/forecasts/{run}"
    for text in texts:
        sent = "".join(f"%{byte:02X}" for byte in text.encode())
        for target in (
            "/v1/forecasts?status={}",
            "/v1/models/{}",
            f"{own}/fields/{{}}?lead_time=24",
            f"{own}/point?latitude=1&longitude=1&variables={{}}",
            "/v1/scores?variable={}",
            f"{own}/maps/t2m.png?lead_time=24&cmap={{}}",
            "/v1/forecast?latitude=1&longitude=1&run={}",
            f"{own}/maps/t2m.png?lead_time=24&difference={{}}",
            f"{own}/download?format=netcdf&grid={{}}",
        ):
            yield Attack("crafted text", target.format(text[:16]), request(target.format(sent)))


def _headers(run: str) -> Iterator[Attack]:
    plain, zarr = "/v1/models", f"/v1/forecasts/{run}/zarr/zarr.json"
    many = b"".join(b"X-%d: %s\r\n" % (number, b"a" * 99) for number in range(1000))
    rows = {
        "another host": request(plain).replace(b"Host: localhost", b"Host: evil.example"),
        "no host": request("/v1/models").replace(b"Host: localhost\r\n", b""),
        "two hosts": request(plain, head=b"Host: evil.example\r\n"),
        "NUL in a header": request(plain, head=b"X-A: a\x00b\r\n"),
        "bare line feed": request(plain, head=b"X-A: a\nX-B\r\n"),
        "no colon": request(plain, head=b"nonsense\r\n"),
        "folded": request(plain, head=b"X-A: a\r\n b\r\n\x01: c\r\n"),
        "1000 headers": request(plain, head=many),
        "write from elsewhere": request(
            "/v1/forecasts", "POST", JSON + b"Origin: http://evil.example\r\n", b"{}"
        ),
        "range past the end": request(zarr, head=b"Range: bytes=999999999999-\r\n"),
        "range of words": request(zarr, head=b"Range: bytes=a-b\r\n"),
        "range backwards": request(zarr, head=b"Range: bytes=9-2\r\n"),
        "huge range": request(zarr, head=b"Range: bytes=" + HUGE.encode() + b"-\r\n"),
        "long idempotency key": request(
            "/v1/forecasts", "POST", JSON + b"Idempotency-Key: " + b"k" * 9000 + b"\r\n", b"{}"
        ),
        "endless wait": request("/v1/forecasts", "POST", JSON + b"Prefer: wait=1e9\r\n", b"{}"),
        "TRACE": request(plain, "TRACE"),
        "CONNECT": request("evil.example:443", "CONNECT"),
        "made-up method": request(plain, "BREW"),
        "delete of a list": request("/v1/forecasts", "DELETE"),
        "upgrade": request("/v1/ws", head=b"Upgrade: websocket\r\nConnection: Upgrade\r\n"),
    }
    for name, raw in rows.items():
        yield Attack("headers", name, raw)


def _framing() -> Iterator[Attack]:
    post = b"POST /v1/forecasts HTTP/1.1\r\nHost: localhost\r\n" + JSON
    rows = {
        "two lengths": post + b"Content-Length: 2\r\nContent-Length: 99\r\n\r\n{}",
        "length and chunks": post + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        "negative length": post + b"Content-Length: -1\r\n\r\n{}",
        "length in words": post + b"Content-Length: two\r\n\r\n{}",
        "endless length": post + b"Content-Length: " + HUGE.encode() + b"\r\n\r\n{}",
        "bad chunk": post + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n",
        "TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 500,
        "nonsense": b"\xff\xfe\x00\x01" * 100 + b"\r\n\r\n",
        "HTTP/9.9": b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n",
        "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    }
    for name, raw in rows.items():
        yield Attack("framing", name, raw)


def answered(url: str, raw: bytes) -> int:
    """The status that comes back; CLOSED if the connection ends without one."""
    place = urlsplit(url)
    with socket.create_connection((place.hostname, place.port), timeout=30) as connection:
        with suppress(OSError):  # refused before all is sent: the answer can still be read
            connection.sendall(raw)
        try:
            answer = connection.recv(64)
        except ConnectionResetError:
            return CLOSED
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/") else CLOSED


@contextmanager
def neighbour(url: str, run: str) -> Iterator[list[float]]:
    """A client that asks for its forecast all the while; the times of its answers, seconds."""
    times: list[float] = []
    stop = threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=url, timeout=30) as client:
            while not stop.wait(0.02):
                started = time.perf_counter()
                answer = client.get(
                    f"/v1/forecasts/{run}/point", params={"latitude": 59, "longitude": 18}
                )
                times.append(
                    time.perf_counter() - started if answer.status_code == 200 else float("inf")
                )

    httpx.get(f"{url}/v1/forecasts/{run}/point?latitude=59&longitude=18").raise_for_status()
    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield times
    finally:
        stop.set()
        thread.join()


def check(outcome: dict[Attack, int], times: list[float]) -> None:
    """Write the table, and fail where an attack was let in or the neighbour had to wait."""
    kinds = Counter(attack.kind for attack in outcome)
    for kind, count in kinds.items():
        statuses = Counter(status for attack, status in outcome.items() if attack.kind == kind)
        told = ", ".join(
            f"{'closed' if status == CLOSED else status}: {number}"
            for status, number in sorted(statuses.items())
        )
        LOG.info("%-15s %4d requests   %s", kind, count, told)
    LOG.info("neighbour: %d answers, slowest %.0f ms", len(times), 1e3 * max(times))
    wrong = {
        f"{attack.kind}: {attack.name[:100]}": status
        for attack, status in outcome.items()
        if status != CLOSED and not 400 <= status < 500
    }
    assert wrong == {}
    assert len(times) > 5
    assert max(times) < NEIGHBOUR_SECONDS
