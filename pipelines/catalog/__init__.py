"""The catalog of a data folder: stores, models, runs, evaluations, schedules."""

from pipelines.catalog.catalog import Catalog
from pipelines.catalog.database import UNAVAILABLE
from pipelines.catalog.errors import (
    BeingReadError,
    FinishedError,
    NotFoundError,
    NotOwnerError,
    describe_error,
    find_disk_fault,
)
from pipelines.catalog.records import (
    ACTIVE,
    RESUBMITTABLE,
    AnyJob,
    Evaluation,
    Event,
    Job,
    LogLevel,
    Model,
    Page,
    Priority,
    Progress,
    Run,
    Schedule,
    ScheduleRun,
    Status,
    Store,
    StoreKind,
)

__all__ = [
    "ACTIVE",
    "RESUBMITTABLE",
    "UNAVAILABLE",
    "AnyJob",
    "BeingReadError",
    "Catalog",
    "Evaluation",
    "Event",
    "FinishedError",
    "Job",
    "LogLevel",
    "Model",
    "NotFoundError",
    "NotOwnerError",
    "Page",
    "Priority",
    "Progress",
    "Run",
    "Schedule",
    "ScheduleRun",
    "Status",
    "Store",
    "StoreKind",
    "describe_error",
    "find_disk_fault",
]
