"""The dispatcher with a fake cluster: every decision, without processes and without waiting."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pear.errors import InputError
from pipelines.catalog import Catalog, Priority, Run, Status
from pipelines.engine.config import EngineConfig
from pipelines.engine.dispatcher import (
    Dispatcher,
    Fail,
    Forget,
    RestartWorker,
    Snapshot,
    Submit,
    Task,
    reconcile,
)

INIT = np.datetime64("2001-03-01", "s")
CONFIG = EngineConfig()
COMMAND = EngineConfig(recover_orphans=False)


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = datetime(2026, 3, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class FakeFuture:
    """A future that ends when the test says so."""

    def __init__(self, key: str, path: str, jobs: list[str]) -> None:
        self.key, self.path, self.jobs = key, path, jobs
        self.status, self.computing = "pending", True
        self._error: BaseException | None = None
        self._callbacks: list[Callable[[Any], object]] = []

    def exception(self, timeout: float | None = None) -> BaseException | None:
        return self._error

    def add_done_callback(self, fn: Callable[[Any], object]) -> None:
        self._callbacks.append(fn)

    def end(self, status: str = "finished", error: BaseException | None = None) -> None:
        self.status, self._error = status, error
        for callback in self._callbacks:
            callback(self)


class FakeCluster:
    """A cluster that records what is submitted and computes nothing."""

    def __init__(self, slots: int = 1) -> None:
        self.slots, self.alive, self.workers = slots, True, ["worker"] * slots
        self.submitted: list[FakeFuture] = []
        self.restarted: list[object] = []
        self.silent: list[str] = []
        self.stopped: list[str] = []
        self.priorities: list[int] = []

    def submit(self, path: str, *arguments: object, key: str, priority: int) -> FakeFuture:
        jobs = arguments[1]
        future = FakeFuture(key, path, jobs if isinstance(jobs, list) else [str(jobs)])
        self.submitted.append(future)
        self.priorities.append(priority)
        return future

    def restart_worker_of(self, future: Any) -> bool:
        if future.computing:
            self.restarted.append(future.key)
        return bool(future.computing)

    def silent_workers(self, seconds: float) -> list[str]:
        return self.silent

    def stopped_workers(self, addresses: list[str]) -> list[str]:
        return [each for each in addresses if each in self.stopped]

    def restore_workers(self) -> None:
        pass

    def restart_workers(self, addresses: list[str]) -> None:
        self.restarted += addresses

    def warm_up(self, path: str) -> None:
        pass

    def close(self) -> None:
        self.alive = False


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def catalog(tmp_path: Path, clock: Clock) -> Iterator[Catalog]:
    with Catalog(tmp_path / "catalog.sqlite", clock=clock) as made:
        made.models.add("ab" * 32, "models/x", nside=8, step_hours=24, name="small")
        yield made


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


@pytest.fixture
def make(
    catalog: Catalog, cluster: FakeCluster, clock: Clock
) -> Iterator[Callable[..., Dispatcher]]:
    """Make connected dispatchers without starting their threads."""

    def make(config: EngineConfig = CONFIG, catalog: Catalog = catalog) -> Dispatcher:
        dispatcher = Dispatcher(
            "data", catalog, "url", config, connect=lambda _: cluster, clock=clock
        )
        dispatcher.ensure_connected()
        return dispatcher

    return make


def submit(catalog: Catalog, day: int = 0, priority: int = 0, **options: Any) -> Run:
    time = INIT + np.timedelta64(day, "D")
    return catalog.runs.submit("small", time, 48, options=options, priority=priority)[0]


def test_a_requested_job_is_submitted_once(
    make: Callable[..., Dispatcher], catalog: Catalog, cluster: FakeCluster, clock: Clock
) -> None:
    dispatcher, run = make(), submit(catalog)
    dispatcher.request(run.id)
    for _ in range(3):
        dispatcher.reconcile()
    (future,) = cluster.submitted
    assert future.jobs == [run.id]
    assert future.path.endswith(":run_forecasts")
    assert dispatcher.status() == {"alive": True, "workers": 1, "jobs": 1}
    catalog.runs.claim(run.id, "w")
    catalog.runs.succeed(run.id, owner="w")
    future.end()
    clock.advance(60)
    dispatcher.reconcile()
    assert len(cluster.submitted) == 1
    assert dispatcher.status()["jobs"] == 0


def test_free_slots_go_to_the_highest_priority_then_to_the_oldest(
    make: Callable[..., Dispatcher], catalog: Catalog, cluster: FakeCluster, clock: Clock
) -> None:
    dispatcher = make()
    runs = []
    for day, priority in enumerate((Priority.BATCH, Priority.BATCH, Priority.INTERACTIVE)):
        runs.append(submit(catalog, day, priority))
        clock.advance(1)
    dispatcher.request(*(run.id for run in runs))
    for _ in runs:
        dispatcher.reconcile()
        catalog.runs.cancel(cluster.submitted[-1].jobs[0])
        cluster.submitted[-1].end()
    dispatcher.reconcile()
    order = [future.jobs[0] for future in cluster.submitted]
    assert order == [runs[2].id, runs[0].id, runs[1].id]
    assert cluster.priorities == [10, 0, 0]


def test_a_waiting_job_that_is_submitted_again_with_a_higher_priority_moves_up(
    make: Callable[..., Dispatcher], catalog: Catalog, cluster: FakeCluster, clock: Clock
) -> None:
    dispatcher, busy = make(), submit(catalog)
    dispatcher.request(busy.id)
    dispatcher.reconcile()
    first, second = submit(catalog, 1), submit(catalog, 2)
    dispatcher.request(first.id, second.id)
    submit(catalog, 2, Priority.INTERACTIVE)
    dispatcher.request(second.id)
    catalog.runs.cancel(busy.id)
    cluster.submitted[0].end()
    dispatcher.reconcile()
    assert cluster.submitted[1].jobs == [second.id]


def test_runs_of_one_model_and_options_share_a_task(
    make: Callable[..., Dispatcher], catalog: Catalog, cluster: FakeCluster
) -> None:
    cluster.slots = 4
    dispatcher = make(EngineConfig(batch=2))
    alike = [submit(catalog, day, analysis=f"a{day}") for day in range(3)]
    other = submit(catalog, 3, members=4)
    evaluation, _ = catalog.evaluations.submit("small", {})
    dispatcher.request(evaluation.id, other.id, *(run.id for run in alike))
    dispatcher.reconcile()
    tasks = sorted((future.jobs for future in cluster.submitted), key=len)
    assert [len(task) for task in tasks] == [1, 1, 1, 2]
    assert set(tasks[-1]) < {run.id for run in alike}
    paths = {future.path.partition(":")[2] for future in cluster.submitted}
    assert paths == {"run_forecasts", "run_evaluation"}


def test_the_error_of_a_task_fails_its_jobs(
    make: Callable[..., Dispatcher], catalog: Catalog, cluster: FakeCluster
) -> None:
    dispatcher, run = make(), submit(catalog)
    dispatcher.request(run.id)
    dispatcher.reconcile()
    cluster.submitted[0].end("error", ImportError("no module named pear"))
    dispatcher.reconcile()
    failed = catalog.runs.get(run.id)
    assert (failed.status, failed.error_kind) == (Status.FAILED, "ImportError")
    assert failed.reason == "ImportError: no module named pear"
    assert len(cluster.submitted) == 1


def test_an_error_after_the_job_has_ended_changes_nothing(
    make: Callable[..., Dispatcher], catalog: Catalog, cluster: FakeCluster
) -> None:
    dispatcher, run = make(), submit(catalog)
    dispatcher.request(run.id)
    dispatcher.reconcile()
    catalog.runs.cancel(run.id)
    cluster.submitted[0].end("error", OSError("late"))
    dispatcher.reconcile()
    assert catalog.runs.get(run.id).status == Status.CANCELLED


@pytest.mark.parametrize("status", ["lost", "cancelled"])
def test_a_task_that_the_cluster_forgot_is_submitted_again(
    make: Callable[..., Dispatcher], catalog: Catalog, cluster: FakeCluster, status: str
) -> None:
    dispatcher, run = make(COMMAND), submit(catalog)
    dispatcher.request(run.id)
    dispatcher.reconcile()
    cluster.submitted[0].end(status)
    dispatcher.reconcile()
    assert [future.jobs for future in cluster.submitted] == [[run.id]] * 2


def test_after_the_loss_of_the_scheduler_the_jobs_of_its_tasks_are_submitted_again(
    make: Callable[..., Dispatcher], catalog: Catalog, cluster: FakeCluster
) -> None:
    dispatcher, run = make(COMMAND), submit(catalog)
    dispatcher.request(run.id)
    dispatcher.reconcile()
    catalog.runs.claim(run.id, "a worker that is gone")
    cluster.alive = False
    assert not dispatcher.ready(0)
    dispatcher.ensure_connected()  # to the same fake
    cluster.alive = True
    dispatcher.reconcile()
    assert [future.jobs for future in cluster.submitted] == [[run.id]] * 2
    assert dispatcher.ready(0)


def test_a_cancelled_job_is_not_submitted(
    make: Callable[..., Dispatcher], catalog: Catalog, cluster: FakeCluster
) -> None:
    dispatcher, run = make(), submit(catalog)
    dispatcher.request(run.id)
    catalog.runs.cancel(run.id)
    dispatcher.reconcile()
    assert cluster.submitted == []


def test_a_job_that_was_released_is_retried_after_a_silence(
    make: Callable[..., Dispatcher], catalog: Catalog, cluster: FakeCluster, clock: Clock
) -> None:
    dispatcher, run = make(COMMAND), submit(catalog)
    dispatcher.request(run.id)
    dispatcher.reconcile()
    catalog.runs.claim(run.id, "w")
    catalog.runs.release(run.id, "OSError: disk full", owner="w")
    cluster.submitted[0].end()
    clock.advance(9)
    dispatcher.reconcile()
    assert len(cluster.submitted) == 1
    clock.advance(2)
    dispatcher.reconcile()
    assert len(cluster.submitted) == 2


def test_orphans_are_recovered_after_a_silence_by_a_service_and_left_by_a_command(
    make: Callable[..., Dispatcher], catalog: Catalog, cluster: FakeCluster, clock: Clock
) -> None:
    orphan = submit(catalog)
    catalog.runs.claim(orphan.id, "a process that died")
    command, service = make(COMMAND), make()
    clock.advance(9)
    service.reconcile()
    clock.advance(1000)
    command.reconcile()
    assert cluster.submitted == []
    service.reconcile()
    assert [future.jobs for future in cluster.submitted] == [[orphan.id]]


def test_the_worker_of_a_hung_job_is_restarted_once_per_limit(
    make: Callable[..., Dispatcher], catalog: Catalog, cluster: FakeCluster, clock: Clock
) -> None:
    dispatcher, run = make(EngineConfig(step_limit=200)), submit(catalog)
    dispatcher.request(run.id)
    dispatcher.reconcile()
    cluster.submitted[0].computing = False
    clock.advance(1000)  # queued in the cluster: not hung, however long
    dispatcher.reconcile()
    assert cluster.restarted == []
    assert len(catalog.runs.events(run.id)) == 1
    cluster.submitted[0].computing = True
    clock.advance(1000)
    catalog.runs.claim(run.id, "w")
    clock.advance(199)
    dispatcher.reconcile()
    assert cluster.restarted == []
    clock.advance(2)
    dispatcher.reconcile()
    dispatcher.reconcile()
    assert cluster.restarted == [cluster.submitted[0].key]
    assert "its worker was restarted" in catalog.runs.events(run.id)[-1].message
    clock.advance(201)
    dispatcher.reconcile()
    assert len(cluster.restarted) == 2
    assert len(cluster.submitted) == 1


def test_a_worker_that_never_claims_its_job_is_restarted(
    make: Callable[..., Dispatcher], catalog: Catalog, cluster: FakeCluster, clock: Clock
) -> None:
    dispatcher, run = make(EngineConfig(step_limit=200)), submit(catalog)
    clock.advance(1000)  # waiting for its turn does not count
    dispatcher.request(run.id)
    dispatcher.reconcile()
    clock.advance(319)
    dispatcher.reconcile()
    assert cluster.restarted == []
    clock.advance(2)
    dispatcher.reconcile()
    assert cluster.restarted == [cluster.submitted[0].key]


@contextmanager
def held_lock(path: Path) -> Iterator[None]:
    """Hold the write lock of the catalog, as a process does that froze inside a transaction."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


