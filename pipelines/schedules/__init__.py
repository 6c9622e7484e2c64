"""Schedules: what is wanted again and again, fired by a clock that loses nothing."""

from pipelines.catalog.retention import remove
from pipelines.schedules.actions import Action, EvaluateNew, ExpireOld, ForecastNew, IngestNew
from pipelines.schedules.cron import due, following, trigger
from pipelines.schedules.run_action import Performed, checked, perform
from pipelines.schedules.scheduler import Clockwork

__all__ = [
    "Action",
    "Clockwork",
    "EvaluateNew",
    "ExpireOld",
    "ForecastNew",
    "IngestNew",
    "Performed",
    "checked",
    "due",
    "following",
    "perform",
    "remove",
    "trigger",
]
