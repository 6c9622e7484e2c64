"""Studies as lists of trials in a folder, done once each and shared among processes.

A trial whose result exists is never run again, so a stopped study continues where it was; any
number of processes may work in one folder, each on trials that no other process has.
"""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import ClassVar, Final, TypedDict

import numpy as np
import torch
import xarray as xr

from pear.errors import InputError
from pear.models import checkpoint
from pear.models.config import PearConfig
from pear.progress import ProgressCallback
from pear.store.reader import stored_layout
from pear.times import as_utc
from pear.training import Samples, Trainer, TrainingConfig
from pear.typing import Times
from pear.variables import Layout
from pipelines.storage.atomic import try_lock, write_atomically
from pipelines.studies.comparison import read_results
from pipelines.training.dataset import open_source
from pipelines.training.train import CHECKPOINT, TrainingJob, build_network, train

ROUNDS: Final = 3
TIMED_STEPS: Final = 10
WAIT_SECONDS: Final = 2.0
DAY: Final = np.timedelta64(86_400, "s")


@dataclass(frozen=True)
class Trial:
    """One training or verification of a study.

    Attributes
    ----------
    name
        Unique in its study.
    result
        Path below the study's folder that exists once the trial is done.
    work
        Does the trial, given the study's folder.
    seconds
        Expected duration, 0 where it is not known.
    needs
        Results of other trials, which must exist before this one.
    """

    name: str
    result: str
    work: Callable[[Path], object]
    seconds: float = 0.0
    needs: tuple[str, ...] = ()

    def is_done(self, folder: Path) -> bool:
        """Return whether the result exists."""
        return (folder / self.result).exists()

    def is_ready(self, folder: Path) -> bool:
        """Return whether everything that the trial needs exists."""
        return all((folder / path).exists() for path in self.needs)

    def run(self, folder: Path) -> None:
        """Do the trial and write its result below the folder."""
        self.work(folder)


def run_trials(
    trials: Sequence[Trial],
    folder: Path,
    tick: ProgressCallback | None = None,
    wait: float = WAIT_SECONDS,
) -> None:
    """Run the trials that are not done, sharing them with other processes; return when all are.

    A trial that another process runs is left to it, and run here if that process dies.

    Parameters
    ----------
    trials
        In order of preference.
    folder
        Folder of the study, which also holds the locks.
    tick
        Called for each trial that is done, by whichever process.
    wait
        Seconds between looks at the trials of other processes.
    """
    locks = folder / ".locks"
    locks.mkdir(parents=True, exist_ok=True)
    left = list(trials)
    while left:
        waiting = []
        for trial in left:
            if not _run(trial, folder, locks / f"{trial.name.replace(' ', '-')}.lock"):
                waiting.append(trial)
            elif tick is not None:
                tick(1, trial.name)
        left = waiting
        if left:
            time.sleep(wait)


def _run(trial: Trial, folder: Path, lock: Path) -> bool:
    """Run a trial unless another process does; return whether it is done."""
    if trial.is_done(folder):
        return True
    if not trial.is_ready(folder):
        return False
    with try_lock(lock) as mine:
        if mine and not trial.is_done(folder):
            trial.run(folder)
        return mine


@contextmanager
def wait_for_lock(lock: Path, wait: float = WAIT_SECONDS) -> Iterator[None]:
    """Hold a lock file while the block runs, waiting until no other process has it."""
    while True:
        with try_lock(lock) as mine:
            if mine:
                yield
                return
        time.sleep(wait)


