"""Runs of schedules on request, as jobs."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa

from pipelines.catalog import tables
from pipelines.catalog.jobs import Jobs
from pipelines.catalog.records import (
    Priority,
    ScheduleRun,
)


class ScheduleRuns(Jobs[ScheduleRun]):
    """Runs of schedules on request, and what they leave to be done when their jobs have ended."""

    _table, _record_type, _noun = tables.schedule_runs, ScheduleRun, "run of a schedule"

    def submit(
        self,
        schedule: str,
        action: Mapping[str, Any],
        *,
        after: Iterable[str] = (),
        priority: int = Priority.INTERACTIVE,
    ) -> tuple[ScheduleRun, bool]:
        """Submit the action of a schedule.

        Parameters
        ----------
        schedule
            Name of the schedule.
        action
            Parts to run.
        after
            Ids of the jobs that must have ended before.
        priority
            Priority in the queue.

        Returns
        -------
        (run, created)
            ``created`` is False if an equal request is queued or running already.
        """
        request = {"action": dict(action), "after": list(after)}
        for job in self.active():
            if job.schedule == schedule and job.request == request:
                return job, False
        values = {"model": "", "schedule": schedule, "request": request, "result": {}, "total": 1}
        return self._submit(f"schedule-{uuid.uuid4().hex[:12]}", values, priority)

    def of(self, schedule: str, limit: int = 50) -> list[ScheduleRun]:
        """Return the newest runs of a schedule, newest first."""
        columns = self._table.c
        query = sa.select(self._table).where(columns.schedule == schedule)
        query = query.order_by(columns.created_at.desc(), columns.id.desc()).limit(limit)
        with self._db.read() as connection:
            return [self._record(row) for row in connection.execute(query).mappings()]

    def set_result(self, job_id: str, result: Mapping[str, Any], *, owner: str | None) -> None:
        """Record what a running job has done; NotOwnerError if another worker holds it."""
        with self._db.write() as connection:
            self._lock_owned(connection, job_id, owner)
            self._update(connection, job_id, {"result": dict(result)})
