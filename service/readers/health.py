"""What is wrong with a service, why, and what to do about it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

from pipelines.catalog import Catalog, Status
from pipelines.storage.data_folder import DataFolder
from service.readers.remedies import remedy_of
from service.readers.sources import describe_sources

State = Literal["ok", "warning", "error"]
READ_ONLY: Final = "off: the data folder cannot be written"
_RECENT: Final = timedelta(days=1)
_FREE_SHARE: Final = 0.05
_FREE_BYTES: Final = 2_000_000_000
_CROWDED: Final = 0.8
_READY_REMEDIES: Final = {
    "catalog": "see that the database is reached and its disk is not full, and the service log",
    "data": "see that the data folder is mounted",
    "engine": "see the service log; workers start within a minute of the service",
    "keys": "restore keys.json, or remove it and add the keys again",
}


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes
    ----------
    name, state
        What was checked, and how it is.
    reason
        What was found.
    remedy
        What to do; None if nothing is to be done.
    """

    name: str
    state: State
    reason: str
    remedy: str | None = None


def check_health(
    folder: DataFolder, catalog: Catalog, ready: Mapping[str, str], queue_limit: int
) -> list[Check]:
    """Check a service.

    Parameters
    ----------
    folder, catalog
        The data folder and its catalog.
    ready
        State of each part that readiness needs; ``ok`` if it is right.
    queue_limit
        Largest number of queued jobs.

    Returns
    -------
    list of Check
        Those of readiness first; the others only if the catalog can be read.
    """
    checks = [_check_ready(name, state) for name, state in ready.items()]
    if ready.get("data") == "ok":
        checks.append(_check_disk(folder))
    if ready.get("catalog") == "ok":
        checks += [
            _check_queue(catalog, queue_limit),
            _check_runs(catalog),
            *_check_schedules(catalog),
            *_check_sources(folder, catalog),
        ]
    return checks


def _check_ready(name: str, state: str) -> Check:
    if state == "ok":
        return Check(name, "ok", "ok")
    if state == READ_ONLY:
        return Check(name, "warning", state, "make the data folder writable to submit work")
    return Check(name, "error", state, _READY_REMEDIES.get(name))


def _check_disk(folder: DataFolder) -> Check:
    disk = shutil.disk_usage(folder.root)
    reason = f"{disk.free / 1e9:.1f} GB of {disk.total / 1e9:.1f} GB are free"
    if disk.free > max(_FREE_BYTES, _FREE_SHARE * disk.total):
        return Check("disk", "ok", reason)
    remedy = "remove runs, or add a schedule with retention (`expire`)"
    return Check("disk", "warning" if disk.free > _FREE_BYTES / 4 else "error", reason, remedy)


def _check_queue(catalog: Catalog, limit: int) -> Check:
    waiting = sum(
        jobs.counts()[Status.QUEUED]
        for jobs in (catalog.runs, catalog.evaluations, catalog.schedule_runs)
    )
    reason = f"{waiting} of at most {limit} jobs are queued"
    if waiting < _CROWDED * limit:
        return Check("queue", "ok", reason)
    return Check("queue", "warning", reason, "add workers, or cancel queued runs")


def _check_runs(catalog: Catalog) -> Check:
    page = catalog.runs.page(status="failed", since=datetime.now(UTC) - _RECENT, limit=100)
    failed = page.items
    if not failed:
        return Check("runs", "ok", "no run failed in the last 24 h")
    count = f"{len(failed)}{'+' if page.next else ''}"
    reason = f"{count} failed in the last 24 h; the newest, {failed[0].id}: {failed[0].reason}"
    return Check("runs", "warning", reason, remedy_of(failed[0]))


def _check_schedules(catalog: Catalog) -> list[Check]:
    schedules = catalog.schedules.all()
    failed = [each for each in schedules if each.last_status is Status.FAILED]
    checks = [
        Check(
            f"schedule {each.name}",
            "warning",
            f"its last run failed: {each.last_reason}",
            "repair what the reason names, then run it from the page of schedules",
        )
        for each in failed
    ]
    return checks or [Check("schedules", "ok", f"none of {len(schedules)} failed last")]


def _check_sources(folder: DataFolder, catalog: Catalog) -> list[Check]:
    return [
        Check(
            f"source {each.name}",
            "warning",
            f"{each.state}: {each.reason}",
            "see the server that it is fetched from, and the history of its schedule",
        )
        for each in describe_sources(folder, catalog, datetime.now(UTC))
        if each.state in ("late", "failing")
    ]
