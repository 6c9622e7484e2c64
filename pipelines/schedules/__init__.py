"""Schedules: actions that are repeated by the clock, none lost."""

from pipelines.schedules.actions import (
    Action,
    EvaluateAction,
    FetchAction,
    ForecastAction,
    IngestAction,
    PublishAction,
    RetentionAction,
    check_action,
    validate_action,
)
from pipelines.schedules.cron import (
    describe_cron,
    last_due,
    next_due,
    parse_cron,
    upcoming,
)
from pipelines.schedules.run_action import ActionResult, run_action
from pipelines.schedules.scheduler import Scheduler, add_schedule, next_run

__all__ = [
    "Action",
    "ActionResult",
    "EvaluateAction",
    "FetchAction",
    "ForecastAction",
    "IngestAction",
    "PublishAction",
    "RetentionAction",
    "Scheduler",
    "add_schedule",
    "check_action",
    "describe_cron",
    "last_due",
    "next_due",
    "next_run",
    "parse_cron",
    "run_action",
    "upcoming",
    "validate_action",
]
