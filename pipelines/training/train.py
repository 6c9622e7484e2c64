"""Training of a model on an analysis store, up to a checkpoint with its provenance."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from pear.errors import InputError
from pear.models import checkpoint
from pear.models.climate import STATISTICS, analysis_atmosphere, hours_of_day
from pear.models.config import PearConfig
from pear.models.diagnostics import mirror_symmetric
from pear.models.extension import extend, extend_normaliser, new_channels
from pear.models.pear import Pear
from pear.models.wind_statistics import isotropic
from pear.normaliser import Normaliser
from pear.progress import ProgressCallback
from pear.store.static_fields import read_static_fields, read_stored_static, stored_names
from pear.times import as_utc, to_iso
from pear.training import Samples, StateSource, Trainer, TrainingConfig, TrainingResult
from pear.training.statistics import fit_normaliser
from pear.variables import channel_label
from pipelines.storage import provenance
from pipelines.training.dataset import MEMORY_LIMIT, open_source

CHECKPOINT: Final = "checkpoint"


@dataclass(frozen=True)
class TrainingJob:
    """Everything that determines a training.

    Attributes
    ----------
    store
        Analysis store.
    model
        Settings of the network; its nside may be coarser than the store's.
    settings
        Settings of the training loop.
    period
        First and last valid time of training; default: all, without validation.
    validation
        First and last valid time of validation; default: no validation.
    initial
        Checkpoint folder to start from (fine-tuning); its settings and statistics are kept. Where
        ``model`` has further channels, these are new (:func:`pear.models.extension.extend`).
    storage
        Number format of the checkpoint's weights.
    command
        Command line, for the provenance.
    memory
        Bytes up to which the states are held in memory.

    Raises
    ------
    InputError
        If the periods overlap, or only that of validation is named.
    """

    store: Path
    model: PearConfig
    settings: TrainingConfig
    period: tuple[str, str] | None = None
    validation: tuple[str, str] | None = None
    initial: Path | None = None
    storage: checkpoint.Storage = "float32"
    command: str = ""
    memory: int = MEMORY_LIMIT

    def __post_init__(self) -> None:
        if self.validation is None:
            return
        if self.period is None:
            raise InputError(
                "a validation period needs a training period beside it",
                field="--period",
                hint="write --period 2000-01-01..2004-12-31",
            )
        (start, end), (first, last) = as_utc(self.period), as_utc(self.validation)
        if start <= last and first <= end:
            raise InputError(
                f"training {'..'.join(self.period)} and validation {'..'.join(self.validation)} "
                "overlap",
                field="--validation",
                hint="a model must not be selected on data that it was trained on",
            )

    def open(self, period: tuple[str, str] | None) -> StateSource:
        """Open the states of a period, in memory if they fit."""
        source = open_source(self.store, period, self.model.layout, self.model.nside)
        return source.load() if source.bytes <= self.memory else source


@dataclass(frozen=True)
class TrainedModel:
    """Checkpoint of a training and its result."""

    checkpoint: checkpoint.Checkpoint
    result: TrainingResult


def train(
    job: TrainingJob,
    out: Path,
    *,
    resume: bool = False,
    progress: ProgressCallback | None = None,
) -> TrainedModel:
    """Train a model and write ``out/checkpoint`` beside the log and the resume state.

    Parameters
    ----------
    job
        Data, model and settings.
    out
        Folder; made if missing.
    resume
        Continue from the folder's resume state.
    progress
        Called after each step with the fraction of the training it took.

    Returns
    -------
    TrainedModel
        In processes of ``torchrun`` other than the first, its checkpoint has no id.

    Raises
    ------
    InputError
        If the folder has a training already, or data and settings do not fit together.
    """
    if not resume and (out / "resume.pt").exists():
        raise InputError(
            f"{out} has a training already",
            field="--output",
            hint="add --resume to continue it, or name another folder",
        )
    torch.manual_seed(job.settings.seed)
    rollout = job.settings.rollout
    step = np.timedelta64(job.model.step_hours * 3600, "s")
    samples = Samples.from_source(job.open(job.period), rollout, step=step)
    validation = None
    if job.validation is not None:
        validation = Samples.from_source(job.open(job.validation), rollout, step=step)
    start: dict[str, Any] = {}
    if job.initial is not None:
        fitted = fit_normaliser(samples)
        network, normaliser, start = _initial_network(job, job.initial, fitted)
    else:
        network, normaliser = build_network(job.model, samples, job.store)
    trainer = Trainer(network, normaliser, samples, validation, job.settings, out, progress)
    if job.initial is not None and not resume:
        trainer.log.write("initial", **start)
    result = trainer.run(resume=resume)
    if not trainer.processes.is_main:
        return TrainedModel(checkpoint.Checkpoint(normaliser, {}, "", network), result)
    history = _provenance(job, samples, result)
    if job.initial is not None:
        history["channels"] = start
        history["data"][STATISTICS] = _statistics(fitted)
    saved = checkpoint.save(out / CHECKPOINT, network, normaliser, history, job.storage)
    return TrainedModel(saved, result)


def build_network(config: PearConfig, samples: Samples, store: Path) -> tuple[Pear, Normaliser]:
    """Initialise a network for its data.

    Parameters
    ----------
    config
        Settings of the network.
    samples
        Samples whose statistics standardise the fields.
    store
        Store whose static fields drive the network.

    Returns
    -------
    network : Pear
        Random weights, with static fields and step scale.
    normaliser : Normaliser
        Statistics of the samples.
    """
    normaliser = fit_normaliser(samples)
    if config.symmetry == "c4h":
        normaliser = mirror_symmetric(normaliser)
    if config.wind != "geographic":
        normaliser = isotropic(normaliser)
    network = Pear(config)
    fields = read_static_fields(store, config.nside)
    network.set_static(**{name: fields[name] for name in fields if name in config.forcings})
    if config.residual:
        network.set_step_scale(normaliser)
    return network, normaliser


def _initial_network(
    job: TrainingJob, initial: Path, fitted: Normaliser
) -> tuple[Pear, Normaliser, dict[str, Any]]:
    """Load the network to fine-tune, its statistics, its id and the channels known and new."""
    config = job.model
    loaded = checkpoint.load(initial)
    if replace(config, layout=loaded.config.layout) != loaded.config:
        raise InputError(
            f"{initial} has other model settings than requested",
            field="--initial",
            hint="omit --config to keep the checkpoint's",
        )
    fresh = new_channels(loaded.config.layout, config.layout)
    start = {
        "id": loaded.id,
        "carried": [channel_label(channel) for channel in loaded.config.layout.channels],
        "new": [channel_label(channel) for channel in fresh],
    }
    network, normaliser = loaded.model, loaded.normaliser
    if config.layout != loaded.config.layout:
        normaliser = extend_normaliser(loaded.normaliser, fitted, config)
        network = extend(loaded.model, config.layout, normaliser)
    start["static"] = _take_static(network, job.store)
    return network.train(), normaliser, start


def _take_static(network: Pear, store: Path) -> list[str]:
    """Give a network the static fields that a store has; return the names of those that differ."""
    config = network.config
    fields = read_stored_static(store, config.nside)
    before = {name: getattr(network, name).clone() for name in fields if name in config.forcings}
    network.set_static(**{name: fields[name] for name in before})
    changed = (getattr(network, name) for name in before)
    return [
        name
        for (name, old), new in zip(before.items(), changed, strict=True)
        if not torch.equal(old, new)
    ]


def _statistics(fitted: Normaliser) -> dict[str, list[float]]:
    """Return mean and standard deviation of each channel, as JSON can hold them."""
    return {
        kind: torch.cat(
            [getattr(fitted, f"{part}_{kind}").flatten() for part in ("surface", "upper")]
        ).tolist()
        for kind in ("mean", "std")
    }


def _provenance(job: TrainingJob, samples: Samples, result: TrainingResult) -> dict[str, Any]:
    """Return data, settings, result and versions, as JSON-serialisable values."""
    times = samples.source.times
    attributes = open_source(job.store).dataset.attrs
    return {
        "data": {
            "store": job.store.name,
            "source": str(attributes.get("source", "")),
            "title": str(attributes.get("title", "")),
            "simulated": analysis_atmosphere(attributes) == "simulated",
            "states": int(times.size),
            "hours": hours_of_day(times),
            "period": [to_iso(times[0]), to_iso(times[-1])],
            "validation": list(job.validation) if job.validation else None,
            "static": stored_names(job.store),
        },
        "training": job.settings.to_dict(),
        "outcome": {
            "steps": result.step,
            "train_loss": result.train_loss,
            "validation_loss": result.validation_loss,
            "seconds": round(result.seconds, 1),
            "stopped": result.stopped,
        },
        "initial": None if job.initial is None else checkpoint.load(job.initial).provenance,
        "command": job.command,
        "git_revision": provenance.git_revision(),
        "versions": provenance.versions(),
    }


def read_settings(text: str | None) -> tuple[PearConfig | None, dict[str, Any]]:
    """Read the settings of model and training loop.

    Parameters
    ----------
    text
        ``small``, ``base``, ``published``, or a JSON file with ``model`` (a name, or settings on
        top of ``small``) and ``training`` (settings of the loop).

    Returns
    -------
    model : PearConfig or None
        None where nothing is said about the model.
    training : dict
        Settings of the loop.

    Raises
    ------
    InputError
        If the text is neither a name nor such a file.
    """
    if text is None:
        return None, {}
    named = {"small": PearConfig.small, "base": PearConfig.base, "published": PearConfig.published}
    if text in named:
        return named[text](), {"loss": "published"} if text == "published" else {}
    path = Path(text)
    if not path.is_file():
        raise InputError(
            f"--config {text!r} is neither a name nor a file",
            field="--config",
            hint="use small, base, published, or a JSON file",
        )
    try:
        document = json.loads(path.read_text())
    except ValueError as error:
        raise InputError(f"{path} is not JSON: {error}", field="--config") from error
    if not isinstance(document, dict) or set(document) - {"model", "training"}:
        raise InputError(f"{path} must have no keys but model and training", field="--config")
    model, loop = document.get("model"), document.get("training", {})
    if model is None or isinstance(model, str):
        return read_settings(model)[0], loop
    return PearConfig.from_dict({**PearConfig.small().to_dict(), **model}), loop


def plot_losses(folder: Path) -> Path:
    """Plot training and validation loss by step.

    Parameters
    ----------
    folder
        Folder of the training.

    Returns
    -------
    pathlib.Path
        ``loss.png`` in that folder.
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
