"""Hostile input: every request is answered 4xx or closed, and a neighbour is served meanwhile."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

import httpx
import pytest
from hostile import Attack, attacks, request
from service_world import StubEngine, served

from pipelines.catalog import Catalog
from pipelines.datafolder import DataFolder
from service.app import create_app
from service.protocol import ImpatientProtocol
from service.security import KeyFile
from service.settings import Settings

LOG = logging.getLogger("hostile")
pytestmark = pytest.mark.usefixtures("quiet")
CLOSED = 0
NEIGHBOUR_SECONDS = 2.0
"""Within this a neighbour is answered, on a machine that other work may share."""


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the log to the table."""
    for chatty in ("pear.access", "httpx"):
        monkeypatch.setattr(logging.getLogger(chatty), "disabled", True)


@pytest.fixture(scope="module")
def url(data: DataFolder, catalog: Catalog, engine: StubEngine) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("service.protocol.HEADER_SECONDS", 1.0)
        patch.setattr("service.envelope._BODY_SECONDS", 1.0)
        app = create_app(Settings(data=data.root), catalog, engine)
        with served(app, http=ImpatientProtocol) as base:
            yield base


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
        b"", b"wrong", good.encode()[:-1], good.encode() + b"x", good.encode().upper(),
        b"a" * 10_000, b"\xff\xfe", "ключ".encode(), b"' OR 1=1", b"null", b"*", b"../keys.json",
        b"sha256:" + b"0" * 64,
    ]  # fmt: skip
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
        b"", b"G", b"GET /v1/models HTTP/1.1\r\nHost: local",
        request("/v1/forecasts", "POST", slow),
    ]  # fmt: skip
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
