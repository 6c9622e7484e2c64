"""``pear train``: a model from an analysis store; also ``torchrun --no-python pear train``."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from pear.device import keep_memory
from pear.errors import InputError
from pear.models import checkpoint
from pear.models.config import HOURLY, PearConfig
from pear.models.extension import extended_layout
from pear.store.dataset import make_layout
from pear.store.reader import stored_layout
from pear.training import TrainingConfig
from pear.variables import BY_NAME, Layout, variable
from pipelines.training import train as training
from service.cli import options as opt
from service.cli.console import Interrupted, console, emit_json, progress
from service.cli.models import checkpoint_folder

_length = partial(typer.Option, rich_help_panel="Length")
_optimiser = partial(typer.Option, rich_help_panel="Optimisation")


def train(
    *,
    analysis: opt.AnalysisStore,
    output: opt.Output,
    period: Annotated[opt.Period | None, opt.TRAINING_PERIOD] = None,
    validation: Annotated[opt.Period | None, opt.period_option(help="Validation period.")] = None,
    config: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            help="small, base, published, or a JSON file {model: ..., training: ...}.",
        ),
    ] = None,
    initial: Annotated[
        Path | None,
        opt.path_option(help="Checkpoint to fine-tune, or shipped for the model of the package."),
    ] = None,
    also: Annotated[
        opt.CommaList | None,
        typer.Option(
            parser=opt.LIST,
            metavar="LIST",
            help="Variables of the store to learn beside the nine of PEAR and those of --initial, "
            "e.g. tp06,d2m, or none (default: all that the store has).",
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue an interrupted training in --output.")
    ] = False,
    nside: Annotated[
        int | None, typer.Option(metavar="N", help="HEALPix resolution (default: the store's).")
    ] = None,
    step: Annotated[
        opt.Duration | None,
        typer.Option(
            parser=opt.DURATION,
            metavar="DURATION",
            help="Length of a step of the model, e.g. 6h (default: 1d).",
        ),
    ] = None,
    half: Annotated[bool, typer.Option("--half", help="Store the weights as float16.")] = False,
    as_json: opt.Json = False,
    minutes: Annotated[float | None, _length(metavar="N", help="Wall-clock minutes.")] = None,
    steps: Annotated[int | None, _length(metavar="N", help="Optimiser steps.")] = None,
    rollout: Annotated[
        int | None, _optimiser(min=1, metavar="N", help="Model steps per sample.")
    ] = None,
    rate: Annotated[float | None, _optimiser(metavar="X", help="Learning rate.")] = None,
    batch: Annotated[int | None, _optimiser(min=1, metavar="N", help="Samples per batch.")] = None,
    seed: Annotated[
        int | None, _optimiser(metavar="N", help="Random seed of weights, order and augmentation.")
    ] = None,
) -> None:
    """Train a model on an analysis store and write checkpoint, log and loss curve.

    Without --minutes and --steps it trains for ten minutes.

    Examples
    --------
    $ pear train --analysis era5.zarr --minutes 30 --output runs/first
    $ pear train --analysis era5.zarr --initial runs/b/checkpoint -o runs/c
    $ pear train --analysis era5.zarr --initial shipped --also tp06,d2m -o runs/d
    """
    keep_memory()
    initial = initial and checkpoint_folder(initial)
    model, given = _settings(analysis, config, initial, _Changes(nside, step, also))
    length = {"minutes": minutes, "steps": steps}
    rest = {"rollout": rollout, "learning_rate": rate, "batch": batch, "seed": seed}
    job = training.TrainingJob(
        analysis,
        model,
        _loop(given, {**length, **rest}),
        _ends(period),
        _ends(validation),
        initial,
        "float16" if half else "float32",
        "pear " + " ".join(sys.argv[1:]),
    )
    with _interruptible(output), progress("train", 1.0) as tick:
        done = training.train(job, output, resume=resume, progress=tick)
    if not done.checkpoint.sha256:  # a process other than the first of torchrun
        return
    curve = training.plot_losses(output)
    found = done.result
    console.print(
        f"model {done.checkpoint.id}: {found.step} steps in {found.seconds:.0f} s, "
        f"loss {found.train_loss:.4f}, validation {found.validation_loss}, in {output}"
    )
    start = done.checkpoint.provenance.get("channels")
    if start is not None:
        new = ", ".join(start["new"]) or "none"
        console.print(
            f"from model {start['id']}: {len(start['carried'])} channels carried over, new: {new}",
            soft_wrap=True,
            highlight=False,
        )
        if start["static"]:
            console.print(
                f"static fields of the store instead of the model's: {', '.join(start['static'])}",
                soft_wrap=True,
            )
    if as_json:
        document = {
            "channels": start,
            "id": done.checkpoint.id,
            "checkpoint": str(output / training.CHECKPOINT),
            "steps": found.step,
            "train_loss": found.train_loss,
            "validation_loss": found.validation_loss,
            "seconds": found.seconds,
            "stopped": found.stopped,
            "loss_curve": str(curve),
        }
        emit_json(document)


@dataclasses.dataclass(frozen=True)
class _Changes:
    """Settings of the model that options change."""

    nside: int | None
    step: opt.Duration | None
    also: opt.CommaList | None


def _settings(
    store: Path, config: str | None, initial: Path | None, asked: _Changes
) -> tuple[PearConfig, dict[str, Any]]:
    """Return the model settings: given ones, else the initial checkpoint's, else small ones."""
    _, layout, held = stored_layout(store)  # with the variables that the store defines
    model, given = training.read_settings(config)
    more = _more(layout, asked.also, store)
    if initial is not None and model is None:
        return _initial_settings(initial, layout, more, asked), given
    if model is not None and asked.also is not None:
        raise InputError(
            "--also and the model settings of --config both say what to learn",
            field="--also",
            hint="omit --also, or name the channels in the file of settings",
        )
    if model is None:
        model = PearConfig.small()
        wanted = make_layout({*model.layout.names, *more}, model.layout.levels)
        model = dataclasses.replace(model, layout=wanted)
    if asked.step is not None:
        hourly = HOURLY if asked.step.hours % 24 else ()  # the sun moves on between two steps
        forcings = tuple(dict.fromkeys((*model.forcings, *hourly))) if model.forcings else ()
        model = dataclasses.replace(model, step_hours=asked.step.hours, forcings=forcings)
    return dataclasses.replace(model, nside=asked.nside or held), given


