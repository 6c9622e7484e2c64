"""``pear runs``: list, show, cancel and remove forecast runs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from pear.errors import InputError
from pear.times import to_iso
from pipelines.catalog import Catalog, Run, rebuild
from pipelines.catalog.retention import remove_run
from pipelines.catalog.sharing import fetch_inputs
from pipelines.storage.data_folder import DataFolder
from pipelines.storage.shared import VARIABLE
from service.cli.console import console, emit_json, emit_line, emit_table
from service.cli.options import Data, Json, count_option
from service.readers.counterfactuals import counterfactual_of, describe_counterfactual
from service.readers.export import Format, Selection, extract, write
from service.readers.forecasts import ForecastStore
from service.readers.nature import notes_of

RunReference = Annotated[
    str, typer.Argument(metavar="RUN", help="Run id, unique prefix of one, or latest.")
]
_MOMENTS = ("created_at", "queued_at", "started_at", "finished_at", "updated_at")

app = typer.Typer(add_completion=False, no_args_is_help=True)


@app.command("list")
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
    limit: Annotated[int, count_option(help="Largest number of runs.")] = 100,
    as_json: Json = False,
) -> None:
    """List runs, newest first.

    Examples
    --------
    $ pear runs list --data pear-data
    $ pear runs list --status failed --data pear-data
    """
    with open_catalog(data) as (folder, catalog):
        runs = catalog.runs.page(status=status, limit=limit).items
    if as_json:
        emit_json([resource(folder, run) for run in runs])
        return
    rows = [
        (r.id, r.status, to_iso(r.init_time)[:13], f"{r.progress.step}/{r.progress.total}", r.model)
        for r in runs
    ]
    emit_table(("run", "status", "init time", "steps", "model"), rows)  # fits 80 columns


@app.command("show")
def show(run: RunReference, *, data: Data, as_json: Json = False) -> None:
    """Show everything about one run.

    Examples
    --------
    $ pear runs show latest --data pear-data
    $ pear runs show 3f2a --data pear-data --json
    """
    with open_catalog(data) as (folder, catalog):
        chosen = catalog.runs.resolve(run)
        found, notes = resource(folder, chosen), notes_of(folder, chosen)
    if as_json:
        emit_json(found)
        return
    for key, value in found.items():
        shown = "; ".join(notes) if key == "notes" else value
        if key == "counterfactual":
            shown = "; ".join(describe_counterfactual(folder, chosen))
        emit_line(f"{key:>12}  {'-' if shown in (None, '') else shown}")


@app.command("log")
def log(run: RunReference, *, data: Data, as_json: Json = False) -> None:
    """Show the event log of a run, oldest event first.

    Examples
    --------
    $ pear runs log latest --data pear-data
    $ pear runs log 3f2a --data pear-data --json
    """
    with open_catalog(data) as (_, catalog):
        events = catalog.runs.events(catalog.runs.resolve(run).id)
    if as_json:
        fields = ("level", "message", "details")
        emit_json([{"at": e.at.isoformat(), **{f: getattr(e, f) for f in fields}} for e in events])
        return
    for event in events:
        details = " ".join(f"{key}={value}" for key, value in event.details.items())
        line = f"{event.at:%Y-%m-%d %H:%M:%S} {event.level:7} {event.message} {details}"
        emit_line(line.rstrip())


@app.command("cancel")
def cancel(run: RunReference, *, data: Data, as_json: Json = False) -> None:
    """Cancel a queued run at once, a running one before its next step.

    Examples
    --------
    $ pear runs cancel 3f2a --data pear-data
    $ pear runs cancel 3f2a --data pear-data --json
    """
    with open_catalog(data) as (folder, catalog):
        job = catalog.runs.cancel(catalog.runs.resolve(run).id)
    if as_json:
        emit_json(resource(folder, job))
        return
    console.print(job.id, "stops before its next step" if job.status.is_active else job.status)


@app.command("export")
def export_run(
    run: RunReference,
    *,
    data: Data,
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="FILE", help="A new file: .nc, .grib2 or .zarr.zip."
        ),
    ],
    variables: Annotated[
        str | None, typer.Option(metavar="LIST", help="Such as t2m,z500; default: all.")
    ] = None,
    lead_times: Annotated[
        str | None, typer.Option(metavar="LIST", help="Hours, such as 24,48; default: all.")
    ] = None,
    grid: Annotated[
        str, typer.Option(metavar="GRID", help="healpix, or latlon:1.5 for degrees.")
    ] = "healpix",
    bbox: Annotated[
        str | None, typer.Option(metavar="W,S,E,N", help="Region, degrees; default: the globe.")
    ] = None,
    statistic: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Of an ensemble: spread, q90, p00, m03; default: mean."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a run, or part of it, as one file: NetCDF, GRIB 2 or zipped Zarr, by its ending.

    Examples
    --------
    $ pear runs export latest -o run.grib2 --data pear-data
    $ pear runs export latest -o europe.nc --grid latlon:1 --bbox=-20,30,40,70 --data pear-data
    """
    format_ = format_of(output)
    with open_catalog(data) as (folder, catalog):
        chosen = catalog.runs.resolve(run)
    name = chosen.id if statistic is None else f"{chosen.id}.{statistic}"
    store = ForecastStore.open(name, folder.forecast(name))
    selection = Selection.from_request(store, variables, lead_times, grid, bbox)
    selection.require(format_)
    hidden = output.with_name(f".{output.name}.part")
    try:
        write(extract(store, selection, chosen.model), hidden, format_)
        hidden.replace(output)
    finally:
        hidden.unlink(missing_ok=True)
    if as_json:
        emit_json({"run": name, "file": str(output), "bytes": output.stat().st_size})
        return
    console.print(f"{output} {output.stat().st_size} bytes", soft_wrap=True, highlight=False)


