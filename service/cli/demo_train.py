"""``pear demo --train``: simulate an atmosphere, ingest it and train a model on it."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from pear import resources
from pear.device import keep_memory
from pear.errors import InputError
from pear.models.config import PearConfig
from pear.training import TrainingConfig
from pear.training.run_log import RunLog
from pipelines.ingestion.ingest import ingest
from pipelines.simulation import run
from pipelines.training import train as training
from service.cli.console import announced, console, progress
from service.cli.evaluate import show

START: Final = "2000-01-01"
SEED: Final = 7
"""Differs from the shipped atmosphere's seed: the model has not seen the sample's weather."""
LEAST_MINUTES: Final = 1.0
_AFTER: Final = 90.0
"""Seconds reserved for the last validation and for scoring two models."""


@dataclass(frozen=True)
class Training:
    """Size of the training demo.

    Attributes
    ----------
    days
        Simulated days to learn from, after the spin-up.
    spin_up
        Simulated days before them.
    minutes
        Wall-clock minutes for everything; training gets what the simulation leaves.
    """

    days: int = 730
    spin_up: int = 184
    minutes: float = 15.0

    def __post_init__(self) -> None:
        if self.minutes < 2 * LEAST_MINUTES:
            raise InputError(
                f"--minutes {self.minutes:g} is too short to make an atmosphere and a model",
                field="--minutes",
                hint="give 15, or 30 on a processor without bfloat16",
            )
        if self.days < 60:
            raise InputError(
                f"--days {self.days} are too few to learn from",
                field="--days",
                hint="give a year or more",
            )


@contextmanager
def timed(seconds: dict[str, float], part: str) -> Iterator[None]:
    """Announce a part where no bar moves, and record the seconds that the block takes."""
    if not console.is_terminal:
        console.print(f"{part} …")
    began = time.perf_counter()
    yield
    seconds[part] = time.perf_counter() - began


def train_own(folder: Path, plan: Training, began: float, seconds: dict[str, float]) -> Path:
    """Simulate, ingest and train in a folder; continues an interrupted call.

    Parameters
    ----------
    folder
        Folder of the simulation, its store and the training.
    plan
        Size of the demo.
    began
        ``time.perf_counter()`` from which ``plan.minutes`` are counted.
    seconds
        Receives the seconds of each part.

    Returns
    -------
    Path
        Checkpoint folder.
    """
    out = folder / "model"
    if (out / training.CHECKPOINT / "checkpoint.json").exists():
        return out / training.CHECKPOINT
    model, settings = _recipe()
    store = folder / f"nside{model.nside}.zarr"
    with timed(seconds, "simulate"):
        _simulate(folder / "simulated", plan)
    with timed(seconds, "ingest own"):
        ingest_files((folder / "simulated").glob("simulated_*.nc"), store, model.nside)
    left = plan.minutes - (time.perf_counter() - began + _AFTER) / 60.0
    with timed(seconds, "train"):
        _train(store, out, model, replace(settings, minutes=max(left, LEAST_MINUTES)))
    return out / training.CHECKPOINT


def _recipe() -> tuple[PearConfig, TrainingConfig]:
    """Return the shipped model's settings of network and training."""
    model, loop = training.read_settings(str(resources.path("recipe.json")))
    settings = TrainingConfig.from_dict({**loop, "minutes": LEAST_MINUTES, "validate_every": None})
    return model or PearConfig.small(), settings


def _simulate(out: Path, plan: Training) -> None:
    if importlib.util.find_spec("dinosaur") is None:
        raise InputError(
            "making an atmosphere needs the extra simulate",
            field="--train",
            hint='pip install "pear-weather[simulate]"',
        )
    wanted = run.SimulationConfig(START, seed=SEED, spin_up=plan.spin_up)
    with announced("simulate") as announce:
        run.simulate(out, wanted, plan.days, announce)


def ingest_files(files: Iterable[Path], store: Path, nside: int) -> None:
    """Regrid files into a store, as ``pear ingest`` does."""
    with announced("ingest") as announce:
        ingest(sorted(files), store, nside=nside, progress=announce)


def _train(store: Path, out: Path, model: PearConfig, settings: TrainingConfig) -> None:
    keep_memory()
    resume = (out / "resume.pt").exists()
    if resume:  # the length of the training is part of what is resumed
        settings = type(settings).from_dict(RunLog(out).load()["config"])
    job = training.TrainingJob(
        store, model, settings, storage="float16", command="pear demo --train"
    )
    with progress("train", 1.0) as tick:
        training.train(job, out, resume=resume, progress=tick)


def side_by_side(
    shipped: Sequence[Any], own: Sequence[Any], wanted: Sequence[tuple[str, int | None]]
) -> list[dict[str, Any]]:
    """Print the scores of both models beside the baselines; return the records that were shown."""
    names = {"pear": "shipped"}
    rows = [
        {**row, "forecaster": names.get(row["forecaster"], row["forecaster"])} for row in shipped
    ]
    rows += [{**row, "forecaster": "trained here"} for row in own if row["forecaster"] == "pear"]
    order = ("shipped", "trained here", "persistence", "climatology")
    rows.sort(key=lambda row: order.index(row["forecaster"]))
    show(rows, wanted)
    console.print("Both models on the same init times of the sample that ships, all simulated.")
    return rows
