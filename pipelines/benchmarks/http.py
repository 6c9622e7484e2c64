"""``pear bench serve``: how fast the service answers on this machine, client and server together.

The service is set beside an empty FastAPI handler that returns the same bytes, which is what the
framework itself costs here.
"""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import numpy as np

from pear.progress import ProgressCallback, no_progress

CONNECTIONS: Final = 32


_START_SECONDS: Final = 120.0


@dataclass(frozen=True)
class ServeReport:
    """What was measured; times in milliseconds, rates a second.

    Attributes
    ----------
    empty, point
        As many requests as go: the empty handler, and a cached point forecast.
    ratio
        Rate of the one over the other.
    steady
        The cached point forecast at half its rate, while a forecast runs if one could be started.
    health_p99_ms
        /healthz at 20 requests a second, during the same.
    rollout
        Whether a forecast was running meanwhile.
    field_ms, field_cached_ms, map_ms, map_cached_ms
        A field of 16-bit values and a map, new to the server (its store and tables warm) and again.
    page_ms
        Everything the first page needs for its first map, one after the other.
    """

    empty: Load
    point: Load
    ratio: float
    steady: Load
    health_p99_ms: float
    rollout: bool
    field_ms: float
    field_cached_ms: float
    map_ms: float
    map_cached_ms: float
    page_ms: float

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values."""
        return asdict(self)


STAGES: Final = 6


def measure_service(
    data: Path, seconds: float = 5.0, tick: ProgressCallback = no_progress
) -> ServeReport:
    """Serve a data folder with a finished forecast and measure its answers.

    Parameters
    ----------
    data
        Data folder; ``pear demo --once --out DIR`` makes one.
    seconds
        Length of each load.
    tick
        Called after each of :data:`STAGES` stages.

    Raises
    ------
    RuntimeError
        If the service does not start or has no finished forecast.
    """
    serve = [sys.executable, "-m", "service.cli", "serve", "--data", str(data), "--port"]
    with _served(serve, "/readyz") as base:
        run = _json(f"{base}/v1/forecasts/latest")
        point = f"{base}/v1/forecasts/{run['id']}/point?latitude=59.3&longitude=18.1"
        body, _ = _get(point)
        tick()
        leads, parts = json.loads(body)["lead_hours"], f"{base}/v1/forecasts/{run['id']}"
        fields = _times(f"{parts}/fields/2m_temperature?format=u16&lead_time=", leads)
        maps = _times(f"{parts}/maps/2m_temperature.png?width=800&lead_time=", leads)
        page = _first_map(base, run)
        tick()
        full = run_load(point, connections=CONNECTIONS, seconds=seconds)
        tick()
        with tempfile.NamedTemporaryFile() as file:
            Path(file.name).write_bytes(body)
            command = [sys.executable, "-m", "pipelines.benchmarks.http", file.name]
            with _served(command, "/") as other:
                empty = run_load(f"{other}/", connections=CONNECTIONS, seconds=seconds)
        tick()
        rolling = _start_rollout(base)
        steady = run_load(point, connections=CONNECTIONS, seconds=seconds, rate=full.rate / 2)
        tick()
        health = run_load(f"{base}/healthz", connections=2, seconds=seconds, rate=20)
        rolling = rolling and _json(f"{base}/v1/forecasts?status=running")["items"] != []
        tick()
    return ServeReport(
        empty, full, full.rate / empty.rate, steady, health.p99_ms, rolling, *fields, *maps, page
    )


def _times(stem: str, leads: list[int]) -> tuple[float, float]:
    """Median time of answers that are new to the server, and of the same again, ms."""
    _get(f"{stem}{leads[0]}")  # opens the store, fills the tables
    new = sorted(_get(f"{stem}{lead}")[1] for lead in leads[1:])
    again = sorted(_get(f"{stem}{lead}")[1] for lead in leads[1:])
    return 1e3 * new[len(new) // 2], 1e3 * again[len(again) // 2]


def _first_map(base: str, run: dict[str, Any]) -> float:
    # The page asks for the resolution of the run, or for nside 64 if that is coarser.
    nside = max(64, _json(f"{base}/v1/models/{run['model']}")["nside"])
    names = ["forecast.js", "map.js", "api.js", "charts.js", "gl.js", "healpix.js"]
    names += ["projections.js"]
    paths = ["/", *(f"/static/{name}" for name in names), "/static/style.css"]
    paths += ["/static/coastlines-110m.json"]
    paths += [f"/v1/forecasts/{run['id']}/fields/mean_sea_level_pressure"]
    paths[-1] += f"?lead_time=24&format=u16&nside={nside}"
    return 1e3 * sum(_get(base + path)[1] for path in paths)


def _start_rollout(base: str) -> bool:
    """Ask for a long forecast that is not there yet; False if none can be started here."""
    for each in _json(f"{base}/v1/initial-conditions?complete=true&limit=20")["items"]:
        body = {
            "init_time": each["init_time"],
            "lead_hours": 360,
            "analysis": each["analysis"],
            "members": 8,
            "seed": int(time.time()) % 2**31,
        }
        answer = _call("POST", f"{base}/v1/forecasts", json.dumps(body).encode())
        if answer.status not in (200, 202):
            continue
        link = json.loads(answer.body)["links"]["self"]
        until = time.monotonic() + 60
        while time.monotonic() < until:
            state = _json(base + link)["status"]
            if state != "queued":
                return bool(state == "running")
            time.sleep(0.2)
    return False


@dataclass(frozen=True)
class _Answer:
    status: int
    body: bytes
    seconds: float


def _call(method: str, url: str, body: bytes | None = None) -> _Answer:
    place = urlsplit(url)
    connection = HTTPConnection(place.hostname or "", place.port or 80, timeout=60)
    started = time.perf_counter()
    try:
        target = f"{place.path}?{place.query}" if place.query else place.path
        connection.request(method, target, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        content = answer.read()
        return _Answer(answer.status, content, time.perf_counter() - started)
    finally:
        connection.close()


def _get(url: str) -> tuple[bytes, float]:
    answer = _call("GET", url)
    if answer.status != 200:
        raise RuntimeError(f"{url} answered {answer.status}: {answer.body[:300]!r}")
    return answer.body, answer.seconds


def _json(url: str) -> Any:
    return json.loads(_get(url)[0])


@contextmanager
def _served(command: list[str], probe: str) -> Iterator[str]:
    """Run a server on a free port while the block runs."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with subprocess.Popen([*command, str(port)], stderr=subprocess.DEVNULL) as process:  # noqa: S603
        base = f"http://127.0.0.1:{port}"
        try:
            _wait(process, base + probe)
            yield base
        finally:
            process.terminate()
            process.wait(60)


