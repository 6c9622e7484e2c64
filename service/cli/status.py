"""``pear status``: the contents of a data folder at a glance."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import typer

from pear.times import to_iso
from service.cli.console import emit_json, emit_line, emit_table
from service.cli.options import Data, Json, examples
from service.cli.runs import open_catalog

if TYPE_CHECKING:
    from pipelines.catalog import Catalog
    from pipelines.storage.data_folder import DataFolder

app = typer.Typer(add_completion=False)


@app.command(
    epilog=examples("pear status --data pear-data", "PEAR_DATA=pear-data pear status --json")
)
def status(*, data: Data, as_json: Json = False) -> None:
    """Summarise a data folder: stores, models, runs, schedules and free disk space."""
    from pipelines.catalog.scan import refresh

    with open_catalog(data) as (folder, catalog):
        refresh(folder, catalog)
        found = summarise(folder, catalog)
    if as_json:
        emit_json(found)
        return
    emit_line(f"{found['path']}: {found['free_bytes'] / 1e9:.1f} GB free on its disk")
    for title, key, columns in (
        ("Stores", "stores", ("name", "kind", "nside", "times", "first", "last")),
        ("Models", "models", ("id", "name", "nside", "step_hours")),
        ("Schedules", "schedules", ("name", "cron", "paused", "next", "last_status")),
    ):
        emit_line("")
        rows = found[key]
        emit_line(title if rows else f"{title}: none")
        if rows:
            emit_table(columns, [[_text(row[column]) for column in columns] for row in rows])
    emit_line("")
    counts = ", ".join(f"{count} {name}" for name, count in found["runs"].items() if count)
    emit_line(f"Runs: {counts or 'none'}")
    if found["latest_run"]:
        emit_line(f"Latest run: {found['latest_run']}")


def summarise(folder: DataFolder, catalog: Catalog) -> dict[str, Any]:
    """Return the stores, models, runs and schedules of a data folder as JSON values."""
    from pipelines.schedules import next_due

    now = datetime.now(UTC)
    latest = catalog.runs.latest()
    return {
        "path": str(folder.root),
        "free_bytes": shutil.disk_usage(folder.root).free,
        "stores": [
            {
                "name": store.name,
                "kind": store.kind,
                "nside": store.nside,
                "times": store.times,
                "first": None if store.first_time is None else to_iso(store.first_time),
                "last": None if store.last_time is None else to_iso(store.last_time),
            }
            for store in catalog.stores.all()
        ],
        "models": [
            {
                "id": model.id,
                "name": model.name,
                "nside": model.nside,
                "step_hours": model.step_hours,
            }
            for model in catalog.models.all()
        ],
        "runs": {str(name): count for name, count in catalog.runs.counts().items()},
        "latest_run": None if latest is None else latest.id,
        "schedules": [
            {
                "name": schedule.name,
                "cron": schedule.cron,
                "paused": schedule.paused,
                "next": None if schedule.paused else _minute(next_due(schedule.cron, now)),
                "last_status": schedule.last_status,
            }
            for schedule in catalog.schedules.all()
        ],
    }


def _minute(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="minutes")


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value is None else str(value).removesuffix("T00:00:00Z")
