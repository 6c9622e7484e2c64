"""``pear bench orbit``: equivariance by averaging over the group, and by an augmented ensemble."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from pear.cli import study_options as options
from pear.cli.bench import bench
from pear.cli.common import console, emit_json, progress

if TYPE_CHECKING:
    from pipelines.orbit_study import Result


def register(_app: typer.Typer) -> None:
    """Add the verb to ``pear bench``."""
    bench.command("orbit")(orbit)


def orbit(
    store: options.StoreOption,
    climatology: options.ClimatologyOption,
    out: options.OutOption,
    checkpoint: Annotated[
        Path | None, typer.Option("--checkpoint", help="A trained model, measured as well.")
    ] = None,
    period: options.PeriodOption = "2000-01-01..2004-12-31",
    test: options.TestOption = "2006-01-01..2006-12-20",
    every: options.EveryOption = 10,
    days: options.DaysOption = 7,
    minutes: options.MinutesOption = 1.0,
    seeds: options.SeedsOption = "0,1,2,3,4,5,6,7",
    embed: options.EmbedOption = 64,
    only_plan: options.PlanOption = False,
    as_json: options.JsonOption = False,
) -> None:
    """Train small members with and without C4h augmentation, average them, average over C4h.

    Writes orbit-errors.csv, orbit-scores.csv and orbit.png. Run the same command several times at
    once, with OMP_NUM_THREADS=1, to use several cores.
    """
    from pear.runtime import keep_memory
    from pipelines import orbit_study as rooms
    from pipelines.study import Study, seconds_left, share

    keep_memory()
    study = Study(
        **options.settings(store, climatology, period, test, every, days, minutes, seeds, embed)
    )
    plan = rooms.plan_of(study, out)
    trainings = rooms.trainings(study, out, plan)
    left = sum(not job.done for job in trainings)
    options.announce(left, seconds_left(trainings), plan["threads"])
    if only_plan:
        return
    models = rooms.subjects(study, out, checkpoint)
    measurements = rooms.measurements(study, out, models)
    with progress("orbit", len(trainings) + len(measurements)) as tick:
        share(trainings, out, tick)
        share(measurements, out, tick)
    result = rooms.collect(out, models)
    rooms.write(result, out)
    for table in _tables(result):
        console.print(table)
    console.print(f"all fields and days: {out}/orbit-errors.csv, orbit-scores.csv, orbit.png")
    if as_json:
        emit_json(asdict(result))


def _tables(result: Result) -> list[Table]:
    exact = Table(title="Equivariance error in float64, largest of days", title_justify="left")
    for heading in ("", "", "R", "M", "RM"):
        exact.add_column(heading)
    for name, ways in result.exact.items():
        for way, errors in ways.items():
            exact.add_row(name, way, *(f"{max(errors[g]):.1e}" for g in ("R", "M", "RM")))
    falls = Table(title="Error of the mean of n members, day 1", title_justify="left")
    for heading in ("", "n", "error", "of subsets", "one member's / √n", "in common"):
        falls.add_column(heading)
    for row in result.errors:
        if row.day == 1:
            falls.add_row(
                row.models,
                str(row.members),
                f"{row.error:.4f}",
                f"{row.low:.4f}…{row.high:.4f}",
                f"{row.expected:.4f}",
                "" if row.common is None else f"{row.common:.4f}",
            )
    return [exact, falls, *(_scores(result, score) for score in ("acc", "rmse"))]


def _scores(result: Result, score: str) -> Table:
    part = [row for row in result.scores if (row.field, row.score) == ("z500", score)]
    days = sorted({row.day for row in part if row.day % 2 == 1})
    title = f"z500 {score.upper()}: value, difference to a single network (* interval without 0)"
    table = Table(title=title, title_justify="left")
    for heading in ("", "", *(f"day {day}" for day in days)):
        table.add_column(heading)
    digits = 3 if score == "acc" else 1
    for name, way in dict.fromkeys((row.models, row.way) for row in part):
        rows = {row.day: row for row in part if (row.models, row.way) == (name, way)}
        cells = [
            f"{rows[day].value:.{digits}f} {rows[day].difference:+.{digits}f}"
            + ("*" if rows[day].decided else "")
            for day in days
        ]
        table.add_row(name, way, *cells)
    return table