def _wait(process: subprocess.Popen[bytes], url: str) -> None:
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        try:
            _get(url)
        except (OSError, HTTPException, RuntimeError):
            time.sleep(0.1)
        else:
            return
    raise RuntimeError(f"the server did not start: {' '.join(process.args)}")  # type: ignore[arg-type]


def serve_empty(body: Path, port: int) -> None:
    """Serve the empty handler: FastAPI, one route, the same bytes."""
    import uvicorn
    from fastapi import FastAPI, Response

    app, content = FastAPI(), body.read_bytes()

    @app.get("/")
    async def empty() -> Response:
        return Response(content, media_type="application/json")

    uvicorn.run(app, port=port, log_level="critical", access_log=False)


if __name__ == "__main__":
    serve_empty(Path(sys.argv[1]), int(sys.argv[2]))


_TIMEOUT: Final = 30.0


@dataclass(frozen=True)
class Load:
    """What came back under load.

    Attributes
    ----------
    seconds
        How long it was measured.
    answers, errors
        Answers with the wanted status, and all that were none.
    rate
        Answers a second.
    p50_ms, p99_ms, worst_ms
        Time from when a request was due to its answer, milliseconds.
    """

    seconds: float
    answers: int
    errors: int
    rate: float
    p50_ms: float
    p99_ms: float
    worst_ms: float

    @classmethod
    def of(cls, seconds: float, times: list[float], errors: int) -> Load:
        """Sum up the times of the answers, seconds."""
        milliseconds = np.array(times or [float("inf")]) * 1e3
        p50, p99 = (float(np.percentile(milliseconds, q)) for q in (50, 99))
        worst = float(milliseconds.max())
        return cls(seconds, len(times), errors, len(times) / seconds, p50, p99, worst)


@dataclass
class _Counts:
    times: list[float]
    errors: int = 0


def run_load(
    url: str, *, connections: int, seconds: float, rate: float | None = None, status: int = 200
) -> Load:
    """Send GET requests to one URL for some seconds and time the answers.

    Parameters
    ----------
    connections
        Kept open, each with one request under way.
    rate
        Requests a second, sent when they are due whatever came back (a late one counts from when
        it was due); None sends the next as soon as the last is answered.
    """
    return asyncio.run(_run(url, connections, seconds, rate, status))


async def _run(url: str, connections: int, seconds: float, rate: float | None, status: int) -> Load:
    place = urlsplit(url)
    target = f"{place.path}?{place.query}" if place.query else place.path
    request = f"GET {target} HTTP/1.1\r\nHost: {place.netloc}\r\n\r\n".encode()
    wanted = f"HTTP/1.1 {status} ".encode()
    counts = _Counts([])
    started = time.perf_counter()
    gap = None if rate is None else connections / rate
    workers = [
        _connection(
            place.hostname or "",
            place.port or 80,
            request,
            wanted,
            counts,
            started + (0 if gap is None else gap * number / connections),
            started + seconds,
            gap,
        )
        for number in range(connections)
    ]
    await asyncio.gather(*workers)
    return Load.of(time.perf_counter() - started, counts.times, counts.errors)


async def _connection(
    host: str,
    port: int,
    request: bytes,
    wanted: bytes,
    counts: _Counts,
    due: float,
    end: float,
    gap: float | None,
) -> None:
    reader, writer = await asyncio.open_connection(host, port, limit=2**22)
    try:
        while due < end:
            wait = due - time.perf_counter()
            if wait > 0:
                await asyncio.sleep(wait)
            sent = time.perf_counter() if gap is None else due
            writer.write(request)
            good = await asyncio.wait_for(_answer(reader, wanted), _TIMEOUT)
            now = time.perf_counter()
            if good:
                counts.times.append(now - sent)
            else:
                counts.errors += 1
            due = now if gap is None else due + gap
    except (OSError, asyncio.IncompleteReadError, TimeoutError):
        counts.errors += 1
    finally:
        writer.close()


async def _answer(reader: asyncio.StreamReader, wanted: bytes) -> bool:
    """Read one answer with a Content-Length; True if its status is the wanted one."""
    head = await reader.readuntil(b"\r\n\r\n")
    lower = head.lower()
    start = lower.index(b"content-length: ") + 16
    await reader.readexactly(int(lower[start : lower.index(b"\r\n", start)]))
    return head.startswith(wanted)