@dataclass(frozen=True, kw_only=True)
class Study(ABC):
    """A comparison made of trials.

    Attributes
    ----------
    folder
        Folder of the results.
    name
        Name of the command and of the report's files.
    """

    folder: Path
    name: ClassVar[str]

    @abstractmethod
    def design(self) -> list[Trial]:
        """Return all trials, whether done or not."""

    @abstractmethod
    def report(self, results: xr.Dataset) -> xr.Dataset:
        """Compare the results that exist, and write the report's files.

        Parameters
        ----------
        results
            See :meth:`results`.

        Returns
        -------
        xarray.Dataset
            The comparison; empty without results.
        """

    def results(self) -> xr.Dataset:
        """Return the netCDF results of all trials that are done, along ``forecaster``."""
        paths = [self.folder / trial.result for trial in self.design()]
        return read_results([path for path in paths if path.suffix == ".nc" and path.exists()])

    def seconds_left(self) -> float:
        """Return the expected duration in one process of the trials that are not done."""
        return sum(trial.seconds for trial in self.design() if not trial.is_done(self.folder))

    def run(self, tick: ProgressCallback | None = None) -> xr.Dataset:
        """Run what is left, beside other processes, and return the report."""
        run_trials(self.design(), self.folder, tick)
        return self.report(self.results())

    def write_table(self, report: xr.Dataset, name: str = "") -> None:
        """Write a comparison as ``NAME.csv``, one row for each combination of its labels."""
        frame = report.to_dataframe().dropna(how="all").reset_index()
        text = frame.to_csv(index=False).encode()
        write_atomically(self.folder / f"{name or self.name}.csv", text)


class NetworkPlan(TypedDict):
    """Cost of one network, and the length of its training."""

    embed: int
    parameters: int
    steps: int
    step_seconds: float


