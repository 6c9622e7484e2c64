"""New and finished runs as they happen: one reader of the catalog's log for all listeners."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final

from anyio import to_thread

from pipelines.catalog import RunEvent
from pipelines.catalog.runs import Runs
from service.http.errors import ProblemError

POLL_SECONDS: Final = 0.5
HEARTBEAT_SECONDS: Final = 15.0
MAX_REPLAY: Final = 1000
"""Lines of the log that a listener is told at most after it was away; more are `None`."""
_GAP_SECONDS: Final = 5.0


class RunFeed:
    """Hands the lines of the catalog's log to listeners, in the order of their numbers.

    Parameters
    ----------
    runs
        Runs of the catalog.
    max_listeners
        Listeners at the same time.
    """

    def __init__(self, runs: Runs, max_listeners: int) -> None:
        self._runs, self._max = runs, max_listeners
        self.listeners = 0
        self._head: int | None = None
        self._recent: deque[RunEvent] = deque(maxlen=MAX_REPLAY)
        self._read_at = -POLL_SECONDS
        self._lock = asyncio.Lock()

    @contextmanager
    def seat(self) -> Iterator[None]:
        """Count a listener while the block runs; a 503 problem if there are too many."""
        self.require_seat()
        self.listeners += 1
        try:
            yield
        finally:
            self.listeners -= 1

    def require_seat(self) -> None:
        """Check that one more may listen, else a 503 problem."""
        if self.listeners >= self._max:
            raise ProblemError(
                503,
                f"the limit of {self._max} listeners is reached",
                hint="ask GET /v1/forecasts?since=… from time to time",
                headers={"Retry-After": "30"},
            )

    async def listen(
        self, last: int | None, accepting: Callable[[], bool]
    ) -> AsyncIterator[RunEvent | int | None]:
        """Yield what happens to runs.

        Parameters
        ----------
        last
            Number of the last line that the listener has; None to begin now.
        accepting
            Returns False when the service stops; the iteration then ends.

        Yields
        ------
        RunEvent or int or None
            An event; None for a heartbeat; a number if lines up to it were left out, because too
            many were missed or the catalog was made anew.
        """
        head = await self._refresh()
        position = head if last is None else last
        if position > head:  # of a catalog that was made anew
            yield head
            position = head
        spoke_at = time.monotonic()
        while accepting():
            head = await self._refresh()
            if position < head:
                missed = not self._recent or self._recent[0].number > position + 1
                rows = await self._replay(position, head) if missed else list(self._recent)
                if rows is None:
                    yield head
                else:
                    for event in rows:
                        if position < event.number <= head and event.run is not None:
                            yield event
                            spoke_at = time.monotonic()
                position = head
            if time.monotonic() - spoke_at >= HEARTBEAT_SECONDS:
                yield None
                spoke_at = time.monotonic()
            await asyncio.sleep(POLL_SECONDS)

    async def _replay(self, position: int, head: int) -> list[RunEvent] | None:
        """Return the lines after a position from the catalog; None if they are too many."""
        if head - position > MAX_REPLAY:
            return None
        return await to_thread.run_sync(self._runs.log_after, position, MAX_REPLAY)

    async def _refresh(self) -> int:
        """Read new lines, at most twice a second however many listen; return the last number."""
        async with self._lock:
            if self._head is None:
                self._head = await to_thread.run_sync(self._runs.last_log_number)
            elif time.monotonic() - self._read_at >= POLL_SECONDS:
                rows = await to_thread.run_sync(self._runs.log_after, self._head, MAX_REPLAY)
                self._take(rows)
            else:
                return self._head
            self._read_at = time.monotonic()
            return self._head

    def _take(self, rows: list[RunEvent]) -> None:
        # PostgreSQL numbers lines when they are written and shows them when they are committed:
        # a number that is passed over may appear within moments, unless it was given up.
        head = self._head or 0
        for row in rows:
            waited = (datetime.now(UTC) - row.at).total_seconds()
            if row.number != head + 1 and waited < _GAP_SECONDS:
                break
            head = row.number
            self._recent.append(row)
        self._head = head
