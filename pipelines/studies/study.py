"""What studies that train several networks share: their data, their folder, their comparison.

A study's folder holds a plan (made once, from measured step times) and the results of its jobs. A
job whose result is there is never done again, so a stopped study goes on; and any number of
processes may work in one folder, each taking jobs that nobody has.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
import torch

from pear.errors import InputError
from pear.progress import ProgressCallback
from pear.times import as_utc
from pear.training import Trainer, TrainingConfig
from pear.typing import Times
from pipelines.storage.atomic import try_lock, write_atomically

ROUNDS: Final = 3
TIMED_STEPS: Final = 10
WAIT_SECONDS: Final = 2.0


@dataclass(frozen=True)
class Study:
    """What is compared, on which data.

    Attributes
    ----------
    store, climatology
        Analyses, and the climatology of the training years.
    period
        First and last day of training.
    test
        First and last init time, never used in training.
    every
        Days between init times.
    days
        Lead of the verification.
    minutes
        Length of a training at equal time, on this machine when nothing else runs.
    seeds
        Of each network; more may be added to a folder later.
    embed
        Width of the networks.
    batch
        Samples in a batch.

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

    OPEN: ClassVar[tuple[str, ...]] = ("seeds",)
    """What may differ between two calls that work in one folder."""

    def __post_init__(self) -> None:
        if self.period[1] >= self.test[0] and self.period[0] <= self.test[1]:
            raise InputError("training and test overlap", field="--test")

    def to_dict(self) -> dict[str, Any]:
        """Plain values, to tell whether a folder belongs to this study."""
        plain = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in self.OPEN}
        plain |= {"store": self.store.name, "climatology": self.climatology.name}
        return dict(json.loads(json.dumps(plain)))

    def settings(self, steps: int, seed: int, **changes: Any) -> TrainingConfig:
        """Settings of the loop, the same for every network but for the changes."""
        return TrainingConfig(
            **{"steps": steps, "batch": self.batch, "seed": seed, "ema": 0.998, **changes}
        )

    def inits(self, times: Times) -> Times:
        """Init times of the test whose whole forecast is among the times of an analysis.

        Raises
        ------
        InputError
            If there are fewer than two.
        """
        times = as_utc(times)
        first, last = (np.datetime64(end, "s") for end in self.test)
        inside = times[(times >= first) & (times <= last)][:: self.every]
        held: Times = inside[np.isin(inside + np.timedelta64(self.days, "D"), times)]
        if held.size < 2:
            raise InputError("the test period holds no init times", field="--test")
        return held


@dataclass(frozen=True)
class Job:
    """One training or verification.

    Attributes
    ----------
    name
        For people; no two of a study have the same.
    result
        File that is there when it is done.
    work
        Does it.
    seconds
        What it will take, as far as the plan can tell.
    """

    name: str
    result: Path
    work: Callable[[], Any]
    seconds: float = 0.0

    @property
    def done(self) -> bool:
        """Whether there is nothing left to do."""
        return self.result.exists()


def share(
    jobs: Sequence[Job],
    folder: Path,
    tick: ProgressCallback | None = None,
    wait: float = WAIT_SECONDS,
) -> None:
    """Do what is not done, beside any other processes that do the same; returns when all is.

    A job that another process has is left to it, and taken over if that process dies.

    Parameters
    ----------
    jobs
        In the order wished for.
    folder
        Of the study; the locks lie in it.
    tick
        Told of every job that is done, whoever did it.
    wait
        Seconds between looks at what others have.
    """
    locks = folder / ".locks"
    locks.mkdir(parents=True, exist_ok=True)
    left = list(jobs)
    while left:
        others = []
        for job in left:
            if not _take(job, locks / f"{job.name.replace(' ', '-')}.lock"):
                others.append(job)
            elif tick is not None:
                tick(1, job.name)
        left = others
        if left:
            time.sleep(wait)


def _take(job: Job, lock: Path) -> bool:
    """Do a job unless another process has it; returns whether it is done."""
    if job.done:
        return True
    with try_lock(lock) as mine:
        if mine and not job.done:
            job.work()
        return mine


def seconds_left(jobs: Sequence[Job]) -> float:
    """What is not done yet will take so long, in one process."""
    return sum(job.seconds for job in jobs if not job.done)


def the_plan(
    study: Study, folder: Path, make: Callable[[], dict[str, Any]], wait: float = WAIT_SECONDS
) -> dict[str, Any]:
    """Return the plan of a folder; the first process that comes makes it, the others wait.

    Raises
    ------
    InputError
        If the folder holds another study.
    """
    folder.mkdir(parents=True, exist_ok=True)
    note = folder / "plan.json"
    with waiting(folder / ".plan.lock", wait):
        if not note.exists():
            plan = {"study": study.to_dict(), "threads": torch.get_num_threads(), **make()}
            write_atomically(note, json.dumps(plan, indent=2).encode())
    held: dict[str, Any] = json.loads(note.read_text())
    if held["study"] != study.to_dict():
        raise InputError(f"{folder} holds another study", field="--out")
    return held


@contextmanager
def waiting(lock: Path, wait: float = WAIT_SECONDS) -> Iterator[None]:
    """Hold a lock file while the block runs, once nobody else has it."""
    while True:
        with try_lock(lock) as mine:
            if mine:
                yield
                return
        time.sleep(wait)


def timed(trainer: Trainer) -> float:
    """Seconds of one optimiser step of a trainer of :data:`TIMED_STEPS`: the middle one of all."""
    trainer.log.path.unlink(missing_ok=True)
    ends: list[float] = []

    def ended(advance: float = 1, note: str = "") -> None:
        ends.append(time.perf_counter())

    trainer.progress = ended
    trainer.run()
    return float(np.median(np.diff(ends)))


def steps_in(minutes: float, step_seconds: float) -> int:
    """Optimiser steps of a training of so many minutes, at least one."""
    return max(round(60.0 * minutes / step_seconds), 1)
