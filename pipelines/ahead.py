"""Read in one thread while another works on what was read."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterator
from typing import TypeVar

Item = TypeVar("Item")


def ahead(items: Iterator[Item], size: int) -> Generator[Item, None, None]:
    """Make items in a thread of their own, up to ``size`` before they are asked for.

    One thread reads and another regrids, checks and writes; libraries that read files are never
    called by two threads at once.
    """
    ready: queue.Queue[tuple[Item | None, BaseException | None]] = queue.Queue(size)
    enough = threading.Event()

    def make() -> None:
        error: BaseException | None = None
        try:
            for item in items:
                while not enough.is_set():
                    try:
                        ready.put((item, None), timeout=0.1)
                        break
                    except queue.Full:
                        continue
                if enough.is_set():
                    return
        except BaseException as caught:  # it belongs to the thread that waits for the items
            error = caught
        while not enough.is_set():
            try:
                ready.put((None, error or StopIteration()), timeout=0.1)
                return
            except queue.Full:
                continue

    thread = threading.Thread(target=make, name="pear-reader", daemon=True)
    thread.start()
    try:
        while True:
            item, error = ready.get()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield item  # type: ignore[misc]
    finally:
        enough.set()
        thread.join()
