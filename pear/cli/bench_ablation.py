"""``pear bench ablation``: which of PEAR's choices pay, at equal time and at equal parameters."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from pear.cli.bench import bench
from pear.cli.common import console, emit_json, parse_time, progress
from pear.errors import InputError

if TYPE_CHECKING:
    from pipelines.ablation_table import Row


def register(_app: typer.Typer) -> None:
    """Add the verb to ``pear bench``."""
    bench.command("ablation")(ablation)


def ablation(
    store: Annotated[Path, typer.Option("--store", help="Analysis store.")],
    climatology: Annotated[
        Path, typer.Option("--climatology", help="Climatology of the training years.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder; a stopped study goes on.")],
    period: Annotated[str, typer.Option(help="Training period A..B.")] = "2000-01-01..2004-12-31",
    test: Annotated[str, typer.Option(help="Init times A..B.")] = "2006-01-01..2006-12-20",
    every: Annotated[int, typer.Option(min=1, help="Days between init times.")] = 5,
    days: Annotated[int, typer.Option(min=1, help="Lead in days.")] = 7,
    minutes: Annotated[float, typer.Option(min=0.01, help="Length of the base's training.")] = 5.0,
    seeds: Annotated[str, typer.Option(help="Seeds, as 0,1,2.")] = "0,1,2",
    arms: Annotated[str | None, typer.Option(help="Arms, as c4h,patch4; all if left out.")] = None,
    axes: Annotated[str, typer.Option(help="time, parameters, or both.")] = "time,parameters",
    embed: Annotated[int, typer.Option(min=32, help="Width of the base.")] = 128,
    as_json: Annotated[bool, typer.Option("--json", help="Rows as JSON on stdout.")] = False,
) -> None:
    """Train every arm with every seed and write ablation.csv with bootstrap intervals."""
    from dataclasses import asdict

    from pear.runtime import keep_memory
    from pipelines import ablation as rooms
    from pipelines.ablation_table import rows, write_table

    keep_memory()
    study = rooms.Study(
        store, climatology, span(period, "--period"), span(test, "--test"), every, days,
        minutes, numbers(seeds), tuple(arms.split(",")) if arms else tuple(rooms.ARMS), embed,
    )  # fmt: skip
    chosen = tuple(axes.split(","))
    if not set(chosen) <= set(rooms.AXES):
        raise InputError(f"--axes {axes!r} is unknown", field="--axes", hint="time,parameters")
    total = len(study.seeds) * len(study.arms) * len(chosen)
    with progress("ablation", total) as tick:
        plan = rooms.run(study, out, chosen, tick)
    found = rows(study, out, plan)
    path = write_table(found, out)
    console.print(_table(found), f"all fields and days: {path}")
    if as_json:
        emit_json({"table": str(path), "rows": [asdict(row) for row in found]})


def span(text: str, option: str) -> tuple[str, str]:
    """Read A..B as two ISO times."""
    first, dots, last = text.partition("..")
    if not dots:
        raise InputError(f"{option} {text!r} is no period", field=option, hint="write A..B")
    return str(parse_time(first, option)), str(parse_time(last, option))


def numbers(text: str) -> tuple[int, ...]:
    """Read seeds: whole numbers with commas between."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(f"--seeds {text!r} are no numbers", field="--seeds") from error


def _table(found: Sequence[Row]) -> Table:
    """The z500 anomaly correlation of every arm: value, difference to the base, interval."""
    table = Table(title="z500 ACC and difference to the base [95 %]", title_justify="left")
    days = sorted({row.day for row in found})
    for heading in ("at equal", "arm", "parameters", "steps", *(f"day {day}" for day in days)):
        table.add_column(heading)
    wanted = [row for row in found if (row.field, row.score) == ("z500", "acc")]
    groups: dict[tuple[str, str], list[Any]] = {}
    for row in wanted:
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
