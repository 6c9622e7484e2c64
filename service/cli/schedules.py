"""``pear schedule``: what is to happen again and again, and doing it once by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pear.errors import InputError
from service.cli.console import console, emit_json
from service.cli.options import parse_duration

if TYPE_CHECKING:
    from pipelines.catalog import Catalog, Schedule
    from pipelines.schedules import ActionResult
    from pipelines.storage.data_folder import DataFolder

Data = Annotated[Path, typer.Option("--data", help="Data folder.")]
Json = Annotated[bool, typer.Option("--json", help="JSON on stdout.")]
Name = Annotated[str, typer.Argument(help="Name of the schedule.")]

verbs = typer.Typer(
    no_args_is_help=True, help="Ingest, forecast, evaluate and clear away by the clock."
)


def register(app: typer.Typer) -> None:
    """Add the verbs to the command."""
    app.add_typer(verbs, name="schedule")


@verbs.command("add")
def add(
    data: Data,
    name: Name,
    cron: Annotated[str, typer.Option(help="Five fields in UTC, as '30 6 * * *'.")],
    ingest: Annotated[
        list[str] | None, typer.Option(help="Bring in what is new in this folder or source.")
    ] = None,
    store: Annotated[str | None, typer.Option(help="Analysis that it goes to.")] = None,
    nside: Annotated[int | None, typer.Option(help="Resolution of a new analysis.")] = None,
    forecast: Annotated[
        str | None, typer.Option(help="Forecast so far, as 10d, from the newest states.")
    ] = None,
    newest: Annotated[int, typer.Option(min=1, help="Newest init times wanted at least.")] = 1,
    every: Annotated[str, typer.Option(help="Only init times at multiples of this.")] = "24h",
    model: Annotated[str | None, typer.Option(help="Model; the newest if left out.")] = None,
    analysis: Annotated[str | None, typer.Option(help="Analysis; the first that fits.")] = None,
    options: Annotated[
        str | None, typer.Option(help="Options of the forecasts as JSON, as '{\"members\": 10}'.")
    ] = None,
    evaluate: Annotated[
        str | None, typer.Option(help="Evaluate so far, as 10d, what can be verified by now.")
    ] = None,
    expire_days: Annotated[
        float | None, typer.Option(min=0, help="Remove runs older than so many days.")
    ] = None,
    keep_latest: Annotated[int, typer.Option(min=0, help="Newest runs kept at any age.")] = 10,
    as_json: Json = False,
) -> None:
    """Add a schedule, or change the one of this name."""
    action: dict[str, Any] = {}
    if ingest:
        if store is None:
            raise InputError("--ingest needs --store", field="--store")
        where = [source if "://" in source else str(Path(source).resolve()) for source in ingest]
        action["ingest"] = {"sources": where, "store": store, "nside": nside}
    which = {"model": model, "analysis": analysis or store}
    if forecast is not None:
        action["forecast"] = {
            **which,
            "lead_hours": parse_duration(forecast).hours,
            "newest": newest,
            "every_hours": parse_duration(every).hours,
            "options": _json(options),
        }
    if evaluate is not None:
        action["evaluate"] = {**which, "lead_hours": parse_duration(evaluate).hours}
    if expire_days is not None:
        action["expire"] = {"keep_days": expire_days, "keep_latest": keep_latest}
    from pipelines.schedules import trigger, validate_action

    trigger(cron)
    folder, catalog = _open(data)
    folder.analysis(name)  # refuses what is no name
    with catalog:
        _show([catalog.schedules.add(name, cron, validate_action(action).to_dict())], as_json)


@verbs.command("list")
def list_schedules(data: Data, as_json: Json = False) -> None:
    """List schedules, with what their last fire came to and when the next is due."""
    _, catalog = _open(data)
    with catalog:
        _show(catalog.schedules.all(), as_json)


@verbs.command("pause")
def pause(
    data: Data,
    name: Name,
    resume: Annotated[bool, typer.Option("--resume", help="Let it fire again.")] = False,
    as_json: Json = False,
) -> None:
    """Stop a schedule from firing, or let it fire again."""
    _, catalog = _open(data)
    with catalog:
        _show([catalog.schedules.set_paused(name, paused=not resume)], as_json)


@verbs.command("remove")
def remove(data: Data, name: Name) -> None:
    """Forget a schedule; what it has made stays."""
    _, catalog = _open(data)
    with catalog:
        catalog.schedules.remove(name)
    console.print(f"{name} removed")


@verbs.command("run")
def run(
    data: Data,
    name: Annotated[str | None, typer.Argument(help="Schedule; all, by the clock.")] = None,
    once: Annotated[
        bool, typer.Option("--once", help="Do it now, wait until its jobs have ended, leave.")
    ] = False,
    workers: Annotated[int, typer.Option(min=1, help="Worker processes.")] = 1,
    scheduler: Annotated[
        str | None, typer.Option(help="Address of a dask scheduler to use instead.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Run schedules: one now (--once), or all of them by the clock until interrupted."""
    from pipelines.engine.engine import Engine

    folder, catalog = _open(data)
    catalog.close()
    if once and name is None:
        raise InputError("--once needs the name of a schedule", field="NAME")
    if name is not None and not once:
        raise InputError(
            f"by the clock all schedules run, not {name} alone",
            field="--once",
            hint=f"write `pear schedule run {name} --once` to do it now",
        )
    with Engine(
        folder,
        workers=workers,
        scheduler=scheduler,
        max_queue=None,
        adopt=name is None,
        schedules=name is None,
    ) as engine:
        if name is None:
            engine.ready(60)
            console.print("firing schedules; stop with Ctrl-C")
            engine.sleep()
        else:
            _once(engine, folder, name, as_json)


