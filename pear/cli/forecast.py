"""``pear forecast``: one forecast or a hundred, each computed once, resumed where it stopped."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pear.cli.common import console, emit_json, parse_hours, parse_times, progress
from pear.errors import InputError

if TYPE_CHECKING:
    from pipelines.catalog import Job
    from pipelines.datafolder import DataFolder
    from pipelines.execute import Engine


def register(app: typer.Typer) -> None:
    """Add the verb to the command."""
    app.command("forecast")(forecast)


def forecast(
    data: Annotated[Path, typer.Option("--data", help="Data folder.")],
    init: Annotated[
        str, typer.Option(help="Init time, a comma list, or a range as A..B/1d (UTC).")
    ],
    lead: Annotated[str, typer.Option(help="Length, as 10d or 240h.")] = "10d",
    model: Annotated[str | None, typer.Option(help="Model id or name; the newest.")] = None,
    analysis: Annotated[
        str | None, typer.Option(help="Analysis with the initial states; the first that has them.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Worker processes.")] = 1,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads per worker.")] = None,
    scheduler: Annotated[
        str | None, typer.Option(help="Address of a dask scheduler to use instead.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The runs as JSON on stdout.")] = False,
) -> None:
    """Forecast from states of the data folder; what exists already is not computed again."""
    import os

    from pipelines.datafolder import DataFolder
    from pipelines.execute import Engine

    times, hours = parse_times(init), parse_hours(lead)
    folder = DataFolder.open(data)
    cores = threads or max(1, (os.cpu_count() or 1) // workers)
    engine = Engine(
        folder, workers=workers, threads=cores, scheduler=scheduler, max_queue=None, adopt=False
    )
    try:
        asked = engine.request_forecasts(times, hours, model=model, analysis=analysis)
        runs: list[Job] = [run for run, _ in asked]
        if any(run.active for run in runs):
            engine.start()
            runs = watch(engine, runs)
    finally:
        engine.close()
    _report(folder, runs, as_json)


def watch(engine: Engine, runs: Sequence[Job]) -> list[Job]:
    """Show a bar over the steps of all runs until the last has ended."""
    seen = {run.id: 0 for run in runs}
    with progress("forecast", sum(run.progress.total for run in runs)) as tick:

        def moved(run: Job) -> None:
            ahead = run.progress.step - seen[run.id]
            seen[run.id] = run.progress.step
            tick(ahead, f"{run.id} {run.status}")

        return engine.wait([run.id for run in runs], watch=moved)


def _report(folder: DataFolder, runs: Sequence[Job], as_json: bool) -> None:
    from pear.cli.runs import resource

    for run in runs:
        where = folder.forecast(run.id) if run.status == "succeeded" else run.reason or ""
        console.print(f"{run.id} {run.status} {where}", soft_wrap=True, highlight=False)
    if as_json:
        emit_json({"runs": [resource(folder, run) for run in runs]})
    failed = [run for run in runs if run.status != "succeeded"]
    if not failed:
        return
    reason = f"{len(failed)} of {len(runs)} runs did not succeed: {failed[0].reason}"
    if failed[0].error_kind == "InputError":
        raise InputError(reason)
    raise OSError(reason)
