"""``pear simulate``: the embedded atmosphere as ERA5-style files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from service.cli.options import announced, console, emit_json, parse_time, progress


def register(app: typer.Typer) -> None:
    """Add the verb to the command."""
    app.command("simulate")(simulate)


def simulate(
    out: Annotated[Path, typer.Option("--out", help="Folder of the monthly files.")],
    start: Annotated[str, typer.Option("--start", help="First day, as 2000-01-01.")] = "2000-01-01",
    days: Annotated[int, typer.Option("--days", help="Number of days.")] = 365,
    grid: Annotated[float, typer.Option("--grid", help="Degrees between grid points.")] = 3.75,
    seed: Annotated[int, typer.Option("--seed", help="Of the noise at the start.")] = 0,
    truncation: Annotated[str, typer.Option(help="T21, T31 or T42.")] = "T31",
    restart: Annotated[
        Path | None, typer.Option(help="Restart state to start from instead of spinning up.")
    ] = None,
    shipped_restart: Annotated[
        bool, typer.Option("--shipped-restart", help="Start from the state that PEAR ships.")
    ] = False,
    report: Annotated[
        bool, typer.Option("--report", help="Also describe the climate of what lies in --out.")
    ] = False,
    twins: Annotated[
        int, typer.Option(min=0, help="With --report: pairs that time the growth of errors.")
    ] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Summary as JSON on stdout.")] = False,
) -> None:
    """Simulate daily weather with seasons and mountains; goes on where it stopped.

    The result is simulated, not observed, and says so in every file.
    """
    from pear import resources
    from pipelines.simulation import run

    first = parse_time(start, "--start").astype("datetime64[D]")
    plan = run.Plan(str(first), grid, seed, truncation)
    if shipped_restart:
        restart = resources.path("restart.npz")
    with announced("simulate") as announce:
        files = run.simulate(out, plan, days, announce, restart)
    console.print(f"{days} simulated days in {len(files)} files in {out}")
    summary: dict[str, Any] = {"simulated": True, "days": days, "files": [str(f) for f in files]}
    if report:
        from pipelines.simulation.climate_report import write_report

        starts = sorted(out.glob("restart_*-01-01.npz"))[:twins]
        with progress("report", len(files) + len(starts)) as tick:
            summary["climate"] = write_report(files, out / "report", tick, starts)
        console.print(f"climate report in {out / 'report'}")
    if as_json:
        emit_json(summary)
