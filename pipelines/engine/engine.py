"""The work engine: jobs of the catalog, worked on by dask, lost by nobody.

The catalog owns the truth; dask only computes. Nothing in this module loads a tensor: workers
import what they need by name.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import Any

from pipelines.catalog import (
    RESUBMITTABLE,
    Catalog,
    Evaluation,
    Job,
    Priority,
    Run,
    Schedule,
    Status,
)
from pipelines.catalog.scan import refresh
from pipelines.engine.cluster import default_threads
from pipelines.engine.dispatcher import Supervisor
from pipelines.engine.metrics import EngineCollector
from pipelines.forecasting.request import ForecastRequest, resolve_request
from pipelines.schedules import ActionResult, Scheduler, following, trigger, validate_action
from pipelines.storage.data_folder import DataFolder

__all__ = ["ActionResult", "Engine", "EngineCollector", "QueueFullError", "following"]


class QueueFullError(RuntimeError):
    """No more jobs can be accepted now.

    Attributes
    ----------
    retry_after
        Seconds after which it makes sense to ask again.
    """

    def __init__(self, waiting: int, retry_after: int) -> None:
        super().__init__(f"{waiting} jobs are waiting already; try again in {retry_after} s")
        self.retry_after = retry_after


class Engine:
    """Works on the forecasts and evaluations of one data folder.

    Parameters
    ----------
    data
        The folder.
    catalog_url
        Path or URL of its catalog; that of the folder by default.
    workers, threads
        Worker processes of the local cluster, and torch threads in each.
    scheduler
        Address of an existing scheduler to use instead of a local cluster.
    max_queue
        Jobs that may wait; more are refused with :class:`QueueFullError`. None: no bound.
    batch
        Runs of one model that may be computed side by side in one task. Above 1 an accelerator
        is used better, and a run's last bits depend on its company.
    adopt
        Whether to take up jobs that nobody works on: those a dead process left, and those that
        other processes queued. A one-off command leaves them to the service.
    schedules
        Whether to fire the catalog's schedules; the work is done by the workers.
    device
        Where own workers compute, as in :func:`pear.device.choose_device`; workers of an existing
        scheduler follow their own ``PEAR_DEVICE``.
    step_limit
        Seconds that a step may take before its worker counts as hung and is restarted.
    """

    def __init__(
        self,
        data: DataFolder,
        *,
        catalog_url: str | None = None,
        workers: int = 1,
        threads: int | None = None,
        scheduler: str | None = None,
        max_queue: int | None = 64,
        batch: int = 1,
        adopt: bool = True,
        schedules: bool = False,
        device: str | None = None,
        step_limit: float = 900.0,
    ) -> None:
        self.data = data
        url = catalog_url or data.catalog_url
        self.catalog = Catalog(url)
        self._max_queue, self._adopt = max_queue, adopt
        self._gate = threading.Lock()  # from counting what waits to adding to it
        self._supervisor = Supervisor(
            str(data.root),
            self.catalog,
            url,
            workers,
            threads or default_threads(workers),
            scheduler,
            batch,
            adopt,
            timedelta(seconds=step_limit),
            device,
        )

        self._clockwork = Scheduler(data, self.catalog) if schedules else None

    # --- life --------------------------------------------------------------------------------

    def start(self) -> Engine:
        """Start the cluster in the background and, if so asked, take up what is owed."""
        refresh(self.data, self.catalog)
        if self._adopt:
            self.recover()
        self._supervisor.start()
        if self._clockwork is not None:
            self._clockwork.start(self._supervisor.fire)
        return self

    def ready(self, timeout: float | None = 0) -> bool:
        """Whether the cluster can take work; waits up to ``timeout`` seconds for it.

        Raises
        ------
        InputError
            If it never can: no scheduler answers at the address given.
        """
        return self._supervisor.ready(timeout)

    def close(self) -> None:
        """Stop; jobs that were being worked on go back into the queue with the steps they have."""
        if self._clockwork is not None:
            self._clockwork.stop()
        self._supervisor.close()
        self.catalog.close()

    def __enter__(self) -> Engine:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- work ------------------------------------------------------------------------------

    def request_forecast(self, init_time: Any, lead_hours: int, **rest: Any) -> tuple[Run, bool]:
        """Ask for one forecast, as :meth:`request_forecasts`."""
        return self.request_forecasts([init_time], lead_hours, **rest)[0]

    def request_forecasts(
        self,
        init_times: Iterable[Any],
        lead_hours: int,
        *,
        model: str | None = None,
        analysis: str | None = None,
        options: Mapping[str, Any] | None = None,
        priority: int = Priority.INTERACTIVE,
    ) -> list[tuple[Run, bool]]:
        """Ask for forecasts; each comes with whether it now has to be computed.

        Parameters
        ----------
        init_times
            UTC; each must be in the analysis store.
        lead_hours
            A multiple of the model's step.
        model
            Identity or name; the newest by default.
        analysis
            Name of the store with the initial states; by default the first that holds them.
        options
            What else determines the result.

        Raises
        ------
        InputError
            If the model, a store or a state is not there or does not fit. Nothing is queued.
        QueueFullError
            If not all of them fit into the queue. Nothing is queued.
        """
        refresh(self.data, self.catalog)
        asked = [
            resolve_request(
                self.data,
                self.catalog,
                time,
                lead_hours,
                model=model,
                options={"analysis": analysis, **(options or {})},
            )
            for time in init_times
        ]
        with self._gate:
            known = [request.find(self.catalog) for request in asked]
            self._check_room(sum(run is None or run.status in RESUBMITTABLE for run in known))
            return [self._submit(request, priority) for request in asked]

    def _submit(self, request: ForecastRequest, priority: int) -> tuple[Run, bool]:
        run, created = request.submit(self.catalog, priority)
        if run.status.is_active:
            self._supervisor.enqueue(run)
        return run, created

    def submit_forecast(
        self, model: str | None, init_time: Any, lead_hours: int, **rest: Any
    ) -> str:
        """Ask for a forecast as :meth:`request_forecast`; returns the identity of the run."""
        return self.request_forecast(init_time, lead_hours, model=model, **rest)[0].id

    def request_evaluation(
        self,
        model: str | None,
        request: dict[str, Any],
        *,
        priority: int = Priority.BATCH,
        total: int = 1,
    ) -> tuple[Evaluation, bool]:
        """Ask for an evaluation; the keys of ``request`` are those of
        :func:`pipelines.engine.tasks.run_evaluation`."""
        chosen = self.catalog.models.get(model).id
        with self._gate:
            self._check_room()
            job, created = self.catalog.evaluations.submit(
                chosen, request, priority=priority, total=total
            )
        if job.status.is_active:
            self._supervisor.enqueue(job)
        return job, created

    def add_schedule(self, name: str, cron: str, action: Mapping[str, Any]) -> Schedule:
        """Enter a schedule, or change the one of this name, after checking all of it.

        Parameters
        ----------
        cron
            Five fields in UTC.
        action
            Parts ``ingest``, ``forecast``, ``evaluate``, ``expire`` with the settings of
            :mod:`pipelines.schedules.actions`.

        Raises
        ------
        InputError
            If the name, the cron line or the action makes no sense.
        """
        trigger(cron)
        self.data.analysis(name)  # refuses what is no name
        return self.catalog.schedules.add(name, cron, validate_action(action).to_dict())

    def run_schedule(self, name: str) -> ActionResult:
        """Do what a schedule wants now, due or not, and take its jobs up; see also :meth:`wait`.

        Raises
        ------
        InputError
            If there is none, it is being run, or its action fails.
        """
        done = Scheduler(self.data, self.catalog).run(name)
        for job_id in (*done.runs, *done.evaluations):
            self._supervisor.enqueue(self.catalog.find_job(job_id))
        return done

    def cancel(self, job_id: str) -> Job:
        """Cancel a job: a queued one at once, a running one before its next step."""
        job = self.catalog.jobs(self.catalog.find_job(job_id)).cancel(job_id)
        self._supervisor.wake()
        return job

    def recover(self) -> list[str]:
        """Take up every job that is owed; returns their identities, most urgent first."""
        owed = self.catalog.active_jobs()
        for job in owed:
            self._supervisor.enqueue(job)
        return [job.id for job in owed]

    def wait(
        self,
        job_ids: Iterable[str],
        timeout: float | None = None,
        watch: Callable[[Job], None] | None = None,
    ) -> list[Job]:
        """Wait until jobs have ended, or the timeout; returns them as they are then.

        Parameters
        ----------
        watch
            Called with a job whenever it has got further.
        """
        ids, seen = list(job_ids), dict[str, tuple[Any, ...]]()
        until = None if timeout is None else time.monotonic() + timeout
        while True:
            self.ready()
            jobs: list[Job] = [self.catalog.find_job(job_id) for job_id in ids]
            for job in jobs:
                mark = (job.status, job.progress.step)
                if watch is not None and seen.get(job.id) != mark:
                    watch(job)
                seen[job.id] = mark
            if not any(job.status.is_active for job in jobs) or (
                until and time.monotonic() > until
            ):
                return jobs
            time.sleep(0.1)

    def sleep(self) -> None:
        """Let the engine work until this process is interrupted."""
        self._supervisor.join()

    def status(self) -> dict[str, Any]:
        """What the engine does now, as JSON: alive, workers, jobs in the cluster, counts."""
        counts = {
            "runs": self.catalog.runs.counts(),
            "evaluations": self.catalog.evaluations.counts(),
        }
        return {**self._supervisor.status(), **counts}

    def _check_room(self, more: int = 1) -> None:
        repositories = self.catalog.runs, self.catalog.evaluations
        waiting = sum(jobs.counts()[Status.QUEUED] for jobs in repositories)
        if more and self._max_queue is not None and waiting + more > self._max_queue:
            raise QueueFullError(waiting, retry_after=30)
