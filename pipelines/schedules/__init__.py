"""Schedules: what is wanted again and again, fired by a clock that loses nothing."""

from pipelines.schedule.actions import Action, EvaluateNew, ExpireOld, ForecastNew, IngestNew
from pipelines.schedule.clockwork import Clockwork
from pipelines.schedule.cron import due, following, trigger
from pipelines.schedule.perform import Performed, checked, perform, remove

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
