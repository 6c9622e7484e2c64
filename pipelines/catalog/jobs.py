"""Jobs: each change of state is one transaction and one line of the job's log.

::

    queued ──claim──▶ running ──succeed──▶ succeeded ──expire──▶ expired
      │  ◀──release──┘  │  └────fail─────▶ failed
      └────cancel───────┴────────────────▶ cancelled
    failed, cancelled, expired ──submit again──▶ queued

A worker holds a running job by a token. The last worker to claim the job owns it; one whose token
has been replaced gets :class:`NotOwnerError` at its next step and must stop without further writes.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

import numpy as np
import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from pear.errors import InputError
from pear.times import as_utc, parse_time, to_iso
from pipelines import tracing
from pipelines.catalog import tables
from pipelines.catalog.database import Database
from pipelines.catalog.errors import BeingReadError, FinishedError, NotFoundError, NotOwnerError
from pipelines.catalog.identity import drop_none
from pipelines.catalog.models import Models
from pipelines.catalog.records import (
    ACTIVE,
    RESUBMITTABLE,
    Event,
    Job,
    LogLevel,
    Page,
    Progress,
    Status,
)

J = TypeVar("J", bound=Job)

MAX_STALLED_ATTEMPTS = 4
"""Attempts in a row without a completed step after which a job fails."""
_PAGE = 500
_MOST = 1_000_000


class Jobs(Generic[J]):
    """A table of jobs: queries and transitions.

    Parameters
    ----------
    database
        The catalog's database.
    models
        The catalog's models.
    clock
        Returns the current time (aware).
    """

    _table: sa.Table
    _record_type: type[J]
    _noun: str
    _plural: str

    def __init__(self, database: Database, models: Models, clock: Callable[[], datetime]) -> None:
        self._db, self._models, self._clock = database, models, clock

    # --- queries -----------------------------------------------------------------------------

    def get(self, job_id: str) -> J:
        """Return one job, or raise NotFoundError."""
        with self._db.read() as connection:
            return self._get(connection, job_id)

    def page(  # noqa: PLR0913 - each is a filter of its own
        self,
        *,
        status: str | Iterable[str] | None = None,
        model: str | None = None,
        init_time: str | np.datetime64 | None = None,
        init_range: tuple[np.datetime64 | None, np.datetime64 | None] = (None, None),
        since: datetime | None = None,
        by_init: bool = False,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page[J]:
        """Return one page of jobs, newest first: by submission, or runs by init time.

        Parameters
        ----------
        status
            Only jobs in one of these states.
        model
            Only jobs of the model with this id.
        init_time
            Only runs from this init time, UTC.
        init_range
            Only runs from init times from the first to the second, both included, UTC; None is
            open.
        since
            Only jobs that were submitted, changed or ended at this time (aware) or later.
        by_init
            Runs with the newest init time first, those of one init time by submission.
        limit
            Largest number of jobs on the page, at least 1.
        cursor
            ``next`` of the preceding page, in the same order.

        Returns
        -------
        Page
            The jobs and the cursor of the following page.

        Raises
        ------
        InputError
            If the limit is below 1; also for an unknown status or an invalid cursor.
        """
        columns = self._table.c
        keys = [columns.created_at, columns.id]
        if by_init:
            keys.insert(0, columns.init_time)
        query = sa.select(self._table).order_by(*(key.desc() for key in keys))
        if status is not None:
            query = query.where(columns.status.in_(_as_statuses(status)))
        if model is not None:
            query = query.where(columns.model == model)
        if init_time is not None:
            query = query.where(columns.init_time == as_utc(init_time)[0])
        first, last = init_range
        if first is not None:
            query = query.where(columns.init_time >= as_utc(first)[0])
        if last is not None:
            query = query.where(columns.init_time <= as_utc(last)[0])
        if since is not None:
            query = query.where(columns.updated_at >= since)
        if cursor is not None:
            query = query.where(_follows(keys, _decode(cursor, len(keys))))
        if limit < 1:
            raise InputError(f"limit {limit} must be at least 1", field="limit")
        with self._db.read() as connection:
            rows = connection.execute(query.limit(min(limit, _MOST) + 1)).mappings()
            found = [self._record(row) for row in rows]
        more = len(found) > limit
        items = tuple(found[:limit])
        last_key = [getattr(items[-1], key.name) for key in keys] if more else []
        return Page(items, _encode(last_key) if more else None)

    def iterate(
        self, *, status: str | Iterable[str] | None = None, model: str | None = None
    ) -> Iterator[J]:
        """Yield all jobs that match, newest first."""
        cursor: str | None = None
        while True:
            page = self.page(status=status, model=model, limit=_PAGE, cursor=cursor)
            yield from page.items
            cursor = page.next
            if cursor is None:
                return

    def active(self) -> list[J]:
        """Return the queued and running jobs, highest priority first, then oldest first."""
        columns = self._table.c
        query = (
            sa.select(self._table)
            .where(columns.status.in_(ACTIVE))
            .order_by(columns.priority.desc(), columns.queued_at, columns.id)
        )
        with self._db.read() as connection:
            return [self._record(row) for row in connection.execute(query).mappings()]

    def counts(self) -> dict[Status, int]:
        """Return the number of jobs in each state."""
        column = self._table.c.status
        query = sa.select(column, sa.func.count()).group_by(column)
        with self._db.read() as connection:
            found = {status: int(number) for status, number in connection.execute(query)}
        return {status: found.get(status, 0) for status in Status}

    def failures(self) -> dict[str, int]:
        """Return the number of failed jobs by the class name of the exception."""
        kind = sa.func.coalesce(self._table.c.error_kind, "unknown")
        query = sa.select(kind, sa.func.count()).where(self._table.c.status == Status.FAILED)
        with self._db.read() as connection:
            return {str(name): int(n) for name, n in connection.execute(query.group_by(kind))}

    def events(self, job_id: str) -> list[Event]:
        """Return the job's log, oldest line first."""
        columns = tables.events.c
        query = sa.select(columns.at, columns.level, columns.message, columns.details)
        query = query.where(columns.subject == job_id).order_by(columns.number)
        with self._db.read() as connection:
            self._get(connection, job_id)
            return [Event(**row) for row in connection.execute(query).mappings()]

    # --- transitions -------------------------------------------------------------------------

    def claim(self, job_id: str, owner: str, *, limit: int = MAX_STALLED_ATTEMPTS) -> J:
        """Claim a queued job, or take over a running one.

        A job whose cancellation was requested before its worker died is cancelled here; one that
        was claimed ``limit`` times in a row without completing a step fails here.

        Parameters
        ----------
        job_id
            Id of the job.
        owner
            Token of the worker.
        limit
            Largest number of attempts in a row without a completed step.

        Returns
        -------
        Job
            The running job.

        Raises
        ------
        FinishedError
            If the job has ended.
        """
        with self._db.write() as connection:
            row = self._lock(connection, job_id)
            if row["status"].is_active:
                if row["cancel_requested"]:
                    self._end(connection, job_id, Status.CANCELLED, "cancelled on request")
                elif row["stalled"] >= limit:
                    reason = (
                        f"gave up after {row['stalled']} attempts without progress beyond step "
                        f"{row['step']} of {row['total']}; last: {row['reason']}"
                    )
                    self._end(connection, job_id, Status.FAILED, reason, "StalledError")
                else:
                    return self._start(connection, row, owner)
        # Raised outside the transaction: an exception inside would roll the decision back.
        ended = self.get(job_id).status
        raise FinishedError(f"{self._noun} {job_id} is {ended}", field="id")

    def set_progress(
        self,
        job_id: str,
        step: int,
        total: int,
        *,
        seconds_per_step: float | None = None,
        owner: str | None = None,
    ) -> J:
        """Record that ``step`` of ``total`` steps are done.

        A worker that no longer holds the job gets NotOwnerError.

        Parameters
        ----------
        job_id
            Id of the job.
        step, total
            Completed steps, and all steps.
        seconds_per_step
            Mean time per step.
        owner
            Token of the worker; None skips the check.

        Returns
        -------
        Job
            The job; a worker stops if its ``cancel_requested`` is set.
        """
        with self._db.write() as connection:
            row = self._lock_owned(connection, job_id, owner)
            change: dict[str, Any] = {"step": step, "total": total, "updated_at": self._clock()}
            if step > row["step"]:
                change["stalled"] = 0
            if seconds_per_step is not None:
                change["seconds_per_step"] = seconds_per_step
            self._update(connection, job_id, change)
            return self._get(connection, job_id)

    def succeed(self, job_id: str, *, owner: str | None = None) -> J:
        """Mark a running job succeeded; its result must already be published."""
        with self._db.write() as connection:
            self._lock_owned(connection, job_id, owner)
            self._update(connection, job_id, {"step": self._table.c.total})
            return self._end(connection, job_id, Status.SUCCEEDED, None)

    def fail(
        self, job_id: str, reason: str, *, kind: str | None = None, owner: str | None = None
    ) -> J:
        """Mark an unfinished job failed, with a one-line reason and the exception's class name."""
        with self._db.write() as connection:
            if owner is None:
                self._lock_active(connection, job_id)
            else:
                self._lock_owned(connection, job_id, owner)
            return self._end(connection, job_id, Status.FAILED, reason, kind)

    def release(self, job_id: str, reason: str, *, owner: str | None = None) -> J:
        """Put a running job back into the queue; its completed steps are kept."""
        with self._db.write() as connection:
            self._lock_owned(connection, job_id, owner)
            now = self._clock()
            change = {"status": Status.QUEUED, "owner": None, "reason": reason, "updated_at": now}
            self._update(connection, job_id, change)
            self._log(connection, job_id, "warning", "released", {"reason": reason})
            return self._get(connection, job_id)

    def cancel(self, job_id: str) -> J:
        """Cancel a queued job at once; request a running one to stop before its next step."""
        with self._db.write() as connection:
            row = self._lock_active(connection, job_id)
            if row["status"] == Status.QUEUED:
                return self._end(connection, job_id, Status.CANCELLED, "cancelled on request")
            self._update(connection, job_id, {"cancel_requested": True})
            self._log(connection, job_id, "info", "cancellation requested", {})
            return self._get(connection, job_id)

    def mark_cancelled(self, job_id: str, *, owner: str | None = None) -> J:
        """Mark a running job cancelled, after its worker has stopped."""
        with self._db.write() as connection:
            self._lock_owned(connection, job_id, owner)
            return self._end(connection, job_id, Status.CANCELLED, "cancelled on request")

    def expire(self, job_id: str, *, unread_since: datetime | None = None) -> J:
        """Mark a job that has ended expired, before what it wrote is removed.

        Parameters
        ----------
        job_id
            Id of the job.
        unread_since
            Keep the job if its result was read after this time; None ignores reads.

        Returns
        -------
        Job
            The expired job.

        Raises
        ------
        BeingReadError
            If the result was read after ``unread_since``.
        FinishedError
            If the job has not ended, or has expired already.
        """
        with self._db.write() as connection:
            row = self._lock(connection, job_id)
            read = row["read_at"]
            if unread_since is not None and read is not None and read > unread_since:
                raise BeingReadError(f"{self._noun} {job_id} was read at {read}", field="id")
            if row["status"] in (*ACTIVE, Status.EXPIRED):
                raise FinishedError(
                    f"{self._noun} {job_id} is {row['status']}; only one that has ended can expire",
                    field="id",
                )
            what = "result" if row["status"] == Status.SUCCEEDED else "what it had written is"
            return self._end(connection, job_id, Status.EXPIRED, f"{what} removed")

    def touch(self, job_id: str) -> None:
        """Record that the result is being read, so that retention keeps it for a while."""
        with self._db.write() as connection:
            self._update(connection, job_id, {"read_at": self._clock()})

    def log(
        self, job_id: str, message: str, *, level: LogLevel = "info", **details: object
    ) -> None:
        """Append one line to the job's log; ``details`` are JSON values."""
        with self._db.write() as connection:
            self._log(connection, job_id, level, message, details)

    # --- inside one transaction --------------------------------------------------------------

    def _restored(self, job_id: str) -> J:
        with self._db.write() as connection:
            self._update(connection, job_id, {"step": self._table.c.total})
            self._log(connection, job_id, "info", "restored from its files", {})
            return self._end(connection, job_id, Status.SUCCEEDED, None)

    def _submit(self, job_id: str, values: Mapping[str, Any], priority: int) -> tuple[J, bool]:
        # A queued job that is submitted again with a higher priority moves up, and a requested
        # cancellation is withdrawn.
        now = self._clock()
        fresh = {
            "status": Status.QUEUED,
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
            **values,
        }
        details: dict[str, Any] = {"priority": priority, **tracing.current_parent()}
        with self._db.write() as connection:
            row = self._find(connection, job_id, lock=True)
            if row is None:
                created = self._insert(connection, {"id": job_id, "created_at": now, **fresh})
                if created:
                    self._log(connection, job_id, "info", "queued", details)
                return self._get(connection, job_id), created
            if row["status"] in RESUBMITTABLE:
                self._update(connection, job_id, fresh)
                details["was"] = row["status"]
                self._log(connection, job_id, "info", "queued again", details)
                return self._get(connection, job_id), True
            if row["status"].is_active:
                highest = max(priority, int(row["priority"]))
                self._update(connection, job_id, {"priority": highest, "cancel_requested": False})
            return self._get(connection, job_id), False

    def _find(
        self, connection: Connection, job_id: str, *, lock: bool = False
    ) -> RowMapping | None:
        query = sa.select(self._table).where(self._table.c.id == job_id)
        return connection.execute(query.with_for_update() if lock else query).mappings().first()

    def _get(self, connection: Connection, job_id: str) -> J:
        row = self._find(connection, job_id)
        if row is None:
            raise self._not_found(job_id)
        return self._record(row)

    def _lock(self, connection: Connection, job_id: str) -> RowMapping:
        row = self._find(connection, job_id, lock=True)
        if row is None:
            raise self._not_found(job_id)
        return row

    def _not_found(self, job_id: str) -> NotFoundError:
        what = f"no {self._noun} {job_id[:64]!r} in the catalog"
        return NotFoundError(what, field="id", hint=f"ids are in the list of {self._plural}")

    def _lock_active(self, connection: Connection, job_id: str) -> RowMapping:
        row = self._lock(connection, job_id)
        if not row["status"].is_active:
            raise FinishedError(
                f"{self._noun} {job_id} has already ended: {row['status']}", field="id"
            )
        return row

    def _lock_owned(self, connection: Connection, job_id: str, owner: str | None) -> RowMapping:
        row = self._lock(connection, job_id)
        if row["status"] != Status.RUNNING:
            raise NotOwnerError(f"{self._noun} {job_id} is {row['status']}, not running")
        if owner is not None and row["owner"] != owner:
            raise NotOwnerError(f"{self._noun} {job_id} is held by another worker")
        return row

    def _record(self, row: RowMapping) -> J:
        names = (field.name for field in fields(self._record_type) if field.name != "progress")
        progress = Progress(row["step"], row["total"], row["seconds_per_step"])
        return self._record_type(progress=progress, **{name: row[name] for name in names})

    def _insert(self, connection: Connection, values: dict[str, Any]) -> bool:
        """Insert a row; return False if another process inserted it first."""
        try:
            with connection.begin_nested():
                connection.execute(self._table.insert().values(**values))
        except sa.exc.IntegrityError:
            return False
        return True

    def _start(self, connection: Connection, row: RowMapping, owner: str) -> J:
        now, attempt = self._clock(), int(row["attempts"]) + 1
        change = {
            "status": Status.RUNNING,
            "owner": owner,
            "attempts": attempt,
            "stalled": row["stalled"] + 1,
            "started_at": row["started_at"] or now,
            "updated_at": now,
        }
        message = "started"
        if row["status"] == Status.RUNNING:
            change["reason"], message = "its worker died", "taken over"
        self._update(connection, row["id"], change)
        self._log(connection, row["id"], "info", message, {"attempt": attempt})
        return self._get(connection, row["id"])

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
        level: LogLevel = "error" if status == Status.FAILED else "info"
        self._log(connection, job_id, level, status, drop_none({"reason": reason}))
        return self._get(connection, job_id)

    def _update(self, connection: Connection, job_id: str, values: Mapping[str, Any]) -> None:
        connection.execute(self._table.update().where(self._table.c.id == job_id).values(**values))

    def _log(
        self,
        connection: Connection,
        job_id: str,
        level: LogLevel,
        message: str,
        details: Mapping[str, Any],
    ) -> None:
        line = {"subject": job_id, "at": self._clock(), "level": level, "message": message}
        connection.execute(tables.events.insert().values(**line, details=details))


