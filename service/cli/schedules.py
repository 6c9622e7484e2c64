"""``pear schedule``: ingest, forecast, evaluate and expire by cron."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pear.errors import InputError
from service.cli.console import console, emit_json, emit_table, interruptible
from service.cli.options import DURATION, Data, Duration, Json, Model, Scheduler, Workers, examples
from service.cli.runs import open_catalog

if TYPE_CHECKING:
    from pipelines.catalog import Schedule
    from pipelines.engine.engine import Engine
    from pipelines.schedules import ActionResult
    from pipelines.storage.data_folder import DataFolder

Name = Annotated[str, typer.Argument(help="Name of the schedule.")]

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Ingest, forecast, evaluate and expire by cron.",
)
_ingest, _forecast, _evaluate, _expire = (
    partial(typer.Option, rich_help_panel=name)
    for name in ("Ingest", "Forecast", "Evaluate", "Expire")
)


@app.command(
    "add",
    epilog=examples(
        "pear schedule add daily --cron '30 6 * * *' --forecast 10d --data DATA",
        "pear schedule add all --cron '0 * * * *' --ingest incoming --analysis era5 \\",
        "    --forecast 10d --evaluate 10d --keep-days 30 --data DATA",
    ),
)
def add(
    name: Name,
    *,
    data: Data,
    cron: Annotated[
        str, typer.Option(metavar="LINE", help="Five cron fields in UTC, e.g. '30 6 * * *'.")
    ],
    analysis: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Analysis to ingest into, forecast and verify from."),
    ] = None,
    model: Model = None,
    as_json: Json = False,
    ingest: Annotated[
        list[str] | None,
        _ingest(
            metavar="SOURCE",
            help="Ingest what is new in this folder or source; repeat for several.",
        ),
    ] = None,
    nside: Annotated[int | None, _ingest(metavar="N", help="Resolution of a new analysis.")] = None,
    forecast: Annotated[
        Duration | None,
        _forecast(
            parser=DURATION, metavar="DURATION", help="Forecast this far from the newest analyses."
        ),
    ] = None,
    newest: Annotated[
        int, _forecast(min=1, metavar="N", help="Least number of newest init times to forecast.")
    ] = 1,
    step: Annotated[
        Duration,
        _forecast(
            parser=DURATION, metavar="DURATION", help="Only init times at multiples of this."
        ),
    ] = Duration(24),  # noqa: B008 - immutable
    options: Annotated[
        str | None, _forecast(metavar="JSON", help="Forecast options, e.g. '{\"members\": 10}'.")
    ] = None,
    evaluate: Annotated[
        Duration | None,
        _evaluate(
            parser=DURATION,
            metavar="DURATION",
            help="Evaluate this far whatever can be verified by now.",
        ),
    ] = None,
    keep_days: Annotated[
        float | None, _expire(min=0, metavar="N", help="Remove runs older than N days.")
    ] = None,
    keep_latest: Annotated[
        int, _expire(min=0, metavar="N", help="Number of newest runs to keep at any age.")
    ] = 10,
) -> None:
    """Add a schedule, or replace the one of this name."""
    from pipelines.schedules import parse_cron, validate_action

    action: dict[str, object] = {}
    if ingest:
        if analysis is None:
            raise InputError("--ingest needs --analysis", field="--analysis")
        sources = [source if "://" in source else str(Path(source).resolve()) for source in ingest]
        action["ingest"] = {"sources": sources, "store": analysis, "nside": nside}
    which = {"model": model, "analysis": analysis}
    if forecast is not None:
        action["forecast"] = {
            **which,
            "lead_hours": forecast.hours,
            "newest": newest,
            "every_hours": step.hours,
            "options": _json(options),
        }
    if evaluate is not None:
        action["evaluate"] = {**which, "lead_hours": evaluate.hours}
    if keep_days is not None:
        action["expire"] = {"keep_days": keep_days, "keep_latest": keep_latest}
    parse_cron(cron)
    with open_catalog(data) as (folder, catalog):
        folder.analysis(name)  # refuses an invalid name
        _show(
            [catalog.schedules.add(name, cron, validate_action(action).to_dict())], as_json=as_json
        )


@app.command(
    "list",
    epilog=examples(
        "pear schedule list --data pear-data", "pear schedule list --data pear-data --json"
    ),
)
def list_schedules(*, data: Data, as_json: Json = False) -> None:
    """List schedules with their last outcome and next time."""
    with open_catalog(data) as (_, catalog):
        _show(catalog.schedules.all(), as_json=as_json)


@app.command(
    "pause",
    epilog=examples(
        "pear schedule pause daily --data pear-data",
        "pear schedule pause daily --resume --data pear-data",
    ),
)
def pause(
    name: Name,
    *,
    data: Data,
    resume: Annotated[bool, typer.Option("--resume", help="Resume it instead.")] = False,
    as_json: Json = False,
) -> None:
    """Pause a schedule, or resume it."""
    with open_catalog(data) as (_, catalog):
        _show([catalog.schedules.set_paused(name, paused=not resume)], as_json=as_json)


@app.command(
    "remove",
    epilog=examples(
        "pear schedule remove daily --data pear-data",
        "PEAR_DATA=pear-data pear schedule remove daily",
    ),
)
def remove(name: Name, *, data: Data) -> None:
    """Remove a schedule; its runs and analyses stay."""
    with open_catalog(data) as (_, catalog):
        catalog.schedules.remove(name)
    console.print(f"{name} removed")


@app.command(
    "run",
    epilog=examples(
        "pear schedule run --data pear-data", "pear schedule run daily --once --data pear-data"
    ),
)
def run(
    name: Annotated[
        str | None, typer.Argument(help="Schedule to run with --once (default: all, by cron).")
    ] = None,
    *,
    data: Data,
    once: Annotated[
        bool, typer.Option("--once", help="Run it now, wait for its jobs, and exit.")
    ] = False,
    workers: Workers = 1,
    scheduler: Scheduler = None,
    as_json: Json = False,
) -> None:
    """Run all schedules by cron until interrupted, or one of them now."""
    from pipelines.engine.engine import Engine, EngineConfig
    from pipelines.storage.data_folder import DataFolder

    folder = DataFolder.open(data)
    if once and name is None:
        raise InputError("--once needs the name of a schedule", field="NAME")
    if name is not None and not once:
        raise InputError(
            f"all schedules run by cron, not {name} alone",
            field="--once",
            hint=f"run `pear schedule run {name} --once` to run it now",
        )
    config = EngineConfig(
        workers=workers,
        scheduler=scheduler,
        max_queue=None,
        recover_orphans=name is None,
        run_schedules=name is None,
    )
    with (
        interruptible("completed steps are kept; run the same command again to continue"),
        Engine(folder, config) as engine,
    ):
        if name is None:
            engine.ready(60)
            console.print("running schedules; stop with Ctrl-C")
            engine.run_forever()
        else:
            _run_once(engine, folder, name, as_json=as_json)


def _run_once(engine: Engine, folder: DataFolder, name: str, *, as_json: bool) -> None:
    """Run a schedule now and wait for its jobs and for unfinished earlier ones."""
    from pipelines.schedules import Scheduler

    done: ActionResult = Scheduler(folder, engine.catalog).run(name)
    console.print(f"{name}: {done.summary}")
    owed = engine.recover()
    ended = {job.id: job.status for job in engine.wait(owed)}
    if as_json:
        emit_json(
            {
                "schedule": name,
                "ingested": done.ingested,
                "runs": done.runs,
                "evaluations": done.evaluations,
                "expired": done.expired,
                "jobs": ended,
            }
        )
    bad = [job_id for job_id, status in ended.items() if status == "failed"]
    if bad:
        raise OSError(f"{len(bad)} of {len(ended)} jobs failed, first {bad[0]}")


def _show(schedules: list[Schedule], *, as_json: bool) -> None:
    found = [_resource(schedule) for schedule in schedules]
    if as_json:
        emit_json(found)
        return
    emit_table(
        ("name", "cron", "parts", "next", "last"),
        [
            (
                schedule.name,
                schedule.cron,
                "+".join(schedule.action),
                "paused" if schedule.paused else str(resource["next_run_at"] or "-")[:16],
                " ".join(filter(None, (schedule.last_status, schedule.last_reason))) or "never run",
            )
            for schedule, resource in zip(schedules, found, strict=True)
        ],
    )


def _resource(schedule: Schedule) -> dict[str, object]:
    from datetime import UTC, datetime

    from pipelines.schedules import next_due

    coming = None if schedule.paused else next_due(schedule.cron, datetime.now(UTC))
    return {
        "name": schedule.name,
        "cron": schedule.cron,
        "action": dict(schedule.action),
        "paused": schedule.paused,
        "next_run_at": coming and coming.isoformat(),
        "last_run_at": schedule.last_run_at and schedule.last_run_at.isoformat(),
        "last_status": schedule.last_status,
        "last_reason": schedule.last_reason,
    }


def _json(text: str | None) -> dict[str, object]:
    try:
        found = json.loads(text or "{}")
    except ValueError as error:
        raise InputError(f"--options {text!r} is not JSON: {error}", field="--options") from error
    if not isinstance(found, dict):
        raise InputError(f"--options {text!r} is not a JSON object", field="--options")
    return found
