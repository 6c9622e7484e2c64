"""Reading ahead in a background thread."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

Item = TypeVar("Item")

_END: Final = object()


def prefetch(items: Iterable[Item], size: int = 2) -> Generator[Item]:
    """Iterate over items that one background thread makes, up to ``size`` of them ahead.

    The items are made one after the other, so a library that reads files is never called by two
    threads at once. Close the generator (``contextlib.closing``) to stop the thread early.

    Parameters
    ----------
    items
        Consumed in the background thread. An exception it raises is raised to the caller, in its
        place among the items.
    size
        Number of items to hold ready, at least 1.

    Yields
    ------
    object
        The items, in order.

    Examples
    --------
    >>> list(prefetch(number**2 for number in range(4)))
    [0, 1, 4, 9]
    """
    iterator = iter(items)
    reader = ThreadPoolExecutor(1, "prefetch")
    try:
        ready = deque(reader.submit(next, iterator, _END) for _ in range(size))
        while (item := ready.popleft().result()) is not _END:
            ready.append(reader.submit(next, iterator, _END))
            yield item  # type: ignore[misc]
    finally:
        reader.shutdown(cancel_futures=True)