def _more(layout: Layout, also: opt.CommaList | None, store: Path) -> tuple[str, ...]:
    """Return the variables of a store to learn beside the published ones."""
    more = tuple(name for name in layout.names if not BY_NAME[name].published)
    if also is None:
        return more
    asked = [] if also == ("none",) else [variable(name).name for name in also]
    for name in asked:
        if name not in layout.names:
            raise InputError(
                f"{store} has no {name}",
                field="--also",
                hint=f"beside the nine it has {', '.join(more) or 'nothing'}",
            )
    return tuple(name for name in more if name in asked)


def _initial_settings(
    initial: Path, layout: Layout, more: tuple[str, ...], asked: _Changes
) -> PearConfig:
    """Return the settings of the checkpoint to fine-tune, with more channels."""
    config = checkpoint.load(initial).config
    for option, given, kept, unit in (
        ("--step", asked.step and asked.step.hours, config.step_hours, " h"),
        ("--nside", asked.nside, config.nside, ""),
    ):
        if given is not None and given != kept:
            raise InputError(
                f"{initial} has {option[2:]} {kept}{unit}, not {given}{unit}",
                field=option,
                hint="omit --initial to train a new model",
            )
    return dataclasses.replace(config, layout=extended_layout(config.layout, more, layout))


def _loop(given: dict[str, Any], asked: dict[str, Any]) -> TrainingConfig:
    """Return the training settings: those of the file, overridden by the options."""
    wanted = {name: value for name, value in asked.items() if value is not None}
    if "minutes" in wanted or "steps" in wanted:
        given = {k: v for k, v in given.items() if k not in ("minutes", "steps")}
    settings = {**given, **wanted}
    if "minutes" not in settings and "steps" not in settings:
        settings["minutes"] = 10.0
    return TrainingConfig.from_dict(settings)


@contextmanager
def _interruptible(output: Path) -> Iterator[None]:
    """Say after an interrupt whether there is a state to resume from."""
    try:
        yield
    except KeyboardInterrupt as error:
        if any(output.glob("resume*")):
            raise Interrupted("the last saved state is kept; add --resume to continue") from error
        raise Interrupted("no state was saved yet; run the command again") from error


def _ends(period: opt.Period | None) -> tuple[str, str] | None:
    """Return both ends of a period as ISO 8601 text."""
    return None if period is None else (str(period[0]), str(period[1]))
