"""Schedules: what is wanted again and again, fired by a clock that loses nothing."""

from pipelines.schedules.actions import (
    Action,
    EvaluateAction,
    ForecastAction,
    IngestAction,
    RetentionAction,
)
from pipelines.schedules.cron import due, following, trigger
from pipelines.schedules.run_action import ActionResult, run_action, validate_action
from pipelines.schedules.scheduler import Scheduler

__all__ = [
    "Action",
    "ActionResult",
    "EvaluateAction",
    "ForecastAction",
    "IngestAction",
    "RetentionAction",
    "Scheduler",
    "due",
    "following",
    "run_action",
    "trigger",
    "validate_action",
]
