"""The dispatcher: brings the jobs of the catalog and the tasks of the cluster into agreement.

One thread takes a snapshot of both, lets the pure function :func:`reconcile` decide what to do,
and does it: submit queued jobs, record errors, restart hung workers. It reconnects after the
scheduler was lost.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Literal, TypedDict

from distributed import Future

from pear.errors import InputError
from pipelines.catalog import (
    UNAVAILABLE,
    AnyJob,
    Catalog,
    FinishedError,
    Job,
    NotOwnerError,
    Priority,
    Run,
    ScheduleRun,
    Status,
    describe_error,
)
from pipelines.engine.cluster import Cluster
from pipelines.engine.config import EngineConfig
from pipelines.logging import logger

_RUN: Final = "pipelines.forecasting.forecast:run_forecasts"
_EVALUATE: Final = "pipelines.engine.tasks:run_evaluation"
_ACTION: Final = "pipelines.engine.tasks:run_schedule_job"
_SCHEDULE: Final = "pipelines.engine.tasks:run_schedule"
_WARM_UP: Final = "pipelines.forecasting.forecast:configure_process"
_POLL_SECONDS: Final = 0.5
_RECONCILE_SECONDS: Final = 5.0
_START: Final = timedelta(seconds=120)
"""Time that a restarted worker has to claim its job again."""
_FROZEN_SECONDS: Final = 15.0
"""Time without a heartbeat after which a worker may be frozen."""
_SILENCE: Final = timedelta(seconds=10)
"""Time without news of a job after which an engine that has no task for it submits it."""

TaskState = Literal["pending", "finished", "error", "lost"]


@dataclass(frozen=True)
class Task:
    """A task on the cluster.

    Attributes
    ----------
    jobs
        Ids of its jobs.
    state
        ``finished``: the function returned; ``error``: it raised; ``lost``: the cluster forgot it.
    error
        The exception, if it raised.
    submitted_at
        When it was submitted.
    """

    jobs: tuple[str, ...]
    state: TaskState = "pending"
    error: BaseException | None = None
    submitted_at: datetime | None = None


@dataclass(frozen=True)
class Snapshot:
    """What :func:`reconcile` decides from.

    Attributes
    ----------
    now
        Current time.
    jobs
        Unfinished jobs of the catalog, in the order of execution.
    tasks
        Tasks that were submitted and not forgotten.
    slots
        Number of tasks that run at the same time.
    requested
        Ids of jobs to submit without waiting for silence.
    owned
        Ids of jobs that this engine submits even if it does not recover orphans.
    restarted
        Job id → when its worker was last restarted.
    """

    now: datetime
    jobs: Sequence[AnyJob]
    tasks: Sequence[Task]
    slots: int
    requested: frozenset[str] = frozenset()
    owned: frozenset[str] = frozenset()
    restarted: Mapping[str, datetime] | None = None


@dataclass(frozen=True)
class Forget:
    """Drop a task that has ended."""

    task: Task


@dataclass(frozen=True)
class Fail:
    """Record the error of a task that ended before its worker could."""

    job_id: str
    error: BaseException


@dataclass(frozen=True)
class RestartWorker:
    """Restart the worker of a task because a job has had no step for longer than ``limit``."""

    task: Task
    job_id: str
    limit: timedelta


@dataclass(frozen=True)
class Submit:
    """Submit jobs as one task."""

    jobs: tuple[AnyJob, ...]


Action = Forget | Fail | RestartWorker | Submit


def reconcile(snapshot: Snapshot, config: EngineConfig) -> list[Action]:
    """Decide what brings the catalog and the cluster into agreement; no side effects.

    Parameters
    ----------
    snapshot
        State of both.
    config
        ``batch``, ``recover_orphans`` and ``step_limit`` apply.

    Returns
    -------
    list of Action
        In the order in which they are to be done.
    """
    actions: list[Action] = []
    requested, failed = set(snapshot.requested), set[str]()
    running: dict[str, Task] = {}
    for task in snapshot.tasks:
        if task.state == "pending":
            running |= dict.fromkeys(task.jobs, task)
            continue
        actions.append(Forget(task))
        if task.state == "lost":
            requested |= set(task.jobs)
        if task.state == "error" and task.error is not None:
            failed |= set(task.jobs)
            actions += [Fail(job_id, task.error) for job_id in task.jobs]
    waiting = []
    for job in snapshot.jobs:
        if job.id in running:
            limit = _hung_after(job, running[job.id], snapshot, config)
            if limit is not None:
                actions.append(RestartWorker(running[job.id], job.id, limit))
        elif job.id not in failed and _is_due(job, snapshot, requested, config):
            waiting.append(job)
    free = snapshot.slots - sum(task.state == "pending" for task in snapshot.tasks)
    while free > 0 and waiting:
        group = _next_group(waiting, config.batch)
        waiting = [job for job in waiting if job not in group]
        actions.append(Submit(tuple(group)))
        free -= 1
    # First of all the workers that hang: they may hold a lock that the other actions need.
    return sorted(actions, key=lambda action: not isinstance(action, RestartWorker))


def _is_due(job: Job, snapshot: Snapshot, requested: set[str], config: EngineConfig) -> bool:
    """Return whether to submit a job without a task: requested, or silent and ours to run."""
    if isinstance(job, ScheduleRun) and {each.id for each in snapshot.jobs} & {*job.after}:
        return False  # it waits for the end of these
    if job.id in requested:
        return True
    ours = config.recover_orphans or job.id in snapshot.owned
    return ours and snapshot.now - job.updated_at > _SILENCE


def _hung_after(job: Job, task: Task, snapshot: Snapshot, config: EngineConfig) -> timedelta | None:
    """Return the limit that a job without a step has exceeded on its worker, if any."""
    pace = job.progress.seconds_per_step or 0.0
    limit = max(timedelta(seconds=config.step_limit), timedelta(seconds=50 * pace))
    silent_since = job.updated_at
    if job.status is not Status.RUNNING:  # not yet claimed by the worker that has its task
        limit += _START
        silent_since = max(silent_since, task.submitted_at or snapshot.now)
    if snapshot.now - silent_since < limit:
        return None
    # Until its new worker claims it, the job stays silent: it is given time to start.
    last = (snapshot.restarted or {}).get(job.id)
    if last is not None and snapshot.now - last < max(limit, _START):
        return None
    return limit


def _next_group(waiting: Sequence[AnyJob], batch: int) -> list[AnyJob]:
    """Return the most urgent job with others that can be computed in the same task."""
    first = waiting[0]
    if not isinstance(first, Run):
        return [first]
    return [job for job in waiting if _is_alike(first, job)][:batch]


def _is_alike(one: Run, other: AnyJob) -> bool:
    """Return whether two jobs are runs of one model with the same options."""
    return (
        isinstance(other, Run)
        and one.model == other.model
        and {**one.options, "analysis": None} == {**other.options, "analysis": None}
    )


class DispatcherStatus(TypedDict):
    """State of the cluster."""

    alive: bool
    workers: int
    jobs: int


class Dispatcher:
    """Keeps the jobs of one catalog running on one cluster.

    Parameters
    ----------
    root, catalog, catalog_url
        The data folder, its catalog, and the URL with which workers open it.
    config
        Settings of the engine.
    connect
        Returns a connected cluster, or raises InputError if its address is wrong.
    clock
        Returns the current time (aware); for tests.
    """

    def __init__(
        self,
        root: str,
        catalog: Catalog,
        catalog_url: str,
        config: EngineConfig,
        connect: Callable[[EngineConfig], Cluster] = Cluster,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._root, self._catalog, self._url = root, catalog, catalog_url
        self._config, self._connect, self._clock = config, connect, clock
        self._cluster: Cluster | None = None
        self._tasks: dict[tuple[str, ...], Future[object]] = {}
        self._submitted: dict[tuple[str, ...], datetime] = {}
        self._schedules: dict[str, Future[object]] = {}
        self._restarted: dict[str, datetime] = {}
        self._requested, self._owned = set[str](), set[str]()
        self._lock = threading.Lock()  # of the two sets, which other threads fill
        self._wake, self._stop, self._connected = (threading.Event() for _ in range(3))
        self._thread = threading.Thread(target=self._run, name="dispatcher", daemon=True)
        self._refused: InputError | None = None
        self._schedule_ended = False
        self._keys = itertools.count()
        self._log = logger(root=root)

    # --- from any thread ---------------------------------------------------------------------

    def start(self) -> None:
        """Start the thread, unless it was started or closed before."""
        if not self._thread.is_alive() and not self._stop.is_set():
            self._thread.start()

    def request(self, *job_ids: str) -> None:
        """Submit jobs as soon as there is a free slot."""
        with self._lock:
            self._requested |= set(job_ids)
            self._owned |= set(job_ids)
        self._wake.set()

    def wake(self) -> None:
        """Reconcile now, not at the next poll."""
        self._wake.set()

    def ready(self, timeout: float | None) -> bool:
        """Return whether the cluster takes tasks; raise InputError if its address is wrong.

        Parameters
        ----------
        timeout
            Longest time to wait for the first connection, seconds.

        Returns
        -------
        bool
            True if tasks can be submitted.
        """
        self._connected.wait(timeout)
        if self._refused is not None:
            raise self._refused
        return self._cluster is not None and self._cluster.alive

    def run_schedule(self, name: str) -> None:
        """Have a worker run a schedule, unless a worker is doing so or there is no cluster."""
        known, cluster = self._schedules.get(name), self._cluster
        if cluster is None or (known is not None and known.status == "pending"):
            return
        future = cluster.submit(
            _SCHEDULE,
            self._root,
            name,
            self._url,
            key=f"schedule-{name}-{next(self._keys)}",
            priority=Priority.INTERACTIVE + 1,
        )
        self._schedules[name] = future
        future.add_done_callback(self._on_schedule_end)  # type: ignore[no-untyped-call]

    def status(self) -> DispatcherStatus:
        """Return whether the cluster is alive, its workers, and the jobs submitted to it."""
        workers = len(self._cluster.workers) if self._cluster is not None else 0
        jobs = sum(map(len, list(self._tasks)))  # a copy: the thread changes it
        return {"alive": workers > 0, "workers": workers, "jobs": jobs}

    def join(self) -> None:
        """Wait until the dispatcher is closed, or for an interrupt."""
        while self._thread.is_alive():
            self._thread.join(1)

    def close(self) -> None:
        """Stop; the running jobs of a local cluster return to the queue with their steps."""
        self._stop.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(30)
        if self._cluster is not None:
            self._cluster.close()
            if self._config.scheduler is None:
                self._release_jobs()

    # --- in the thread -----------------------------------------------------------------------

    def _run(self) -> None:
        last = -_RECONCILE_SECONDS
        while not self._stop.is_set():
            try:
                self.ensure_connected()
                if self._has_news() or time.monotonic() - last > _RECONCILE_SECONDS:
                    last = time.monotonic()
                    self.reconcile()
            except Exception as error:  # the thread must survive the loss of scheduler or catalog
                if self._stop.is_set():  # the cluster was closed while it was still starting
                    return
                self._log.warning("dispatcher failed", error=describe_error(error))
                # A command gives up on a wrong address; a service waits for its scheduler.
                waits = self._config.recover_orphans or self._connected.is_set()
                if isinstance(error, InputError) and not waits:
                    self._refused = error
                    self._connected.set()
                    return
            self._wake.wait(_POLL_SECONDS)
            self._wake.clear()

    def _has_news(self) -> bool:
        pending = sum(future.status == "pending" for future in self._tasks.values())
        if pending < len(self._tasks) or self._schedule_ended:
            return True
        return bool(self._requested) and self._cluster is not None and self._cluster.slots > pending

    def ensure_connected(self) -> None:
        """Connect to the cluster; after a loss, request the jobs of its tasks again."""
        if self._cluster is not None and self._cluster.alive:
            return
        if self._cluster is not None:
            self._log.warning("lost the scheduler", tasks=len(self._tasks))
            self._cluster.close()
            self._cluster = None
        self._cluster = self._connect(self._config)
        self._connected.set()
        if self._config.scheduler is None:
            self._cluster.warm_up(_WARM_UP)
        lost = [job_id for jobs in self._tasks for job_id in jobs]
        self._tasks.clear()
        self._submitted.clear()
        self.request(*lost)

    def reconcile(self) -> None:
        """Take a snapshot, decide with :func:`reconcile`, and act."""
        if self._cluster is None:
            return
        if self._schedule_ended:  # the jobs that it queued need not fall silent first
            self._schedule_ended = False
            if self._config.recover_orphans:
                queued = (
                    job.id for job in self._catalog.active_jobs() if job.status is Status.QUEUED
                )
                self.request(*queued)
        with self._lock:
            requested, owned = frozenset(self._requested), frozenset(self._owned)
        self._revive_workers()
        jobs = self._catalog.active_jobs()
        tasks = [
            _view(jobs_, future, self._submitted.get(jobs_))
            for jobs_, future in self._tasks.items()
        ]
        snapshot = Snapshot(
            now=self._clock(),
            jobs=jobs,
            tasks=tasks,
            slots=self._cluster.slots,
            requested=requested,
            owned=owned,
            restarted=self._restarted,
        )
        for action in reconcile(snapshot, self._config):
            try:
                self._do(action)
            except UNAVAILABLE as error:  # the next one comes to the same decision
                self._log.warning("catalog is unavailable", error=describe_error(error))
        waiting = {job.id for job in jobs}.difference(*self._tasks)
        with self._lock:
            self._requested -= requested - waiting

    def _do(self, action: Action) -> None:
        match action:
            case Forget(task):
                del self._tasks[task.jobs]
                self._submitted.pop(task.jobs, None)
                if task.state == "lost":
                    self.request(*task.jobs)
            case Fail(job_id, error):
                self._fail(job_id, error)
            case RestartWorker(task, job_id, limit):
                self._restart_worker(task, job_id, limit)
            case Submit(jobs):
                self._submit(jobs)

    def _submit(self, jobs: Sequence[AnyJob]) -> None:
        if self._cluster is None:
            return
        ids = tuple(job.id for job in jobs)
        first = jobs[0]
        is_run, is_schedule = isinstance(first, Run), isinstance(first, ScheduleRun)
        future: Future[object] = self._cluster.submit(
            _RUN if is_run else _ACTION if is_schedule else _EVALUATE,
            self._root,
            list(ids) if is_run else ids[0],
            self._url,
            key=f"{ids[0]}-{next(self._keys)}",
            priority=first.priority,
        )
        self._tasks[ids] = future
        self._submitted[ids] = self._clock()
        with self._lock:
            self._requested -= set(ids)
        ended = self._on_schedule_end if is_schedule else self._on_end
        future.add_done_callback(ended)  # type: ignore[no-untyped-call]

    def _fail(self, job_id: str, error: BaseException) -> None:
        job = self._catalog.find_job(job_id)
        try:
            self._catalog.jobs(job).fail(job_id, describe_error(error), kind=type(error).__name__)
        except FinishedError:
            self._log.info("task failed after its job had ended", run_id=job_id)

    def _restart_worker(self, task: Task, job_id: str, limit: timedelta) -> None:
        if self._cluster is None:
            return
        self._restarted[job_id] = self._clock()
        self._log.warning("worker hangs, restarting it", run_id=job_id)
        # First the kill, then the log: a worker frozen in a transaction holds the catalog's lock.
        if not self._cluster.restart_worker_of(self._tasks[task.jobs]):
            return
        job = self._catalog.find_job(job_id)
        message = f"no step for {limit}, its worker was restarted"
        self._catalog.jobs(job).log(job_id, message, level="warning")

    def _revive_workers(self) -> None:
        """Restart lost workers, stopped ones, and silent ones while the catalog's lock is held.

        A process that is stopped (by SIGSTOP, or by its machine) would keep its job, and inside a
        transaction the lock of the catalog, until its step limit. A worker that is only slow sends
        its heartbeat, or is at least not stopped.
        """
        if self._cluster is None:
            return
        self._cluster.restore_workers()
        silent = self._cluster.silent_workers(_FROZEN_SECONDS)
        stopped = self._cluster.stopped_workers(silent)
        if stopped:
            self._log.warning("worker is stopped, restarting it", workers=stopped)
            self._cluster.restart_workers(stopped)
        elif silent and self._catalog.is_locked():
            self._log.warning("worker is frozen in a transaction, restarting it", workers=silent)
            self._cluster.restart_workers(silent)

    def _on_end(self, _: object) -> None:
        self._wake.set()

    def _on_schedule_end(self, _: object) -> None:
        self._schedule_ended = True
        self._wake.set()

    def _release_jobs(self) -> None:
        for job_id in (job_id for jobs in self._tasks for job_id in jobs):
            job = self._catalog.find_job(job_id)
            if job.status is not Status.RUNNING:
                continue
            try:
                self._catalog.jobs(job).release(job_id, "the engine was stopped", owner=job.owner)
            except NotOwnerError:
                self._log.info("job was taken over by another worker", run_id=job_id)


def _view(jobs: tuple[str, ...], future: Future[object], submitted_at: datetime | None) -> Task:
    match future.status:
        case "pending":
            return Task(jobs, submitted_at=submitted_at)
        case "finished":
            return Task(jobs, "finished")
        case "error":
            error = future.exception(timeout=5)  # type: ignore[no-untyped-call]
            return Task(jobs, "error", error)
    return Task(jobs, "lost")  # cancelled by the scheduler, or forgotten with it
