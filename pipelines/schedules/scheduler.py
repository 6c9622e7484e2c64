"""Run schedules when they are due: each due time once, on one of many processes, none lost."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger

from pear.errors import InputError
from pipelines.catalog import Catalog, Schedule, Status
from pipelines.catalog.scan import refresh
from pipelines.logging import logger
from pipelines.schedules.actions import check_action, validate_action
from pipelines.schedules.cron import last_due, parse_cron
from pipelines.schedules.run_action import ActionResult, run_action
from pipelines.storage.atomic import try_lock
from pipelines.storage.data_folder import DataFolder, check_name

_POLL_SECONDS: Final = 10


def utc_now() -> datetime:
    """Return the current time."""
    return datetime.now(UTC)


def add_schedule(
    data: DataFolder, catalog: Catalog, name: str, cron: str, action: Mapping[str, Any]
) -> Schedule:
    """Add a schedule, or replace the one of this name, after checking all of it.

    Parameters
    ----------
    data, catalog
        The data folder and its catalog.
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
    check_name(name)
    parse_cron(cron)
    checked = validate_action(action)
    refresh(data, catalog)
    check_action(catalog, checked)
    return catalog.schedules.add(name, cron, checked.to_dict())


class Scheduler:
    """Runs the schedules of one catalog.

    Parameters
    ----------
    data, catalog
        The data folder and its catalog.
    clock
        Returns the current time (aware); for tests.
    """

    def __init__(
        self, data: DataFolder, catalog: Catalog, clock: Callable[[], datetime] = utc_now
    ) -> None:
        self._data, self._catalog, self._clock = data, catalog, clock
        self._background: BackgroundScheduler | None = None
        self._dispatch: Callable[[str], object] = self.run_if_due
        self._log = logger(root=str(data.root))

    def run_due(self) -> dict[str, ActionResult]:
        """Run every schedule that is due now; returns the results by name."""
        results = {}
        for schedule in self._catalog.schedules.all():
            result = self.run_if_due(schedule.name)
            if result is not None:
                results[schedule.name] = result
        return results

    def run_if_due(self, name: str) -> ActionResult | None:
        """Run one schedule if it is due and no other process has claimed this due time.

        A run whose process died is repeated: its lock is free and its end is not recorded.

        Parameters
        ----------
        name
            Name of the schedule.

        Returns
        -------
        ActionResult or None
            None if it was not due or its action failed.
        """
        schedule = self._catalog.schedules.get(name)
        if schedule.paused:
            return None
        now, due = self._clock(), self._last_due(schedule)
        with try_lock(self._lock_file(name)) as locked:
            if not locked:
                return None
            if due is not None and self._catalog.schedules.claim_trigger(name, due):
                return self._run(schedule, now, due)
            if self._catalog.schedules.get(name).last_status == Status.RUNNING:
                self._log.warning("interrupted schedule is run again", schedule=name)
                return self._run(schedule, now, schedule.last_run_at)
        return None

    def is_due(self, schedule: Schedule) -> bool:
        """Return whether a schedule is due, or a run of it was claimed and has not ended."""
        if schedule.paused:
            return False
        return schedule.last_status == Status.RUNNING or self._last_due(schedule) is not None

    def run(self, name: str) -> ActionResult:
        """Run a schedule now, due or not; running it again right away does nothing.

        Parameters
        ----------
        name
            Name of the schedule.

        Returns
        -------
        ActionResult
            What was done.

        Raises
        ------
        InputError
            If there is no such schedule, another process is running it, or its action fails.
        """
        schedule = self._catalog.schedules.get(name)
        with try_lock(self._lock_file(name)) as locked:
            if not locked:
                raise InputError(f"another process is running schedule {name!r}", field="name")
            result = self._run(schedule, self._clock(), None)
        if result is None:
            reason = self._catalog.schedules.get(name).last_reason
            raise InputError(f"schedule {name!r} failed: {reason}", field="name")
        return result

    def start(self, dispatch: Callable[[str], object] | None = None) -> None:
        """Run schedules in the background until :meth:`stop`, including those missed before.

        Parameters
        ----------
        dispatch
            Calls :meth:`run_if_due` for a schedule in another process (default: in this one).
        """
        self._dispatch = dispatch or self.run_if_due
        # One thread: the schedules of one process do not overlap. No run is dropped for being
        # late, since each checks by itself whether it is due.
        self._background = BackgroundScheduler(
            timezone=UTC,
            executors={"default": {"type": "threadpool", "max_workers": 1}},
            job_defaults={"coalesce": True, "misfire_grace_time": None, "max_instances": 1},
        )
        # APScheduler warns of every poll that is skipped while the previous one runs.
        logging.getLogger("apscheduler").setLevel(logging.ERROR)
        interval = IntervalTrigger(seconds=_POLL_SECONDS, timezone=UTC)
        self._background.add_job(self._poll, interval, next_run_time=utc_now(), id="poll")
        self._background.start()

    def stop(self) -> None:
        """Stop, after the schedule that is running has ended."""
        if self._background is not None:
            self._background.shutdown(wait=True)
            self._background = None

    def _last_due(self, schedule: Schedule) -> datetime | None:
        after = schedule.last_run_at or schedule.created_at
        return last_due(schedule.cron, after, self._clock())

    def _lock_file(self, name: str) -> Path:
        return self._data.scratch / f"schedule.{name}.lock"

    def _poll(self) -> None:
        """Keep one background job per schedule, and run what was missed."""
        if self._background is None:
            return
        try:
            wanted = {f"run {s.name} {s.cron}": s for s in self._catalog.schedules.all()}
            present = {job.id for job in self._background.get_jobs()} - {"poll"}
            for job_id in present - wanted.keys():
                self._background.remove_job(job_id)
            for job_id in wanted.keys() - present:
                schedule = wanted[job_id]
                self._background.add_job(
                    self._try_dispatch, parse_cron(schedule.cron), args=[schedule.name], id=job_id
                )
            for schedule in wanted.values():
                if self.is_due(schedule):
                    self._try_dispatch(schedule.name)
        except Exception as error:  # the scheduler must survive the loss of the database
            self._log.warning("scheduler failed", error=f"{type(error).__name__}: {error}")

    def _try_dispatch(self, name: str) -> None:
        try:
            self._dispatch(name)
        except Exception as error:
            self._log.warning("schedule cannot be run", schedule=name, error=str(error))

    def _run(self, schedule: Schedule, now: datetime, due: datetime | None) -> ActionResult | None:
        name = schedule.name
        try:
            result = run_action(self._data, self._catalog, validate_action(schedule.action), now)
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            self._catalog.schedules.finish_trigger(name, Status.FAILED, reason)
            self._log.warning("schedule failed", schedule=name, reason=reason)
            return None
        self._catalog.schedules.finish_trigger(name, Status.SUCCEEDED, result.summary)
        self._log.info(
            "schedule run", schedule=name, due=due, summary=result.summary, runs=result.runs
        )
        return result