def format_of(file: Path) -> Format:
    """Return the format of a file to write, by its ending."""
    endings: dict[str, Format] = {
        ".nc": "netcdf",
        ".grib2": "grib",
        ".grb2": "grib",
        ".grib": "grib",
        ".zip": "zarr-zip",
    }
    if file.suffix not in endings:
        raise InputError(
            f"{file} has no ending of a format that PEAR writes",
            field="output",
            hint=f"use one of {', '.join(endings)}",
        )
    if not file.parent.is_dir():
        raise InputError(f"{file.parent} is not a folder", field="output")
    return endings[file.suffix]


@app.command("rm")
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

    Examples
    --------
    $ pear runs rm 3f2a 77c1 --data pear-data
    $ pear runs rm latest --data pear-data
    """
    with open_catalog(data) as (folder, catalog):
        chosen = [catalog.runs.resolve(run) for run in runs]  # all of them, before the first goes
        for run in chosen:
            remove_run(folder, catalog, run.id)
            console.print(f"{run.id} removed")
    if as_json:
        emit_json({"removed": [run.id for run in chosen]})


def resource(folder: DataFolder, run: Run) -> dict[str, object]:
    """Describe a run as JSON; ``store`` is the path of its store once it has succeeded."""
    moments = {name: getattr(run, name) for name in _MOMENTS}
    progress = ("step", "total", "fraction", "eta_seconds", "seconds_per_step")
    return {
        "id": run.id,
        "status": run.status,
        "init_time": to_iso(run.init_time),
        "lead_hours": run.lead_hours,
        "store": str(folder.forecast(run.id)) if run.status == "succeeded" else None,
        "model": run.model,
        "options": dict(run.options),
        "progress": {name: getattr(run.progress, name) for name in progress},
        "attempts": run.attempts,
        "reason": run.reason,
        "notes": list(notes_of(folder, run)),
        "counterfactual": counterfactual_of(folder, run),
        **{name: moment and moment.isoformat() for name, moment in moments.items()},
    }


def open_folder(data: Path) -> DataFolder:
    """Open a data folder, and take over what other hosts have shared, if there are shared stores.

    Returns
    -------
    DataFolder
        The folder; a warning says if the server of shared stores does not respond.
    """
    if os.environ.get(VARIABLE) and not data.exists():
        DataFolder.create(data)
    folder = DataFolder.open(data)
    try:
        fetch_inputs(folder, everything=True)
    except OSError as error:
        console.print(f"only what is on this disk is known: {error}", highlight=False)
    return folder


@contextmanager
def open_catalog(data: Path) -> Iterator[tuple[DataFolder, Catalog]]:
    """Open a data folder and its catalog for the duration of the block."""
    folder = open_folder(data)
    with rebuild.open_catalog(folder) as catalog:
        yield folder, catalog
