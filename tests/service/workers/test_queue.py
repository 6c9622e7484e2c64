"""The queue of expensive responses: bounded, and waiting costs no thread."""

from __future__ import annotations

import asyncio
import threading

import pytest

from service.workers import queue as module
from service.workers.queue import HeavyQueue


def test_few_at_once_some_wait_the_rest_is_refused() -> None:
    async def main() -> None:
        queue, go = HeavyQueue(2, 3), threading.Event()
        active, most, lock = 0, 0, threading.Lock()

        def work() -> int:
            nonlocal active, most
            with lock:
                active += 1
                most = max(most, active)
            go.wait(20)
            with lock:
                active -= 1
            return threading.active_count()

        before = threading.active_count()
        tasks = [asyncio.ensure_future(queue.run(work)) for _ in range(8)]
        await asyncio.sleep(0.3)
        refused = [task for task in tasks if task.done()]
        assert len(refused) == 3, "five are held: two at work, three waiting"
        for task in refused:
            with pytest.raises(module.BusyError) as error:
                task.result()
            assert (error.value.status, error.value.headers["Retry-After"]) == (503, "5")
        assert threading.active_count() <= before + 2
        go.set()
        await asyncio.gather(*(task for task in tasks if task not in refused))
        assert most == 2
        assert await queue.run(lambda: 7) == 7, "everything was released"

    asyncio.run(main())


def test_a_failure_releases_its_place() -> None:
    async def main() -> None:
        queue = HeavyQueue(1, 0)
        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                await queue.run(lambda: 1 // 0)

    asyncio.run(main())


def test_waiting_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_WAIT_SECONDS", 0.1)

    async def main() -> None:
        queue, go = HeavyQueue(1, 1), threading.Event()
        first = asyncio.ensure_future(queue.run(lambda: go.wait(20)))
        await asyncio.sleep(0.05)
        with pytest.raises(module.BusyError, match="waited"):
            await queue.run(lambda: None)
        go.set()
        await first

    asyncio.run(main())
