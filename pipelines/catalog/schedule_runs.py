"""Runs of schedules on request, as jobs."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from pipelines.catalog import tables
from pipelines.catalog.jobs import Jobs
from pipelines.catalog.records import (
    ACTIVE,
    Priority,
    ScheduleRun,
)

KEPT_JOBS: Final = 50
"""Newest jobs of each schedule that retention keeps whatever their age."""
_BATCH: Final = 500
"""Ids in one statement; databases limit its parameters."""


class ScheduleRuns(Jobs[ScheduleRun]):
    """Runs of schedules on request, and what they leave to be done when their jobs have ended."""

    _table, _record_type, _noun = tables.schedule_runs, ScheduleRun, "run of a schedule"
    _plural = "jobs of its schedule"

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

    def remove_ended(self, before: datetime, keep_latest: int = KEPT_JOBS) -> int:
        """Remove the rows and logs of jobs that ended long ago, those of removed schedules too.

        Runs stay in the catalog as expired, since a schedule must not forecast them again; nothing
        is decided by the jobs of schedules once they have ended.

        Parameters
        ----------
        before
            Time (aware); jobs that ended at this time or later are kept.
        keep_latest
            Newest jobs of each schedule that are kept whatever their age.

        Returns
        -------
        int
            Number of jobs that were removed.
        """
        columns, log = self._table.c, tables.events.c
        query = sa.select(columns.id, columns.schedule, columns.status, columns.updated_at)
        query = query.order_by(columns.created_at.desc(), columns.id.desc())
        with self._db.read() as connection:
            rows = connection.execute(query).all()
        newer: Counter[str] = Counter()
        old = []
        for row in rows:
            newer[row.schedule] += 1
            is_old = row.status not in ACTIVE and row.updated_at < before
            if is_old and newer[row.schedule] > keep_latest:
                old.append(row.id)
        for start in range(0, len(old), _BATCH):
            some = old[start : start + _BATCH]
            with self._db.write() as connection:
                connection.execute(self._table.delete().where(columns.id.in_(some)))
                # The newest line stays: SQLite gives the number of a removed last row again, and
                # followers of runs go on by number.
                newest = connection.execute(sa.select(sa.func.max(log.number))).scalar()
                lines = sa.and_(log.subject.in_(some), log.number != newest)
                connection.execute(tables.events.delete().where(lines))
        return len(old)
