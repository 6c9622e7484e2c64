"""``pear forecast``: one forecast or a hundred, each computed once, resumed where it stopped."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from pear.errors import InputError
from service.cli.console import console, emit_json, progress
from service.cli.options import parse_duration, parse_times

if TYPE_CHECKING:
    from pipelines.catalog import Job, Run
    from pipelines.engine.engine import Engine
    from pipelines.storage.data_folder import DataFolder


def register(app: typer.Typer) -> None:
    """Add the verb to the command."""
    app.command("forecast")(forecast)


def forecast(
    data: Annotated[Path, typer.Option("--data", help="Data folder.")],
    init: Annotated[
        str, typer.Option(help="Init time, a comma list, or a range as A..B/1d (UTC).")
    ],
    lead: Annotated[str, typer.Option(help="Length, as 10d or 240h.")] = "10d",
    model: Annotated[str | None, typer.Option(help="Model id or name; the newest.")] = None,
    analysis: Annotated[
        str | None, typer.Option(help="Analysis with the initial states; the first that has them.")
    ] = None,
    variables: Annotated[
        str | None, typer.Option(help="Keep only these, as t2m,z; all if left out.")
    ] = None,
    levels: Annotated[str | None, typer.Option(help="Keep only these levels, hPa.")] = None,
    keep: Annotated[
        str | None, typer.Option(help="Keep only these leads, as 1d,5d,10d; all if left out.")
    ] = None,
    precision: Annotated[str, typer.Option(help="float32 or bfloat16.")] = "float32",
    symmetrise: Annotated[
        bool, typer.Option("--symmetrise", help="Average each step over the grid's symmetries.")
    ] = False,
    members: Annotated[
        int | None, typer.Option(min=1, help="Ensemble of so many, perturbed by noise.")
    ] = None,
    orbit: Annotated[
        bool, typer.Option("--orbit", help="Ensemble of the grid's eight symmetries.")
    ] = False,
    with_models: Annotated[
        str | None, typer.Option(help="Further models that take part, ids or names.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the noise.")] = 0,
    amplitude: Annotated[
        str,
        typer.Option(help="Noise, over each channel's change in a step: 0.1, or t2m=0.2,z=0.1."),
    ] = "0.1",
    perturb_steps: Annotated[
        bool, typer.Option("--perturb-steps", help="Perturb the members anew before every step.")
    ] = False,
    length_km: Annotated[float, typer.Option(help="Correlation length of the noise.")] = 1000.0,
    quantiles: Annotated[
        str | None, typer.Option(help="Quantiles of the ensemble to keep, per cent.")
    ] = None,
    exceed: Annotated[
        str | None,
        typer.Option(help="Keep how likely these are exceeded: t2m>303.15,z500>54000."),
    ] = None,
    keep_members: Annotated[
        bool, typer.Option("--keep-members", help="Keep every member's own forecast.")
    ] = False,
    batch: Annotated[
        int, typer.Option(min=1, help="Runs computed side by side; for accelerators.")
    ] = 1,
    workers: Annotated[int, typer.Option(min=1, help="Worker processes.")] = 1,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads per worker.")] = None,
    device: Annotated[
        str | None, typer.Option(help="auto, cpu, cuda or cuda:1; PEAR_DEVICE otherwise. [auto]")
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option(help="Address of a dask scheduler to use instead.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The runs as JSON on stdout.")] = False,
) -> None:
    """Forecast from states of the data folder; what exists already is not computed again."""
    import os

    from pipelines.engine.engine import Engine
    from pipelines.storage.data_folder import DataFolder

    times, hours = parse_times(init), parse_duration(lead).hours
    options = {
        "variables": _list(variables) or None,
        "levels": _numbers(levels, "--levels"),
        "leads": None if keep is None else [parse_duration(part).hours for part in _list(keep)],
        "precision": precision,
        "symmetrise": symmetrise,
        "members": members,
        "ensemble": "symmetry" if orbit else "noise",
        "models": _list(with_models) or None,
        "seed": seed,
        "perturbation_scale": _amplitude(amplitude),
        "length_km": length_km,
        "perturb_steps": perturb_steps,
        "thresholds": _list(exceed),
        "quantiles": _numbers(quantiles, "--quantiles"),
        "keep_members": keep_members,
    }
    folder = DataFolder.open(data)
    cores = threads or max(1, (os.cpu_count() or 1) // workers)
    engine = Engine(
        folder,
        workers=workers,
        threads=cores,
        scheduler=scheduler,
        max_queue=None,
        batch=batch,
        adopt=False,
        device=device,
    )
    try:
        asked = engine.request_forecasts(
            times, hours, model=model, analysis=analysis, options=options
        )
        runs: list[Job] = [run for run, _ in asked]
        if any(run.status.is_active for run in runs):
            engine.start()
            runs = watch(engine, runs)
    finally:
        engine.close()
    _report(folder, runs, as_json)


def _list(text: str | None) -> list[str]:
    return [] if text is None else [part.strip() for part in text.split(",")]


def _numbers(text: str | None, option: str) -> list[int] | None:
    if text is None:
        return None
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise InputError(
            f"{option} {text!r} is no list of whole numbers", field=option, hint="write 500,850"
        ) from error


def _amplitude(text: str) -> float | dict[str, float]:
    """Read ``0.1`` or ``t2m=0.2,z=0.1``."""
    try:
        if "=" not in text:
            return float(text)
        return {name.strip(): float(size) for name, size in (p.split("=") for p in _list(text))}
    except ValueError as error:
        raise InputError(
            f"--amplitude {text!r} cannot be read",
            field="--amplitude",
            hint="write 0.1, or t2m=0.2,z=0.1",
        ) from error


def watch(engine: Engine, runs: Sequence[Job]) -> list[Job]:
    """Show a bar over the steps of all runs until the last has ended."""
    seen = {run.id: 0 for run in runs}
    with progress("forecast", sum(run.progress.total for run in runs)) as tick:

        def moved(run: Job) -> None:
            ahead = run.progress.step - seen[run.id]
            seen[run.id] = run.progress.step
            tick(ahead, f"{run.id} {run.status}")

        return engine.wait([run.id for run in runs], watch=moved)


def _report(folder: DataFolder, runs: Sequence[Job], as_json: bool) -> None:
    from service.cli.runs import resource

    for run in runs:
        where = folder.forecast(run.id) if run.status == "succeeded" else run.reason or ""
        console.print(f"{run.id} {run.status} {where}", soft_wrap=True, highlight=False)
    if as_json:
        emit_json({"runs": [resource(folder, cast("Run", run)) for run in runs]})
    failed = [run for run in runs if run.status != "succeeded"]
    if not failed:
        return
    reason = f"{len(failed)} of {len(runs)} runs did not succeed: {failed[0].reason}"
    if failed[0].error_kind == "InputError":
        raise InputError(reason)
    raise OSError(reason)
