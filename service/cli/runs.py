"""``pear runs``: what was asked for, how far it is, what became of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pear.times import to_iso
from service.cli.console import console, emit_json

if TYPE_CHECKING:
    from pipelines.catalog import Catalog, Job
    from pipelines.storage.data_folder import DataFolder

Data = Annotated[Path, typer.Option("--data", help="Data folder.")]
Json = Annotated[bool, typer.Option("--json", help="JSON on stdout.")]
Identity = Annotated[str, typer.Argument(metavar="RUN", help="Identity of the run.")]

verbs = typer.Typer(no_args_is_help=True, help="List, show and cancel runs.")


def register(app: typer.Typer) -> None:
    """Add the verbs to the command."""
    app.add_typer(verbs, name="runs")


@verbs.command("list")
def list_runs(
    data: Data,
    status: Annotated[str | None, typer.Option(help="Only runs in this state.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, newest first.")] = 100,
    as_json: Json = False,
) -> None:
    """List runs, newest first."""
    folder, catalog = _open(data)
    with catalog:
        runs = catalog.runs.page(status=status, limit=limit).items
    if as_json:
        emit_json([resource(folder, run) for run in runs])
        return
    from rich.table import Table

    table = Table()
    for column in ("run", "status", "init time", "lead", "steps", "model"):
        table.add_column(column, no_wrap=column == "run")
    for run in runs:
        steps = f"{run.progress.step}/{run.progress.total}"
        init = to_iso(run.init_time)[:16]
        table.add_row(run.id, run.status, init, f"{run.lead_hours} h", steps, run.model)
    console.print(table)


@verbs.command("show")
def show(data: Data, run: Identity, as_json: Json = False) -> None:
    """Show everything about one run."""
    folder, catalog = _open(data)
    with catalog:
        found = resource(folder, catalog.runs.get(run))
    if as_json:
        emit_json(found)
        return
    for key, value in found.items():
        console.print(f"{key:>16}  {value}", highlight=False, soft_wrap=True)


@verbs.command("log")
def log(data: Data, run: Identity, as_json: Json = False) -> None:
    """Show what happened to a run, oldest first."""
    _, catalog = _open(data)
    with catalog:
        events = catalog.jobs(catalog.find_job(run)).events(run)
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
        line = f"{event.at:%Y-%m-%d %H:%M:%S} {event.level:7} {event.message} {details}"
        console.print(line, highlight=False, soft_wrap=True)


@verbs.command("cancel")
def cancel(data: Data, run: Identity, as_json: Json = False) -> None:
    """Cancel a run: a queued one at once, a running one before its next step."""
    folder, catalog = _open(data)
    with catalog:
        job = catalog.jobs(catalog.find_job(run)).cancel(run)
    if as_json:
        emit_json(resource(folder, job))
        return
    console.print(f"{run} {'stops before its next step' if job.status.is_active else job.status}")


def resource(folder: DataFolder, run: Job) -> dict[str, Any]:
    """Describe a run as JSON; ``store`` is the path of its store once it has succeeded."""
    from pipelines.catalog import Run

    if not isinstance(run, Run):
        raise TypeError(f"{run.id} is no run")
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


def _open(data: Path) -> tuple[DataFolder, Catalog]:
    from pipelines.catalog import Catalog
    from pipelines.storage.data_folder import DataFolder

    folder = DataFolder.open(data)
    return folder, Catalog(folder.catalog_url)
