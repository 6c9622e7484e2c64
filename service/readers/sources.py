"""Freshness of analyses: how old they are, what feeds them, and whether that works."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import numpy as np

from pear.errors import InputError
from pipelines.catalog import Catalog, Schedule, Status
from pipelines.schedules import FetchAction, upcoming
from pipelines.settings import validate
from pipelines.storage.data_folder import DataFolder
from service.readers.nature import is_simulated
from service.readers.store_files import modified_at

SourceState = Literal["fresh", "late", "failing", "paused", "by hand"]


@dataclass(frozen=True)
class Source:
    """One analysis and what feeds it.

    Attributes
    ----------
    name
        Name of the analysis.
    simulated
        True if it is not of the observed atmosphere.
    times, newest
        Number of valid times, and the last one (aware).
    updated_at
        When the store was written last.
    feeds
        Names of the schedules that fetch or ingest it.
    state, reason
        Whether these keep it fresh, and if not, why.
    """

    name: str
    simulated: bool
    times: int
    newest: datetime | None
    updated_at: datetime | None
    feeds: tuple[str, ...]
    state: SourceState
    reason: str | None

    def age_seconds(self, now: datetime) -> float | None:
        """Return the age of the newest valid time; None where it means nothing."""
        if self.simulated or self.newest is None:
            return None
        return (now - self.newest).total_seconds()


def describe_sources(folder: DataFolder, catalog: Catalog, now: datetime) -> list[Source]:
    """Return every analysis, by name; also those that a schedule is to begin.

    Parameters
    ----------
    folder, catalog
        The data folder and its catalog.
    now
        Aware.

    Returns
    -------
    list of Source
        One for each name.
    """
    stores = {store.name: store for store in catalog.stores.all("analysis")}
    feeds: dict[str, list[Schedule]] = {name: [] for name in stores}
    for schedule in catalog.schedules.all():
        for name in _fed_by(schedule):
            feeds.setdefault(name, []).append(schedule)
    found = []
    for name in sorted(feeds):
        store = stores.get(name)
        written = 0.0 if store is None else modified_at(folder.root / store.path)
        updated = datetime.fromtimestamp(written, UTC) if written else None
        state, reason = _judge(feeds[name], updated, now)
        found.append(
            Source(
                name=name,
                simulated=store is not None and is_simulated(folder, name),
                times=0 if store is None else store.times,
                newest=None if store is None else _aware(store.last_time),
                updated_at=updated,
                feeds=tuple(each.name for each in feeds[name]),
                state=state,
                reason=reason,
            )
        )
    return found


def _fed_by(schedule: Schedule) -> list[str]:
    """Return the analyses that a schedule fetches or ingests; none if it cannot be read."""
    names = []
    fetch, ingest = schedule.action.get("fetch"), schedule.action.get("ingest")
    if isinstance(fetch, Mapping):
        try:
            names.append(validate(FetchAction, fetch).store_name)
        except InputError:  # of an earlier version, and never run
            return []
    if isinstance(ingest, Mapping) and isinstance(ingest.get("store"), str):
        names.append(ingest["store"])
    return names


def _judge(
    feeds: list[Schedule], updated: datetime | None, now: datetime
) -> tuple[SourceState, str | None]:
    if not feeds:
        return "by hand", None
    running = [each for each in feeds if not each.paused]
    if not running:
        return "paused", None
    failed = next((each for each in running if each.last_status is Status.FAILED), None)
    if failed is not None:
        return "failing", f"schedule {failed.name}: {failed.last_reason}"
    for each in running:
        since = max(filter(None, (updated, each.created_at)))
        try:
            missed = [time for time in upcoming(each.cron, since, 2) if time <= now]
        except InputError as error:
            return "failing", f"schedule {each.name}: {error}"
        if len(missed) == 2:
            return "late", f"schedule {each.name} was due twice since {since:%Y-%m-%d %H:%M} UTC"
    return "fresh", None


def _aware(time: np.datetime64 | None) -> datetime | None:
    if time is None:
        return None
    moment: datetime = time.astype("datetime64[s]").item()
    return moment.replace(tzinfo=UTC)
