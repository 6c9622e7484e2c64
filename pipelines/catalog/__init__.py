"""The catalog of a data folder: stores, models, runs, evaluations, schedules."""

from pipelines.catalog.catalog import Catalog
from pipelines.catalog.database import UNAVAILABLE
from pipelines.catalog.jobs import BeingReadError, FinishedError, NotFoundError, NotOwnerError
from pipelines.catalog.records import (
    ACTIVE,
    AGAIN,
    BATCH,
    INTERACTIVE,
    STATUSES,
    Evaluation,
    Event,
    Job,
    Model,
    Page,
    Progress,
    Run,
    Schedule,
    Status,
    Store,
    StoreKind,
)

__all__ = [
    "ACTIVE",
    "AGAIN",
    "BATCH",
    "INTERACTIVE",
    "STATUSES",
    "UNAVAILABLE",
    "BeingReadError",
    "Catalog",
    "Evaluation",
    "Event",
    "FinishedError",
    "Job",
    "Model",
    "NotFoundError",
    "NotOwnerError",
    "Page",
    "Progress",
    "Run",
    "Schedule",
    "Status",
    "Store",
    "StoreKind",
]
