"""The life of a job: every change of state is one guarded transaction with a line in its log.

::

    queued ──start──▶ running ──finish──▶ succeeded ──expire──▶ expired
      │  ◀──release──┘  │  └────fail────▶ failed
      └────cancel───────┴───────────────▶ cancelled
    failed, cancelled, expired ──submit again──▶ queued

A worker holds a running job by a token. Whoever starts the job last owns it; a worker whose token
is no longer there learns so at its next step (:class:`NotOwnerError`) and lets go without a trace.
"""

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


class FinishedError(InputError):
    """The job has ended, so what was asked of it can no longer happen."""


class BeingReadError(InputError):
    """Somebody reads the result, so it is not removed."""


class NotOwnerError(RuntimeError):
    """Another worker has taken the job over, or it is no longer running: let go of it."""


class Jobs(JobReader[J]):
    """One table of jobs, with every change that can happen to one."""

    def submit(self, job_id: str, values: Mapping[str, Any], priority: int) -> tuple[J, bool]:
        """Queue a job, or return the one that is there; True if it now has to be worked on.

        A job that failed, was cancelled or has expired is queued again under the same identity.
        A waiting job that is asked for again more urgently moves up, and one that was about to be
        cancelled goes on.
        """
        now = self._clock()
        fresh = {
            "status": "queued",
            "priority": priority,
            "step": 0,
            "seconds_per_step": None,
            "attempts": 0,
            "stalled": 0,
            "cancel_requested": False,
            "owner": None,
            "reason": None,
            "error_kind": None,
            "queued_at": now,
            "started_at": None,
            "finished_at": None,
            "updated_at": now,
        }
        with self._db.write() as connection:
            row = self._find(connection, job_id, lock=True)
            if row is None:
                if not self._insert(
                    connection, {"id": job_id, "created_at": now, **fresh, **values}
                ):
                    return self._row(connection, job_id), False
                self._log(connection, job_id, "info", "queued", {"priority": priority})
                return self._row(connection, job_id), True
            if row["status"] in (*ACTIVE, "succeeded"):
                if row["status"] in ACTIVE:
                    urgent = max(priority, int(row["priority"]))
                    wanted = {"priority": urgent, "cancel_requested": False}
                    self._update(connection, job_id, wanted)
                return self._row(connection, job_id), False
            self._update(connection, job_id, {**fresh, **values})
            before = {"was": row["status"], "priority": priority}
            self._log(connection, job_id, "info", "queued again", before)
            return self._row(connection, job_id), True

    def start(self, job_id: str, owner: str, limit: int) -> J:
        """Take a queued job up, or a running one over; FinishedError if it has ended.

        A job whose cancellation was asked for while its worker died is cancelled here; one that
        was taken up ``limit`` times in a row without a step done fails here.
        """
        with self._db.write() as connection:
            row = self._need(connection, job_id)
            if row["status"] in ACTIVE:
                if row["cancel_requested"]:
                    self._end(connection, job_id, "cancelled", "cancelled on request")
                elif row["stalled"] >= limit:
                    tries = f"given up: taken up {row['stalled']} times without a step beyond "
                    why = f"{tries}{row['step']} of {row['total']}; last: {row['reason']}"
                    self._end(connection, job_id, "failed", why, "StalledError")
                else:
                    return self._take(connection, row, owner)
        # Raised only here: an exception inside the transaction would undo what was just decided.
        ended = self.get(job_id).status
        raise FinishedError(f"{self._noun} {job_id} is {ended}", field="id")

    def set_progress(
        self, job_id: str, step: int, total: int, seconds: float | None, owner: str | None
    ) -> J:
        """Note how far the job is; the record returned says whether to stop."""
        with self._db.write() as connection:
            row = self._held(connection, job_id, owner)
            change: dict[str, Any] = {"step": step, "total": total, "updated_at": self._clock()}
            if step > row["step"]:
                change["stalled"] = 0
            if seconds is not None:
                change["seconds_per_step"] = seconds
            self._update(connection, job_id, change)
            return self._row(connection, job_id)

    def finish(self, job_id: str, owner: str | None) -> J:
        """Mark a running job succeeded; its result must already be published."""
        with self._db.write() as connection:
            self._held(connection, job_id, owner)
            self._update(connection, job_id, {"step": self._table.c.total})
            return self._end(connection, job_id, "succeeded", None)

    def fail(self, job_id: str, reason: str, kind: str | None, owner: str | None) -> J:
        """Mark an active job failed, with one line why."""
        with self._db.write() as connection:
            if owner is None:
                self._unfinished(connection, job_id)
            else:
                self._held(connection, job_id, owner)
            return self._end(connection, job_id, "failed", reason, kind)

    def release(self, job_id: str, reason: str, owner: str | None) -> J:
        """Put a running job back into the queue: its worker leaves, its steps are kept."""
        with self._db.write() as connection:
            self._held(connection, job_id, owner)
            change = {
                "status": "queued",
                "owner": None,
                "reason": reason,
                "updated_at": self._clock(),
            }
            self._update(connection, job_id, change)
            self._log(connection, job_id, "warning", "released", {"reason": reason})
            return self._row(connection, job_id)

    def cancel(self, job_id: str) -> J:
        """Cancel a queued job at once; ask a running one to stop before its next step."""
        with self._db.write() as connection:
            row = self._unfinished(connection, job_id)
            if row["status"] == "queued":
                return self._end(connection, job_id, "cancelled", "cancelled on request")
            self._update(connection, job_id, {"cancel_requested": True})
            self._log(connection, job_id, "info", "cancellation asked for", {})
            return self._row(connection, job_id)

    def cancelled(self, job_id: str, owner: str | None) -> J:
        """Mark a running job cancelled: its worker has stopped."""
        with self._db.write() as connection:
            self._held(connection, job_id, owner)
            return self._end(connection, job_id, "cancelled", "cancelled on request")

    def expire(self, job_id: str, unread_since: datetime | None) -> J:
        """Mark a succeeded job expired: its result is being removed."""
        with self._db.write() as connection:
            row = self._need(connection, job_id)
            read = row["read_at"]
            if unread_since is not None and read is not None and read > unread_since:
                raise BeingReadError(f"{self._noun} {job_id} was read at {read}", field="id")
            if row["status"] != "succeeded":
                raise FinishedError(
                    f"{self._noun} {job_id} is {row['status']}, only a succeeded one expires",
                    field="id",
                )
            return self._end(connection, job_id, "expired", "expired by the retention rule")

    def note_read(self, job_id: str) -> None:
        """Note that somebody reads the result now."""
        with self._db.write() as connection:
            self._update(connection, job_id, {"read_at": self._clock()})

    def note(self, job_id: str, message: str, level: str, details: Mapping[str, Any]) -> None:
        """Add one line to the job's log."""
        with self._db.write() as connection:
            self._log(connection, job_id, level, message, details)

    # --- inside one transaction --------------------------------------------------------------

    def _insert(self, connection: Connection, values: dict[str, Any]) -> bool:
        """Insert the row unless another process was faster; say whether it is ours."""
        try:
            with connection.begin_nested():
                connection.execute(self._table.insert().values(**values))
        except sa.exc.IntegrityError:
            return False
        return True

    def _need(self, connection: Connection, job_id: str) -> RowMapping:
        row = self._find(connection, job_id, lock=True)
        if row is None:
            raise NotFoundError(f"no {self._noun} {job_id!r} in the catalog", field="id")
        return row

    def _take(self, connection: Connection, row: RowMapping, owner: str) -> J:
        now, attempt = self._clock(), int(row["attempts"]) + 1
        change = {
            "status": "running",
            "owner": owner,
            "attempts": attempt,
            "stalled": row["stalled"] + 1,
            "started_at": row["started_at"] or now,
            "updated_at": now,
        }
        if row["status"] == "running":
            change["reason"] = "its worker died"
        self._update(connection, row["id"], change)
        note = "taken over" if row["status"] == "running" else "started"
        self._log(connection, row["id"], "info", note, {"attempt": attempt})
        return self._row(connection, row["id"])

    def _unfinished(self, connection: Connection, job_id: str) -> RowMapping:
        row = self._need(connection, job_id)
        if row["status"] not in ACTIVE:
            raise FinishedError(f"{self._noun} {job_id} has already {row['status']}", field="id")
        return row

    def _held(self, connection: Connection, job_id: str, owner: str | None) -> RowMapping:
        row = self._need(connection, job_id)
        if row["status"] != "running" or (owner is not None and row["owner"] != owner):
            raise NotOwnerError(f"{self._noun} {job_id} is {row['status']} and held by another")
        return row

    def _update(self, connection: Connection, job_id: str, values: dict[str, Any]) -> None:
        connection.execute(self._table.update().where(self._table.c.id == job_id).values(**values))

    def _end(
        self,
        connection: Connection,
        job_id: str,
        status: Status,
        reason: str | None,
        kind: str | None = None,
    ) -> J:
        now = self._clock()
        change = {
            "status": status,
            "reason": reason,
            "error_kind": kind,
            "owner": None,
            "cancel_requested": False,
            "finished_at": now,
            "updated_at": now,
        }
        self._update(connection, job_id, change)
        level = "error" if status == "failed" else "info"
        details = {} if reason is None else {"reason": reason}
        self._log(connection, job_id, level, status, details)
        return self._row(connection, job_id)

    def _log(
        self,
        connection: Connection,
        job_id: str,
        level: str,
        message: str,
        details: Mapping[str, Any],
    ) -> None:
        line = {"subject": job_id, "at": self._clock(), "level": level, "message": message}
        connection.execute(events.insert().values(**line, details=details))
