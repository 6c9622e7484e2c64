"""Schedules of the catalog."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from pear.errors import did_you_mean
from pipelines.catalog import tables
from pipelines.catalog.database import Database
from pipelines.catalog.errors import NotFoundError
from pipelines.catalog.records import Schedule, Status


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
        """Record the outcome of the last run."""
        self._update(name, {"last_status": status, "last_reason": reason})

    def _update(self, name: str, values: Mapping[str, Any]) -> None:
        query = tables.schedules.update().where(tables.schedules.c.name == name).values(**values)
        with self._db.write() as connection:
            if connection.execute(query).rowcount == 0:
                raise _not_found(name)


def _not_found(name: str, hint: str | None = None) -> NotFoundError:
    return NotFoundError(f"no schedule {name!r} in the catalog", field="schedule", hint=hint)