@dataclass(frozen=True, kw_only=True)
class TrainingStudy(Study):
    """A study that trains several networks on the same data.

    Attributes
    ----------
    store, climatology
        Analysis store, and a climatology of the training years.
    period
        First and last day of training.
    test
        First and last init time, outside the training period.
    every
        Days between init times.
    days
        Longest lead time.
    minutes
        Length of a training at equal time, on this machine when nothing else runs.
    seeds
        One training each; more may be added to a folder later.
    embed
        Width of the networks.
    batch
        Samples per batch.

    Raises
    ------
    InputError
        If the periods overlap.
    """

    store: Path
    climatology: Path
    period: tuple[str, str]
    test: tuple[str, str]
    every: int = 5
    days: int = 7
    minutes: float = 5.0
    seeds: tuple[int, ...] = (0, 1, 2)
    embed: int = 128
    batch: int = 4

    VARIABLE: ClassVar[tuple[str, ...]] = ("folder", "seeds")
    """Attributes that may differ between calls that work in one folder."""

    def __post_init__(self) -> None:
        if self.period[1] >= self.test[0] and self.period[0] <= self.test[1]:
            raise InputError("training and test periods overlap", field="--init")

    @abstractmethod
    def measure(self) -> dict[str, NetworkPlan]:
        """Measure the step time of every network and plan the lengths of the trainings."""

    def plan(self, wait: float = WAIT_SECONDS) -> dict[str, NetworkPlan]:
        """Return the plan of the folder; the first process measures it while others wait.

        Parameters
        ----------
        wait
            Seconds between looks at the lock of another process.

        Returns
        -------
        dict
            By name of the network.

        Raises
        ------
        InputError
            If the folder belongs to another study.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "plan.json"
        with wait_for_lock(self.folder / ".plan.lock", wait):
            if not path.exists():
                plan = {
                    "study": self.to_dict(),
                    "threads": torch.get_num_threads(),
                    "networks": self.measure(),
                }
                write_atomically(path, json.dumps(plan, indent=2).encode())
        stored = json.loads(path.read_text())
        if stored["study"] != self.to_dict():
            raise InputError(
                f"{self.folder} belongs to another study",
                field="--output",
                hint="use another folder, or the options it was begun with",
            )
        networks: dict[str, NetworkPlan] = stored["networks"]
        return networks

    def to_dict(self) -> dict[str, object]:
        """Return plain values that tell whether a folder belongs to this study."""
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        plain = {name: value for name, value in plain.items() if name not in self.VARIABLE}
        plain |= {"store": self.store.name, "climatology": self.climatology.name}
        return dict(json.loads(json.dumps({"name": self.name, **plain})))

    @property
    def grid(self) -> tuple[Layout, int]:
        """Channels and nside of the store."""
        _, layout, nside = stored_layout(self.store)
        return layout, nside

    def samples(self) -> Samples:
        """Read the states of the training period into memory."""
        return Samples.from_source(open_source(self.store, self.period, self.grid[0]).load())

    def settings(self, steps: int, seed: int, **changes: object) -> TrainingConfig:
        """Return the training settings, equal for all networks but for the changes."""
        given = {"steps": steps, "batch": self.batch, "seed": seed, "ema": 0.998, **changes}
        return TrainingConfig.from_dict(given)

    def timed_trainer(self, config: PearConfig, samples: Samples, **changes: object) -> Trainer:
        """Return a trainer of a few steps, to be timed."""
        network, normaliser = build_network(config, samples, self.store)
        settings = self.settings(TIMED_STEPS, 0, **changes)
        return Trainer(network, normaliser, samples, None, settings, self.folder / "timing")

    def train_pear(
        self,
        out: Path,
        config: PearConfig,
        settings: TrainingConfig,
        storage: checkpoint.Storage = "float32",
    ) -> None:
        """Train a PEAR network in a folder, resuming a training that was stopped."""
        if not (out / CHECKPOINT / checkpoint.DOCUMENT).exists():
            job = TrainingJob(
                self.store,
                config,
                settings,
                self.period,
                storage=storage,
                command=f"pear study {self.name}",
            )
            train(job, out, resume=(out / "resume.pt").exists())
        (out / "resume.pt").unlink(missing_ok=True)

    def inits(self, times: Times) -> Times:
        """Return the test's init times whose whole forecast is among the times of an analysis.

        Parameters
        ----------
        times
            Times of the analysis.

        Returns
        -------
        Times

        Raises
        ------
        InputError
            If there are fewer than two.
        """
        times = as_utc(times)
        first, last = (np.datetime64(end, "s") for end in self.test)
        inside = times[(times >= first) & (times <= last)][:: self.every]
        complete: Times = inside[np.isin(inside + self.days * DAY, times)]
        if complete.size < 2:
            raise InputError("the test period has fewer than two init times", field="--init")
        return complete

    @property
    def leads(self) -> np.ndarray[tuple[int], np.dtype[np.timedelta64]]:
        """Daily lead times of the verification."""
        return np.arange(1, self.days + 1) * DAY

    def steps_in_time(self, step_seconds: float) -> int:
        """Return the optimiser steps of a training at equal time, at least one."""
        return max(round(60.0 * self.minutes / step_seconds), 1)


def measure_networks(trainers: Mapping[str, Callable[[], Trainer]]) -> dict[str, tuple[int, float]]:
    """Count the parameters and time a step of several networks.

    Networks take turns, so that other work on the machine affects all alike; the best time counts.

    Parameters
    ----------
    trainers
        Return a new trainer of :data:`TIMED_STEPS` steps, by name of the network.

    Returns
    -------
    dict
        Parameters and seconds per step, by name.
    """
    found = dict.fromkeys(trainers, (0, float("inf")))
    for _ in range(ROUNDS):
        for name, make in trainers.items():
            trainer = make()
            size = sum(p.numel() for p in trainer.model.parameters())
            found[name] = size, min(found[name][1], measure_step(trainer))
    return found


def measure_step(trainer: Trainer) -> float:
    """Return the median seconds of an optimiser step of a trainer."""
    trainer.log.path.unlink(missing_ok=True)
    ends: list[float] = []

    def record(advance: float = 1, note: str = "") -> None:
        ends.append(time.perf_counter())

    trainer.progress = record
    trainer.run()
    return float(np.median(np.diff(ends)))
