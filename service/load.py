"""A small load generator: keep-alive connections that send one request and time its answer."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import numpy as np

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
