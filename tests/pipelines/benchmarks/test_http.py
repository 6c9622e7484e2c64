"""The load generator of `pear bench serve`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi import FastAPI, Response

from pipelines.benchmarks.http import run_load
from tests.fixtures.service import served


@pytest.fixture(scope="module")
def base() -> Iterator[str]:
    app = FastAPI()

    @app.get("/{status}")
    async def answer(status: int) -> Response:
        return Response(b"body", status_code=status)

    with served(app) as address:
        yield address


def test_as_many_requests_as_possible_are_sent(base: str) -> None:
    load = run_load(f"{base}/200", connections=2, seconds=0.5)
    assert load.errors == 0
    assert load.rate == pytest.approx(load.answers / load.seconds)
    assert load.answers > 10
    assert 0 < load.p50_ms <= load.p99_ms <= load.worst_ms


def test_requests_are_sent_at_a_rate(base: str) -> None:
    load = run_load(f"{base}/200", connections=2, seconds=1.0, rate=20)
    assert load.answers == pytest.approx(20, abs=1)


def test_other_answers_and_refused_connections_are_errors(base: str) -> None:
    load = run_load(f"{base}/404", connections=1, seconds=0.2, rate=20)
    assert (load.answers, load.errors) == (0, pytest.approx(4, abs=1))
    assert load.p50_ms == float("inf")
    gone = run_load("http://127.0.0.1:9/", connections=2, seconds=0.2)
    assert (gone.answers, gone.errors) == (0, 2)
