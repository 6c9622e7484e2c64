"""``pear bench orbit``: equivariance by averaging over the group, and by an augmented ensemble."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from pear.errors import InputError
from service.cli import studies as options
from service.cli.bench import bench
from service.cli.console import console, emit_json, progress
from service.cli.options import parse_time

if TYPE_CHECKING:
    from pipelines.studies.symmetrisation_study import Result


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
    from pear.device import keep_memory
    from pipelines.studies import symmetrisation_study as rooms
    from pipelines.studies.study import Study, seconds_left, share

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


StoreOption = Annotated[Path, typer.Option("--store", help="Analysis store.")]


ClimatologyOption = Annotated[
    Path, typer.Option("--climatology", help="Climatology of the training years.")
]


OutOption = Annotated[
    Path,
    typer.Option(
        "--out",
        help="Folder. A stopped study goes on; several processes may work in one at a time.",
    ),
]


PeriodOption = Annotated[str, typer.Option(help="Training period A..B.")]


TestOption = Annotated[str, typer.Option(help="Init times A..B.")]


EveryOption = Annotated[int, typer.Option(min=1, help="Days between init times.")]


DaysOption = Annotated[int, typer.Option(min=1, help="Lead in days.")]


MinutesOption = Annotated[
    float, typer.Option(min=0.01, help="Length of each training at equal time.")
]


SeedsOption = Annotated[str, typer.Option(help="Seeds, as 0,1,2; more may be added later.")]


EmbedOption = Annotated[int, typer.Option(min=32, help="Width of the networks.")]


PlanOption = Annotated[
    bool, typer.Option("--plan", help="Time the steps, say how long it takes, and stop.")
]


JsonOption = Annotated[bool, typer.Option("--json", help="Rows as JSON on stdout.")]


def settings(
    store: Path,
    climatology: Path,
    period: str,
    test: str,
    every: int,
    days: int,
    minutes: float,
    seeds: str,
    embed: int,
) -> dict[str, Any]:
    """Return what every study is built from.

    Raises
    ------
    InputError
        If a period or the seeds cannot be read.
    """
    return {
        "store": store,
        "climatology": climatology,
        "period": span(period, "--period"),
        "test": span(test, "--test"),
        "every": every,
        "days": days,
        "minutes": minutes,
        "seeds": numbers(seeds),
        "embed": embed,
    }


def span(text: str, option: str) -> tuple[str, str]:
    """Read A..B as two ISO times."""
    first, dots, last = text.partition("..")
    if not dots:
        raise InputError(f"{option} {text!r} is no period", field=option, hint="write A..B")
    return str(parse_time(first)), str(parse_time(last))


def numbers(text: str) -> tuple[int, ...]:
    """Read seeds: whole numbers with commas between."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(f"--seeds {text!r} are no numbers", field="--seeds") from error


def announce(jobs: int, seconds: float, threads: int) -> None:
    """Say what is left of a study."""
    console.print(
        f"{jobs} trainings, {seconds / 3600:.2f} hours of one process of {threads} thread(s), "
        "and their verification",
        highlight=False,
    )
