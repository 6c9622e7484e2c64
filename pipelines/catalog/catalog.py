"""The catalog: what exists, what is wanted, and what became of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
from sqlalchemy.engine import RowMapping

from pear.errors import InputError
from pear.times import as_utc
from pipelines.catalog import tables
from pipelines.catalog.database import Database
from pipelines.catalog.identity import drop_none, evaluation_id, run_id
from pipelines.catalog.jobs import Jobs, NotFoundError
from pipelines.catalog.records import BATCH, Evaluation, Event, Job, Model, Page, Run, Status
from pipelines.catalog.things import Things

JobKind = Literal["runs", "evaluations"]

ATTEMPTS = 4
"""How often in a row a job may be taken up without completing a step before it is given up."""


def _now() -> datetime:
    return datetime.now(UTC)


class Catalog(Things):
    """Stores, models, runs, evaluations and schedules of one data folder.

    Safe to use from many threads and many processes at once. Every method is one transaction.
    Jobs (runs and evaluations) share the methods from :meth:`start` to :meth:`log`, which tell
    the two apart by the identity given. Their states are drawn in :mod:`pipelines.catalog.jobs`.

    Parameters
    ----------
    url
        Path of the SQLite file, or ``postgresql://…``; made or migrated if need be.
    clock
        Tells the wall-clock time; for tests.

    Raises
    ------
    InputError
        If the URL cannot be used, or the catalog was made by a newer PEAR.
    """

    def __init__(self, url: str | Path, clock: Callable[[], datetime] = _now) -> None:
        super().__init__(Database(url), clock)
        self._runs = Jobs(self._db, tables.runs, "run", _run, clock)
        self._evaluations = Jobs(self._db, tables.evaluations, "evaluation", _evaluation, clock)

    def close(self) -> None:
        """Close every connection."""
        self._db.close()

    def __enter__(self) -> Catalog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- runs ------------------------------------------------------------------------------

    def submit_run(
        self,
        model: str,
        init_time: Any,
        lead_hours: int,
        *,
        options: Mapping[str, Any] | None = None,
        priority: int = BATCH,
        total: int | None = None,
    ) -> tuple[Run, bool]:
        """Ask for a forecast; the same request is the same run.

        Parameters
        ----------
        model
            Identity or name of a model in the catalog.
        init_time
            UTC.
        lead_hours
            A multiple of the model's step.
        options
            What else determines the result (``analysis``, ``variables``, ``members`` …).
        total
            Steps to go; by default ``lead_hours`` over the model's step.

        Returns
        -------
        (run, created)
            ``created`` is True if the run is new or has been queued again after it failed, was
            cancelled or had expired; False if it is already queued, running or succeeded.

        Raises
        ------
        InputError
            If the model is unknown or the lead is no multiple of its step.
        """
        found = self.model(model)
        if lead_hours <= 0 or lead_hours % found.step_hours:
            raise InputError(
                f"lead of {lead_hours} h is no multiple of the model's step of "
                f"{found.step_hours} h",
                field="lead_hours",
            )
        chosen, time = drop_none(options or {}), as_utc(init_time)[0]
        values = {
            "model": found.id,
            "init_time": time,
            "lead_hours": lead_hours,
            "options": chosen,
            "total": total or lead_hours // found.step_hours,
        }
        job_id = run_id(found.sha256, time, lead_hours, chosen)
        return self._runs.submit(job_id, values, priority)

    def find_run(
        self, model: Model, init_time: Any, lead_hours: int, options: Mapping[str, Any]
    ) -> Run | None:
        """Return the run of exactly this request, or None if it was never asked for."""
        job_id = run_id(model.sha256, as_utc(init_time)[0], lead_hours, drop_none(options))
        try:
            return self._runs.get(job_id)
        except NotFoundError:
            return None

    def run(self, run_id: str) -> Run:
        """Return one run; NotFoundError if there is none."""
        return self._runs.get(run_id)

    def runs(
        self,
        *,
        status: Status | Iterable[Status] | None = None,
        model: str | None = None,
        init_time: Any | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page[Run]:
        """Return runs newest first; ``page.next`` is the cursor of the next page, or None."""
        where = {} if model is None else {"model": model}
        if init_time is not None:
            where["init_time"] = as_utc(init_time)[0]
        return self._runs.page(status=status, where=where, limit=limit, cursor=cursor)

    def latest_run(self, model: str | None = None) -> Run | None:
        """Return the succeeded run with the newest init time, or None."""
        return self._latest(self._runs, tables.runs, model)

    def latest_init(self, model: str, lead_hours: int) -> np.datetime64 | None:
        """Return the newest init time ever asked for of a model and length, whatever its state."""
        return self._latest_init(tables.runs, model, lead_hours)

    # --- evaluations ---------------------------------------------------------------------------

    def submit_evaluation(
        self, model: str, request: Mapping[str, Any], *, priority: int = BATCH, total: int = 1
    ) -> tuple[Evaluation, bool]:
        """Ask for an evaluation; the same request is the same evaluation, as with runs."""
        found = self.model(model)
        asked = drop_none({**request, "model": found.id})
        values = {"model": found.id, "request": asked, "total": total}
        return self._evaluations.submit(evaluation_id(asked), values, priority)

    def evaluation(self, evaluation_id: str) -> Evaluation:
        """Return one evaluation; NotFoundError if there is none."""
        return self._evaluations.get(evaluation_id)

    def evaluations(
        self,
        *,
        status: Status | Iterable[Status] | None = None,
        model: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page[Evaluation]:
        """Return evaluations newest first, by pages as :meth:`runs`."""
        where = {} if model is None else {"model": model}
        return self._evaluations.page(status=status, where=where, limit=limit, cursor=cursor)

    # --- jobs: runs and evaluations alike ------------------------------------------------------

    def job(self, job_id: str) -> Run | Evaluation:
        """Return the run or evaluation of this identity; NotFoundError if there is none."""
        return self._jobs(job_id).get(job_id)

    def start(self, job_id: str, owner: str, *, limit: int = ATTEMPTS) -> Job:
        """Take a queued job up, or a running one over, under this token.

        After ``limit`` attempts in a row that did not complete a step the job fails instead.

        Raises
        ------
        FinishedError
            If it has ended, or had been asked to stop.
        """
        return self._jobs(job_id).start(job_id, owner, limit)

    def set_progress(
        self,
        job_id: str,
        step: int,
        total: int,
        *,
        seconds_per_step: float | None = None,
        owner: str | None = None,
    ) -> Job:
        """Note ``step`` of ``total`` done; look at ``cancel_requested`` of what comes back.

        Raises
        ------
        NotOwnerError
            If the job is no longer running, or another worker holds it.
        """
        return self._jobs(job_id).set_progress(job_id, step, total, seconds_per_step, owner)

    def finish(self, job_id: str, *, owner: str | None = None) -> Job:
        """Mark a running job succeeded; its result must already be published."""
        return self._jobs(job_id).finish(job_id, owner)

    def fail(
        self, job_id: str, reason: str, *, kind: str | None = None, owner: str | None = None
    ) -> Job:
        """Mark an active job failed, with one line why and the kind of error."""
        return self._jobs(job_id).fail(job_id, reason, kind, owner)

    def release(self, job_id: str, reason: str, *, owner: str | None = None) -> Job:
        """Put a running job back into the queue; the steps it has done are kept."""
        return self._jobs(job_id).release(job_id, reason, owner)

    def cancel(self, job_id: str) -> Job:
        """Cancel a queued job at once, a running one before its next step.

        Raises
        ------
        FinishedError
            If it has already ended.
        """
        return self._jobs(job_id).cancel(job_id)

    def cancelled(self, job_id: str, *, owner: str | None = None) -> Job:
        """Mark a running job cancelled: its worker has stopped."""
        return self._jobs(job_id).cancelled(job_id, owner)

    def expire(self, job_id: str, *, unread_since: datetime | None = None) -> Job:
        """Mark a succeeded job expired, before its result is removed.

        Raises
        ------
        FinishedError
            If it has not succeeded.
        BeingReadError
            If somebody has read it since ``unread_since``.
        """
        return self._jobs(job_id).expire(job_id, unread_since)

    def note_read(self, job_id: str) -> None:
        """Note that somebody reads the result now: retention leaves it alone for a while."""
        self._jobs(job_id).note_read(job_id)

    def note(
        self,
        job_id: str,
        message: str,
        *,
        level: Literal["debug", "info", "warning", "error"] = "info",
        **details: Any,
    ) -> None:
        """Add one line to the job's log."""
        self._jobs(job_id).note(job_id, message, level, details)

    def log(self, job_id: str) -> list[Event]:
        """Return the job's log, oldest line first."""
        return self._jobs(job_id).log(job_id)

    def active(self) -> list[Job]:
        """Every queued or running job, most urgent first."""
        both: list[Job] = [*self._runs.active(), *self._evaluations.active()]
        return sorted(both, key=lambda job: (-job.priority, job.queued_at, job.id))

    def queue_position(self, job_id: str) -> int | None:
        """How many queued jobs go before this one; None if it is not queued."""
        waiting = [job.id for job in self.active() if job.status == "queued"]
        return waiting.index(job_id) if job_id in waiting else None

    def counts(self, kind: JobKind = "runs") -> dict[Status, int]:
        """How many jobs of this kind are in each state."""
        return (self._runs if kind == "runs" else self._evaluations).counts()

    def failures(self) -> dict[str, int]:
        """How many jobs have failed, by the kind of error."""
        total = Counter(self._runs.failures()) + Counter(self._evaluations.failures())
        return dict(sorted(total.items()))

    def _jobs(self, job_id: str) -> Jobs[Run] | Jobs[Evaluation]:
        return self._evaluations if job_id.startswith("evaluation-") else self._runs


def _run(common: dict[str, Any], row: RowMapping) -> Run:
    init: np.datetime64 = row["init_time"]
    return Run(**common, init_time=init, lead_hours=int(row["lead_hours"]), options=row["options"])


def _evaluation(common: dict[str, Any], row: RowMapping) -> Evaluation:
    return Evaluation(**common, request=row["request"])