def _once(engine: Any, folder: DataFolder, name: str, as_json: bool) -> None:
    """Do a schedule now; jobs that an earlier attempt left behind are seen through as well."""
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


def _show(schedules: list[Schedule], as_json: bool) -> None:
    found = [_resource(schedule) for schedule in schedules]
    if as_json:
        emit_json(found)
        return
    from pipelines.schedules.actions import PARTS

    for schedule in found:
        state = "paused" if schedule["paused"] else f"next {schedule['next_fire']}"
        parts = "+".join(part for part in PARTS if part in schedule["action"])
        last = f"last {schedule['last_fire']} {schedule['last_status']} {schedule['last_reason']}"
        line = f"{schedule['name']}  {schedule['cron']}  {parts}  {state}"
        console.print(f"{line}  {last if schedule['last_fire'] else 'never fired'}", soft_wrap=True)


def _resource(schedule: Schedule) -> dict[str, Any]:
    from datetime import UTC, datetime

    from pipelines.schedules import following

    coming = None if schedule.paused else following(schedule.cron, datetime.now(UTC))
    return {
        "name": schedule.name,
        "cron": schedule.cron,
        "action": dict(schedule.action),
        "paused": schedule.paused,
        "next_fire": coming and coming.isoformat(),
        "last_fire": schedule.last_run_at and schedule.last_run_at.isoformat(),
        "last_status": schedule.last_status,
        "last_reason": schedule.last_reason,
    }


def _json(text: str | None) -> dict[str, Any]:
    try:
        found = json.loads(text or "{}")
    except ValueError as error:
        raise InputError(f"--options {text!r} is no JSON: {error}", field="--options") from error
    if not isinstance(found, dict):
        raise InputError(f"--options {text!r} is no JSON object", field="--options")
    return found


def _open(data: Path) -> tuple[DataFolder, Catalog]:
    from pipelines.catalog import Catalog
    from pipelines.storage.data_folder import DataFolder

    folder = DataFolder.open(data)
    return folder, Catalog(folder.catalog_url)
