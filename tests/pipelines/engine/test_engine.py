"""The engine: submissions, the limit of the queue, and a real cluster whose processes die."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pear.errors import InputError
from pipelines.catalog import Catalog, Priority
from pipelines.catalog.scan import refresh
from pipelines.engine.engine import Engine, EngineConfig, QueueFullError
from pipelines.forecasting.forecast import run_forecast
from pipelines.storage.data_folder import DataFolder
from tests.fixtures.engine import DAY, START, make_data_folder, read_fields

WAIT = 400


def until(true: Callable[[], bool], seconds: float = WAIT) -> None:
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            pytest.fail("waited in vain")
        time.sleep(0.02)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DataFolder:
    return make_data_folder(tmp_path_factory.mktemp("engine") / "data", days=12)


@pytest.fixture(scope="module")
def engine(data: DataFolder) -> Iterator[Engine]:
    with Engine(data, EngineConfig(workers=2, threads=1)) as running:
        assert running.ready(WAIT)
        yield running


@pytest.fixture
def idle(tmp_path: Path) -> Iterator[Engine]:
    """An engine that was not started: what it accepts stays queued."""
    made = Engine(make_data_folder(tmp_path / "data"), EngineConfig(max_queue=3))
    yield made
    made.close()


def submit(engine: Engine, init: np.datetime64, lead: int, **options: Any) -> str:
    ((run, _),) = engine.submit_forecasts(init, lead, options=options)
    return run.id


def twin(tmp_path: Path, init: np.datetime64, lead: int, days: int) -> dict[str, np.ndarray]:
    """The same run, undisturbed, in this process."""
    data = make_data_folder(tmp_path / "twin", days=days)
    with Catalog(data.catalog) as catalog:
        refresh(data, catalog)
        run, _ = catalog.runs.submit("tiny", init, lead, options={"analysis": "demo"})
        assert run_forecast(str(data.root), run.id, str(data.catalog)) == "succeeded"
        return read_fields(data.forecast(run.id))


def same(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def test_the_submitting_process_loads_no_tensors(tmp_path: Path) -> None:
    code = "import sys, pipelines.engine.engine; sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=False, cwd=tmp_path)
    assert done.returncode == 0


@pytest.mark.slow
def test_runs_are_computed_on_two_workers_once_each(engine: Engine, data: DataFolder) -> None:
    times = START + DAY * np.arange(4)
    asked = engine.submit_forecasts(times, 48, priority=Priority.BATCH)
    assert all(created for _, created in asked)
    ended = engine.wait([run.id for run, _ in asked], WAIT)
    assert [run.status for run in ended] == ["succeeded"] * 4
    again = engine.submit_forecasts(times, 48)
    assert [(run.id, created) for run, created in again] == [(run.id, False) for run in ended]
    for run in ended:
        ends = [
            e for e in engine.catalog.runs.events(run.id) if e.message in ("started", "succeeded")
        ]
        assert len(ends) == 2


@pytest.mark.slow
def test_progress_is_reported_step_by_step(engine: Engine) -> None:
    steps: list[int] = []
    run_id = submit(engine, START + 4 * DAY, 240)
    (run,) = engine.wait([run_id], WAIT, lambda job: steps.append(job.progress.step))
    assert run.status == "succeeded"
    assert steps == sorted(steps)
    assert steps[-1] == 10
    assert run.progress.seconds_per_step is not None


def test_forecasts_are_submitted_all_or_none(idle: Engine) -> None:
    with pytest.raises(InputError, match="not in analysis"):
        idle.submit_forecasts([START, START + 99 * DAY], 48)
    with pytest.raises(InputError, match="invalid analysis"):
        idle.submit_forecasts(START, 48, options={"analysis": "../demo"})
    with pytest.raises(InputError, match="did you mean tiny"):
        idle.submit_forecasts(START, 48, model="tini")
    with pytest.raises(QueueFullError):
        idle.submit_forecasts(START + DAY * np.arange(4), 24)
    assert idle.catalog.runs.page().items == ()


def test_evaluations_count_in_the_queue(idle: Engine) -> None:
    one, created = idle.submit_evaluation(None, {"analysis": "demo"})
    assert created
    assert idle.submit_evaluation("tiny", {"analysis": "demo"}) == (one, False)
    idle.submit_forecasts(START + DAY * np.arange(2), 24)
    with pytest.raises(QueueFullError):
        idle.submit_evaluation(None, {"analysis": "other"})
    with pytest.raises(InputError, match="lead time 25 h is not a multiple of the 24 h model step"):
        idle.submit_evaluation(None, {"analysis": "demo", "lead_hours": 25})
    assert idle.status()["evaluations"]["queued"] == 1


def test_a_data_folder_is_accepted_by_path(tmp_path: Path) -> None:
    data = make_data_folder(tmp_path / "data")
    for given in (data, data.root, str(data.root)):
        engine = Engine(given)
        assert engine.data == data
        engine.close()


def test_a_full_queue_says_when_to_try_again(idle: Engine) -> None:
    idle.submit_forecasts(START + DAY * np.arange(3), 24)
    with pytest.raises(QueueFullError) as refusal:
        idle.submit_forecasts(START, 48)
    assert refusal.value.retry_after > 0
    ((run, created),) = idle.submit_forecasts(START, 24)
    assert (run.status, created) == ("queued", False)
    idle.cancel(run.id)
    assert idle.submit_forecasts(START, 48)[0].created


def test_the_limit_of_the_queue_holds_for_concurrent_requests(idle: Engine) -> None:
    def ask(number: int) -> bool:
        try:
            return idle.submit_forecasts(START, 24, options={"seed": number + 1})[0].created
        except QueueFullError:
            return False

    with ThreadPoolExecutor(12) as people:
        accepted = list(people.map(ask, range(24)))
    assert sum(accepted) == idle.catalog.runs.counts()["queued"] == 3


@pytest.mark.slow
def test_a_killed_worker_costs_no_step(engine: Engine, data: DataFolder, tmp_path: Path) -> None:
    init, lead = START + 5 * DAY, 24 * 60
    run_id = submit(engine, init, lead)
    until(lambda: engine.catalog.runs.get(run_id).progress.step >= 5)
    os.kill(worker_of(engine, run_id), signal.SIGKILL)
    step = engine.catalog.runs.get(run_id).progress.step
    (run,) = engine.wait([run_id], WAIT)
    assert run.status == "succeeded"
    if run.attempts > 1:  # else it was through before the signal came
        assert "taken over" in [event.message for event in engine.catalog.runs.events(run_id)]
    assert step >= 5
    assert same(read_fields(data.forecast(run_id)), twin(tmp_path, init, lead, days=12))


def worker_of(engine: Engine, run_id: str) -> int:
    """Process of the worker that holds a run, from the lock it has."""
    lock = engine.data.scratch / f"{run_id}.lock"
    inode = str(lock.stat().st_ino)
    for line in Path("/proc/locks").read_text().splitlines():
        words = line.split()
        if words[1] == "FLOCK" and words[5].rsplit(":", 1)[1] == inode:
            return int(words[4])
    pytest.fail(f"nobody holds {lock}")


@pytest.mark.slow
def test_a_hung_worker_is_restarted_and_its_run_resumes(tmp_path: Path) -> None:
    data = make_data_folder(tmp_path / "data")
    with Engine(data, EngineConfig(threads=1, step_limit=3)) as engine:
        run_id = submit(engine, START, 24 * 100)
        until(lambda: engine.catalog.runs.get(run_id).progress.step >= 2)
        os.kill(worker_of(engine, run_id), signal.SIGSTOP)
        (run,) = engine.wait([run_id], WAIT)
        assert run.status == "succeeded"
        assert "its worker was restarted" in str(
            [e.message for e in engine.catalog.runs.events(run_id)]
        )


SERVICE = """
import sys
from pipelines.engine.engine import Engine, EngineConfig
if __name__ == "__main__":
    with Engine(sys.argv[1], EngineConfig(threads=1)) as engine:
        for day in range(int(sys.argv[2])):
            engine.submit_forecasts(f"2001-03-{day + 1:02d}", 24 * 40)
        engine.wait([job.id for job in engine.catalog.active_jobs()])
