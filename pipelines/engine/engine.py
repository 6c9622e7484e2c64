"""Forecast engine: runs the catalog's jobs on a dask cluster; jobs survive crashes of any process.

The catalog holds the state, dask only computes. This module does not import torch: workers import
what they need by name.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

from pear.times import as_utc
from pear.typing import StrPath, TimesLike
from pipelines.catalog import (
    RESUBMITTABLE,
    Catalog,
    Evaluation,
    Job,
    Priority,
    Run,
    Schedule,
    ScheduleRun,
    Status,
)
from pipelines.catalog.scan import refresh
from pipelines.engine.config import EngineConfig
from pipelines.engine.dispatcher import Dispatcher, DispatcherStatus
from pipelines.engine.metrics import EngineCollector
from pipelines.forecasting.options import ForecastOptions
from pipelines.forecasting.request import require_multiple, resolve_request
from pipelines.schedules import Scheduler, add_schedule, validate_action
from pipelines.storage.data_folder import DataFolder

__all__ = [
    "Engine",
    "EngineCollector",
    "EngineConfig",
    "QueueFullError",
    "Submission",
]

_POLL_SECONDS: Final = 0.1
_RETRY_SECONDS: Final = 30


class QueueFullError(RuntimeError):
    """The queue is full.

    Parameters
    ----------
    waiting
        Number of queued jobs.
    retry_after
        Seconds after which to try again.
    """

    def __init__(self, waiting: int, retry_after: int = _RETRY_SECONDS) -> None:
        super().__init__(f"the queue is full: {waiting} jobs wait; try again in {retry_after} s")
        self.retry_after = retry_after


class Submission(NamedTuple):
    """A submitted forecast.

    Attributes
    ----------
    run
        The run.
    created
        True if it has to be computed; False if it was queued, running or succeeded already.
    """

    run: Run
    created: bool


class EngineStatus(DispatcherStatus):
    """State of the cluster, and the number of jobs by state."""

    runs: dict[Status, int]
    evaluations: dict[Status, int]


class Engine:
    """Runs the forecasts, evaluations and schedules of one data folder.

    Parameters
    ----------
    data
        The data folder or its path.
    config
        Settings (default: one local worker).
    catalog_url
        Path or URL of the catalog (default: that of the folder).
    """

    def __init__(
        self,
        data: DataFolder | StrPath,
        config: EngineConfig | None = None,
        *,
        catalog_url: str | None = None,
    ) -> None:
        self.data = data if isinstance(data, DataFolder) else DataFolder.open(Path(data))
        self.config = config or EngineConfig()
        url = catalog_url or self.data.catalog_url
        self.catalog = Catalog(url)
        self._gate = threading.Lock()  # held from counting the queue to adding to it
        self._dispatcher = Dispatcher(str(self.data.root), self.catalog, url, self.config)
        self._scheduler: Scheduler | None = None
        if self.config.run_schedules:
            self._scheduler = Scheduler(self.data, self.catalog)

    @property
    def read_only(self) -> bool:
        """True if the data folder or its catalog cannot be written: no work is accepted."""
        return self.catalog.read_only or self.catalog.temporary or not self.data.is_writable

    # --- life --------------------------------------------------------------------------------

    def start(self) -> Self:
        """Start the cluster in the background; requeue unfinished jobs if so configured."""
        refresh(self.data, self.catalog)
        if self.read_only:  # no result could be written
            return self
        if self.config.recover_orphans:
            self.recover()
        self._dispatcher.start()
        if self._scheduler is not None:
            self._scheduler.start(self._dispatcher.run_schedule)
        return self

    def ready(self, timeout: float | None = 0) -> bool:
        """Return whether the cluster takes tasks; see :meth:`Dispatcher.ready`."""
        return self._dispatcher.ready(timeout)

    def close(self) -> None:
        """Stop; jobs that are running return to the queue with their completed steps."""
        if self._scheduler is not None:
            self._scheduler.stop()
        self._dispatcher.close()
        self.catalog.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def run_forever(self) -> None:
        """Let the engine work until this process is interrupted."""
        self._dispatcher.join()

    # --- jobs --------------------------------------------------------------------------------

    def submit_forecasts(
        self,
        init_times: TimesLike,
        lead_hours: int = 240,
        *,
        model: str | None = None,
        options: ForecastOptions | Mapping[str, Any] | None = None,
        priority: int = Priority.INTERACTIVE,
    ) -> list[Submission]:
        """Submit forecasts, all of them or none.

        Parameters
        ----------
        init_times
            One or several, UTC; an analysis must hold each.
        lead_hours
            Forecast length, a multiple of the model step.
        model
            Id or name (default: newest model).
        options
            See :class:`pipelines.forecasting.options.ForecastOptions`.
        priority
            Priority in the queue.

        Returns
        -------
        list of Submission
            One for each init time; a counterfactual follows its factual forecast. InputError
            names a model, store or state that is missing or
            does not fit, UnwritableError a disk that cannot take the result; QueueFullError tells
            that the queue cannot take all of them.
        """
        refresh(self.data, self.catalog)
        resolved = [
            resolve_request(self.data, self.catalog, time, lead_hours, model=model, options=options)
            for time in as_utc(init_times)
        ]
        pairs = [(request.factual, request) for request in resolved]
        requests = [each for pair in pairs for each in pair if each is not None]
        with self._gate:
            known = [request.find(self.catalog) for request in requests]
            needed = [
                request
                for request, run in zip(requests, known, strict=True)
                if run is None or run.status in RESUBMITTABLE
            ]
            ended = [run for run in known if run is not None and run.status is Status.SUCCEEDED]
            if len(ended) == len(requests):  # also where nothing can be written
                return [Submission(run, created=False) for run in ended]
            if needed:
                self.data.require_room(sum(request.nbytes for request in needed))
            self._check_queue(len(needed))
            submitted = [
                Submission(*request.submit(self.catalog, priority)) for request in requests
            ]
        self._request([submission.run for submission in submitted])
        return submitted

    def submit_evaluation(
        self,
        model: str | None,
        request: Mapping[str, Any],
        *,
        priority: int = Priority.BATCH,
        total: int = 1,
    ) -> tuple[Evaluation, bool]:
        """Submit an evaluation.

        Parameters
        ----------
        model
            Id or name (default: newest model).
        request
            Entries of :func:`pipelines.engine.tasks.run_evaluation`.
        priority
            Priority in the queue.
        total
            Number of init times.

        Returns
        -------
        (evaluation, created)
            ``created`` as in :class:`Submission`; InputError if the lead time is not a multiple of
            the model's step, QueueFullError if the queue is full, UnwritableError if the disk
            cannot take the result.
        """
        refresh(self.data, self.catalog)
        row = self.catalog.models.get(model)
        require_multiple(int(request.get("lead_hours", row.step_hours)), row.step_hours)
        found = row.id
        known = self.catalog.evaluations.find(found, request)
        if known is not None and known.status is Status.SUCCEEDED:
            return known, False  # also where nothing can be written
        self.data.require_room(0)
        with self._gate:
            self._check_queue(1)
            job, created = self.catalog.evaluations.submit(
                found, request, priority=priority, total=total
            )
        self._request([job])
        return job, created

    def cancel(self, job_id: str) -> Job:
        """Cancel a queued job at once, a running one before its next step."""
        job = self.catalog.jobs(self.catalog.find_job(job_id)).cancel(job_id)
        self._dispatcher.wake()
        return job

    def recover(self) -> list[str]:
        """Requeue all unfinished jobs and return their ids, highest priority first."""
        ids = [job.id for job in self.catalog.active_jobs()]
        self._dispatcher.request(*ids)
        return ids

    def wait(
        self,
        job_ids: Iterable[str],
        timeout: float | None = None,
        watch: Callable[[Job], None] | None = None,
    ) -> list[Job]:
        """Wait until jobs have ended.

        Parameters
        ----------
        job_ids
            Ids of jobs.
        timeout
            Longest time to wait, seconds.
        watch
            Called with a job whenever its state or step has changed.

        Returns
        -------
        list of Job
            As they are at the end.
        """
        ids, seen = list(job_ids), dict[str, tuple[Status, int]]()
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            self.ready()
            jobs: list[Job] = [self.catalog.find_job(job_id) for job_id in ids]
            for job in jobs:
                state = (job.status, job.progress.step)
                if watch is not None and seen.get(job.id) != state:
                    watch(job)
                seen[job.id] = state
            ended = not any(job.status.is_active for job in jobs)
            if ended or (end is not None and time.monotonic() > end):
                return jobs
            time.sleep(_POLL_SECONDS)

    def status(self) -> EngineStatus:
        """Return the state of the cluster and the number of jobs by state, as JSON."""
        return {
            **self._dispatcher.status(),
            "runs": self.catalog.runs.counts(),
            "evaluations": self.catalog.evaluations.counts(),
        }

    # --- schedules ---------------------------------------------------------------------------

    def add_schedule(self, name: str, cron: str, action: Mapping[str, Any]) -> Schedule:
        """Add a schedule, or replace the one of this name, after validating all of it.

        Parameters
        ----------
        name
            Name of the schedule.
        cron
            Five fields, UTC.
        action
            Parts ``ingest``, ``forecast``, ``evaluate`` and ``expire`` with the settings of
            :mod:`pipelines.schedules.actions`.

        Returns
        -------
        Schedule
            As stored; InputError names what is invalid.
        """
        return add_schedule(self.data, self.catalog, name, cron, action)

    def run_schedule(self, name: str) -> ScheduleRun:
        """Have a worker run a schedule now, due or not.

        Parameters
        ----------
        name
            Name of the schedule.

        Returns
        -------
        ScheduleRun
            The job, which may have been queued before; InputError if there is no such schedule
            or its action is not valid, QueueFullError if the queue is full, UnwritableError if
            nothing can be stored.
        """
        self.data.require_writable()
        action = validate_action(self.catalog.schedules.get(name).action).to_dict()
        with self._gate:
            running = any(job.schedule == name for job in self.catalog.schedule_runs.active())
            self._check_queue(0 if running else 1)
            job, _ = self.catalog.schedule_runs.submit(name, action)
        self._request([job])
        return job

    def _request(self, jobs: Iterable[Job]) -> None:
        self._dispatcher.request(*(job.id for job in jobs if job.status.is_active))

    def _check_queue(self, more: int) -> None:
        jobs = (self.catalog.runs, self.catalog.evaluations, self.catalog.schedule_runs)
        waiting = sum(each.counts()[Status.QUEUED] for each in jobs)
        limit = self.config.max_queue
        if more and limit is not None and waiting + more > limit:
            raise QueueFullError(waiting)
