"""Entries of the catalog as immutable values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Any, Final, Generic, Literal, TypeVar

import numpy as np


class Status(StrEnum):
    """State of a job."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"

    @property
    def is_active(self) -> bool:
        """True while the job is queued or running."""
        return self in ACTIVE


ACTIVE: Final = (Status.QUEUED, Status.RUNNING)
"""States of an unfinished job."""
RESUBMITTABLE: Final = (Status.FAILED, Status.CANCELLED, Status.EXPIRED)
"""States from which a job is queued again when it is submitted again."""


class Priority(IntEnum):
    """Order in which queued jobs are run, highest first."""

    BATCH = 0
    """Runs of schedules, bulk runs and evaluations."""
    INTERACTIVE = 10
    """Runs that a person waits for."""


StoreKind = Literal["analysis", "climatology"]
LogLevel = Literal["debug", "info", "warning", "error"]


@dataclass(frozen=True)
class Store:
    """A store of the data folder; ``path`` is absolute or relative to the folder."""

    name: str
    kind: StoreKind
    path: str
    nside: int
    times: int
    first_time: np.datetime64 | None
    last_time: np.datetime64 | None
    attributes: Mapping[str, Any]
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True)
class Model:
    """A checkpoint; ``id`` is the first 12 hex digits of ``sha256``."""

    id: str
    name: str
    sha256: str
    path: str
    nside: int
    step_hours: int
    attributes: Mapping[str, Any]
    created_at: datetime


@dataclass(frozen=True)
class Progress:
    """Number of steps completed of all steps, and the mean time per step."""

    step: int
    total: int
    seconds_per_step: float | None = None

    @property
    def fraction(self) -> float:
        """Completed fraction in [0, 1]."""
        return self.step / self.total if self.total else 0.0

    @property
    def eta_seconds(self) -> float | None:
        """Estimated seconds left; None before the first step."""
        if self.seconds_per_step is None:
            return None
        return (self.total - self.step) * self.seconds_per_step


@dataclass(frozen=True)
class Job:
    """State of a run or an evaluation.

    Attributes
    ----------
    owner
        Token of the worker that holds the job; a worker with another token must stop.
    attempts, stalled
        Number of times that a worker claimed the job; those of them since the last completed step.
    reason, error_kind
        Why it failed or was cancelled, in one line, and the class name of the exception.
    read_at
        When its result was last read; retention keeps recently read results.
    """

    id: str
    status: Status
    model: str
    priority: int
    progress: Progress
    attempts: int
    stalled: int
    cancel_requested: bool
    owner: str | None
    reason: str | None
    error_kind: str | None
    created_at: datetime
    queued_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    updated_at: datetime
    read_at: datetime | None


@dataclass(frozen=True)
class Run(Job):
    """A forecast run; once it has succeeded its store is ``DataFolder.forecast(run.id)``."""

    init_time: np.datetime64
    lead_hours: int
    options: Mapping[str, Any]


@dataclass(frozen=True)
class Evaluation(Job):
    """An evaluation of a model as described by ``request``."""

    request: Mapping[str, Any]


@dataclass(frozen=True)
class ScheduleRun(Job):
    """The action of a schedule, or a part of it, run by a worker.

    Attributes
    ----------
    schedule
        Name of the schedule.
    request
        ``action``, its parts; ``after``, ids of the jobs whose end it waits for.
    result
        What was done, once it has succeeded.
    """

    schedule: str
    request: Mapping[str, Any]
    result: Mapping[str, Any]

    @property
    def action(self) -> Mapping[str, Any]:
        """Parts of the action."""
        return dict(self.request["action"])

    @property
    def after(self) -> tuple[str, ...]:
        """Ids of the jobs that must have ended before this one is run."""
        return tuple(self.request.get("after", ()))


AnyJob = Run | Evaluation | ScheduleRun
"""A job of any kind."""


@dataclass(frozen=True)
class Schedule:
    """A cron line with an action, and the outcome of its last run."""

    name: str
    cron: str
    action: Mapping[str, Any]
    paused: bool
    created_at: datetime
    updated_at: datetime
    last_run_at: datetime | None
    last_status: Status | None
    last_reason: str | None


@dataclass(frozen=True)
class Event:
    """One line of a job's log."""

    at: datetime
    level: LogLevel
    message: str
    details: Mapping[str, Any]


@dataclass(frozen=True)
class RunEvent:
    """One line of the log of all jobs, with the run whose state it changed.

    Attributes
    ----------
    number
        Position in the log, increasing.
    at
        When it was written.
    kind
        ``queued``, ``started``, ``succeeded``, ``failed``, ``cancelled`` or ``expired``; empty for
        every other line.
    run
        The run as it is now; None for lines of other kinds and of other jobs.
    """

    number: int
    at: datetime
    kind: str
    run: Run | None


R = TypeVar("R")


@dataclass(frozen=True)
class Page(Generic[R]):
    """Part of a list, newest first; ``next`` is the cursor of the following page, or None."""

    items: tuple[R, ...]
    next: str | None
