"""``pear status``: the contents of a data folder at a glance."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import numpy as np

from pear.times import to_iso
from pipelines.catalog import Catalog
from pipelines.catalog.scan import refresh
from pipelines.schedules import next_run
from pipelines.storage.data_folder import DataFolder
from service.cli.console import emit_json, emit_line, emit_records
from service.cli.options import Data, Json
from service.cli.runs import open_catalog

_STORES = ("name", "kind", "nside", "times", "first", "last")
_MODELS = ("id", "name", "nside", "step_hours")
_SCHEDULES = ("name", "cron", "paused", "next", "last_status")


def status(*, data: Data, as_json: Json = False) -> None:
    """Summarise a data folder: stores, models, runs, schedules and free disk space.

    Examples
    --------
    $ pear status --data pear-data
    $ PEAR_DATA=pear-data pear status --json
    """
    with open_catalog(data) as (folder, catalog):
        refresh(folder, catalog)
        found = summarise(folder, catalog)
    if as_json:
        emit_json(found)
        return
    emit_line(f"{found['path']}: {found['free_bytes'] / 1e9:.1f} GB free on its disk")
    for title, columns in (("Stores", _STORES), ("Models", _MODELS), ("Schedules", _SCHEDULES)):
        rows = found[title.lower()]
        emit_line(f"\n{title}" if rows else f"\n{title}: none")
        if rows:
            emit_records(rows, {name.replace("_", " "): name for name in columns}, as_json=False)
    counts = ", ".join(f"{count} {name}" for name, count in found["runs"].items() if count)
    emit_line(f"\nRuns: {counts or 'none'}")
    if found["latest_run"]:
        emit_line(f"Latest run: {found['latest_run']}")


def summarise(folder: DataFolder, catalog: Catalog) -> dict[str, Any]:
    """Return the stores, models, runs and schedules of a data folder as JSON values."""
    now = datetime.now(UTC)
    latest = catalog.runs.latest()
    stores, schedules = catalog.stores.all(), catalog.schedules.all()
    first = [_iso(store.first_time) for store in stores]
    last = [_iso(store.last_time) for store in stores]
    due = [next_run(each, now) for each in schedules]
    upcoming = [None if moment is None else moment.isoformat(timespec="minutes") for moment in due]
    return {
        "path": str(folder.root),
        "free_bytes": shutil.disk_usage(folder.root).free,
        "stores": _records(stores, _STORES, first=first, last=last),
        "models": _records(catalog.models.all(), _MODELS),
        "runs": {str(name): count for name, count in catalog.runs.counts().items()},
        "latest_run": latest and latest.id,
        "schedules": _records(schedules, _SCHEDULES, next=upcoming),
    }


def _records(
    entries: Iterable[object], names: tuple[str, ...], **made: list[str | None]
) -> list[dict[str, object]]:
    """Return attributes of each entry by name; ``made`` has the values that are not attributes."""
    return [
        {name: made[name][i] if name in made else getattr(entry, name) for name in names}
        for i, entry in enumerate(entries)
    ]


def _iso(time: np.datetime64 | None) -> str | None:
    return None if time is None else to_iso(time).removesuffix("T00:00:00Z")
