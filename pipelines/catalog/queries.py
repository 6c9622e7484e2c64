"""Reading jobs: one, a page of them, those still owed, their logs."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Generic, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from pear.errors import InputError
from pipelines.catalog.database import Database
from pipelines.catalog.records import ACTIVE, STATUSES, Event, Job, Page, Progress, Status
from pipelines.catalog.tables import events

J = TypeVar("J", bound=Job)


class NotFoundError(InputError):
    """The catalog has no such thing."""


class JobReader(Generic[J]):
    """One table of jobs, to read from.

    Parameters
    ----------
    database, table
        Where they are kept.
    noun
        What one is called in messages.
    build
        Makes the record of a row from the common fields and the row.
    clock
        Tells the wall-clock time, aware.
    """

    def __init__(
        self,
        database: Database,
        table: sa.Table,
        noun: str,
        build: Callable[[dict[str, Any], RowMapping], J],
        clock: Callable[[], datetime],
    ) -> None:
        self._db, self._table, self._noun = database, table, noun
        self._build, self._clock = build, clock

    def get(self, job_id: str) -> J:
        """Return one job; NotFoundError if there is none."""
        with self._db.read() as connection:
            return self._row(connection, job_id)

    def page(
        self,
        *,
        status: Status | Iterable[Status] | None = None,
        where: Mapping[str, Any] | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page[J]:
        """Return jobs newest first, at most ``limit``, from ``cursor`` on."""
        columns = self._table.c
        query = sa.select(self._table).order_by(columns.created_at.desc(), columns.id.desc())
        if status is not None:
            query = query.where(columns.status.in_(_statuses(status)))
        for name, value in (where or {}).items():
            query = query.where(columns[name] == value)
        if cursor is not None:
            created, job_id = _decode(cursor)
            older = sa.and_(columns.created_at == created, columns.id < job_id)
            query = query.where(sa.or_(columns.created_at < created, older))
        if limit < 1:
            raise InputError(f"limit {limit} must be at least 1", field="limit")
        with self._db.read() as connection:
            found = [
                self._record(row) for row in connection.execute(query.limit(limit + 1)).mappings()
            ]
        more = len(found) > limit
        items = tuple(found[:limit])
        return Page(items, _encode(items[-1].created_at, items[-1].id) if more else None)

    def active(self) -> list[J]:
        """Every queued or running job in the order in which they should be worked on."""
        columns = self._table.c
        query = (
            sa.select(self._table)
            .where(columns.status.in_(ACTIVE))
            .order_by(columns.priority.desc(), columns.queued_at, columns.id)
        )
        with self._db.read() as connection:
            return [self._record(row) for row in connection.execute(query).mappings()]

    def counts(self) -> dict[Status, int]:
        """How many jobs are in each state, all states named."""
        column = self._table.c.status
        query = sa.select(column, sa.func.count()).group_by(column)
        with self._db.read() as connection:
            found: dict[str, int] = {str(name): int(n) for name, n in connection.execute(query)}
        return {status: found.get(status, 0) for status in STATUSES}

    def failures(self) -> dict[str, int]:
        """How many jobs have failed, by the kind of error."""
        kind = sa.func.coalesce(self._table.c.error_kind, "unknown")
        query = sa.select(kind, sa.func.count()).where(self._table.c.status == "failed")
        with self._db.read() as connection:
            return {str(name): int(n) for name, n in connection.execute(query.group_by(kind))}

    def log(self, job_id: str) -> list[Event]:
        """Return the job's log, oldest line first."""
        query = sa.select(events).where(events.c.subject == job_id).order_by(events.c.number)
        with self._db.read() as connection:
            self._row(connection, job_id)
            rows = connection.execute(query).mappings().all()
        return [Event(r["at"], r["level"], r["message"], r["details"]) for r in rows]

    def _find(self, connection: Connection, job_id: str, lock: bool = False) -> RowMapping | None:
        query = sa.select(self._table).where(self._table.c.id == job_id)
        return connection.execute(query.with_for_update() if lock else query).mappings().first()

    def _row(self, connection: Connection, job_id: str) -> J:
        row = self._find(connection, job_id)
        if row is None:
            raise NotFoundError(f"no {self._noun} {job_id!r} in the catalog", field="id")
        return self._record(row)

    def _record(self, row: RowMapping) -> J:
        same = (
            "id",
            "status",
            "model",
            "priority",
            "attempts",
            "stalled",
            "cancel_requested",
            "owner",
            "reason",
            "error_kind",
            "created_at",
            "queued_at",
            "started_at",
            "finished_at",
            "updated_at",
            "read_at",
        )
        progress = Progress(row["step"], row["total"], row["seconds_per_step"])
        return self._build({**{name: row[name] for name in same}, "progress": progress}, row)


def _statuses(given: Status | Iterable[Status]) -> tuple[str, ...]:
    names = (given,) if isinstance(given, str) else tuple(given)
    for name in names:
        if name not in STATUSES:
            raise InputError(
                f"unknown status {name!r}", field="status", hint="known: " + ", ".join(STATUSES)
            )
    return names


def _encode(created: datetime, job_id: str) -> str:
    return base64.urlsafe_b64encode(f"{created.isoformat()}|{job_id}".encode()).decode().rstrip("=")


def _decode(cursor: str) -> tuple[datetime, str]:
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        created, _, job_id = text.partition("|")
        return datetime.fromisoformat(created), job_id
    except (ValueError, binascii.Error) as error:
        raise InputError(
            f"cursor {cursor!r} is none of ours", field="cursor", hint="start without one"
        ) from error
