"""``pear bench ablation``: which of PEAR's choices pay, at equal time and at equal parameters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from pear.errors import InputError
from service.cli import studies as options
from service.cli.bench import bench
from service.cli.console import console, emit_json, progress

if TYPE_CHECKING:
    from pipelines.studies.ablation_report import Row


def register(_app: typer.Typer) -> None:
    """Add the verb to ``pear bench``."""
    bench.command("ablation")(ablation)


def ablation(
    store: options.StoreOption,
    climatology: options.ClimatologyOption,
    out: options.OutOption,
    period: options.PeriodOption = "2000-01-01..2004-12-31",
    test: options.TestOption = "2006-01-01..2006-12-20",
    every: options.EveryOption = 5,
    days: options.DaysOption = 7,
    minutes: options.MinutesOption = 5.0,
    seeds: options.SeedsOption = "0,1,2",
    arms: Annotated[str | None, typer.Option(help="Arms, as c4h,patch4; all if left out.")] = None,
    axes: Annotated[str, typer.Option(help="time, parameters, or both.")] = "time,parameters",
    embed: options.EmbedOption = 128,
    only_plan: options.PlanOption = False,
    as_json: options.JsonOption = False,
) -> None:
    """Train every arm with every seed; write ablation.csv and ablation.png with intervals.

    Run the same command several times at once, with OMP_NUM_THREADS=1, to use several cores.
    """
    from pear.device import keep_memory
    from pipelines.studies import ablation as rooms
    from pipelines.studies.ablation_report import rows, write
    from pipelines.studies.study import seconds_left, share

    keep_memory()
    common = options.settings(store, climatology, period, test, every, days, minutes, seeds, embed)
    study = rooms.Ablation(**common, arms=tuple(arms.split(",")) if arms else tuple(rooms.ARMS))
    chosen = tuple(axes.split(","))
    if not set(chosen) <= set(rooms.AXES):
        raise InputError(f"--axes {axes!r} is unknown", field="--axes", hint="time,parameters")
    plan = rooms.plan_of(study, out)
    jobs = rooms.jobs_of(study, out, plan, chosen)
    options.announce(sum(not job.done for job in jobs), seconds_left(jobs), plan["threads"])
    if not only_plan:
        with progress("ablation", len(jobs)) as tick:
            share(jobs, out, tick)
    found = rows(study, out, plan)
    if found:
        write(found, out)
        console.print(_table(found), f"all fields and days: {out}/ablation.csv and .png")
    if as_json:
        emit_json({"plan": plan, "rows": [asdict(row) for row in found]})


def _table(found: Sequence[Row]) -> Table:
    """The z500 anomaly correlation of every arm: value, difference to the base, interval."""
    table = Table(title="z500 ACC and difference to the base [95 %]", title_justify="left")
    days = sorted({row.day for row in found})
    for heading in ("at equal", "arm", "parameters", "steps", *(f"day {day}" for day in days)):
        table.add_column(heading)
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in found:
        if (row.field, row.score) == ("z500", "acc"):
            groups.setdefault((row.axis, row.arm), []).append(row)
    for (axis, arm), many in groups.items():
        cells = [
            f"{row.value:.3f} {row.difference:+.3f} [{row.low:+.3f}, {row.high:+.3f}]"
            + ("*" if row.decided else "")
            for row in sorted(many, key=lambda row: row.day)
        ]
        table.add_row(axis, arm, f"{many[0].parameters:,}", str(many[0].steps), *cells)
    table.caption = "* the interval leaves zero out"
    return table
