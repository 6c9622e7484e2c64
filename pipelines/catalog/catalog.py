"""Catalog of stores, models and jobs, with the state of each job."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from pipelines.catalog.clients import Clients
from pipelines.catalog.database import Database
from pipelines.catalog.errors import NotFoundError
from pipelines.catalog.evaluations import Evaluations
from pipelines.catalog.models import Models
from pipelines.catalog.records import AnyJob, Evaluation, Job, Run, Status
from pipelines.catalog.runs import Runs
from pipelines.catalog.schedule_runs import ScheduleRuns
from pipelines.catalog.schedules import Schedules
from pipelines.catalog.stores import Stores


def _now() -> datetime:
    return datetime.now(UTC)


class Catalog:
    """Stores, models, runs, evaluations and schedules of one data folder.

    Threads and processes may use it concurrently: each method of the repositories is one
    transaction.

    Parameters
    ----------
    url
        Path of the SQLite file, or ``postgresql://…``; created or migrated if necessary.
    clock
        Returns the current time (aware); for tests.

    Attributes
    ----------
    runs, evaluations, schedule_runs, models, stores, schedules, clients
        The repositories.
    read_only
        True if it cannot be written; each method that writes raises UnwritableError.
    temporary
        True if it was made empty outside its folder, which has none and cannot be written.

    Raises
    ------
    InputError
        If the URL cannot be used, or a newer version of PEAR created the catalog.
    """

    def __init__(self, url: str | Path, clock: Callable[[], datetime] = _now) -> None:
        self._db = Database(url)
        self.read_only, self.temporary = self._db.read_only, self._db.temporary
        self.models = Models(self._db, clock)
        self.stores = Stores(self._db, clock)
        self.schedules = Schedules(self._db, clock)
        self.clients = Clients(self._db, clock)
        self.runs = Runs(self._db, self.models, clock)
        self.evaluations = Evaluations(self._db, self.models, clock)
        self.schedule_runs = ScheduleRuns(self._db, self.models, clock)

    def close(self) -> None:
        """Close all connections."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def find_job(self, job_id: str) -> AnyJob:
        """Return the job with this id, or raise NotFoundError."""
        for kind in (self.runs, self.schedule_runs):
            with suppress(NotFoundError):
                return kind.get(job_id)
        return self.evaluations.get(job_id)

    def jobs(self, job: Job) -> Runs | Evaluations | ScheduleRuns:
        """Return the repository of a job."""
        if isinstance(job, Run):
            return self.runs
        return self.evaluations if isinstance(job, Evaluation) else self.schedule_runs

    def active_jobs(self) -> list[AnyJob]:
        """Return the queued and running jobs of all kinds, in the order of execution."""
        every: list[AnyJob] = [
            *self.runs.active(),
            *self.evaluations.active(),
            *self.schedule_runs.active(),
        ]
        return sorted(every, key=lambda job: (-job.priority, job.queued_at, job.id))

    def find_damage(self) -> list[str]:
        """Return what is wrong with the pages and indices of a SQLite catalog, at most 20 lines."""
        return self._db.find_damage()

    def is_locked(self) -> bool:
        """Return whether another process stays inside a transaction; see Database.is_locked."""
        return self._db.is_locked()

    def lock_among_hosts(self, name: str, *, shared: bool = False) -> AbstractContextManager[bool]:
        """Hold a lock that other hosts see; see Database.lock_among_hosts."""
        return self._db.lock_among_hosts(name, shared=shared)

    def queue_position(self, job_id: str) -> int | None:
        """Return the number of queued jobs before this one; None if it is not queued."""
        waiting = [job.id for job in self.active_jobs() if job.status is Status.QUEUED]
        return waiting.index(job_id) if job_id in waiting else None

    def failures(self) -> dict[str, int]:
        """Return the number of failed jobs of all kinds by the exception's class name."""
        kinds = (self.runs, self.evaluations, self.schedule_runs)
        total = sum((Counter(kind.failures()) for kind in kinds), Counter())
        return dict(sorted(total.items()))
