"""Run the action of a schedule against a data folder and its catalog."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path

import numpy as np

from pear.store.reader import read_completeness
from pear.times import to_iso
from pear.typing import Times
from pipelines.catalog import BeingReadError, Catalog, Priority, Status
from pipelines.catalog.retention import remove_leftovers, remove_run
from pipelines.catalog.scan import refresh
from pipelines.forecasting.options import ForecastOptions
from pipelines.forecasting.request import choose_analysis, resolve_request
from pipelines.schedules.actions import (
    Action,
    EvaluateAction,
    FetchAction,
    ForecastAction,
    IngestAction,
    PublishAction,
    RetentionAction,
)
from pipelines.storage.data_folder import DataFolder


@dataclass
class ActionResult:
    """Result of an action.

    Attributes
    ----------
    ingested
        Number of times added to the store.
    runs, evaluations
        Ids of the jobs that were queued.
    published
        Names of the stores of which something was sent.
    expired
        Ids of the runs that were removed.
    """

    ingested: int = 0
    runs: list[str] = field(default_factory=list)
    evaluations: list[str] = field(default_factory=list)
    published: list[str] = field(default_factory=list)
    expired: list[str] = field(default_factory=list)

    @property
    def summary(self) -> str:
        """Description in one line."""
        return (
            f"{self.ingested} times ingested, {len(self.runs)} forecasts and "
            f"{len(self.evaluations)} evaluations queued, {len(self.expired)} runs expired"
        ) + (f", {len(self.published)} stores published" if self.published else "")


def run_action(data: DataFolder, catalog: Catalog, action: Action, now: datetime) -> ActionResult:
    """Do what an action wants and does not exist yet; jobs are queued, not awaited.

    Parameters
    ----------
    data
        The data folder.
    catalog
        Its catalog.
    action
        The parts to run.
    now
        Current time (aware), for retention.

    Returns
    -------
    ActionResult
        What was done; InputError names what is missing or does not fit.
    """
    result = ActionResult()
    if action.fetch is not None:
        result.ingested = _fetch(data, action.fetch, now)
    if action.ingest is not None:
        result.ingested += _ingest(data, action.ingest)
    refresh(data, catalog)
    if action.forecast is not None:
        result.runs = _forecast(data, catalog, action.forecast)
    if action.evaluate is not None:
        result.evaluations = _evaluate(data, catalog, action.evaluate)
    if action.publish is not None:
        result.published = _publish(data, catalog, action.publish)
    if action.expire is not None:
        result.expired = _expire(data, catalog, action.expire, now)
    return result


def _fetch(data: DataFolder, action: FetchAction, now: datetime) -> int:
    """Fetch the newest cycles, oldest first, so that a fault leaves no gap behind."""
    from pipelines.ingestion.fetch import fetch, open_source, options_for
    from pipelines.ingestion.sources.transfer import Transfer

    transfer = Transfer()
    source = open_source(action.source, transfer, os.environ.get("PEAR_FETCH_MIRROR"))
    path = data.analysis(action.store_name)
    latest = source.find_latest(np.datetime64(now.replace(tzinfo=None), "s"))
    step = np.timedelta64(action.every_hours, "h")
    newest = latest - (latest - latest.astype("datetime64[D]")) % step
    times = newest - np.arange(action.newest)[::-1] * step
    options = options_for(path, action.nside)
    states = list(fetch(source, times, path, options=options, transfer=transfer))
    return sum(state.report is not None for state in states)


def _ingest(data: DataFolder, action: IngestAction) -> int:
    from pipelines.ingestion.ingest import ingest  # imports readers of every format

    sources: list[str | Path] = []
    for source in action.sources:
        folder = Path(source)
        is_store = any((folder / name).exists() for name in ("zarr.json", ".zgroup"))
        if folder.is_dir() and not is_store:
            sources += sorted(path for path in folder.iterdir() if path.is_file())
        else:
            sources.append(source)
    if not sources:
        return 0  # an empty folder
    path = data.analysis(action.store)
    before = read_completeness(path)[0].size if path.exists() else 0
    ingest(sources, path, action.nside)
    return int(read_completeness(path)[0].size - before)


def _forecast(data: DataFolder, catalog: Catalog, action: ForecastAction) -> list[str]:
    """Submit the init times that are wanted and have no run, newest first."""
    model = catalog.models.get(action.model)
    options = action.options or ForecastOptions()
    if action.analysis is not None:
        options = options.model_copy(update={"analysis": action.analysis})
    name = choose_analysis(data, model, options.analysis)
    submitted = []
    for time in _wanted_times(data, catalog, action, model.id, name)[::-1]:
        request = resolve_request(
            data, catalog, time, action.lead_hours, model=model.id, options=options
        )
        # A person decides about runs that failed, were cancelled or have expired.
        if request.find(catalog) is None:
            run, created = request.submit(catalog, Priority.BATCH)
            submitted += [run.id] if created else []
    return submitted


def _wanted_times(
    data: DataFolder, catalog: Catalog, action: ForecastAction, model: str, analysis: str
) -> list[np.datetime64]:
    times, complete, _ = read_completeness(data.analysis(analysis))
    whole: Times = times[(complete == 1).all(axis=1)]
    # Multiples of up to a day start anew at every 00 UTC.
    origin = whole.astype("datetime64[D]") if action.every_hours <= 24 else np.datetime64(0, "s")
    hours = (whole - origin) // np.timedelta64(3600, "s")
    on_time = whole[(hours % action.every_hours == 0) & (whole == whole.astype("datetime64[h]"))]
    newest = set(on_time[on_time.size - min(action.newest, on_time.size) :].tolist())
    last = catalog.runs.latest_init(model, action.lead_hours)
    since = set() if last is None else set(on_time[on_time > last].tolist())
    return [np.datetime64(time, "s") for time in sorted(newest | since)]


def _evaluate(data: DataFolder, catalog: Catalog, action: EvaluateAction) -> list[str]:
    """Submit one evaluation of all init times that can be verified, if it is new."""
    model = catalog.models.get(action.model)
    name = choose_analysis(data, model, action.analysis)
    times = read_completeness(data.analysis(name))[0]
    lead = np.timedelta64(action.lead_hours, "h")
    runs = catalog.runs.iterate(status=Status.SUCCEEDED, model=model.id) if times.size else ()
    long_enough = (run for run in runs if run.lead_hours >= action.lead_hours)
    inits = sorted({run.init_time for run in long_enough if run.init_time + lead <= times[-1]})
    if not inits:
        return []
    request = {
        "analysis": name,
        "climatology": action.climatology,
        "lead_hours": action.lead_hours,
        "init_times": [to_iso(time) for time in inits],
        "options": (action.options and action.options.to_dict()) or None,
    }
    job, created = catalog.evaluations.submit(model.id, request, total=len(inits))
    return [job.id] if created else []


def _publish(data: DataFolder, catalog: Catalog, action: PublishAction) -> list[str]:
    """Send what a destination lacks; the store that is named first is sent first."""
    from pipelines.publishing.destinations import resolve_destination
    from pipelines.publishing.publish import publish, stores_of_run
    from pipelines.publishing.remote import Remote

    remote = Remote.open(resolve_destination(action.to))
    runs = sorted(
        catalog.runs.iterate(status=Status.SUCCEEDED),
        key=lambda run: (run.init_time, run.id),
        reverse=True,
    )
    stores = [path for run in runs[: action.newest] for path in stores_of_run(data, run.id)]
    evaluations = islice(catalog.evaluations.iterate(status=Status.SUCCEEDED), action.evaluations)
    stores += [data.evaluation(job.id) for job in evaluations]
    stores += [data.analysis(name) for name in action.analyses]
    done = (publish(path, path.relative_to(data.root).as_posix(), remote) for path in stores)
    return [each.name for each in done if each.sent_files]


def _expire(
    data: DataFolder, catalog: Catalog, action: RetentionAction, now: datetime
) -> list[str]:
    runs = list(catalog.runs.iterate(status=Status.SUCCEEDED))
    runs.sort(key=lambda run: (run.init_time, run.id), reverse=True)
    removed = []
    for run in runs[action.keep_latest :]:
        ended = run.finished_at or run.updated_at
        if now - ended > timedelta(days=action.keep_days):
            since = now - timedelta(hours=action.grace_hours)
            try:
                remove_run(data, catalog, run.id, unread_since=since)
            except BeingReadError:
                continue
            removed.append(run.id)
    remove_leftovers(data, catalog)
    return removed
