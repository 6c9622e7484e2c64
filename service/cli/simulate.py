"""``pear simulate``: the embedded atmosphere as ERA5-style files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import typer

from pear import resources
from pipelines.simulation import run
from service.cli.console import announced, console, emit_json, interruptible, progress
from service.cli.options import (
    Duration,
    Json,
    Output,
    Seed,
    count_option,
    duration_option,
    time_option,
)

_DAY = Duration(24)
_START = np.datetime64("2000-01-01", "s")


def simulate(
    *,
    output: Output,
    start: Annotated[np.datetime64, time_option(help="First day.")] = _START,
    days: Annotated[int, count_option(help="Number of days.")] = 365,
    grid: Annotated[float, typer.Option(metavar="X", help="Grid spacing in degrees.")] = 3.75,
    seed: Seed = 0,
    step: Annotated[
        Duration,
        duration_option(help="Interval of the states: 24h at 00 UTC, 12h, 6h or 3h."),
    ] = _DAY,
    diurnal: Annotated[
        bool | None,
        typer.Option(
            "--diurnal/--no-diurnal",
            help="Warm the ground by day (default: with a --step below 24h).",
        ),
    ] = None,
    truncation: Annotated[
        Literal["T21", "T31", "T42"], typer.Option(help="Spectral truncation.")
    ] = "T31",
    restart: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Restart file to start from instead of spinning up."),
    ] = None,
    shipped_restart: Annotated[
        bool, typer.Option("--shipped-restart", help="Start from the restart file in the package.")
    ] = False,
    report: Annotated[
        bool, typer.Option("--report", help="Also describe the climate of the files.")
    ] = False,
    twins: Annotated[
        int,
        typer.Option(min=0, metavar="N", help="With --report: pairs of runs to time error growth."),
    ] = 3,
    as_json: Json = False,
) -> None:
    """Simulate weather with seasons and mountains as ERA5-style files.

    The result is simulated, not observed, and every file says so. An interrupted simulation
    continues from its last complete month. Simulations that start from one restart file are alike
    for about two months, whatever their years: leave these months out of a test of what was
    trained on another of them.

    Examples
    --------
    $ pear simulate --days 2557 --output sim
    $ pear simulate --days 365 --shipped-restart --output sim --report
    $ pear simulate --days 365 --shipped-restart --step 6h --output sim6
    """
    plan = run.SimulationConfig(
        str(start.astype("datetime64[D]")),
        grid,
        seed,
        truncation,
        step_hours=step.hours,
        diurnal=step.hours < 24 if diurnal is None else diurnal,
    )
    if shipped_restart:
        restart = resources.path("restart.npz")
    kept = f"complete months are kept in {output}; run the same command again to continue"
    with interruptible(kept):
        with announced("simulate") as announce:
            files = run.simulate(output, plan, days, announce, restart)
        console.print(f"{days} simulated days in {len(files)} files in {output}")
        summary: dict[str, object] = {"simulated": True, "days": days, "files": [*map(str, files)]}
        if report:
            from pipelines.simulation.climate_report import write_report

            starts = sorted(output.glob("restart_*-01-01.npz"))[:twins]
            with progress("report", len(files) + len(starts)) as tick:
                summary["climate"] = write_report(files, output / "report", tick, starts)
            console.print(f"climate report in {output / 'report'}")
    if as_json:
        emit_json(summary)
