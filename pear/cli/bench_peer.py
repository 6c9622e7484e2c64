"""``pear bench peer``: PEAR against Pangu on a regular grid, at the same budget."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from pear.cli.bench import bench
from pear.cli.bench_ablation import numbers, span
from pear.cli.common import console, emit_json, progress


def register(_app: typer.Typer) -> None:
    """Add the verb to ``pear bench``."""
    bench.command("peer")(peer)


def peer(
    sources: Annotated[list[Path], typer.Argument(help="The files that the store was made from.")],
    store: Annotated[Path, typer.Option("--store", help="Analysis store.")],
    climatology: Annotated[
        Path, typer.Option("--climatology", help="Climatology of the training years.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder; a stopped study goes on.")],
    period: Annotated[str, typer.Option(help="Training period A..B.")] = "2000-01-01..2004-12-31",
    test: Annotated[str, typer.Option(help="Init times A..B.")] = "2006-01-01..2006-12-20",
    every: Annotated[int, typer.Option(min=1, help="Days between init times.")] = 5,
    days: Annotated[int, typer.Option(min=1, help="Lead in days.")] = 10,
    minutes: Annotated[float, typer.Option(min=0.01, help="Length of each training.")] = 5.0,
    seeds: Annotated[str, typer.Option(help="Seeds, as 0,1,2.")] = "0,1,2",
    embed: Annotated[int, typer.Option(min=32, help="Width of both networks.")] = 128,
    as_json: Annotated[bool, typer.Option("--json", help="Rows as JSON on stdout.")] = False,
) -> None:
    """Train both alike with every seed; write peer.csv and peer.png with bootstrap intervals."""
    from pear.runtime import keep_memory
    from pipelines import peer_study as rooms

    keep_memory()
    study = rooms.PeerStudy(
        store, climatology, tuple(sources), span(period, "--period"), span(test, "--test"), every,
        days, minutes, numbers(seeds), embed,
    )  # fmt: skip
    with progress("peer", len(study.seeds)) as tick:
        plan = rooms.run(study, out, tick)
    with (out / "peer.csv").open() as file:
        rows = list(csv.DictReader(file))
    table = Table(title="z500 ACC: PEAR, Pangu, difference [95 %]", title_justify="left")
    for heading in ("scored on", "day", "PEAR", "Pangu", "difference"):
        table.add_column(heading)
    for row in rows:
        if (row["field"], row["score"]) == ("z500", "acc"):
            value = {k: float(row[k]) for k in ("pear", "pangu", "difference", "low", "high")}
            gap = f"{value['difference']:+.3f} [{value['low']:+.3f}, {value['high']:+.3f}]"
            table.add_row(
                row["grid"], row["day"], f"{value['pear']:.3f}", f"{value['pangu']:.3f}", gap
            )
    console.print(table, f"everything in {out}")
    if as_json:
        emit_json({"plan": plan, "rows": rows})
