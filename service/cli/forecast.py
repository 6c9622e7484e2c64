"""``pear forecast``: compute forecasts; each is computed once and resumes where it stopped."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from pear.errors import InputError
from service.cli.console import Interrupted, console, emit_json, progress
from service.cli.options import (
    COMPUTING,
    DURATIONS,
    LIST,
    NUMBERS,
    Analysis,
    CommaList,
    Data,
    Device,
    Duration,
    Durations,
    InitTimes,
    Json,
    Lead,
    Numbers,
    Scheduler,
    Workers,
    examples,
    option_parser,
)

if TYPE_CHECKING:
    from pipelines.catalog import Job, Run
    from pipelines.engine.engine import Engine
    from pipelines.storage.data_folder import DataFolder

app = typer.Typer(add_completion=False)
_output, _ensemble, _computing = (
    partial(typer.Option, rich_help_panel=name) for name in ("Output", "Ensemble", COMPUTING)
)


@dataclass(frozen=True)
class Scale:
    """Size of the perturbations: one number, or one for each variable."""

    value: float | dict[str, float]

    def __str__(self) -> str:
        return str(self.value)


def parse_scale(text: str) -> Scale:
    """Read a scale such as ``0.1`` or ``t2m=0.2,z=0.1``, or raise InputError."""
    try:
        if "=" not in text:
            return Scale(float(text))
        pairs = (part.split("=") for part in text.split(","))
        return Scale({name.strip(): float(size) for name, size in pairs})
    except ValueError:
        raise InputError(f"invalid scale {text!r}: expected 0.1 or t2m=0.2,z=0.1") from None


@app.command(
    epilog=examples(
        "pear forecast --data DATA --init 2019-01-01..2019-01-31/1d --lead 10d",
        "pear forecast --data DATA --init 2019-01-01 --members 20 \\",
        "    --threshold 't2m>303.15' --threshold 'z500>57000'",
    )
)
def forecast(
    *,
    data: Data,
    init: InitTimes,
    lead: Lead = Duration(240),  # noqa: B008 - immutable
    model: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODEL",
            help="Model id or name (default: newest); repeat for a multi-model ensemble.",
        ),
    ] = None,
    analysis: Analysis = None,
    as_json: Json = False,
    variables: Annotated[
        CommaList | None, _output(parser=LIST, metavar="LIST", help="Variables to keep.")
    ] = None,
    levels: Annotated[
        Numbers | None, _output(parser=NUMBERS, metavar="LIST", help="Levels to keep, hPa.")
    ] = None,
    leads: Annotated[
        Durations | None,
        _output(parser=DURATIONS, metavar="LIST", help="Lead times to keep, e.g. 1d,5d,10d."),
    ] = None,
    members: Annotated[int | None, _ensemble(min=1, metavar="N", help="Number of members.")] = None,
    ensemble: Annotated[
        Literal["noise", "random_field", "symmetry"],
        _ensemble(
            metavar="KIND",
            help="noise, random_field (scaled differences of analyses), or symmetry (of the grid).",
        ),
    ] = "noise",
    perturbation_scale: Annotated[
        Scale,
        _ensemble(
            parser=option_parser(parse_scale),
            metavar="X",
            help="Size of the perturbations, e.g. 0.1, or t2m=0.2,z=0.1.",
        ),
    ] = Scale(0.1),
    perturb_steps: Annotated[
        bool, _ensemble("--perturb-steps", help="Perturb every step.")
    ] = False,
    length_km: Annotated[
        float, _ensemble(metavar="KM", help="Correlation length of the noise.")
    ] = 1000.0,
    seed: Annotated[int, _ensemble(metavar="N", help="Random seed of the perturbations.")] = 0,
    quantiles: Annotated[
        Numbers | None,
        _ensemble(parser=NUMBERS, metavar="LIST", help="Quantiles to keep, per cent."),
    ] = None,
    threshold: Annotated[
        list[str] | None,
        _ensemble(
            metavar="FIELD>X", help="Keep the probability of exceeding a value; repeat for several."
        ),
    ] = None,
    keep_members: Annotated[bool, _ensemble("--keep-members", help="Keep each member.")] = False,
    precision: Annotated[
        Literal["float32", "bfloat16"],
        _computing(metavar="TYPE", help="Of the network's products: float32 or bfloat16."),
    ] = "float32",
    symmetrise: Annotated[
        bool, _computing("--symmetrise", help="Average each step over the grid's symmetries.")
    ] = False,
    batch: Annotated[
        int, _computing(min=1, metavar="N", help="Runs to compute side by side, for accelerators.")
    ] = 1,
    workers: Workers = 1,
    threads: Annotated[
        int | None, _computing(min=1, metavar="N", help="Threads per worker.")
    ] = None,
    device: Device = None,
    scheduler: Scheduler = None,
) -> None:
    """Compute forecasts from analyses of the data folder.

    A run that exists is not computed again; an interrupted one continues from its last step.
    """
    from pipelines.engine.engine import Engine, EngineConfig
    from pipelines.storage.data_folder import DataFolder

    first, others = (model[0], model[1:]) if model else (None, [])
    options = {
        "analysis": analysis,
        "variables": variables,
        "levels": levels,
        "leads": None if leads is None else leads.hours,
        "precision": precision,
        "symmetrise": symmetrise,
        "members": members,
        "ensemble": ensemble,
        "models": others or None,
        "seed": seed,
        "perturbation_scale": perturbation_scale.value,
        "length_km": length_km,
        "perturb_steps": perturb_steps,
        "thresholds": threshold,
        "quantiles": quantiles,
        "keep_members": keep_members,
    }
    folder = DataFolder.open(data)
    config = EngineConfig(
        workers=workers,
        threads=threads or max(1, (os.cpu_count() or 1) // workers),
        scheduler=scheduler,
        device=device,
        batch=batch,
        max_queue=None,
        recover_orphans=False,
    )
    engine = Engine(folder, config)
    try:
        submitted = engine.submit_forecasts(init, lead.hours, model=first, options=options)
        runs: list[Job] = [submission.run for submission in submitted]
        if any(run.status.is_active for run in runs):
            engine.start()
            runs = watch(engine, runs)
    except KeyboardInterrupt as error:
        raise Interrupted(
            "finished runs and completed steps are kept; run the same command again to continue"
        ) from error
    finally:
        engine.close()
    _report(folder, runs, as_json=as_json)


def watch(engine: Engine, runs: Sequence[Job]) -> list[Job]:
    """Show the progress of runs until the last has ended, and return their final state."""
    steps = {run.id: 0 for run in runs}
    with progress("forecast", sum(run.progress.total for run in runs)) as tick:

        def update(run: Job) -> None:
            new = run.progress.step - steps[run.id]
            steps[run.id] = run.progress.step
            tick(new, f"{run.id} {run.status}")

        return engine.wait([run.id for run in runs], watch=update)


def _report(folder: DataFolder, runs: Sequence[Job], *, as_json: bool) -> None:
    """List the runs, and raise if one did not succeed."""
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
