"""Worker processes: results and errors come back, and nothing that happens in one stays."""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from pear.errors import InputError
from service.http.errors import ProblemError
from service.workers.pool import WorkerError, WorkerPool


@pytest.fixture
def pool() -> Iterator[WorkerPool]:
    opened = WorkerPool(1)
    yield opened
    opened.close()


def refuse(kind: str) -> None:
    if kind == "problem":
        raise ProblemError(507, "full", field="x", hint="y", headers={"Retry-After": "1"})
    raise InputError("wrong", field="x", hint="y")


def lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_results_and_errors_come_back(pool: WorkerPool) -> None:
    assert pool.call(60, math.hypot, 3.0, 4.0) == 5.0
    with pytest.raises(InputError, match="wrong; y") as refused:
        pool.call(60, refuse, "input")
    assert refused.value.field == "x"
    with pytest.raises(ProblemError) as found:
        pool.call(60, refuse, "problem")
    assert (found.value.status, found.value.field, found.value.hint) == (507, "x", "y")
    assert found.value.headers == {"Retry-After": "1"}
    assert len(pool.pids) == 1, "an error does not end the worker"
    assert pool.call(60, os.getpid) != os.getpid()


def test_a_worker_that_crashes_or_hangs_is_replaced(pool: WorkerPool) -> None:
    first = pool.call(60, os.getpid)
    os.kill(first, signal.SIGKILL)  # from outside: the job is done by another one
    second = pool.call(60, os.getpid)
    assert second != first
    with pytest.raises(WorkerError, match="ended unexpectedly") as crashed:
        pool.call(60, signal.raise_signal, signal.SIGSEGV)
    assert (crashed.value.status, crashed.value.headers["Retry-After"]) == (503, "10")
    with pytest.raises(WorkerError, match="longer than"):
        pool.call(0.2, time.sleep, 60)
    assert pool.call(60, math.sqrt, 9.0) == 3.0
    assert not lives(first)
    assert not lives(second)


def test_a_worker_that_grew_or_was_idle_ends() -> None:
    pool = WorkerPool(1, max_bytes=1)
    try:
        first = pool.call(60, os.getpid)
        assert pool.pids == []
        assert pool.call(60, os.getpid) != first
    finally:
        pool.close()
    pool = WorkerPool(1, idle_seconds=0.0)
    try:
        pool.call(60, os.getpid)
        pool.retire_idle()
        assert pool.pids == []
    finally:
        pool.close()


def test_idle_workers_that_were_killed_cost_no_attempt() -> None:
    pool = WorkerPool(3)
    try:
        with ThreadPoolExecutor(3) as threads:
            for job in [threads.submit(pool.call, 60, time.sleep, 2) for _ in range(3)]:
                job.result()
        assert len(pool.pids) == 3
        for pid in pool.pids:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.2)
        assert pool.call(60, math.sqrt, 9.0) == 3.0
    finally:
        pool.close()


def test_workers_that_are_dying_cost_one_attempt() -> None:
    """A process that writes its core dump still counts as alive: three of them are not a reason."""
    pool = WorkerPool(3)
    try:
        with ThreadPoolExecutor(3) as threads:
            for job in [threads.submit(pool.call, 60, time.sleep, 2) for _ in range(3)]:
                job.result()
        for worker in pool._idle:
            os.kill(worker.process.pid, signal.SIGKILL)
            worker.process.poll = lambda: None
        time.sleep(0.2)
        assert pool.call(60, math.sqrt, 9.0) == 3.0
        assert len(pool.pids) <= 3
    finally:
        pool.close()


def test_new_workers_are_prepared() -> None:
    pool = WorkerPool(1, partial(os.chdir, "/"))
    try:
        assert pool.call(60, os.getcwd) == "/"
    finally:
        pool.close()


def test_closing_ends_workers_at_work() -> None:
    pool = WorkerPool(1)
    pid = pool.call(60, os.getpid)
    failures: list[ProblemError] = []

    def work() -> None:
        try:
            pool.call(60, time.sleep, 60)
        except ProblemError as error:
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    time.sleep(0.2)
    pool.close()
    thread.join(20)
    assert not thread.is_alive()
    assert failures
    assert not lives(pid)
