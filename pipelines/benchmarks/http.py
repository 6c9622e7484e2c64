"""Speed of the HTTP service on this machine, client and server together.

The service stands beside an empty FastAPI handler that returns the same bytes, which is what the
framework itself costs.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any, Final
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import numpy as np

from pear.progress import ProgressCallback, no_progress

CONNECTIONS: Final = 32
STAGES: Final = 6
"""Number of calls of ``tick`` by :func:`measure_service`."""
_START_SECONDS: Final = 120.0
_TIMEOUT: Final = 60.0


@dataclass(frozen=True)
class Load:
    """Responses under load.

    Attributes
    ----------
    seconds
        Length of the measurement.
    answers, errors
        Number of responses with status 200, and of all others.
    rate
        Responses per second.
    p50_ms, p99_ms, worst_ms
        Milliseconds from when a request was due to its response.
    """

    seconds: float
    answers: int
    errors: int
    rate: float
    p50_ms: float
    p99_ms: float
    worst_ms: float


@dataclass(frozen=True)
class ServeReport:
    """Figures of the service; times in milliseconds.

    Attributes
    ----------
    empty, point
        As many requests as possible: the empty handler, and a cached point forecast.
    ratio
        Rate of the point forecast over that of the empty handler.
    steady
        The cached point forecast at half its rate, while a forecast runs if one could be started.
    health_p99_ms
        /healthz at 20 requests a second, at the same time.
    rollout
        True if a forecast was running meanwhile.
    field_ms, field_cached_ms, map_ms, map_cached_ms
        A field of 16-bit values and a map, new to the server and again.
    page_ms
        Everything that the first page needs for its first map, one after the other.
    tiles_first, tiles
        Map tiles a second of one core, the whole answer: new places, and other lead times of the
        same places.
    area_ms
        An area of 40 by 30 degrees as CoverageJSON, all lead times of one variable, new to the
        server.
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
    tiles_first: float
    tiles: float
    area_ms: float

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON can hold them."""
        return asdict(self)


def measure_service(
    data: Path, seconds: float = 5.0, tick: ProgressCallback = no_progress
) -> ServeReport:
    """Serve a data folder that has a finished forecast, and measure the responses.

    Parameters
    ----------
    data
        Data folder; ``pear demo --once`` makes one.
    seconds
        Length of each load.
    tick
        Called after each of :data:`STAGES` stages.

    Returns
    -------
    ServeReport
    """
    with serve_folder(data) as (base, server):
        run = _json(f"{base}/v1/forecasts/latest")
        forecast = f"{base}/v1/forecasts/{run['id']}"
        point = f"{forecast}/point?latitude=59.3&longitude=18.1"
        body, _ = _get(point)
        tick()
        leads = json.loads(body)["lead_hours"]
        fields = _medians(f"{forecast}/fields/2m_temperature?format=u16&lead_time=", leads)
        maps = _medians(f"{forecast}/maps/2m_temperature.png?width=800&lead_time=", leads)
        page = _first_map(base, forecast)
        tiles = _tile_rates(f"{forecast}/tiles/2m_temperature", leads, server.pid)
        area = _area(f"{base}/ogc/collections/{run['model']}/instances/{run['id']}/area")
        tick()
        full = run_load(point, connections=CONNECTIONS, seconds=seconds)
        tick()
        with tempfile.NamedTemporaryFile() as file:
            Path(file.name).write_bytes(body)
            command = [sys.executable, "-m", "pipelines.benchmarks.http", file.name]
            with _served(command, "/") as (other, _):
                empty = run_load(f"{other}/", connections=CONNECTIONS, seconds=seconds)
        tick()
        running = _start_rollout(base)
        steady = run_load(point, connections=CONNECTIONS, seconds=seconds, rate=full.rate / 2)
        tick()
        health = run_load(f"{base}/healthz", connections=2, seconds=seconds, rate=20)
        running = running and _json(f"{base}/v1/forecasts?status=running")["items"] != []
        tick()
    return ServeReport(
        empty,
        full,
        full.rate / empty.rate,
        steady,
        health.p99_ms,
        running,
        *fields,
        *maps,
        page,
        *tiles,
        area,
    )


def run_load(url: str, *, connections: int, seconds: float, rate: float | None = None) -> Load:
    """Send GET requests to one URL and time the responses.

    Parameters
    ----------
    url
        Must answer with a Content-Length.
    connections
        Connections kept open, each with one request under way.
    seconds
        Length of the load.
    rate
        Requests per second, sent when they are due; a late one is timed from when it was due.
        Default: each connection sends the next as soon as the last is answered.

    Returns
    -------
    Load
    """
    started = time.perf_counter()
    times, errors = asyncio.run(_send(url, connections, started + seconds, rate))
    spent = time.perf_counter() - started
    quantiles = 1e3 * np.percentile(times, [50, 99, 100]) if times else np.full(3, np.inf)
    p50, p99, worst = quantiles.tolist()
    return Load(spent, len(times), errors, len(times) / spent, p50, p99, worst)


async def _send(
    url: str, connections: int, end: float, rate: float | None
) -> tuple[list[float], int]:
    """Return the seconds of each response with status 200, and the number of others."""
    place = urlsplit(url)
    target = f"{place.path}?{place.query}" if place.query else place.path
    request = f"GET {target} HTTP/1.1\r\nHost: {place.netloc}\r\n\r\n".encode()
    times: list[float] = []
    failures: list[object] = []
    interval = connections / rate if rate else 0.0
    started = time.perf_counter()

    async def connect(number: int) -> None:
        due = started + interval * number / connections
        try:
            reader, writer = await asyncio.open_connection(place.hostname, place.port, limit=2**22)
            while due < end:
                if (wait := due - time.perf_counter()) > 0:
                    await asyncio.sleep(wait)
                sent = due if rate else time.perf_counter()
                writer.write(request)
                async with asyncio.timeout(_TIMEOUT):
                    head = await reader.readuntil(b"\r\n\r\n")
                    length = re.search(rb"(?i)content-length: (\d+)", head)
                    await reader.readexactly(int(length[1]) if length else 0)
                now = time.perf_counter()
                if head.startswith(b"HTTP/1.1 200 "):
                    times.append(now - sent)
                else:
                    failures.append(head)
                due = due + interval if rate else now
            writer.close()
        except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
            failures.append(error)

    await asyncio.gather(*map(connect, range(connections)))
    return times, len(failures)


def _medians(stem: str, leads: list[int]) -> tuple[float, float]:
    """Return the median milliseconds of responses new to the server, and of the same again."""
    _get(f"{stem}{leads[0]}")  # opens the store, fills the tables
    new, again = ([_get(f"{stem}{lead}")[1] for lead in leads[1:]] for _ in range(2))
    return 1e3 * float(np.median(new)), 1e3 * float(np.median(again))


def _first_map(base: str, forecast: str) -> float:
    """Return the milliseconds of the first page, all scripts and styles, and its first field."""
    nside = _json(f"{base}/v1/models")["items"][0]["nside"]
    field = f"{forecast}/fields/mean_sea_level_pressure?lead_time=24&format=u16&nside={nside}"
    urls, total = [f"{base}/", field], 0.0
    for url in urls:  # grows by what each document refers to
        body, seconds = _get(url)
        total += seconds
        if url != field:
            names = re.findall(rb'"(?:\./|/static/)([\w.-]+\.(?:js|json|css|svg))"', body)
            more = dict.fromkeys(f"{base}/static/{name.decode()}" for name in names)
            urls.extend(other for other in more if other not in urls)
    return 1e3 * total


def _tile_rates(stem: str, leads: list[int], pid: int) -> tuple[float, float]:
    """Return tiles a processor second: of new places, and of the same at other times."""
    places = [(zoom, x, y) for zoom in (2, 3) for x in range(4) for y in range(2)]
    _get(f"{stem}/0/0/0.png?lead_time={leads[0]}")
    rates = []
    for some in (leads[:1], leads[1:] or leads[:1]):
        before = _processor_seconds(pid)
        for lead in some:
            for zoom, x, y in places:
                _get(f"{stem}/{zoom}/{x}/{y}.png?lead_time={lead}")
        spent = _processor_seconds(pid) - before
        rates.append(len(some) * len(places) / max(spent, 1e-2))
    return rates[0], rates[1]


def _processor_seconds(pid: int) -> float:
    """Return what a process has used; the time of the day where the system does not tell."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return time.perf_counter()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _area(stem: str) -> float:
    """Return the median milliseconds of areas of one variable."""
    times = []
    for west in (0, 60, 120, 180):
        east = west + 40
        edges = ",".join(f"{x}%20{y}" for x, y in ((west, 30), (east, 30), (east, 60), (west, 60)))
        coords = f"POLYGON(({edges},{west}%2030))"
        times.append(_get(f"{stem}?parameter-name=2m_temperature&coords={coords}")[1])
    return 1e3 * float(np.median(times))