def _as_statuses(given: str | Iterable[str]) -> tuple[Status, ...]:
    names = (given,) if isinstance(given, str) else tuple(given)
    try:
        return tuple(Status(name) for name in names)
    except ValueError as error:
        known = ", ".join(Status)
        raise InputError(
            f"unknown status: {error}", field="status", hint=f"known: {known}"
        ) from error


def _follows(keys: list[sa.Column[Any]], last: list[Any]) -> sa.ColumnElement[bool]:
    """Return the condition that a row comes after the last one of a page, in descending order."""
    found: sa.ColumnElement[bool] = keys[-1] < last[-1]
    for key, value in reversed(list(zip(keys[:-1], last[:-1], strict=True))):
        found = sa.or_(key < value, sa.and_(key == value, found))
    return found


def _encode(key: list[Any]) -> str:
    *times, job_id = key
    texts = [each.isoformat() if isinstance(each, datetime) else to_iso(each) for each in times]
    return base64.urlsafe_b64encode("|".join((*texts, job_id)).encode()).decode().rstrip("=")


def _decode(cursor: str, keys: int) -> list[Any]:
    """Return the key of the last row of a page: its init time, if that orders, and others."""
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        *inits, created, job_id = text.split("|")
        init = [parse_time(each) for each in inits]
        at = datetime.fromisoformat(created).astimezone(UTC)
    except (ValueError, OverflowError, binascii.Error) as error:
        raise InputError(
            f"invalid cursor {cursor[:64]!r}", field="cursor", hint="omit it to get the first page"
        ) from error
    if len(init) != keys - 2:
        raise InputError(
            f"cursor {cursor[:64]!r} is of a list in another order", field="cursor", hint="omit it"
        )
    return [*init, at, job_id]
