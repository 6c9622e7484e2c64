"""``pear runs``: list, show, cancel and remove forecast runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pear.times import to_iso
from service.cli.console import console, emit_json, emit_line, emit_table
from service.cli.options import Data, Json, examples

if TYPE_CHECKING:
    from pipelines.catalog import Catalog, Run
    from pipelines.storage.data_folder import DataFolder

RunReference = Annotated[
    str, typer.Argument(metavar="RUN", help="Run id, unique prefix of one, or latest.")
]

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="List, show, cancel and remove runs."
)


@app.command(
    "list",
    epilog=examples(
        "pear runs list --data pear-data", "pear runs list --status failed --data pear-data"
    ),
)
def list_runs(
    *,
    data: Data,
    status: Annotated[
        str | None,
        typer.Option(
            metavar="STATUS",
            help="Only queued, running, succeeded, failed, cancelled or expired runs.",
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="Largest number of runs.")] = 100,
    as_json: Json = False,
) -> None:
    """List runs, newest first."""
    with open_catalog(data) as (folder, catalog):
        runs = catalog.runs.page(status=status, limit=limit).items
    if as_json:
        emit_json([resource(folder, run) for run in runs])
        return
    emit_table(
        ("run", "status", "init time", "steps", "model"),  # 80 columns: the id has the lead time
        [
            (
                run.id,
                run.status,
                to_iso(run.init_time)[:13],
                f"{run.progress.step}/{run.progress.total}",
                run.model,
            )
            for run in runs
        ],
    )


@app.command(
    "show",
    epilog=examples(
        "pear runs show latest --data pear-data", "pear runs show 3f2a --data pear-data --json"
    ),
)
def show(run: RunReference, *, data: Data, as_json: Json = False) -> None:
    """Show everything about one run."""
    with open_catalog(data) as (folder, catalog):
        found = resource(folder, catalog.runs.resolve(run))
    if as_json:
        emit_json(found)
        return
    for key, value in found.items():
        emit_line(f"{key:>12}  {'-' if value is None else value}")


@app.command(
    "log",
    epilog=examples(
        "pear runs log latest --data pear-data", "pear runs log 3f2a --data pear-data --json"
    ),
)
def log(run: RunReference, *, data: Data, as_json: Json = False) -> None:
    """Show the event log of a run, oldest event first."""
    with open_catalog(data) as (_, catalog):
        events = catalog.runs.events(catalog.runs.resolve(run).id)
    if as_json:
        emit_json(
            [
                {
                    "at": event.at.isoformat(),
                    "level": event.level,
                    "message": event.message,
                    "details": dict(event.details),
                }
                for event in events
            ]
        )
        return
    for event in events:
        details = " ".join(f"{key}={value}" for key, value in event.details.items())
        emit_line(
            f"{event.at:%Y-%m-%d %H:%M:%S} {event.level:7} {event.message} {details}".rstrip()
        )


@app.command(
    "cancel",
    epilog=examples(
        "pear runs cancel 3f2a --data pear-data", "pear runs cancel 3f2a --data pear-data --json"
    ),
)
def cancel(run: RunReference, *, data: Data, as_json: Json = False) -> None:
    """Cancel a queued run at once, a running one before its next step."""
    with open_catalog(data) as (folder, catalog):
        job = catalog.runs.cancel(catalog.runs.resolve(run).id)
    if as_json:
        emit_json(resource(folder, job))
        return
    console.print(
        f"{job.id} {'stops before its next step' if job.status.is_active else job.status}"
    )


@app.command(
    "rm",
    epilog=examples(
        "pear runs rm 3f2a 77c1 --data pear-data", "pear runs rm latest --data pear-data"
    ),
)
def remove(
    runs: Annotated[
        list[str], typer.Argument(metavar="RUN...", help="Run ids, prefixes, or latest.")
    ],
    *,
    data: Data,
    as_json: Json = False,
) -> None:
    """Remove finished runs and their stores, unless something reads them.

    The catalog keeps an entry, so that the same request can be computed again.
    """
    from pipelines.catalog.retention import remove_run

    with open_catalog(data) as (folder, catalog):
        chosen = [catalog.runs.resolve(run) for run in runs]  # all of them, before the first goes
        for run in chosen:
            remove_run(folder, catalog, run.id)
            console.print(f"{run.id} removed")
    if as_json:
        emit_json({"removed": [run.id for run in chosen]})


def resource(folder: DataFolder, run: Run) -> dict[str, object]:
    """Describe a run as JSON; ``store`` is the path of its store once it has succeeded."""
    times = {
        name: None if moment is None else moment.isoformat()
        for name in ("created_at", "queued_at", "started_at", "finished_at", "updated_at")
        for moment in (getattr(run, name),)
    }
    return {
        "id": run.id,
        "status": run.status,
        "init_time": to_iso(run.init_time),
        "lead_hours": run.lead_hours,
        "store": str(folder.forecast(run.id)) if run.status == "succeeded" else None,
        "model": run.model,
        "options": dict(run.options),
        "progress": {
            "step": run.progress.step,
            "total": run.progress.total,
            "fraction": run.progress.fraction,
            "eta_seconds": run.progress.eta_seconds,
            "seconds_per_step": run.progress.seconds_per_step,
        },
        "attempts": run.attempts,
        "reason": run.reason,
        **times,
    }


@contextmanager
def open_catalog(data: Path) -> Iterator[tuple[DataFolder, Catalog]]:
    """Open a data folder and its catalog for the duration of the block."""
    from pipelines.catalog import Catalog
    from pipelines.storage.data_folder import DataFolder

    folder = DataFolder.open(data)
    with Catalog(folder.catalog_url) as catalog:
        yield folder, catalog
