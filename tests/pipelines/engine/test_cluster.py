"""The cluster: addresses, and the environment of local workers."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest

from pear.environment import shared_cores
from pear.errors import InputError
from pipelines.engine.cluster import Cluster, _is_stopped, call
from pipelines.engine.config import EngineConfig


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with closing(Cluster(EngineConfig(workers=1, threads=3, device="cpu"))) as made:
        yield made


def test_a_function_is_called_by_its_path() -> None:
    assert call("math:gcd", 12, 18) == 6


def test_an_address_without_a_scheduler_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.engine.cluster._CONNECT_SECONDS", 0.2)
    with pytest.raises(InputError, match=r"no scheduler answers at tcp://127\.0\.0\.1:9"):
        Cluster(EngineConfig(scheduler="tcp://127.0.0.1:9"))


def test_local_workers_have_threads_and_device_of_the_configuration(cluster: Cluster) -> None:
    assert cluster.alive
    assert cluster.slots == len(cluster.workers) == 1
    futures = [
        cluster.submit("os:getenv", name, key=name, priority=0)
        for name in ("OMP_NUM_THREADS", "PEAR_THREADS", "PEAR_DEVICE", "PEAR_WORKER")
    ]
    assert [future.result(timeout=60) for future in futures] == ["3", "3", "cpu", "0"]


def test_an_error_of_a_task_keeps_its_kind(cluster: Cluster) -> None:
    future = cluster.submit("pear.variables:variable", "rain", key="rain", priority=0)
    error = future.exception(timeout=60)
    assert isinstance(error, InputError)
    assert "unknown variable 'rain'" in error.message


def test_workers_choose_threads_by_the_work_and_never_spin(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("PEAR_THREADS", raising=False)
    found = EngineConfig(workers=2).worker_environment
    assert found["OMP_WAIT_POLICY"] == "PASSIVE"
    assert (found["OMP_NUM_THREADS"], found["PEAR_MOST_THREADS"]) == ("1", str(shared_cores(2)))
    assert "PEAR_THREADS" not in found


def test_a_stopped_process_is_told_from_a_slow_one() -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        try:
            assert not _is_stopped(process.pid)
            process.send_signal(signal.SIGSTOP)
            until = time.monotonic() + 10
            while not _is_stopped(process.pid):
                assert time.monotonic() < until
                time.sleep(0.01)
        finally:
            process.kill()
    assert not _is_stopped(process.pid)
    assert not _is_stopped(None)


def test_threads_that_a_person_chose_win(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PEAR_THREADS", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert EngineConfig().worker_environment["PEAR_THREADS"] == "7"
    assert EngineConfig(threads=2).worker_environment["PEAR_THREADS"] == "2"


@pytest.mark.slow
def test_a_worker_that_the_cluster_gave_up_is_started_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pipelines.engine.cluster._LOST_WORKER", "0s")
    with closing(Cluster(EngineConfig(workers=1, threads=1))) as cluster:
        (lost,) = cluster.workers
        with suppress(Exception):  # the worker dies within the task
            cluster.client.run(os._exit, 1, workers=[lost])
        until = time.monotonic() + 300
        while cluster.workers in ([], [lost]):
            assert time.monotonic() < until
            cluster.restore_workers()
            time.sleep(0.5)
        future = cluster.submit("os:getpid", key="pid", priority=0)
        assert future.result(timeout=60)
