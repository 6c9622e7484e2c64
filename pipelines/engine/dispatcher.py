"""The thread that keeps the catalog and the cluster together.

It hands queued jobs to the cluster, looks what became of them, connects again when the scheduler
was away, and every few seconds compares what is owed with what is being worked on.
"""

from __future__ import annotations

import itertools
import threading
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final

from distributed import Future

from pear.errors import InputError
from pipelines.catalog import (
    Catalog,
    Evaluation,
    FinishedError,
    Job,
    NotOwnerError,
    Priority,
    Run,
)
from pipelines.engine.cluster import Cluster, call
from pipelines.logging import logger

_TASKS: Final = {
    "run": "pipelines.forecasting.forecast:run_forecasts",
    "evaluation": "pipelines.engine.tasks:run_evaluation",
}
_FIRE: Final = "pipelines.engine.tasks:fire_schedule"
_WARM: Final = "pipelines.forecasting.forecast:configure_process"
_BEAT: Final = 0.5
_START_SECONDS: Final = 120.0
"""How long a worker that was restarted may take to take its job up again."""
_PATIENCE: Final = timedelta(seconds=10)
"""How long a job may be silent before an engine that does not know it looks after it."""


class Supervisor:
    """Keeps the jobs of one catalog moving on one cluster.

    Parameters
    ----------
    root, catalog, catalog_url
        The data folder, its catalog, and how workers open it.
    workers, threads, scheduler, device
        As in :class:`pipelines.engine.cluster.Cluster`.
    batch
        Runs that may be computed side by side in one task.
    adopt
        Whether to look after jobs that nobody works on.
    step_limit
        How long a step may take before its worker counts as hung.
    """

    def __init__(
        self,
        root: str,
        catalog: Catalog,
        catalog_url: str,
        workers: int,
        threads: int,
        scheduler: str | None,
        batch: int,
        adopt: bool,
        step_limit: timedelta,
        device: str | None,
    ) -> None:
        self._root, self._catalog, self._url = root, catalog, catalog_url
        self._cluster_of = partial(Cluster, workers, threads, scheduler, device)
        self._own = scheduler is None
        self._batch, self._adopt, self._step_limit = batch, adopt, step_limit
        self._cluster: Cluster | None = None
        self._futures: dict[str, Future[Any]] = {}
        self._todo: dict[str, tuple[int, int]] = {}
        self._mine: set[str] = set()
        self._restarted: dict[str, float] = {}
        self._fires: dict[str, Future[Any]] = {}
        self._lock = threading.Lock()
        self._wake, self._stop, self._up, self._fired = (threading.Event() for _ in range(4))
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)
        self._refused: InputError | None = None
        self._places, self._keys = itertools.count(), itertools.count()
        self._log = logger(root=root)

    # --- from any thread -----------------------------------------------------------------------

    def start(self) -> None:
        """Begin; starting twice is starting once."""
        if not self._thread.is_alive() and not self._stop.is_set():
            self._thread.start()

    def enqueue(self, job: Job) -> None:
        """Hand a job over; one that waits already takes its new priority, no second place."""
        with self._lock:
            _, place = self._todo.get(job.id, (0, next(self._places)))
            self._todo[job.id] = (-job.priority, place)
            self._mine.add(job.id)
        self.wake()

    def wake(self) -> None:
        """Look at once, instead of at the next beat."""
        self._wake.set()

    def ready(self, timeout: float | None) -> bool:
        """Whether the cluster can take work; InputError if its address is wrong."""
        self._up.wait(timeout)
        if self._refused is not None:
            raise self._refused
        return self._cluster is not None and self._cluster.alive

    def fire(self, schedule: str) -> None:
        """Have a worker fire a schedule; once at a time, and only if there are workers."""
        with self._lock:
            known = self._fires.get(schedule)
            if self._cluster is None or (known is not None and known.status == "pending"):
                return
            future = self._cluster.client.submit(
                call,
                _FIRE,
                self._root,
                schedule,
                self._url,
                pure=False,
                key=f"fire-{schedule}-{next(self._keys)}",
                priority=Priority.INTERACTIVE + 1,
            )
            self._fires[schedule] = future
        future.add_done_callback(self._end_of_fire)  # type: ignore[no-untyped-call]

    def _end_of_fire(self, _: Future[Any]) -> None:
        self._fired.set()
        self.wake()

    def status(self) -> dict[str, Any]:
        """Say whether the cluster is alive, how many workers it has and jobs we gave it."""
        cluster = self._cluster
        workers = cluster.workers if cluster is not None else []
        return {"alive": bool(workers), "workers": len(workers), "jobs": len(self._futures)}

    def join(self) -> None:
        """Wait until the supervisor is closed, or for an interrupt."""
        while self._thread.is_alive():
            self._thread.join(1)

    def close(self) -> None:
        """Stop; with a cluster of our own, its jobs go back into the queue with their steps."""
        self._stop.set()
        self.wake()
        if self._thread.is_alive():
            self._thread.join(30)
        if self._cluster is not None:
            self._cluster.close()
            if self._own:
                self._give_back()

    # --- in the thread -------------------------------------------------------------------------

    def _run(self) -> None:
        looked = time.monotonic()
        while not self._stop.is_set():
            try:
                self._connect()
                self._reap()
                self._hand_out()
                if self._fired.is_set():
                    self._fired.clear()
                    self._look_after(timedelta(0))
                if time.monotonic() - looked > _PATIENCE.total_seconds() / 2:
                    looked = time.monotonic()
                    self._look_after(_PATIENCE)
            except Exception as error:  # this thread must outlive a scheduler that is away
                self._log.warning("engine in trouble", error=f"{type(error).__name__}: {error}")
                # A command gives up on a wrong address; a service waits for its scheduler to come.
                if isinstance(error, InputError) and not (self._adopt or self._up.is_set()):
                    self._refused = error
                    self._up.set()
                    return
            self._wake.wait(_BEAT)
            self._wake.clear()

    def _connect(self) -> None:
        if self._cluster is not None and self._cluster.alive:
            return
        if self._cluster is not None:
            self._log.warning("lost the scheduler", jobs=len(self._futures))
            self._cluster.close()
            self._cluster = None
        self._cluster = self._cluster_of()
        self._up.set()
        if self._own:
            self._cluster.warm(_WARM)
        lost, self._futures = list(self._futures), {}
        for job_id in lost:
            self.enqueue(self._catalog.find_job(job_id))

    def _reap(self) -> None:
        for job_id, future in list(self._futures.items()):
            if future.status == "pending":
                continue
            del self._futures[job_id]
            if future.status == "error":
                self._failed(job_id, future)
            # What ended as queued met something that may pass, as a full disk: it is looked after
            # when it has been silent for a while.

    def _failed(self, job_id: str, future: Future[Any]) -> None:
        """Note an error that the worker could not note itself: it never got to the job."""
        error = future.exception(timeout=5)  # type: ignore[no-untyped-call]
        try:
            job = self._catalog.find_job(job_id)
            self._catalog.jobs(job).fail(job_id, str(error), kind=type(error).__name__)
        except FinishedError:
            self._log.info("task ended after its job", run_id=job_id)

    def _hand_out(self) -> None:
        """Give the cluster as many tasks as it has places, the most urgent first.

        What waits, waits here: a place that becomes free goes to what is most urgent then.
        """
        if self._cluster is None:
            return
        free = self._cluster.places - len(set(map(id, self._futures.values())))
        while free > 0 and (group := self._next()):
            self._submit(group)
            free -= 1

    def _next(self) -> list[Job]:
        """Take the most urgent job from the queue, with others that can go along in one batch."""
        group: list[Job] = []
        with self._lock:
            for job_id in sorted(self._todo, key=self._todo.__getitem__):
                job = self._catalog.find_job(job_id)
                if job_id in self._futures or not job.status.is_active:
                    del self._todo[job_id]
                elif not group or _together(group[0], job):
                    group.append(job)
                    del self._todo[job_id]
                if group and (len(group) >= self._batch or isinstance(group[0], Evaluation)):
                    break
        return group

    def _submit(self, group: list[Job]) -> None:
        if self._cluster is None:
            return
        evaluation = isinstance(group[0], Evaluation)
        ids = [job.id for job in group]
        future = self._cluster.client.submit(
            call,
            _TASKS["evaluation" if evaluation else "run"],
            self._root,
            ids[0] if evaluation else ids,
            self._url,
            pure=False,
            key=f"{ids[0]}-{next(self._keys)}",
            priority=group[0].priority,
        )
        self._futures |= dict.fromkeys(ids, future)
        future.add_done_callback(  # type: ignore[no-untyped-call]
            lambda _: self.wake()
        )

    def _look_after(self, patience: timedelta) -> None:
        """Take up jobs that are owed and have been silent for too long."""
        silent = datetime.now(UTC) - patience
        for job in self._catalog.active_jobs():
            if job.id in self._futures and job.status == "running":
                self._restart_if_hung(job)
            ours = self._adopt or job.id in self._mine
            if ours and job.id not in self._futures and job.updated_at < silent:
                self.enqueue(job)

    def _restart_if_hung(self, job: Job) -> None:
        """Restart the worker of a job that has not come a step further for far too long."""
        usual = job.progress.seconds_per_step or 0.0
        limit = max(self._step_limit, timedelta(seconds=50 * usual))
        if self._cluster is None or datetime.now(UTC) - job.updated_at < limit:
            return
        # Until the job is taken up again it stays silent: its new worker is given time to start.
        now, grace = time.monotonic(), max(limit.total_seconds(), _START_SECONDS)
        if now - self._restarted.get(job.id, -grace) < grace:
            return
        self._restarted[job.id] = now
        self._log.warning("worker hangs, restarting it", run_id=job.id, silent_since=job.updated_at)
        self._catalog.jobs(job).log(
            job.id, f"no step for {limit}, its worker is restarted", level="warning"
        )
        self._cluster.restart_worker_of(self._futures[job.id])

    def _give_back(self) -> None:
        for job_id in self._futures:
            job = self._catalog.find_job(job_id)
            if job.status != "running":
                continue
            try:
                self._catalog.jobs(job).release(job_id, "the engine was stopped", owner=job.owner)
            except NotOwnerError:
                self._log.info("job went on elsewhere", run_id=job_id)


def _together(one: Job, other: Job) -> bool:
    """Whether two jobs can be computed side by side as one batch."""
    if not isinstance(one, Run) or not isinstance(other, Run):
        return False
    same = {name: value for name, value in one.options.items() if name != "analysis"}
    return one.model == other.model and same == {
        name: value for name, value in other.options.items() if name != "analysis"
    }
