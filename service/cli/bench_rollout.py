"""``pear bench rollout``: what a forecast costs beside the bare model, and what workers gain."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from service.cli.bench import bench
from service.cli.console import console, emit_json


def register(_app: typer.Typer) -> None:
    """Add the verb to ``pear bench``."""
    bench.command("rollout")(rollout)


def rollout(
    nside: Annotated[int, typer.Option(help="Resolution of the cells.")] = 64,
    steps: Annotated[int, typer.Option(min=1, help="Steps of a roll-out.")] = 10,
    rounds: Annotated[int, typer.Option(min=1, help="Bare and written take turns so often.")] = 3,
    runs: Annotated[int, typer.Option(min=2, help="Runs of the batch.")] = 4,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads of the single process; an engine's.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on stdout.")] = False,
) -> None:
    """Time roll-outs of a network of the published size, everything written, by turns."""
    from pipelines.benchmarks.rollout import measure_rollout

    with console.status("measuring") as status:
        report = measure_rollout(nside, steps, rounds, threads, runs, status.update)
    if as_json:
        emit_json(report.to_dict())
        return
    table = Table("", "", title=f"roll-out of {steps} steps at nside {nside}")
    table.add_row("bare model steps", f"{report.bare_seconds:.2f} s")
    table.add_row("the same, everything written", f"{report.written_seconds:.2f} s")
    table.add_row("written / bare", f"{report.ratio:.3f}")
    table.add_row("asked to first step, warm", f"{report.first_step_seconds:.2f} s")
    table.add_row("one worker, one thread", f"{report.one_worker_rate:.2f} steps/s")
    table.add_row("two workers, one thread each", f"{report.two_workers_rate:.2f} steps/s")
    table.add_row("two / one", f"{report.speed_up:.2f}")
    console.print(table)
