"""``pear bench stability``: does a model stay weather over a month?"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from service.cli.bench import bench
from service.cli.console import console, emit_json, progress
from service.cli.options import parse_times


def register(_app: typer.Typer) -> None:
    """Add the verb to ``pear bench``."""
    bench.command("stability")(stability)


def stability(
    checkpoint: Annotated[Path, typer.Option("--checkpoint", help="Folder of the model.")],
    store: Annotated[Path, typer.Option("--store", help="Analysis store with the days to come.")],
    inits: Annotated[str, typer.Option("--init", help="Init times, as A..B/30d.")],
    days: Annotated[int, typer.Option(min=1, help="Length of a roll-out.")] = 30,
    as_json: Annotated[bool, typer.Option("--json", help="Rows as JSON on stdout.")] = False,
) -> None:
    """Compare variance and spectrum of long roll-outs with the analyses'; exit 1 if they leave."""
    from pear.models.checkpoint import load
    from pear.rollout import PearForecaster
    from pear.store.analysis import Analysis
    from pipelines.studies import stability as rooms

    forecaster = PearForecaster(load(checkpoint))
    analysis = Analysis(store, forecaster.layout, forecaster.nside)
    times = parse_times(inits)
    with progress("stability", len(times)) as tick:
        rows = rooms.measure(forecaster, analysis, times, days, tick=tick)
    verdict = rooms.stable(rows)
    if as_json:
        emit_json({"stable": verdict, "rows": [asdict(row) for row in rows]})
    table = Table(title=f"forecast / analysis, {len(times)} roll-outs", title_justify="left")
    for heading in ("field", "day", "spread", *rooms.BANDS, ""):
        table.add_column(heading)
    for row in rows:
        power = [f"{row.power[band]:.2f}" if band in row.power else "" for band in rooms.BANDS]
        mark = "" if row.within else "out of bounds"
        table.add_row(row.field, str(row.day), f"{row.spread:.3f}", *power, mark)
    console.print(table, "stable" if verdict else "not stable")
    if not verdict:
        raise typer.Exit(1)
