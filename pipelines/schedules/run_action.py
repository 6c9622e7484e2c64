"""Run the action of a schedule against a data folder and its catalog."""

from __future__ import annotations

import os
import time as clock
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np

from pear.errors import InputError
from pear.progress import ProgressCallback, ProgressFactory
from pear.store.reader import read_completeness
from pear.times import to_iso
from pear.typing import Bool, Times
from pipelines.catalog import BeingReadError, Catalog, Model, Priority, Status
from pipelines.catalog.retention import remove_leftovers, remove_run
from pipelines.catalog.scan import refresh
from pipelines.catalog.sharing import fetch_inputs, writing
from pipelines.forecasting.options import ForecastOptions
from pipelines.forecasting.request import (
    check_state,
    choose_analysis,
    find_complete_times,
    model_layout,
    resolve_request,
)
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
    follow_up
        Id of the job that publishes the queued jobs when they have ended, or None.
    left_out
        Why there is no forecast from the newest states.
    """

    ingested: int = 0
    runs: list[str] = field(default_factory=list)
    evaluations: list[str] = field(default_factory=list)
    published: list[str] = field(default_factory=list)
    expired: list[str] = field(default_factory=list)
    follow_up: str | None = None
    left_out: str = ""

    @property
    def summary(self) -> str:
        """Description in one line."""
        return (
            (
                f"{self.ingested} times ingested, {len(self.runs)} forecasts and "
                f"{len(self.evaluations)} evaluations queued, {len(self.expired)} runs expired"
            )
            + (f", {len(self.published)} stores published" if self.published else "")
            + (f"; {self.left_out}" if self.left_out else "")
        )


Record = Callable[[int, int], object]
"""Records how many of how many steps are done; may raise to stop the action."""
_HUNDRED: Final = 100
_RECORD_SECONDS: Final = 1.0


@dataclass
class _Progress:
    """Progress of an action in hundredths of its parts."""

    record: Record
    parts: int
    done: int = 0
    recorded_at: float = 0.0

    def finish_part(self) -> None:
        """Record that one more part is done."""
        self.done += 1
        self.record(_HUNDRED * self.done, _HUNDRED * self.parts)

    def within_part(self, _title: str = "") -> ProgressFactory:
        """Return what shows the progress of the current part, recorded once a second."""

        def start(total: float) -> ProgressCallback:
            seen = 0.0

            def tick(advance: float = 1, note: str = "") -> None:
                nonlocal seen
                seen += advance
                if clock.monotonic() - self.recorded_at < _RECORD_SECONDS:
                    return
                self.recorded_at = clock.monotonic()
                share = int((_HUNDRED - 1) * min(seen / max(total, 1), 1.0))
                self.record(_HUNDRED * self.done + share, _HUNDRED * self.parts)

            return tick

        return start


def run_action(
    data: DataFolder,
    catalog: Catalog,
    action: Action,
    now: datetime,
    record: Record | None = None,
    *,
    schedule: str | None = None,
) -> ActionResult:
    """Do what an action wants and does not exist yet; jobs are queued, not awaited.

    What is to be published of the queued jobs is left to a job that waits for their end.

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
    record
        Called with the steps done and all steps.
    schedule
        Name of the schedule; without one nothing is left for the end of the jobs.

    Returns
    -------
    ActionResult
        What was done; InputError names what is missing or does not fit.
    """
    result = ActionResult()
    fetch_inputs(data, everything=True)
    parts = len(action.model_dump(exclude_none=True))
    progress = _Progress(record or (lambda _done, _all: None), parts)
    if action.fetch is not None:
        with writing(data, "analyses", action.fetch.store_name):
            result.ingested = _fetch(data, action.fetch, now, progress)
        progress.finish_part()
    if action.ingest is not None:
        with writing(data, "analyses", action.ingest.store):
            result.ingested += _ingest(data, action.ingest)
        progress.finish_part()
    refresh(data, catalog)
    if action.forecast is not None:
        result.runs, result.left_out = _forecast(data, catalog, action.forecast)
        progress.finish_part()
    if action.evaluate is not None:
        result.evaluations = _evaluate(data, catalog, action.evaluate)
        progress.finish_part()
    if action.publish is not None:
        result.published = _publish(data, catalog, action.publish, progress)
        progress.finish_part()
        result.follow_up = _publish_later(catalog, action.publish, result, schedule)
    if action.expire is not None:
        result.expired = _expire(data, catalog, action.expire, now)
        progress.finish_part()
    return result


def _publish_later(
    catalog: Catalog, action: PublishAction, result: ActionResult, schedule: str | None
) -> str | None:
    """Leave a job that publishes the jobs that were queued when they have ended."""
    queued = [*result.runs, *result.evaluations]
    if schedule is None or not queued:
        return None
    parts = Action(publish=action).to_dict()
    job, _ = catalog.schedule_runs.submit(
        schedule, parts, after=queued, priority=Priority.INTERACTIVE
    )
    return job.id


def _fetch(data: DataFolder, action: FetchAction, now: datetime, progress: _Progress) -> int:
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
    options = options_for(path, action.nside, action.also)
    states = list(
        fetch(
            source,
            times,
            path,
            options=options,
            transfer=transfer,
            progress=progress.within_part,
        )
    )
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


def _forecast(data: DataFolder, catalog: Catalog, action: ForecastAction) -> tuple[list[str], str]:
    """Submit the init times that are wanted and have no run, newest first.

    Returns
    -------
    tuple
        Ids of the runs, and why the newest times are left out, if they are.
    """
    model = catalog.models.get(action.model)
    options = action.options or ForecastOptions()
    if action.analysis is not None:
        options = options.model_copy(update={"analysis": action.analysis})
    name = choose_analysis(data, model, options.analysis)
    submitted = []
    wanted, left_out = _wanted_times(data, catalog, action, model, name)
    for time in wanted[::-1]:
        request = resolve_request(
            data, catalog, time, action.lead_hours, model=model.id, options=options
        )
        # A person decides about runs that failed, were cancelled or have expired.
        if request.find(catalog) is None:
            run, created = request.submit(catalog, Priority.BATCH)
            submitted += [run.id] if created else []
    return submitted, left_out


def _wanted_times(
    data: DataFolder, catalog: Catalog, action: ForecastAction, model: Model, analysis: str
) -> tuple[list[np.datetime64], str]:
    """Return the init times that have what the model needs, and what newer ones lack.

    Further variables of the store may be missing: a source may lack one that another gave.

    Returns
    -------
    tuple
        Times, increasing; and why there is none from the newest time of the store, or nothing.
    """
    path, layout = data.analysis(analysis), model_layout(model)
    times, complete = find_complete_times(path, layout)
    scheduled = _is_scheduled(times, action.every_hours)
    on_time: Times = times[complete & scheduled]
    incomplete: Times = times[~complete & scheduled]
    left_out = ""
    if incomplete.size and (not on_time.size or incomplete[-1] > on_time[-1]):
        try:
            check_state(path, analysis, layout, incomplete[-1])
        except InputError as fault:
            left_out = f"no forecast from {to_iso(incomplete[-1])}: {fault.message}"
    newest = set(on_time[on_time.size - min(action.newest, on_time.size) :].tolist())
    last = catalog.runs.latest_init(model.id, action.lead_hours)
    since = set() if last is None else set(on_time[on_time > last].tolist())
    return [np.datetime64(time, "s") for time in sorted(newest | since)], left_out


def _is_scheduled(times: Times, every_hours: int) -> Bool:
    """Return which times are multiples of so many hours, (time,)."""
    # Multiples of up to a day start anew at every 00 UTC.
    origin = times.astype("datetime64[D]") if every_hours <= 24 else np.datetime64(0, "s")
    hours = (times - origin) // np.timedelta64(3600, "s")
    return np.asarray((hours % every_hours == 0) & (times == times.astype("datetime64[h]")))


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


def _publish(
    data: DataFolder, catalog: Catalog, action: PublishAction, progress: _Progress
) -> list[str]:
    """Send what a destination lacks; the store that is named first is sent first."""
    from pipelines.publishing.destinations import resolve_destination
    from pipelines.publishing.publish import publish, stores_of_run
    from pipelines.storage.remote import Remote

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
    done = (
        publish(path, path.relative_to(data.root).as_posix(), remote, progress.within_part())
        for path in stores
    )
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
    before = now - timedelta(days=action.keep_days)
    catalog.schedule_runs.remove_ended(before)
    catalog.schedules.remove_history(before)
    return removed
