"""``pear bench peer``: PEAR against Pangu on a regular grid, at the same budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from service.cli import studies as options
from service.cli.bench import bench
from service.cli.console import console, emit_json, progress

if TYPE_CHECKING:
    from pipelines.studies.pangu import Row


def register(_app: typer.Typer) -> None:
    """Add the verb to ``pear bench``."""
    bench.command("peer")(peer)


def peer(
    sources: Annotated[list[Path], typer.Argument(help="The files that the store was made from.")],
    store: options.StoreOption,
    climatology: options.ClimatologyOption,
    out: options.OutOption,
    period: options.PeriodOption = "2000-01-01..2004-12-31",
    test: options.TestOption = "2006-01-01..2006-12-20",
    every: options.EveryOption = 5,
    days: options.DaysOption = 10,
    minutes: options.MinutesOption = 5.0,
    seeds: options.SeedsOption = "0,1,2",
    embed: options.EmbedOption = 128,
    budgets: Annotated[
        str, typer.Option(help="What both have the same of: time, steps, or both.")
    ] = "time,steps",
    only_plan: options.PlanOption = False,
    as_json: options.JsonOption = False,
) -> None:
    """Train both alike with every seed; write peer.csv and peer.png with intervals.

    Run the same command several times at once, with OMP_NUM_THREADS=1, to use several cores.
    """
    from pear.device import keep_memory
    from pipelines.studies import pangu as rooms
    from pipelines.studies.study import seconds_left

    keep_memory()
    common = options.settings(store, climatology, period, test, every, days, minutes, seeds, embed)
    study = rooms.PeerStudy(**common, sources=tuple(sources), budgets=tuple(budgets.split(",")))
    work = rooms.Work(study, out)
    trainings = work.trainings()
    left = sum(not job.done for job in trainings)
    options.announce(left, seconds_left(trainings), work.plan["threads"])
    found: list[Row] = []
    if not only_plan:
        with progress("peer", len(trainings) + len(work.verifications())) as tick:
            found = work.run(tick)
        rooms.write(found, out)
        console.print(_table(found), f"all fields: {out}/peer.csv and .png")
    if as_json:
        emit_json({"plan": work.plan, "rows": [asdict(row) for row in found]})


def _table(found: Sequence[Row]) -> Table:
    table = Table(title="z500 ACC: PEAR, Pangu, difference [95 %]", title_justify="left")
    for heading in ("at equal", "scored on", "day", "PEAR", "Pangu", "difference"):
        table.add_column(heading)
    for row in found:
        if (row.field, row.score) == ("z500", "acc"):
            gap = f"{row.difference:+.3f} [{row.low:+.3f}, {row.high:+.3f}]"
            table.add_row(
                row.budget,
                row.grid,
                str(row.day),
                f"{row.value:.3f}",
                f"{row.reference:.3f}",
                gap + ("*" if row.decided else ""),
            )
    table.caption = "* the interval leaves zero out"
    return table
