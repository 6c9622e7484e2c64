"""Train a model on an analysis store: data, statistics, loop, checkpoint with its provenance."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pear.errors import InputError
from pear.models import checkpoint
from pear.models.config import PearConfig
from pear.models.diagnostics import mirror_symmetric
from pear.models.pear import Pear
from pear.normaliser import Normaliser
from pear.progress import ProgressCallback
from pear.store import static_fields as statics
from pear.times import to_iso
from pear.training import Samples, Trainer, TrainingConfig, TrainingResult
from pear.training.statistics import fit_normaliser
from pipelines.storage import provenance
from pipelines.training.dataset import MEMORY, StoreSource, open_source, static_fields

CHECKPOINT = "checkpoint"


@dataclass(frozen=True)
class Data:
    """Which states a training may read.

    Attributes
    ----------
    store
        Analysis store.
    period
        First and last valid time of training; None means all that validation leaves.
    validation
        First and last valid time of validation; None trains without.
    memory
        Bytes below which the states are held in memory.
    """

    store: Path
    period: tuple[str, str] | None = None
    validation: tuple[str, str] | None = None
    memory: int = MEMORY

    def __post_init__(self) -> None:
        if self.period and self.validation:
            (a, b), (c, d) = self.period, self.validation
            if a <= d and c <= b:
                raise InputError(
                    f"training {a}..{b} and validation {c}..{d} overlap",
                    field="--validation",
                    hint="a model must not be selected on what it was trained on",
                )


@dataclass(frozen=True)
class Trained:
    """What a training left behind."""

    checkpoint: checkpoint.Checkpoint
    outcome: TrainingResult
    folder: Path


def train(
    data: Data,
    out: Path,
    model: PearConfig,
    settings: TrainingConfig,
    *,
    resume: bool = False,
    initial: Path | None = None,
    command: str = "",
    storage: checkpoint.Storage = "float32",
    tick: ProgressCallback | None = None,
) -> Trained:
    """Train, and write ``out/checkpoint`` beside the journal (``train.jsonl``, ``resume.pt``).

    Parameters
    ----------
    data
        Store and periods.
    out
        Folder; made if missing.
    model
        Settings of the network; its nside may be coarser than the store's.
    settings
        Settings of the loop.
    resume
        Go on where the folder's journal stopped.
    initial
        Checkpoint folder to start from (fine-tuning); its settings and statistics are kept.
    command
        For the provenance.
    storage
        Of the checkpoint's weights.
    tick
        Told of progress, in shares of the training.

    Raises
    ------
    InputError
        If data, settings and folder do not fit together.
    """
    out = Path(out)
    if not resume and (out / "resume.pt").exists():
        raise InputError(
            f"{out} holds a training already",
            field="--out",
            hint="add --resume to go on with it, or name another folder",
        )
    torch.manual_seed(settings.seed)
    training, validation = _samples(data, model, settings.rollout)
    network, normaliser = build_network(model, training, initial, data.store)
    trainer = Trainer(network, normaliser, training, validation, settings, out, tick)
    outcome = trainer.run(resume=resume)
    if not trainer.processes.is_main:
        return Trained(checkpoint.Checkpoint(normaliser, {}, "", network), outcome, out)
    history = _provenance(data, training, settings, outcome, command, initial)
    written = checkpoint.save(out / CHECKPOINT, network, normaliser, history, storage)
    return Trained(written, outcome, out)


def _samples(data: Data, model: PearConfig, rollout: int) -> tuple[Samples, Samples | None]:
    sources: list[StoreSource | None] = []
    for period in (data.period, data.validation):
        if period is None and sources:
            sources.append(None)
            continue
        source = open_source(data.store, period, model.layout, model.nside)
        sources.append(source.hold() if source.bytes <= data.memory else source)
    train_source, validation_source = sources
    if train_source is None:
        raise InputError("no training data", field="--store")
    if data.period is None and validation_source is not None:
        inside = (train_source.times >= validation_source.times[0]) & (
            train_source.times <= validation_source.times[-1]
        )
        if inside.any():
            raise InputError(
                "the training period must be named when a validation period is",
                field="--period",
                hint="write --period 2000-01-01..2004-12-31",
            )
    return (
        Samples.from_source(train_source, rollout),
        None if validation_source is None else Samples.from_source(validation_source, rollout),
    )


def build_network(
    config: PearConfig, training: Samples, initial: Path | None, store: Path
) -> tuple[Pear, Normaliser]:
    """Make a network with the statistics and the ground of its data, or take up another one.

    Raises
    ------
    InputError
        If the initial checkpoint has other settings.
    """
    if initial is not None:
        begun = checkpoint.load(initial)
        if begun.config != config:
            raise InputError(
                f"{initial} has other model settings than asked for",
                field="--initial",
                hint="leave --config out to keep the checkpoint's",
            )
        return begun.model.train(), begun.normaliser
    normaliser = fit_normaliser(training)
    if config.symmetry == "c4h":
        normaliser = mirror_symmetric(normaliser)
    network = Pear(config)
    wanted = set(config.forcings)
    fields = static_fields(config.nside, store)
    network.set_static(**{name: field for name, field in fields.items() if name in wanted})
    if config.residual:
        network.set_step_scale(normaliser)
    return network, normaliser


def _provenance(
    data: Data,
    training: Samples,
    settings: TrainingConfig,
    outcome: TrainingResult,
    command: str,
    initial: Path | None,
) -> dict[str, Any]:
    times = training.source.times
    attributes = open_source(data.store, layout=training.source.layout).attributes
    return {
        "data": {
            "store": data.store.name,
            "source": str(attributes.get("source", "")),
            "title": str(attributes.get("title", "")),
            "states": int(times.size),
            "period": [to_iso(times[0]), to_iso(times[-1])],
            "validation": list(data.validation) if data.validation else None,
            "static": statics.stored_names(data.store),
        },
        "training": settings.to_dict(),
        "outcome": {
            "steps": outcome.step,
            "train_loss": outcome.train_loss,
            "validation_loss": outcome.validation_loss,
            "seconds": round(outcome.seconds, 1),
            "stopped": outcome.stopped,
        },
        "initial": None if initial is None else checkpoint.load(initial).provenance,
        "command": command,
        "git_revision": provenance.git_revision(),
        "versions": provenance.versions(),
    }


def read_settings(text: str | None) -> tuple[PearConfig | None, dict[str, Any]]:
    """Read ``small``, ``base``, ``published``, or a JSON file, as model and loop settings.

    A JSON document may hold ``model`` (a name, or settings on top of ``small``; None is returned
    where it says nothing) and ``training`` (settings of the loop).

    Raises
    ------
    InputError
        If it is neither a name nor such a file.
    """
    if text is None:
        return None, {}
    named = {"small": PearConfig.small, "base": PearConfig.base, "published": PearConfig.published}
    if text in named:
        return named[text](), {"loss": "published"} if text == "published" else {}
    path = Path(text)
    if not path.is_file():
        raise InputError(
            f"--config {text!r} is no file",
            field="--config",
            hint="use small, base, published, or a JSON file",
        )
    try:
        document = json.loads(path.read_text())
    except ValueError as error:
        raise InputError(f"{path} is no JSON: {error}", field="--config") from error
    if not isinstance(document, dict) or set(document) - {"model", "training"}:
        raise InputError(f"{path} must hold model and training only", field="--config")
    model, loop = document.get("model"), document.get("training", {})
    if model is None or isinstance(model, str):
        return read_settings(model)[0], loop
    return PearConfig.from_dict({**PearConfig.small().to_dict(), **model}), loop


def plot_losses(folder: Path) -> Path:
    """Draw training and validation loss by step as ``loss.png`` in the training's folder.

    Returns
    -------
    Path
        The picture.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    entries = [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]
    figure = Figure(figsize=(7, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for event, style in (("step", {"lw": 0.8}), ("validation", {"marker": "o", "ms": 3})):
        points = [(e["step"], e["loss"]) for e in entries if e["event"] == event]
        if points:
            axes.plot(
                *zip(*points, strict=True), label={"step": "training"}.get(event, event), **style
            )
    axes.set(xlabel="optimiser step", ylabel="loss", yscale="log")
    axes.grid(visible=True, alpha=0.3)
    axes.legend()
    path = folder / "loss.png"
    figure.savefig(path, dpi=120)
    return path
