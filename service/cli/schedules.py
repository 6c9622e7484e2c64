"""``pear schedule``: ingest, forecast, evaluate and expire by cron."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from pear.errors import InputError
from pipelines.catalog import Schedule
from pipelines.engine.engine import Engine, EngineConfig
from pipelines.publishing.destinations import resolve_destination
from pipelines.schedules import Scheduler as ScheduleRunner
from pipelines.schedules import add_schedule, next_run
from pipelines.storage.data_folder import DataFolder
from service.cli import options as opt
from service.cli.console import console, emit_json, emit_records, interruptible
from service.cli.models import model_id
from service.cli.runs import open_catalog

Name = Annotated[str, typer.Argument(help="Name of the schedule.")]
_DAY = opt.Duration(24)
_ingest, _forecast, _expire = (
    partial(typer.Option, rich_help_panel=name) for name in ("Ingest", "Forecast", "Expire")
)

app = typer.Typer(add_completion=False, no_args_is_help=True)


@app.command("add")
def add(
    name: Name,
    *,
    data: opt.Data,
    cron: Annotated[
        str,
        typer.Option(metavar="LINE", help="Five cron fields in UTC, e.g. '30 6 * * *', or @daily."),
    ],
    model: opt.Model = None,
    analysis: opt.Analysis = None,
    as_json: opt.Json = False,
    ingest: Annotated[
        list[str] | None,
        _ingest(metavar="SOURCE", help="Ingest what is new in this folder; repeat for several."),
    ] = None,
    fetch: Annotated[
        Literal["ifs", "aifs", "gfs", "era5", "arco", "wb2"] | None,
        _ingest(metavar="SOURCE", help="Fetch the newest analysis: ifs, gfs, era5, arco, …"),
    ] = None,
    also: Annotated[
        opt.CommaList | None,
        _ingest(
            parser=opt.LIST,
            metavar="LIST",
            help="Variables to fetch beside the nine of PEAR, e.g. d2m,tp06.",
        ),
    ] = None,
    nside: Annotated[int | None, _ingest(metavar="N", help="Resolution of a new analysis.")] = None,
    forecast: Annotated[
        opt.Duration | None,
        opt.duration_option(
            rich_help_panel="Forecast", help="Forecast this far from the newest analyses."
        ),
    ] = None,
    newest: Annotated[
        int, opt.count_option(rich_help_panel="Forecast", help="Number of newest init times.")
    ] = 1,
    step: Annotated[
        opt.Duration,
        opt.duration_option(
            rich_help_panel="Forecast", help="Only init times at multiples of this interval."
        ),
    ] = _DAY,
    options: Annotated[
        str | None, _forecast(metavar="JSON", help="Forecast options, e.g. '{\"members\": 10}'.")
    ] = None,
    evaluate: Annotated[
        opt.Duration | None,
        opt.duration_option(
            rich_help_panel="Evaluate", help="Evaluate forecasts of this length once verifiable."
        ),
    ] = None,
    publish: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Publish the newest finished runs there, e.g. s3://bucket/prefix, or a name.",
            rich_help_panel="Publish",
        ),
    ] = None,
    keep_days: Annotated[
        float | None, _expire(min=0, metavar="N", help="Remove runs older than N days.")
    ] = None,
    keep_latest: Annotated[
        int, _expire(min=0, metavar="N", help="Number of newest runs to keep at any age.")
    ] = 10,
) -> None:
    r"""Add a schedule, or replace the one of this name.

    Examples
    --------
    $ pear schedule add daily --cron '30 6 * * *' --forecast 10d --data DATA
    $ pear schedule add today --cron '30 8 * * *' --fetch ifs --forecast 10d --data DATA
    $ pear schedule add out --cron '0 10 * * *' --publish s3://bucket/pear --data DATA
    $ pear schedule add all --cron '0 * * * *' --ingest incoming --analysis era5 \
        --forecast 10d --evaluate 10d --keep-days 30 --data DATA
    """
    action: dict[str, object] = {}
    if fetch:
        analysis = analysis or fetch
        hours = step.hours if step.hours in (6, 12) else 24
        action["fetch"] = {
            "source": fetch,
            "store": analysis,
            "every_hours": hours,
            "nside": nside,
            "also": list(also or ()),
        }
    elif also:
        raise InputError("--also needs --fetch", field="--also")
    if ingest:
        if analysis is None:
            raise InputError("--ingest needs --analysis", field="--analysis")
        sources = [source if "://" in source else str(Path(source).resolve()) for source in ingest]
        action["ingest"] = {"sources": sources, "store": analysis, "nside": nside}
    with open_catalog(data) as (folder, catalog):
        which = {"model": model_id(folder, model), "analysis": analysis}
        if forecast is not None:
            action["forecast"] = {
                **which,
                "lead_hours": forecast.hours,
                "newest": newest,
                "every_hours": step.hours,
                "options": opt.parse_json(options or "{}", "--options"),
            }
        if evaluate is not None:
            action["evaluate"] = {**which, "lead_hours": evaluate.hours}
        if publish is not None:
            resolve_destination(publish)  # a wrong name is refused now
            action["publish"] = {"to": publish, "newest": newest}
        if keep_days is not None:
            action["expire"] = {"keep_days": keep_days, "keep_latest": keep_latest}
        _emit([add_schedule(folder, catalog, name, cron, action)], as_json=as_json)


@app.command("list")
def list_schedules(*, data: opt.Data, as_json: opt.Json = False) -> None:
    """List schedules with their last outcome and next time.

    Examples
    --------
    $ pear schedule list --data pear-data
    $ pear schedule list --data pear-data --json
    """
    with open_catalog(data) as (_, catalog):
        _emit(catalog.schedules.all(), as_json=as_json)


@app.command("pause")
def pause(
    name: Name,
    *,
    data: opt.Data,
    resume: Annotated[bool, typer.Option("--resume", help="Resume it instead.")] = False,
    as_json: opt.Json = False,
) -> None:
    """Pause a schedule, or resume it.

    Examples
    --------
    $ pear schedule pause daily --data pear-data
    $ pear schedule pause daily --resume --data pear-data
    """
    with open_catalog(data) as (_, catalog):
        _emit([catalog.schedules.set_paused(name, paused=not resume)], as_json=as_json)


@app.command("remove")
def remove(name: Name, *, data: opt.Data) -> None:
    """Remove a schedule; its runs and analyses stay.

    Examples
    --------
    $ pear schedule remove daily --data pear-data
    $ PEAR_DATA=pear-data pear schedule remove daily
    """
    with open_catalog(data) as (_, catalog):
        catalog.schedules.remove(name)
    console.print(f"{name} removed")


@app.command("run")
def run(
    name: Annotated[
        str | None, typer.Argument(help="Schedule to run with --once (default: all, by cron).")
    ] = None,
    *,
    data: opt.Data,
    once: Annotated[
        bool, typer.Option("--once", help="Run it now, wait for its jobs, and exit.")
    ] = False,
    workers: opt.Workers = 1,
    scheduler: opt.Scheduler = None,
    as_json: opt.Json = False,
) -> None:
    """Run all schedules by cron until interrupted, or one of them now.

    Examples
    --------
    $ pear schedule run --data pear-data
    $ pear schedule run daily --once --data pear-data
    """
    folder = DataFolder.open(data)
    if once and name is None:
        raise InputError("--once needs the name of a schedule", field="NAME")
    if name is not None and not once:
        raise InputError(
            f"all schedules run by cron, not {name} alone",
            field="--once",
            hint=f"run `pear schedule run {name} --once` to run it now",
        )
    if name is not None:
        with open_catalog(data) as (_, catalog):
            catalog.schedules.get(name)  # a wrong name is refused before any worker starts
    config = EngineConfig(
        workers=workers,
        scheduler=scheduler,
        max_queue=None,
        recover_orphans=name is None,
        run_schedules=name is None,
    )
    kept = "completed steps are kept; run the same command again to continue"
    with interruptible(kept), Engine(folder, config) as engine:
        if name is None:
            engine.ready(60)
            console.print("running schedules; stop with Ctrl-C")
            engine.run_forever()
        else:
            _run_once(engine, folder, name, as_json=as_json)


def _run_once(engine: Engine, folder: DataFolder, name: str, *, as_json: bool) -> None:
    """Run a schedule now and wait for its jobs and for unfinished earlier ones."""
    done = ScheduleRunner(folder, engine.catalog).run(name)
    console.print(f"{name}: {done.summary}")
    ended = {job.id: job.status for job in engine.wait(engine.recover())}
    if as_json:
        parts = ("ingested", "runs", "evaluations", "published", "expired")
        emit_json({"schedule": name, **{p: getattr(done, p) for p in parts}, "jobs": ended})
    bad = [job_id for job_id, status in ended.items() if status == "failed"]
    if bad:
        raise OSError(f"{len(bad)} of {len(ended)} jobs failed, first {bad[0]}")


def _emit(schedules: list[Schedule], *, as_json: bool) -> None:
    records = [_resource(schedule) for schedule in schedules]
    columns = {name: name for name in ("name", "cron", "parts", "next", "last")}
    if not as_json:
        for row, one in zip(records, schedules, strict=True):
            row["parts"] = "+".join(one.action)
            row["next"] = "paused" if one.paused else str(row["next_run_at"] or "-")[:16]
            outcome = filter(None, (one.last_status, one.last_reason))
            row["last"] = " ".join(outcome) or "never run"
    emit_records(records, columns, as_json=as_json)


def _resource(schedule: Schedule) -> dict[str, object]:
    due = next_run(schedule, datetime.now(UTC))
    return {
        "name": schedule.name,
        "cron": schedule.cron,
        "action": dict(schedule.action),
        "paused": schedule.paused,
        "next_run_at": due and due.isoformat(),
        "last_run_at": schedule.last_run_at and schedule.last_run_at.isoformat(),
        "last_status": schedule.last_status,
        "last_reason": schedule.last_reason,
    }
