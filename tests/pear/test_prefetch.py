"""prefetch() keeps the order, reads ahead by no more than it is told, and passes errors on."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from pear.prefetch import prefetch


def test_items_arrive_in_order_from_another_thread() -> None:
    threads = set()

    def items() -> Iterator[int]:
        for number in range(20):
            threads.add(threading.current_thread().name)
            yield number

    assert list(prefetch(items(), 3)) == list(range(20))
    assert threads == {"prefetch_0"}


def test_no_items_give_an_empty_iterator() -> None:
    assert list(prefetch([])) == []


def test_reads_at_most_size_items_ahead() -> None:
    made, third = [], threading.Event()

    def items() -> Iterator[int]:
        for number in range(10):
            made.append(number)
            if number == 2:
                third.set()
            yield number

    with closing(prefetch(items(), 2)) as ahead:
        assert next(ahead) == 0
        assert third.wait(5)
        assert made == [0, 1, 2]  # item 0 is out, items 1 and 2 are ready


def test_an_error_follows_the_items_before_it() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise OSError("the disk is gone")

    ahead = prefetch(items())
    assert next(ahead) == 1
    with pytest.raises(OSError, match="the disk is gone"):
        next(ahead)


def test_closing_stops_the_thread() -> None:
    def forever() -> Iterator[int]:
        number = 0
        while True:
            yield number
            number += 1

    ahead = prefetch(forever())
    next(ahead)
    ahead.close()
    assert not any(thread.name.startswith("prefetch") for thread in threading.enumerate())
