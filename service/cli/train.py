"""``pear train``: a model from an analysis store; also ``torchrun --no-python pear train``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from pear.errors import InputError
from service.cli.options import console, emit_json, parse_time, progress


def register(app: typer.Typer) -> None:
    """Add the verb to the command."""
    app.command("train")(train)


def train(
    store: Annotated[Path, typer.Option("--store", help="Analysis store to learn from.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of checkpoint, log and loss curve.")],
    config: Annotated[
        str | None,
        typer.Option(help="small, base, published, or JSON {model: …, training: …}."),
    ] = None,
    minutes: Annotated[float | None, typer.Option(help="Length in minutes of wall clock.")] = None,
    steps: Annotated[int | None, typer.Option(help="Length in optimiser steps.")] = None,
    period: Annotated[
        str | None, typer.Option(help="Training period A..B, both ends included.")
    ] = None,
    validation: Annotated[str | None, typer.Option(help="Validation period A..B.")] = None,
    initial: Annotated[
        Path | None, typer.Option(help="Checkpoint to go on from (fine-tuning).")
    ] = None,
    rollout: Annotated[int | None, typer.Option(min=1, help="Steps in a sample.")] = None,
    rate: Annotated[float | None, typer.Option(help="Learning rate.")] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Samples in a batch.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of weights, order and augmentation.")] = None,
    nside: Annotated[
        int | None, typer.Option(help="Resolution of the model; the store's if left out.")
    ] = None,
    half: Annotated[bool, typer.Option("--half", help="Keep the weights as float16.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a stopped one.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Outcome as JSON on stdout.")] = False,
) -> None:
    """Train a PEAR on a store and write its checkpoint."""
    from pear.device import keep_memory
    from pipelines.training import train as training
    from pipelines.training.train import plot_losses

    keep_memory()
    model, given = _settings(store, config, initial, nside)
    asked = {
        "minutes": minutes,
        "steps": steps,
        "rollout": rollout,
        "learning_rate": rate,
        "batch": batch,
        "seed": seed,
    }
    data = training.Data(store, _period(period, "--period"), _period(validation, "--validation"))
    with progress("train", 1.0) as tick:
        done = training.train(
            data,
            out,
            model,
            _loop(given, asked),
            resume=resume,
            initial=initial,
            command="pear " + " ".join(sys.argv[1:]),
            storage="float16" if half else "float32",
            tick=tick,
        )
    if not done.checkpoint.sha256:  # one of torchrun's followers
        return
    curve = plot_losses(out)
    found = done.outcome
    console.print(
        f"model {done.checkpoint.id}: {found.step} steps in {found.seconds:.0f} s, "
        f"loss {found.train_loss:.4f}, validation {found.validation_loss}, in {out}"
    )
    if as_json:
        emit_json(
            {
                "id": done.checkpoint.id,
                "checkpoint": str(out / training.CHECKPOINT),
                "steps": found.step,
                "train_loss": found.train_loss,
                "validation_loss": found.validation_loss,
                "seconds": found.seconds,
                "stopped": found.stopped,
                "loss_curve": str(curve),
            }
        )


def _settings(
    store: Path, config: str | None, initial: Path | None, nside: int | None
) -> tuple[Any, dict[str, Any]]:
    """Model settings: those asked for, or the initial checkpoint's, or small ones for the store."""
    import dataclasses

    from pear.models import checkpoint
    from pear.models.config import PearConfig
    from pear.store.reader import stored_layout
    from pipelines.training.train import read_settings

    model, given = read_settings(config)
    if initial is not None and model is None:
        return checkpoint.load(initial).config, given
    if model is None:
        model = PearConfig.small()
    _, _, held = stored_layout(store)
    return dataclasses.replace(model, nside=nside or held), given


def _loop(given: dict[str, Any], asked: dict[str, Any]) -> Any:
    """Settings of the loop: the file's, overruled by the options; ten minutes if neither says."""
    from pear.training import TrainingConfig

    wanted = {name: value for name, value in asked.items() if value is not None}
    if "minutes" in wanted or "steps" in wanted:
        given = {k: v for k, v in given.items() if k not in ("minutes", "steps")}
    settings = {**given, **wanted}
    if "minutes" not in settings and "steps" not in settings:
        settings["minutes"] = 10.0
    return TrainingConfig.from_dict(settings)


def _period(text: str | None, option: str) -> tuple[str, str] | None:
    """Read ``2000-01-01..2004-12-31`` as two ISO times."""
    if text is None:
        return None
    first, dots, last = text.partition("..")
    if not dots:
        raise InputError(
            f"{option} {text!r} is no period", field=option, hint="write 2000-01-01..2004-12-31"
        )
    return str(parse_time(first, option)), str(parse_time(last, option))
