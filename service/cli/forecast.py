"""``pear forecast``: compute forecasts; each is computed once and resumes where it stopped."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Literal, cast

import typer

from pear.errors import InputError
from pipelines.catalog import Job, Run
from pipelines.engine.engine import Engine, EngineConfig
from pipelines.publishing.destinations import resolve_destination
from pipelines.publishing.publish import Publication, publish, stores_of_run
from pipelines.storage.data_folder import DataFolder
from pipelines.storage.remote import Remote
from service.cli import options as opt
from service.cli.console import announced, console, emit_json, interruptible, progress
from service.cli.models import model_id
from service.cli.runs import open_folder, resource
from service.readers.counterfactuals import describe_counterfactual
from service.readers.nature import describe_members, notes_of

_output, _ensemble, _computing = (
    partial(typer.Option, rich_help_panel=name) for name in ("Output", "Ensemble", "Computing")
)
_DURATIONS = opt.option_parser(opt.parse_durations)
_LEAD = opt.Duration(240)


def forecast(
    *,
    data: opt.Data,
    init: opt.Init,
    lead: opt.Lead = _LEAD,
    model: opt.Models = None,
    analysis: opt.Analysis = None,
    as_json: opt.Json = False,
    variables: Annotated[
        opt.CommaList | None, opt.list_option(rich_help_panel="Output", help="Variables to keep.")
    ] = None,
    levels: Annotated[
        opt.Numbers | None, _output(parser=opt.NUMBERS, metavar="LIST", help="Levels to keep, hPa.")
    ] = None,
    leads: Annotated[
        opt.Durations | None,
        _output(parser=_DURATIONS, metavar="LIST", help="Lead times to keep, e.g. 1d,5d,10d."),
    ] = None,
    members: opt.Members = None,
    ensemble: opt.EnsembleKind = "noise",
    perturbation_scale: opt.PerturbationScale = None,
    perturb_steps: opt.PerturbSteps = None,
    length_km: opt.LengthKm = 1000.0,
    seed: opt.PerturbationSeed = 0,
    quantiles: Annotated[
        opt.Numbers | None,
        _ensemble(parser=opt.NUMBERS, metavar="LIST", help="Quantiles to keep, per cent."),
    ] = None,
    threshold: Annotated[
        list[str] | None,
        _ensemble(
            metavar="FIELD>X", help="Keep the probability of exceeding a value; repeat for several."
        ),
    ] = None,
    keep_members: Annotated[bool, _ensemble("--keep-members", help="Keep each member.")] = False,
    counterfactual: Annotated[
        str | None,
        _output(
            metavar="EVENT",
            help="Also forecast from the smallest plausible change of the initial state that "
            "brings an event, e.g. 't2m>305 at 59.3,18.1 day 3'.",
        ),
    ] = None,
    precision: Annotated[
        Literal["float32", "bfloat16"],
        _computing(metavar="TYPE", help="Number format of the network: float32 or bfloat16."),
    ] = "float32",
    symmetrise: Annotated[
        bool, _computing("--symmetrise", help="Average each step over the grid's symmetries.")
    ] = False,
    no_correction: opt.NoCorrection = False,
    allow_other_climate: Annotated[
        bool,
        _computing("--allow-other-climate", help="Accept states unlike the model's training data."),
    ] = False,
    output: Annotated[
        str | None,
        _output(
            "--output",
            "-o",
            metavar="ADDRESS",
            help="Publish the finished runs there too, e.g. s3://bucket/prefix, or a name.",
        ),
    ] = None,
    batch: opt.Batch = 1,
    workers: opt.Workers = 1,
    threads: opt.Threads = None,
    device: opt.Device = None,
    scheduler: opt.Scheduler = None,
) -> None:
    r"""Compute forecasts from analyses of the data folder.

    A run that exists is not computed again; an interrupted one continues from its last step.
    Several models make a multi-model ensemble.

    Examples
    --------
    $ pear forecast --data DATA --init 2019-01-01..2019-01-31/1d --lead 10d
    $ pear forecast --data DATA --init 2019-01-01 --members 20 \
        --threshold 't2m>303.15' --threshold 'z500>57000' --threshold 'ws10>20'
    $ pear forecast --data DATA --init 2019-01-01 --lead 3d \
        --counterfactual 'mean:t850@45..60N,0..40E>+2sd day 3'
    """
    folder = open_folder(data)
    remote = output and Remote.open(resolve_destination(output))
    first, *others = [model_id(folder, each) for each in model] if model else [None]
    options = {
        "analysis": analysis,
        "variables": variables,
        "levels": levels,
        "leads": leads and leads.hours,
        "precision": precision,
        "symmetrise": symmetrise,
        "correction": not no_correction,
        "allow_other_climate": allow_other_climate,
        "members": members,
        "ensemble": ensemble,
        "models": others or None,
        "seed": seed,
        "perturbation_scale": perturbation_scale and perturbation_scale.value,
        "length_km": length_km,
        "perturb_steps": perturb_steps,
        "thresholds": threshold,
        "quantiles": quantiles,
        "keep_members": keep_members,
        "counterfactual": counterfactual,
    }
    config = EngineConfig(
        workers=workers,
        threads=threads,
        scheduler=scheduler,
        device=device,
        batch=batch,
        max_queue=None,
        recover_orphans=False,
    )
    engine = Engine(folder, config)
    kept = "finished runs and completed steps are kept; run the same command again to continue"
    with interruptible(kept):
        try:
            submitted = engine.submit_forecasts(init, lead.hours, model=first, options=options)
            runs: list[Job] = [submission.run for submission in submitted]
            if any(run.status.is_active for run in runs):
                engine.start()
                runs = watch(engine, runs)
        finally:
            engine.close()
        published = _publish(folder, runs, remote) if remote else None
    _report(folder, runs, as_json=as_json, published=published)


def _publish(folder: DataFolder, runs: Sequence[Job], remote: Remote) -> list[Publication]:
    """Copy the stores of the runs that succeeded; a reader there finds each whole, or not."""
    done = []
    for run in runs:
        for store in stores_of_run(folder, run.id) if run.status == "succeeded" else ():
            with announced("publish", "bytes") as tick:
                done.append(publish(store, store.relative_to(folder.root).as_posix(), remote, tick))
    return done


def watch(engine: Engine, runs: Sequence[Job]) -> list[Job]:
    """Show the progress of runs until the last has ended, and return their final state."""
    steps = {run.id: 0 for run in runs}
    with progress("forecast", sum(run.progress.total for run in runs)) as tick:

        def update(run: Job) -> None:
            new = run.progress.step - steps[run.id]
            steps[run.id] = run.progress.step
            tick(new, f"{run.id} {run.status}")

        return engine.wait([run.id for run in runs], watch=update)


def _report(
    folder: DataFolder,
    runs: Sequence[Job],
    *,
    as_json: bool,
    published: Sequence[Publication] | None = None,
) -> None:
    """List the runs, and raise if one did not succeed."""
    for run in runs:
        where = folder.forecast(run.id) if run.status == "succeeded" else run.reason or ""
        console.print(f"{run.id} {run.status} {where}", soft_wrap=True, highlight=False)
        for line in describe_counterfactual(folder, cast("Run", run)):
            console.print(line, soft_wrap=True, highlight=False)
        for note in notes_of(folder, cast("Run", run)):
            console.print(f"note: {note}", soft_wrap=True, highlight=False)
    for text in dict.fromkeys(describe_members(folder, cast("Run", run)) for run in runs):
        if text:
            console.print(text, soft_wrap=True, highlight=False)
    for each in published or ():
        console.print(f"published {each.address}", soft_wrap=True, highlight=False)
    if as_json:
        document = {"runs": [resource(folder, cast("Run", run)) for run in runs]}
        if published is not None:
            document["published"] = [each.to_dict() for each in published]
        emit_json(document)
    failed = [run for run in runs if run.status != "succeeded"]
    if failed:
        reason = f"{len(failed)} of {len(runs)} runs did not succeed: {failed[0].reason}"
        raise (InputError if failed[0].error_kind == "InputError" else OSError)(reason)
