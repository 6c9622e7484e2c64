"""Run schedules when they are due: each due time once, on one of many processes, none lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from pear.errors import InputError
from pipelines.catalog import (
    UNAVAILABLE,
    Catalog,
    NotOwnerError,
    Schedule,
    Status,
    describe_error,
)
from pipelines.catalog.lease import JobCancelled
from pipelines.catalog.scan import refresh
from pipelines.logging import logger
from pipelines.schedules.actions import check_action, validate_action
from pipelines.schedules.cron import last_due, next_due, parse_cron
from pipelines.schedules.run_action import ActionResult, Record, run_action
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


def next_run(schedule: Schedule, now: datetime) -> datetime | None:
    """Return when a schedule is due next, or None: paused, or a line of an earlier version."""
    with suppress(InputError):
        return None if schedule.paused else next_due(schedule.cron, now)
    return None


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
        self._dispatch: Callable[[str], object] = self.run_if_due
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
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

    def run(self, name: str, record: Record | None = None) -> ActionResult:
        """Run a schedule now, due or not; running it again right away does nothing.

        Parameters
        ----------
        name
            Name of the schedule.
        record
            Called with the steps done and all steps; what it raises stops the action.

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
            result = self._run(schedule, self._clock(), None, record)
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
        self._stop.clear()
        # One thread: the schedules of one process do not overlap. Nothing is dropped for being
        # late, since every poll looks for the latest due time since the last run.
        self._thread = threading.Thread(target=self._loop, name="scheduler", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop, after the schedule that is running has ended."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _loop(self) -> None:
        while not self._stop.is_set():
            self._poll()
            # Cron lines are due at whole minutes.
            self._stop.wait(min(_POLL_SECONDS, 60.0 - time.time() % 60.0))

    def _last_due(self, schedule: Schedule) -> datetime | None:
        after = schedule.last_run_at or schedule.created_at
        return last_due(schedule.cron, after, self._clock())

    def _lock_file(self, name: str) -> Path:
        return self._data.scratch / f"schedule.{name}.lock"

    def _poll(self) -> None:
        """Run what is due, and what was missed."""
        try:
            schedules = self._catalog.schedules.all()
        except Exception as error:  # the scheduler must survive the loss of the database
            self._log.warning("scheduler failed", error=describe_error(error))
            return
        for schedule in schedules:
            self._try_dispatch(schedule)

    def _try_dispatch(self, schedule: Schedule) -> None:
        try:
            if self.is_due(schedule):
                self._dispatch(schedule.name)
        except Exception as error:  # nor may one schedule stop the others
            reason = describe_error(error)
            self._log.warning("schedule cannot be run", schedule=schedule.name, error=reason)
            if isinstance(error, InputError) and schedule.last_reason != reason:
                with suppress(*UNAVAILABLE, InputError):
                    self._catalog.schedules.finish_trigger(schedule.name, Status.FAILED, reason)

    def _run(
        self,
        schedule: Schedule,
        now: datetime,
        due: datetime | None,
        record: Record | None = None,
    ) -> ActionResult | None:
        name = schedule.name
        try:
            action = validate_action(schedule.action)
            result = run_action(
                self._data, self._catalog, action, now, record, schedule=schedule.name
            )
        except NotOwnerError:  # another worker has taken over, and records the end
            raise
        except JobCancelled:
            self._catalog.schedules.finish_trigger(name, Status.CANCELLED, "cancelled on request")
            raise
        except Exception as error:
            reason = describe_error(error)
            self._catalog.schedules.finish_trigger(name, Status.FAILED, reason)
            self._log.warning("schedule failed", schedule=name, reason=reason)
            return None
        self._catalog.schedules.finish_trigger(name, Status.SUCCEEDED, result.summary)
        self._log.info(
            "schedule run", schedule=name, due=due, summary=result.summary, runs=result.runs
        )
        return result
