"""One bounded queue for every expensive response: few at once, some waiting, the rest refused."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, TypeVar

from anyio import CapacityLimiter, to_thread

from service.http.errors import ProblemError

T = TypeVar("T")
_WAIT_SECONDS: Final = 30.0
_RETRY_SECONDS: Final = "5"


class BusyError(ProblemError):
    """Too many expensive requests at the same time."""

    def __init__(self, detail: str) -> None:
        super().__init__(
            503, detail, hint="try again later", headers={"Retry-After": _RETRY_SECONDS}
        )


class HeavyQueue:
    """Admits work that takes much time or memory; made in the event loop that it serves.

    Requests wait in the event loop and not in a thread, so that waiting ones cost nothing and
    other routes keep theirs.

    Parameters
    ----------
    slots
        Jobs at the same time.
    waiting
        Requests that may wait; more are refused at once.
    """

    def __init__(self, slots: int, waiting: int) -> None:
        self._limit = slots + waiting
        self._held = 0
        self._free = asyncio.Semaphore(slots)
        self._threads = CapacityLimiter(slots)

    async def run(self, work: Callable[[], T]) -> T:
        """Do the work in a thread of the queue's own.

        Returns
        -------
        object
            What the work returns.

        Raises
        ------
        BusyError
            503 with Retry-After if too many wait already, or it waited too long.
        """
        if self._held >= self._limit:
            raise BusyError(f"{self._limit} expensive requests are under way, which is the limit")
        self._held += 1
        try:
            try:
                async with asyncio.timeout(_WAIT_SECONDS):
                    await self._free.acquire()
            except TimeoutError:
                raise BusyError(f"the request waited {_WAIT_SECONDS:g} s for its turn") from None
            try:
                return await to_thread.run_sync(work, limiter=self._threads)
            finally:
                self._free.release()
        finally:
            self._held -= 1
