"""The engine over a real cluster of processes: requests, refusals, deaths, recovery."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from pear.errors import InputError
from pear.variables import Layout
from pipelines.catalog import Catalog, Priority
from pipelines.catalog.scan import refresh
from pipelines.engine.engine import Engine, QueueFullError
from pipelines.forecasting.forecast import run_forecast
from pipelines.storage.data_folder import DataFolder
from tests.fixtures.engine import DAY, LAYOUT, START, make_world, read_fields, write_days

WAIT = 400


def until(true: Callable[[], bool], seconds: float = WAIT) -> None:
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            pytest.fail("waited in vain")
        time.sleep(0.02)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DataFolder:
    return make_world(tmp_path_factory.mktemp("engine") / "data", days=12)


@pytest.fixture(scope="module")
def engine(data: DataFolder) -> Iterator[Engine]:
    with Engine(data, workers=2, threads=1) as running:
        assert running.ready(WAIT)
        yield running


@pytest.fixture
def idle(tmp_path: Path) -> Iterator[Engine]:
    """An engine that was not started: what it accepts stays queued."""
    made = Engine(make_world(tmp_path / "data"), max_queue=3)
    yield made
    made.close()


def twin(tmp_path: Path, init: np.datetime64, lead: int, days: int) -> dict[str, np.ndarray]:
    """The same run, undisturbed, in this process."""
    data = make_world(tmp_path / "twin", days=days)
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


def test_a_batch_runs_on_two_workers_and_each_run_once(engine: Engine, data: DataFolder) -> None:
    times = START + DAY * np.arange(4)
    asked = engine.request_forecasts(times, 48, priority=Priority.BATCH)
    assert all(created for _, created in asked)
    ended = engine.wait([run.id for run, _ in asked], WAIT)
    assert [run.status for run in ended] == ["succeeded"] * 4
    again = engine.request_forecasts(times, 48)
    assert [(run.id, created) for run, created in again] == [(run.id, False) for run in ended]
    for run in ended:
        ends = [
            e for e in engine.catalog.runs.events(run.id) if e.message in ("started", "succeeded")
        ]
        assert len(ends) == 2


def test_progress_is_told_step_by_step(engine: Engine) -> None:
    steps: list[int] = []
    run_id = engine.submit_forecast("tiny", START + 4 * DAY, 240)
    (run,) = engine.wait([run_id], WAIT, lambda job: steps.append(job.progress.step))
    assert run.status == "succeeded"
    assert steps == sorted(steps)
    assert steps[-1] == 10
    assert run.progress.seconds_per_step is not None


def test_what_cannot_be_forecast_is_refused_before_anything_is_queued(idle: Engine) -> None:
    data = idle.data
    partial = Layout(LAYOUT.surface[:1], (), ())
    write_days(data, "partial", layout=partial)
    cases = [
        ({"init_time": START + 99 * DAY}, "not in analysis"),
        ({"init_time": START, "analysis": "partial"}, "lacks 10m_v_component_of_wind, geopot"),
        ({"init_time": START, "analysis": "demos"}, "did you mean demo"),
        ({"init_time": START, "analysis": "../demo"}, "invalid name"),
        ({"init_time": START, "model": "tini"}, "did you mean tiny"),
        ({"init_time": START, "lead_hours": 30}, "no multiple"),
        ({"init_time": START, "lead_hours": 24 * 5000}, "longer than 1000 steps"),
    ]
    for changes, words in cases:
        with pytest.raises(InputError, match=words):
            idle.request_forecast(**{"lead_hours": 48, **changes})  # type: ignore[arg-type]
    mixed = [START, START + 99 * DAY]
    with pytest.raises(InputError):
        idle.request_forecasts(mixed, 48)
    assert idle.catalog.runs.page().items == ()


def test_a_full_queue_refuses_with_a_time_to_come_back(idle: Engine) -> None:
    idle.request_forecasts(START + DAY * np.arange(3), 24)
    with pytest.raises(QueueFullError) as refusal:
        idle.request_forecast(START, 48)
    assert refusal.value.retry_after > 0
    run, created = idle.request_forecast(START, 24)
    assert (run.status, created) == ("queued", False)
    idle.cancel(run.id)
    assert idle.request_forecast(START, 48)[1]


def test_the_bound_of_the_queue_holds_for_many_at_once(idle: Engine) -> None:
    def ask(number: int) -> bool:
        try:
            return idle.request_forecast(START, 24, options={"seed": number + 1})[1]
        except QueueFullError:
            return False

    with ThreadPoolExecutor(12) as people:
        accepted = list(people.map(ask, range(24)))
    assert sum(accepted) == idle.catalog.runs.counts()["queued"] == 3


def test_a_worker_that_is_killed_costs_no_step(
    engine: Engine, data: DataFolder, tmp_path: Path
) -> None:
    init, lead = START + 5 * DAY, 24 * 60
    run_id = engine.submit_forecast(None, init, lead)
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


def test_urgent_runs_go_before_a_batch(engine: Engine) -> None:
    batch = engine.request_forecasts(START + DAY * np.arange(6), 24 * 30, priority=Priority.BATCH)
    urgent = engine.submit_forecast(None, START + 8 * DAY, 24)
    ended = engine.wait([urgent, *[run.id for run, _ in batch]], WAIT)
    assert {run.status for run in ended} == {"succeeded"}
    started = [run.started_at for run in ended]
    assert None not in started
    # Two may have been running already; all that waited came later.
    assert sum(other < started[0] for other in started[1:]) <= 2  # type: ignore[operator]


def test_a_worker_that_hangs_is_restarted_and_its_run_goes_on(tmp_path: Path) -> None:
    data = make_world(tmp_path / "data")
    with Engine(data, threads=1, step_limit=3) as engine:
        run_id = engine.submit_forecast(None, START, 24 * 300)
        until(lambda: engine.catalog.runs.get(run_id).progress.step >= 2)
        os.kill(worker_of(engine, run_id), signal.SIGSTOP)
        (run,) = engine.wait([run_id], WAIT)
        assert run.status == "succeeded"
        assert "its worker is restarted" in str(
            [e.message for e in engine.catalog.runs.events(run_id)]
        )


def test_cancelling_a_running_run_stops_it(engine: Engine, data: DataFolder) -> None:
    run_id = engine.submit_forecast(None, START + 6 * DAY, 24 * 900)
    until(lambda: engine.catalog.runs.get(run_id).progress.step >= 2)
    engine.cancel(run_id)
    (run,) = engine.wait([run_id], WAIT)
    assert run.status == "cancelled"
    assert not data.forecast(run_id).exists()


def test_a_run_that_another_process_queued_is_adopted(engine: Engine, data: DataFolder) -> None:
    with Catalog(data.catalog) as other:
        run, _ = other.runs.submit("tiny", START + 7 * DAY, 24, options={"analysis": "demo"})
    (ended,) = engine.wait([run.id], WAIT)
    assert ended.status == "succeeded"


SERVICE = """
import sys
from pipelines.storage.data_folder import DataFolder
from pipelines.engine.engine import Engine
if __name__ == "__main__":
    with Engine(DataFolder.open(sys.argv[1]), threads=1) as engine:
        for day in range(int(sys.argv[2])):
            engine.submit_forecast(None, f"2001-03-{day + 1:02d}", 24 * 40)
        engine.wait([job.id for job in engine.catalog.active_jobs()])