def _start_rollout(base: str) -> bool:
    """Submit a long ensemble forecast; return whether it runs."""
    for each in _json(f"{base}/v1/initial-conditions?complete=true&limit=20")["items"]:
        body = {
            "init_time": each["init_time"],
            "lead_hours": 360,
            "analysis": each["analysis"],
            "members": 8,
            "seed": int(time.time()) % 2**31,
        }
        try:
            answer, _ = _get(f"{base}/v1/forecasts", json.dumps(body).encode())
        except HTTPError:
            continue  # this service cannot compute it
        link = json.loads(answer)["links"]["self"]
        end = time.monotonic() + _TIMEOUT
        while time.monotonic() < end:
            status = _json(base + link)["status"]
            if status != "queued":
                return bool(status == "running")
            time.sleep(0.2)
    return False


def _get(url: str, body: bytes | None = None) -> tuple[bytes, float]:
    """Return the body of a response and the seconds it took; POST if there is a body to send."""
    request = Request(url, body, {"Content-Type": "application/json"})  # noqa: S310 - our server
    started = time.perf_counter()
    with urlopen(request, timeout=_TIMEOUT) as response:  # noqa: S310 - our server
        content: bytes = response.read()
    return content, time.perf_counter() - started


def _json(url: str) -> dict[str, Any]:
    return dict(json.loads(_get(url)[0]))


@contextmanager
def serve_folder(data: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Serve a data folder while the block runs; yields the address and the process."""
    serve = [sys.executable, "-m", "service.cli", "serve", "--data", str(data), "--port"]
    with _served(serve, "/readyz") as served:
        yield served


@contextmanager
def _served(command: list[str], probe: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run a server on a free port while the block runs."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with subprocess.Popen([*command, str(port)], stderr=subprocess.DEVNULL) as process:  # noqa: S603
        base = f"http://127.0.0.1:{port}"
        try:
            _wait(process, base + probe)
            yield base, process
        finally:
            process.terminate()
            process.wait(60)


def _wait(process: subprocess.Popen[bytes], url: str) -> None:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            _get(url)
        except (OSError, HTTPException):
            time.sleep(0.1)
        else:
            return
    raise RuntimeError(f"the server at {url} did not start")


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
