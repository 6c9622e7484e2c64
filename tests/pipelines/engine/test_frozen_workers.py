"""Workers frozen inside a transaction of the catalog: they are killed and their runs go on."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipelines.engine import dispatcher
from pipelines.engine.engine import Engine, EngineConfig
from pipelines.storage.data_folder import DataFolder
from tests.fixtures import freezing
from tests.fixtures.engine import DAY, START, make_data_folder
from tests.fixtures.postgres import database, server

STEPS = 60
WAIT = 300


def until(true: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + WAIT
    while not true():
        assert time.monotonic() < end, what
        time.sleep(0.05)


def freeze_often(data: DataFolder, times: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Freeze the worker this many times, each after the run has advanced since the last one."""
    monkeypatch.setattr(dispatcher, "_RUN", freezing.RUN)
    monkeypatch.setattr(dispatcher, "_FROZEN_SECONDS", 3.0)
    flag = data.root / freezing.FLAG
    inits = iter(START + DAY * np.arange(times))
    submitted: list[str] = []
    with Engine(data, EngineConfig(threads=1)) as engine:
        assert engine.ready(WAIT)

        def advance() -> int:
            runs = engine.catalog.runs.page(limit=1000).items
            return sum(run.progress.step + (run.status == "succeeded") for run in runs)

        def frozen() -> bool:
            if not engine.catalog.active_jobs():
                ((run, _),) = engine.submit_forecasts(next(inits), 24 * STEPS)
                submitted.append(run.id)
            return not flag.exists()

        for number in range(times):
            flag.touch()
            until(frozen, f"{number}: no transaction to freeze in")
            before = advance()
            until(lambda before=before: advance() > before, f"{number}: the run does not go on")
        ended = engine.wait(submitted, WAIT)
        assert [run.status for run in ended] == ["succeeded"] * len(submitted)
        events = [event.message for run in submitted for event in engine.catalog.runs.events(run)]
        assert events.count("succeeded") == len(submitted)
        assert events.count("taken over") >= times // 2  # the others froze in their claim


@pytest.mark.slow
def test_a_run_goes_on_after_its_worker_froze_inside_a_transaction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    freeze_often(make_data_folder(tmp_path / "data"), 2, monkeypatch)


@pytest.mark.slow
def test_a_run_goes_on_after_its_worker_froze_between_two_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher, "_FROZEN_SECONDS", 3.0)
    data = make_data_folder(tmp_path / "data")
    with Engine(data, EngineConfig(threads=1)) as engine:
        assert engine.ready(WAIT)
        ((run, _),) = engine.submit_forecasts(START, 24 * STEPS)
        until(lambda: engine.catalog.runs.get(run.id).progress.step > 2, "the run does not begin")
        cluster = engine._dispatcher._cluster
        assert cluster is not None
        (pid,) = cluster.client.run(os.getpid).values()
        stopped = time.monotonic()
        os.kill(pid, signal.SIGSTOP)
        (ended,) = engine.wait([run.id], WAIT)
        assert ended.status == "succeeded"
        assert time.monotonic() - stopped < WAIT / 2  # not the step limit of 900 s


@pytest.mark.nightly
def test_fifty_workers_frozen_inside_a_transaction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    freeze_often(make_data_folder(tmp_path / "data", days=50), 50, monkeypatch)


@pytest.mark.parametrize(
    "times", [pytest.param(2, marks=pytest.mark.slow), pytest.param(50, marks=pytest.mark.nightly)]
)
def test_workers_frozen_with_row_locks_of_postgresql(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    for address in server():
        monkeypatch.setenv("PEAR_CATALOG", database(address, "frozen"))
        freeze_often(make_data_folder(tmp_path / "data", days=max(4, times)), times, monkeypatch)
