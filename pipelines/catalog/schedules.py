"""Schedules of the catalog."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from pear.errors import did_you_mean
from pipelines.catalog import tables
from pipelines.catalog.database import Database
from pipelines.catalog.errors import NotFoundError
from pipelines.catalog.records import Event, Schedule, Status

KEPT_LINES: Final = 50
"""Newest lines of each schedule's history that retention keeps whatever their age."""
_BATCH: Final = 500
_SUBJECT: Final = "schedule "


class Schedules:
    """Schedules, identified by name, with the time and outcome of their last run."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._db, self._clock = database, clock

    def add(self, name: str, cron: str, action: Mapping[str, Any]) -> Schedule:
        """Add a schedule, or change its cron line and action."""
        now = self._clock()
        values = {"cron": cron, "action": dict(action), "updated_at": now}
        once = {"created_at": now, "paused": False}
        self._db.upsert(tables.schedules, {"name": name}, values, once)
        return self.get(name)

    def get(self, name: str) -> Schedule:
        """Return one schedule, or raise NotFoundError."""
        known = {schedule.name: schedule for schedule in self.all()}
        if name not in known:
            raise _not_found(name, did_you_mean(name, known))
        return known[name]

    def all(self) -> list[Schedule]:
        """Return all schedules by name."""
        columns = tables.schedules.c
        query = sa.select(*(c.label(c.key) for c in columns)).order_by(columns.name)
        with self._db.read() as connection:
            return [Schedule(**row) for row in connection.execute(query).mappings()]

    def set_paused(self, name: str, *, paused: bool) -> Schedule:
        """Pause a schedule, or resume it."""
        self._update(name, {"paused": paused, "updated_at": self._clock()})
        return self.get(name)

    def remove(self, name: str) -> None:
        """Remove a schedule, or raise NotFoundError."""
        with self._db.write() as connection:
            query = tables.schedules.delete().where(tables.schedules.c.name == name)
            if connection.execute(query).rowcount == 0:
                raise _not_found(name)

    def claim_trigger(self, name: str, at: datetime) -> bool:
        """Claim the run of a schedule due at ``at``; False if that or a later one was claimed."""
        columns = tables.schedules.c
        free = sa.or_(columns.last_run_at.is_(None), columns.last_run_at < at)
        query = (
            tables.schedules.update()
            .where(columns.name == name, columns.paused.is_(False), free)
            .values(last_run_at=at, last_status=Status.RUNNING, last_reason=None)
        )
        with self._db.write() as connection:
            return connection.execute(query).rowcount == 1

    def finish_trigger(self, name: str, status: Status, reason: str | None = None) -> None:
        """Record the outcome of the last run, also as a line of the schedule's history."""
        self._update(name, {"last_status": status, "last_reason": reason})
        line = {
            "subject": _subject(name),
            "at": self._clock(),
            "level": "error" if status is Status.FAILED else "info",
            "message": "schedule run",
            "details": {"status": str(status), "reason": reason},
        }
        with self._db.write() as connection:
            connection.execute(tables.events.insert().values(**line))

    def history(self, name: str, limit: int = 50) -> list[Event]:
        """Return how the newest runs of a schedule ended, newest first.

        Parameters
        ----------
        name
            Name of the schedule.
        limit
            Largest number of runs.

        Returns
        -------
        list of Event
            ``details`` has ``status`` and ``reason``; a schedule that was removed and added again
            keeps its history.
        """
        columns = tables.events.c
        query = sa.select(columns.at, columns.level, columns.message, columns.details)
        query = query.where(columns.subject == _subject(name))
        query = query.order_by(columns.number.desc()).limit(limit)
        with self._db.read() as connection:
            return [Event(**row) for row in connection.execute(query).mappings()]

    def remove_history(self, before: datetime, keep_latest: int = KEPT_LINES) -> int:
        """Remove lines of histories that are old, those of removed schedules too.

        Parameters
        ----------
        before
            Time (aware); lines of this time or later are kept.
        keep_latest
            Newest lines of each schedule that are kept whatever their age.

        Returns
        -------
        int
            Number of lines that were removed.
        """
        columns = tables.events.c
        query = sa.select(columns.number, columns.subject, columns.at)
        query = query.where(columns.subject.startswith(_SUBJECT)).order_by(columns.number.desc())
        with self._db.read() as connection:
            rows = connection.execute(query).all()
        newer: Counter[str] = Counter()
        old = []
        for row in rows:
            newer[row.subject] += 1
            if row.at < before and newer[row.subject] > keep_latest:
                old.append(row.number)
        for start in range(0, len(old), _BATCH):
            some = old[start : start + _BATCH]
            with self._db.write() as connection:
                connection.execute(tables.events.delete().where(columns.number.in_(some)))
        return len(old)

    def _update(self, name: str, values: Mapping[str, Any]) -> None:
        query = tables.schedules.update().where(tables.schedules.c.name == name).values(**values)
        with self._db.write() as connection:
            if connection.execute(query).rowcount == 0:
                raise _not_found(name)


def _not_found(name: str, hint: str = "the list of schedules has the names") -> NotFoundError:
    what = f"no schedule {name[:64]!r} in the catalog"
    return NotFoundError(what, field="schedule", hint=hint)


def _subject(name: str) -> str:
    """Return what the lines of a schedule are kept under; a name may be as long as the column."""
    return f"{_SUBJECT}{hashlib.sha256(name.encode()).hexdigest()[:32]}"