"""


def test_what_a_killed_service_owed_is_taken_up_at_the_next_start(tmp_path: Path) -> None:
    data, script = make_world(tmp_path / "data"), tmp_path / "service.py"
    script.write_text(SERVICE)
    service = subprocess.Popen([sys.executable, str(script), str(data.root), "3"])
    with Catalog(data.catalog) as catalog:
        until(lambda: any(run.progress.step >= 3 for run in catalog.runs.page().items))
        service.send_signal(signal.SIGKILL)
        service.wait()
        owed = [job.id for job in catalog.active_jobs()]
        assert owed
    with Engine(data, threads=1) as engine:
        ended = engine.wait(owed, WAIT)
        assert [run.status for run in ended] == ["succeeded"] * len(owed)
        assert engine.catalog.runs.counts()["succeeded"] == 3
    for run in ended:
        assert np.isfinite(read_fields(data.forecast(run.id))["geopotential"]).all()
    expected = twin(tmp_path, START, 24 * 40, days=4)
    first = next(run.id for run in ended if run.id.startswith("20010301"))
    assert same(read_fields(data.forecast(first)), expected)


def test_an_engine_that_is_closed_gives_its_runs_back(tmp_path: Path) -> None:
    data = make_world(tmp_path / "data")
    engine = Engine(data, threads=1).start()
    # Half a minute's work: a machine however busy closes the engine before it is done.
    run_id = engine.submit_forecast(None, START, 24 * 900, options={"members": 16})
    until(lambda: engine.catalog.runs.get(run_id).progress.step >= 2)
    engine.close()
    with Catalog(data.catalog) as catalog:
        run = catalog.runs.get(run_id)
        assert (run.status, run.reason) == ("queued", "the engine was stopped")
        assert run.progress.step >= 2


def test_an_address_without_a_scheduler_is_a_clear_error(tmp_path: Path) -> None:
    data = make_world(tmp_path / "data")
    engine = Engine(data, scheduler="tcp://127.0.0.1:9", adopt=False).start()
    try:
        with pytest.raises(InputError, match="no scheduler answers"):
            engine.ready(WAIT)
    finally:
        engine.close()
