"""What the catalog knows, as values: stores, models, runs, evaluations, schedules, events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Generic, Literal, TypeVar

import numpy as np

Status = Literal["queued", "running", "succeeded", "failed", "cancelled", "expired"]
STATUSES: Final[tuple[Status, ...]] = (
    "queued",
    "running",
    "succeeded",
    "failed",
    "cancelled",
    "expired",
)
ACTIVE: Final[tuple[Status, ...]] = ("queued", "running")
"""States in which somebody still owes the work."""
AGAIN: Final[tuple[Status, ...]] = ("failed", "cancelled", "expired")
"""States from which a job is queued again when it is asked for again."""

INTERACTIVE: Final = 10
"""Priority of a run that a person waits for."""
BATCH: Final = 0
"""Priority of a run of many, of a schedule, of an evaluation."""

StoreKind = Literal["analysis", "climatology"]


@dataclass(frozen=True)
class Store:
    """One store of the data folder; ``path`` is relative to the folder, or absolute."""

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
    """One checkpoint; ``id`` is the first 12 hex digits of ``sha256``."""

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
    """How far a job is: whole steps done of all steps, and the pace."""

    step: int
    total: int
    seconds_per_step: float | None = None

    @property
    def fraction(self) -> float:
        """Part done, in [0, 1]."""
        return self.step / self.total if self.total else 0.0

    @property
    def eta_seconds(self) -> float | None:
        """Seconds left at the present pace; None before the first step."""
        if self.seconds_per_step is None:
            return None
        return (self.total - self.step) * self.seconds_per_step


@dataclass(frozen=True)
class Job:
    """What runs and evaluations share: a state, who works on it, how far, why it ended.

    Attributes
    ----------
    owner
        Token of the worker that holds the job; a worker with another token must let go.
    attempts, stalled
        How often a worker took it up; how often since it last got a step further.
    reason, error_kind
        One line why it failed or was cancelled, and the name of the exception.
    read_at
        Last time somebody read the result; the retention rule looks at it.
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

    @property
    def active(self) -> bool:
        """Whether somebody still owes the work."""
        return self.status in ACTIVE


@dataclass(frozen=True)
class Run(Job):
    """One forecast: its store lies at ``DataFolder.forecast(run.id)`` once it has succeeded."""

    init_time: np.datetime64
    lead_hours: int
    options: Mapping[str, Any]


@dataclass(frozen=True)
class Evaluation(Job):
    """One evaluation; what was asked is in ``request``."""

    request: Mapping[str, Any]


@dataclass(frozen=True)
class Schedule:
    """What is wanted again and again: a cron line and an action, with what the last fire did."""

    name: str
    cron: str
    action: Mapping[str, Any]
    paused: bool
    created_at: datetime
    updated_at: datetime
    last_fire: datetime | None
    last_status: str | None
    last_reason: str | None


@dataclass(frozen=True)
class Event:
    """One line of a job's log."""

    at: datetime
    level: Literal["debug", "info", "warning", "error"]
    message: str
    details: Mapping[str, Any]


R = TypeVar("R")


@dataclass(frozen=True)
class Page(Generic[R]):
    """Part of a list, newest first; ``next`` is the cursor of the following page, or None."""

    items: tuple[R, ...]
    next: str | None
