"""Forecast runs: what was asked for, found again by its content."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import numpy as np
import sqlalchemy as sa

from pear.errors import InputError
from pear.times import as_utc
from pipelines.catalog import tables
from pipelines.catalog.errors import NotFoundError
from pipelines.catalog.identity import drop_none, run_id
from pipelines.catalog.jobs import Jobs
from pipelines.catalog.records import (
    Model,
    Priority,
    Run,
    RunEvent,
    Status,
)

_KINDS: Final = {"queued": "queued", "queued again": "queued", "started": "started"} | {
    str(status): str(status) for status in Status if not status.is_active
}
"""Lines of the log that change the state of a run."""


class Runs(Jobs[Run]):
    """Forecast runs."""

    _table, _record_type, _noun = tables.runs, Run, "run"
    _plural = "runs"

    def submit(
        self,
        model: str,
        init_time: str | np.datetime64,
        lead_hours: int,
        *,
        options: Mapping[str, Any] | None = None,
        priority: int = Priority.BATCH,
        total: int | None = None,
    ) -> tuple[Run, bool]:
        """Submit a forecast; equal requests are the same run.

        Parameters
        ----------
        model
            Id, SHA-256 or name of a model in the catalog.
        init_time
            Init time, UTC.
        lead_hours
            Forecast length in hours, a multiple of the model's step.
        options
            Other options that determine the result (``analysis``, ``variables``, ``members`` …).
        priority
            Priority in the queue.
        total
            Number of steps; default: ``lead_hours`` divided by the model's step.

        Returns
        -------
        (run, queued)
            ``queued`` is True if the run is new, or was queued again after it had failed, been
            cancelled or expired; False if it is queued, running or succeeded already.

        Raises
        ------
        InputError
            If the model is unknown or the lead time is not a multiple of its step.
        """
        found = self._models.get(model)
        if lead_hours <= 0 or lead_hours % found.step_hours:
            raise InputError(
                f"lead time {lead_hours} h is not a multiple of the {found.step_hours} h model "
                "step",
                field="lead_hours",
                hint=f"use {found.step_hours}, {2 * found.step_hours}, …",
            )
        chosen, time = drop_none(options or {}), as_utc(init_time)[0]
        values = {
            "model": found.id,
            "init_time": time,
            "lead_hours": lead_hours,
            "options": chosen,
            "total": total or lead_hours // found.step_hours,
        }
        return self._submit(run_id(found.sha256, time, lead_hours, chosen), values, priority)

    def restore(
        self,
        model: str,
        init_time: str | np.datetime64,
        lead_hours: int,
        options: Mapping[str, Any],
    ) -> Run:
        """Enter a finished run whose store is on disk, as succeeded.

        Parameters
        ----------
        model, init_time, lead_hours, options
            As in :meth:`submit`.

        Returns
        -------
        Run
            The run; one that has not finished otherwise is left as it is.
        """
        run, new = self.submit(model, init_time, lead_hours, options=options)
        if not new:
            return run
        return self._restored(run.id)

    def find(
        self,
        model: Model,
        init_time: str | np.datetime64,
        lead_hours: int,
        options: Mapping[str, Any],
    ) -> Run | None:
        """Return the run of exactly this request, or None if it was never submitted."""
        job_id = run_id(model.sha256, as_utc(init_time)[0], lead_hours, drop_none(options))
        with self._db.read() as connection:
            row = self._find(connection, job_id)
        return None if row is None else self._record(row)

    def latest(self, model: str | None = None) -> Run | None:
        """Return the succeeded run (of a model id) with the newest init time, or None."""
        columns = self._table.c
        query = sa.select(self._table).where(columns.status == Status.SUCCEEDED)
        if model is not None:
            query = query.where(columns.model == model)
        query = query.order_by(columns.init_time.desc(), columns.created_at.desc()).limit(1)
        with self._db.read() as connection:
            row = connection.execute(query).mappings().first()
        return None if row is None else self._record(row)

    def resolve(self, reference: str) -> Run:
        """Return a run by id, unique prefix of an id, or ``"latest"`` (newest succeeded).

        Parameters
        ----------
        reference
            Id, unique prefix of an id, or ``"latest"``.

        Returns
        -------
        Run
            The run.

        Raises
        ------
        NotFoundError
            If no run, or more than one, is meant.
        """
        if reference == "latest":
            newest = self.latest()
            if newest is None:
                raise NotFoundError("no run has succeeded yet", field="run")
            return newest
        columns = self._table.c
        query = sa.select(self._table).where(columns.id.startswith(reference, autoescape=True))
        with self._db.read() as connection:
            exact = self._find(connection, reference)
            rows = connection.execute(query.order_by(columns.id).limit(4)).mappings().all()
        if exact is not None:
            return self._record(exact)
        if reference and len(rows) == 1:
            return self._record(rows[0])
        if reference and rows:
            some = ", ".join(row["id"] for row in rows[:3])
            raise NotFoundError(
                f"{reference!r} is the beginning of several runs: {some}{' …' * (len(rows) > 3)}",
                field="run",
                hint="write more of the id",
            )
        raise NotFoundError(
            f"no run {reference!r} in the catalog",
            field="run",
            hint="`pear runs list` shows the ids; `latest` is the newest finished run",
        )

    def span(self, model: str) -> tuple[np.datetime64, np.datetime64] | None:
        """Return first init and last valid time of a model's finished runs; None without one."""
        columns = self._table.c
        query = sa.select(columns.init_time, sa.func.max(columns.lead_hours))
        query = query.where(columns.model == model, columns.status == Status.SUCCEEDED)
        with self._db.read() as connection:
            rows = connection.execute(query.group_by(columns.init_time)).all()
        if not rows:
            return None
        ends = [init + np.timedelta64(int(hours), "h") for init, hours in rows]
        return min(init for init, _ in rows), max(ends)

    def last_change(self) -> datetime | None:
        """Return when any run was changed last, or None without a run."""
        column = self._table.c.updated_at
        query = sa.select(sa.func.max(column, type_=column.type))
        with self._db.read() as connection:
            found: datetime | None = connection.execute(query).scalar()
        return found

    def last_log_number(self) -> int:
        """Return the number of the last line of the log of all jobs; 0 without one."""
        with self._db.read() as connection:
            return int(
                connection.execute(sa.select(sa.func.max(tables.events.c.number))).scalar() or 0
            )

    def log_after(self, number: int, limit: int) -> list[RunEvent]:
        """Return lines of the log of all jobs, oldest first.

        Parameters
        ----------
        number
            Only lines with a larger number.
        limit
            Largest number of lines.

        Returns
        -------
        list of RunEvent
            Lines of other jobs than runs have no run.
        """
        columns = tables.events.c
        query = sa.select(columns.number, columns.at, columns.subject, columns.message)
        query = query.where(columns.number > number).order_by(columns.number).limit(limit)
        events = []
        with self._db.read() as connection:
            for row in connection.execute(query).all():
                kind = _KINDS.get(row.message, "")
                found = self._find(connection, row.subject) if kind else None
                run = None if found is None else self._record(found)
                events.append(RunEvent(int(row.number), row.at, kind if run else "", run))
        return events

    def latest_init(self, model: str, lead_hours: int) -> np.datetime64 | None:
        """Return the newest init time of any run of a model id and length, or None."""
        columns = self._table.c
        newest = sa.func.max(columns.init_time, type_=columns.init_time.type)
        query = sa.select(newest).where(columns.model == model, columns.lead_hours == lead_hours)
        with self._db.read() as connection:
            found: np.datetime64 | None = connection.execute(query).scalar()
        return found