"""


@pytest.mark.slow
def test_jobs_of_a_killed_service_are_recovered_at_the_next_start(tmp_path: Path) -> None:
    data, script = make_data_folder(tmp_path / "data"), tmp_path / "service.py"
    script.write_text(SERVICE)
    service = subprocess.Popen([sys.executable, str(script), str(data.root), "3"])
    with Catalog(data.catalog) as catalog:
        until(lambda: any(run.progress.step >= 3 for run in catalog.runs.page().items))
        service.send_signal(signal.SIGKILL)
        service.wait()
        unfinished = [job.id for job in catalog.active_jobs()]
        assert unfinished
    with Engine(data, EngineConfig(threads=1)) as engine:
        ended = engine.wait(unfinished, WAIT)
        assert [run.status for run in ended] == ["succeeded"] * len(unfinished)
        assert engine.catalog.runs.counts()["succeeded"] == 3
    for run in ended:
        assert np.isfinite(read_fields(data.forecast(run.id))["geopotential"]).all()
    expected = twin(tmp_path, START, 24 * 40, days=4)
    first = next(run.id for run in ended if run.id.startswith("20010301"))
    assert same(read_fields(data.forecast(first)), expected)


@pytest.mark.slow
def test_a_closed_engine_releases_its_runs(tmp_path: Path) -> None:
    data = make_data_folder(tmp_path / "data")
    engine = Engine(data, EngineConfig(threads=1)).start()
    # Half a minute's work: a machine however busy closes the engine before it is done.
    run_id = submit(engine, START, 24 * 900, members=16)
    until(lambda: engine.catalog.runs.get(run_id).progress.step >= 2)
    engine.close()
    with Catalog(data.catalog) as catalog:
        run = catalog.runs.get(run_id)
        assert (run.status, run.reason) == ("queued", "the engine was stopped")
        assert run.progress.step >= 2
