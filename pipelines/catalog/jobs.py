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

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from pear.errors import InputError
from pipelines.catalog.queries import J, JobReader, NotFoundError
from pipelines.catalog.records import ACTIVE, Status
from pipelines.catalog.tables import events


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
