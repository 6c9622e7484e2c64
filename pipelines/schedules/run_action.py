"""Carrying out a schedule's action against a data folder and its catalog."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from pear.errors import InputError
from pear.store.reader import read_completeness
from pear.times import to_iso
from pear.typing import Times
from pipelines.catalog import BeingReadError, Catalog, Priority, Status
from pipelines.catalog.retention import remove_leftovers, remove_run
from pipelines.catalog.scan import refresh
from pipelines.forecasting.request import choose_analysis, resolve_request
from pipelines.schedules.actions import (
    Action,
    EvaluateAction,
    ForecastAction,
    IngestAction,
    RetentionAction,
)
from pipelines.storage.data_folder import DataFolder

LEAST_UNREAD_HOURS = 0.25


@dataclass
class ActionResult:
    """What carrying out an action came to.

    Attributes
    ----------
    ingested
        Times that are new in the store.
    runs, evaluations
        Identities of what was asked for and is now queued or running.
    expired
        Identities of runs that were removed.
    """

    ingested: int = 0
    runs: list[str] = field(default_factory=list)
    evaluations: list[str] = field(default_factory=list)
    expired: list[str] = field(default_factory=list)

    @property
    def summary(self) -> str:
        """One line."""
        return (
            f"{self.ingested} times ingested, {len(self.runs)} forecasts and "
            f"{len(self.evaluations)} evaluations asked for, {len(self.expired)} runs expired"
        )


def run_action(data: DataFolder, catalog: Catalog, action: Action, now: datetime) -> ActionResult:
    """Do what an action wants and is not there yet; jobs are queued in the catalog, not awaited.

    Raises
    ------
    InputError
        If something named is not there or does not fit.
    """
    done = ActionResult()
    if action.ingest is not None:
        done.ingested = _ingest(data, action.ingest)
    refresh(data, catalog)
    if action.forecast is not None:
        done.runs = _forecast(data, catalog, action.forecast)
    if action.evaluate is not None:
        done.evaluations = _evaluate(data, catalog, action.evaluate)
    if action.expire is not None:
        done.expired = _expire(data, catalog, action.expire, now)
    return done


def _ingest(data: DataFolder, wanted: IngestAction) -> int:
    from pipelines.ingestion.ingest import (
        ingest,
    )  # brings readers of every format: only where it is used

    sources: list[str | Path] = []
    for source in wanted.sources:
        folder = Path(source)
        store = any((folder / name).exists() for name in ("zarr.json", ".zgroup"))
        if folder.is_dir() and not store:
            sources += sorted(path for path in folder.iterdir() if path.is_file())
        else:
            sources.append(source)
    if not sources:
        return 0  # an empty folder has nothing new
    path = data.analysis(wanted.store)
    before = read_completeness(path)[0].size if path.exists() else 0
    ingest(sources, path, wanted.nside)
    return int(read_completeness(path)[0].size - before)


def _forecast(data: DataFolder, catalog: Catalog, wanted: ForecastAction) -> list[str]:
    """Ask for the init times that are wanted and not there, newest first."""
    model = catalog.models.get(wanted.model)
    options = {**(wanted.options or {}), "analysis": wanted.analysis}
    asked = []
    for time in _wanted_times(data, catalog, wanted, model.id)[::-1]:
        request = resolve_request(
            data, catalog, time, wanted.lead_hours, model=model.id, options=options
        )
        if request.find(catalog) is not None:
            continue  # what failed, was cancelled or expired is a person's business
        run, created = request.submit(catalog, Priority.BATCH)
        if created:
            asked.append(run.id)
    return asked


def _wanted_times(
    data: DataFolder, catalog: Catalog, wanted: ForecastAction, model: str
) -> list[np.datetime64]:
    name = choose_analysis(data, catalog.models.get(model), wanted.analysis)
    times, complete, _ = read_completeness(data.analysis(name))
    whole: Times = times[(complete == 1).all(axis=1)]
    hours = (whole - whole.astype("datetime64[D]")) // np.timedelta64(3600, "s")
    on_time = whole[(hours % wanted.every_hours == 0) & (whole == whole.astype("datetime64[h]"))]
    newest = set(on_time[on_time.size - min(wanted.newest, on_time.size) :].tolist())
    last = catalog.runs.latest_init(model, wanted.lead_hours)
    since = set() if last is None else set(on_time[on_time > last].tolist())
    return [np.datetime64(time, "s") for time in sorted(newest | since)]


def _evaluate(data: DataFolder, catalog: Catalog, wanted: EvaluateAction) -> list[str]:
    """Ask for one evaluation of every init time that can be verified, if that is new."""
    model = catalog.models.get(wanted.model)
    name = choose_analysis(data, model, wanted.analysis)
    times = read_completeness(data.analysis(name))[0]
    lead = np.timedelta64(wanted.lead_hours, "h")
    runs = catalog.runs.iterate(status=Status.SUCCEEDED, model=model.id) if times.size else ()
    able = (run for run in runs if run.lead_hours >= wanted.lead_hours)
    inits = sorted({run.init_time for run in able if run.init_time + lead <= times[-1]})
    if not inits:
        return []
    request = {
        "analysis": name,
        "climatology": wanted.climatology,
        "lead_hours": wanted.lead_hours,
        "init_times": [to_iso(time) for time in inits],
    }
    job, created = catalog.evaluations.submit(model.id, request, total=len(inits))
    return [job.id] if created else []


def _expire(
    data: DataFolder, catalog: Catalog, wanted: RetentionAction, now: datetime
) -> list[str]:
    runs = list(catalog.runs.iterate(status=Status.SUCCEEDED))
    runs.sort(key=lambda run: (run.init_time, run.id), reverse=True)
    gone = []
    for run in runs[wanted.keep_latest :]:
        ended = run.finished_at or run.updated_at
        if now - ended > timedelta(days=wanted.keep_days):
            try:
                since = now - timedelta(hours=wanted.unread_hours)
                remove_run(data, catalog, run.id, unread_since=since)
            except BeingReadError:
                continue
            gone.append(run.id)
    remove_leftovers(data, catalog)
    return gone


def validate_action(action: Any) -> Action:
    """Read an action, and refuse one whose options of forecasts make no sense."""
    from pipelines.forecasting.options import ForecastOptions

    made = Action.of(action)
    if made.forecast is not None:
        ForecastOptions.from_dict(made.forecast.options or {})
        if made.forecast.newest < 1 or made.forecast.every_hours < 1:
            raise InputError("newest and every_hours must be at least 1", field="forecast")
    if made.expire is not None and made.expire.unread_hours < LEAST_UNREAD_HOURS:
        raise InputError(
            f"unread_hours must be at least {LEAST_UNREAD_HOURS}",
            field="unread_hours",
            hint="who reads says so every ten minutes",
        )
    return made