def test_a_hung_worker_is_killed_before_anything_is_written(
    make: Callable[..., Dispatcher],
    catalog: Catalog,
    cluster: FakeCluster,
    clock: Clock,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pipelines.catalog.database._BUSY_SECONDS", 0.1)
    with Catalog(tmp_path / "catalog.sqlite", clock=clock) as impatient:
        dispatcher, run = make(EngineConfig(step_limit=200), catalog=impatient), submit(catalog)
        dispatcher.request(run.id)
        dispatcher.reconcile()
        catalog.runs.claim(run.id, "w")
        clock.advance(201)
        with held_lock(tmp_path / "catalog.sqlite"):
            dispatcher.reconcile()  # cannot log it, and goes on
            assert cluster.restarted == [cluster.submitted[0].key]


@pytest.mark.parametrize(("silent", "stopped"), [(True, True), (True, False), (False, True)])
def test_a_silent_worker_is_restarted_if_it_is_stopped(
    make: Callable[..., Dispatcher], cluster: FakeCluster, silent: bool, stopped: bool
) -> None:
    """A worker that is silent and not stopped is slow: it goes on."""
    cluster.silent = ["frozen"] if silent else []
    cluster.stopped = ["frozen"] if stopped else []
    make().reconcile()
    assert cluster.restarted == (["frozen"] if silent and stopped else [])


@pytest.mark.parametrize(("silent", "locked"), [(True, True), (True, False), (False, True)])
def test_a_silent_worker_is_restarted_if_the_catalog_is_locked(
    make: Callable[..., Dispatcher],
    catalog: Catalog,
    cluster: FakeCluster,
    tmp_path: Path,
    silent: bool,
    locked: bool,
) -> None:
    dispatcher, run = make(), submit(catalog)
    dispatcher.request(run.id)
    cluster.silent = ["frozen"] if silent else []
    with held_lock(tmp_path / "catalog.sqlite") if locked else nullcontext():
        dispatcher.reconcile()
    assert cluster.restarted == (["frozen"] if silent and locked else [])


def test_slow_steps_are_not_hung(
    make: Callable[..., Dispatcher], catalog: Catalog, cluster: FakeCluster, clock: Clock
) -> None:
    dispatcher, run = make(EngineConfig(step_limit=10)), submit(catalog)
    dispatcher.request(run.id)
    dispatcher.reconcile()
    catalog.runs.claim(run.id, "w")
    catalog.runs.set_progress(run.id, 1, 2, seconds_per_step=60, owner="w")
    clock.advance(50 * 60 - 1)
    dispatcher.reconcile()
    assert cluster.restarted == []
    clock.advance(2)
    dispatcher.reconcile()
    assert len(cluster.restarted) == 1


def test_jobs_that_a_schedule_queued_on_a_worker_need_no_silence(
    make: Callable[..., Dispatcher], catalog: Catalog, cluster: FakeCluster
) -> None:
    dispatcher = make()
    dispatcher.run_schedule("daily")
    dispatcher.run_schedule("daily")
    (schedule,) = cluster.submitted
    assert schedule.path.endswith(":run_schedule")
    assert cluster.priorities == [Priority.INTERACTIVE + 1]
    run = submit(catalog)
    dispatcher.reconcile()
    assert len(cluster.submitted) == 1
    schedule.end()
    dispatcher.reconcile()
    assert cluster.submitted[1].jobs == [run.id]
    dispatcher.run_schedule("daily")
    assert len(cluster.submitted) == 3


def test_what_waits_for_jobs_is_submitted_when_they_have_ended(
    make: Callable[..., Dispatcher], catalog: Catalog, cluster: FakeCluster
) -> None:
    dispatcher, first, second = make(), submit(catalog), submit(catalog, 1)
    action = {"publish": {"to": "public"}}
    later, created = catalog.schedule_runs.submit("daily", action, after=[first.id, second.id])
    assert created
    assert catalog.schedule_runs.submit("daily", action, after=[first.id, second.id])[1] is False
    cluster.slots = 3
    dispatcher.request(first.id, second.id, later.id)
    dispatcher.reconcile()
    assert [future.jobs for future in cluster.submitted] == [[first.id], [second.id]]
    for job in (first, second):
        catalog.runs.claim(job.id, "w")
    catalog.runs.fail(first.id, "broken", owner="w")
    dispatcher.reconcile()
    assert len(cluster.submitted) == 2
    catalog.runs.succeed(second.id, owner="w")
    dispatcher.reconcile()
    assert cluster.submitted[2].path.endswith(":run_schedule_job")
    assert cluster.submitted[2].jobs == [later.id]


@pytest.mark.parametrize("scheduler", [None, "tcp://elsewhere:8786"])
def test_closing_releases_the_running_jobs_of_a_local_cluster_only(
    make: Callable[..., Dispatcher], catalog: Catalog, cluster: FakeCluster, scheduler: str | None
) -> None:
    cluster.slots = 3
    dispatcher = make(EngineConfig(scheduler=scheduler))
    running, queued, ended = (submit(catalog, day) for day in range(3))
    dispatcher.request(running.id, queued.id, ended.id)
    dispatcher.reconcile()
    catalog.runs.claim(running.id, "w")
    catalog.runs.set_progress(running.id, 1, 2, owner="w")
    catalog.runs.claim(ended.id, "w")
    catalog.runs.succeed(ended.id, owner="w")
    dispatcher.close()
    run = catalog.runs.get(running.id)
    if scheduler is None:
        assert (run.status, run.reason) == (Status.QUEUED, "the engine was stopped")
    else:
        assert run.status == Status.RUNNING
    assert run.progress.step == 1
    assert catalog.runs.get(queued.id).status == Status.QUEUED
    assert catalog.runs.get(ended.id).status == Status.SUCCEEDED


def test_the_thread_submits_and_reconnects(
    catalog: Catalog, cluster: FakeCluster, clock: Clock
) -> None:
    attempts = iter((InputError("no scheduler answers"), OSError("refused"), None))

    def connect(_: EngineConfig) -> FakeCluster:
        error = next(attempts)
        if error is not None:
            raise error
        return cluster

    dispatcher = Dispatcher("data", catalog, "url", CONFIG, connect=connect, clock=clock)
    run = submit(catalog)
    dispatcher.request(run.id)
    dispatcher.start()
    dispatcher.start()
    try:
        dispatcher.wake()
        while not dispatcher.ready(10):
            dispatcher.wake()
        while not cluster.submitted:
            dispatcher.wake()
    finally:
        dispatcher.close()
    assert cluster.submitted[0].jobs == [run.id]


def test_a_command_gives_up_on_a_wrong_address(catalog: Catalog) -> None:
    def connect(_: EngineConfig) -> FakeCluster:
        raise InputError("no scheduler answers at tcp://nowhere")

    dispatcher = Dispatcher("data", catalog, "url", COMMAND, connect=connect)
    dispatcher.start()
    with pytest.raises(InputError, match="no scheduler answers"):
        dispatcher.ready(10)
    dispatcher.join()


# --- the pure function -----------------------------------------------------------------------


def snapshot(jobs: list[Run], *tasks: Task, now: datetime, slots: int = 1, **more: Any) -> Snapshot:
    return Snapshot(now=now, jobs=jobs, tasks=tasks, slots=slots, **more)


def test_nothing_to_do_gives_no_actions(clock: Clock) -> None:
    assert reconcile(snapshot([], now=clock.now), CONFIG) == []


def test_ended_tasks_are_forgotten_and_failed_jobs_not_submitted_again(
    catalog: Catalog, clock: Clock
) -> None:
    run = submit(catalog)
    error = RuntimeError("boom")
    task = Task((run.id,), "error", error)
    view = snapshot([run], task, now=clock.now + timedelta(hours=1))
    assert reconcile(view, CONFIG) == [Forget(task), Fail(run.id, error)]


def test_a_lost_task_frees_its_slot_for_its_own_job(catalog: Catalog, clock: Clock) -> None:
    run = submit(catalog)
    task = Task((run.id,), "lost")
    view = snapshot([run], task, now=clock.now)
    assert reconcile(view, COMMAND) == [Forget(task), Submit((run,))]


def test_without_a_free_slot_nothing_is_submitted(catalog: Catalog, clock: Clock) -> None:
    one, other = submit(catalog, 0), submit(catalog, 1)
    requested = frozenset({one.id, other.id})
    view = snapshot([one, other], Task((one.id,)), now=clock.now, requested=requested)
    assert reconcile(view, CONFIG) == []
    assert reconcile(replace(view, slots=2), CONFIG) == [Submit((other,))]


def test_a_restarted_worker_is_given_time_to_start(catalog: Catalog, clock: Clock) -> None:
    run = submit(catalog)
    run = catalog.runs.claim(run.id, "w")
    config = EngineConfig(step_limit=3)
    task = Task((run.id,))
    now = clock.now + timedelta(seconds=4)
    view = snapshot([run], task, now=now)
    (action,) = reconcile(view, config)
    assert action == RestartWorker(task, run.id, timedelta(seconds=3))
    for later, expected in ((119, 0), (121, 1)):
        at = now + timedelta(seconds=later)
        again = replace(view, now=at, restarted={run.id: now})
        assert len(reconcile(again, config)) == expected
