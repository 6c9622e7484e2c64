"""Reading ahead changes neither order nor errors, and stops when nobody wants more."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from pipelines.ingestion.task import ahead


def test_order_is_kept() -> None:
    assert list(ahead(iter(range(100)), 2)) == list(range(100))


def test_an_error_comes_after_what_was_made_before_it() -> None:
    def items() -> Iterator[int]:
        yield 1
        yield 2
        raise KeyError("three")

    got: list[int] = []
    with pytest.raises(KeyError, match="three"):
        got.extend(ahead(items(), 5))
    stream = ahead(items(), 1)
    assert [next(stream), next(stream)] == [1, 2]


def test_no_more_is_made_than_was_asked_for_and_a_little() -> None:
    made = []

    def items() -> Iterator[int]:
        for n in range(1000):
            made.append(n)
            yield n

    with closing(ahead(items(), 2)) as stream:
        assert next(stream) == 0
        time.sleep(0.3)
    assert len(made) <= 5
    assert not [t for t in threading.enumerate() if t.name == "pear-reader"]
