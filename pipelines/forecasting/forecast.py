"""Forecasts: initial states in, stores out, step by step, resumable at every step.

This is the module that workers import to compute; the process that submits never does.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from functools import lru_cache, partial
from itertools import groupby

import torch

from pear import device as runtime
from pear.errors import InputError
from pear.models import checkpoint
from pear.rollout import PearForecaster, concat_states
from pear.rollout.perturbations import split_state
from pear.sphere.symmetry import IDENTITY, Element
from pear.state import State
from pipelines.catalog import Model
from pipelines.catalog.lease import JobLease, Outcome, acquire_lease
from pipelines.forecasting.run import ForecastRun
from pipelines.storage.data_folder import DataFolder

_MODELS_KEPT = 12
_MOST_SIDE_BY_SIDE = 16
_SWITCH_SECONDS = 5e-4
_PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def run_forecast(root: str, run_id: str, catalog_url: str) -> Outcome:
    """Compute one run of the catalog; as :func:`run_forecasts`."""
    return run_forecasts(root, [run_id], catalog_url)[run_id]


def run_forecasts(root: str, run_ids: Sequence[str], catalog_url: str) -> dict[str, Outcome]:
    """Compute runs of the catalog side by side; the task that the engine hands to workers.

    Safe to call again after any interruption: each run goes on from its last complete step, and
    nothing is done for one that has ended. What happens to one run, happens to no other.

    Parameters
    ----------
    root
        The data folder.
    run_ids
        The runs; several step together as one batch where they use the same model.
    catalog_url
        Path or URL of the catalog.

    Returns
    -------
    dict
        Run to :data:`pipelines.catalog.lease.Outcome`.
    """
    outcomes: dict[str, Outcome] = {}
    with ExitStack() as held:
        rolling: list[ForecastRun] = []
        for run_id in run_ids:
            work = held.enter_context(acquire_lease(root, run_id, catalog_url))
            if not isinstance(work, JobLease):
                outcomes[run_id] = work
                continue
            try:
                run = ForecastRun(work, partial(forecaster_of, work.data))
            except Exception as error:
                outcomes[run_id] = work.end(error)
            else:
                held.callback(run.close)  # before the lock is let go
                rolling.append(run)
        while rolling:
            rolling = _finish(rolling, outcomes)
            rolling = _step(rolling, outcomes)
    return outcomes


def _finish(rolling: list[ForecastRun], outcomes: dict[str, Outcome]) -> list[ForecastRun]:
    """Publish the runs that are through; returns the others."""
    for run in rolling:
        if run.done:
            try:
                run.publish()
            except Exception as error:
                outcomes[run.work.job.id] = run.work.end(error)
            else:
                outcomes[run.work.job.id] = run.work.end(None)
    return [run for run in rolling if not run.done]


def _step(rolling: list[ForecastRun], outcomes: dict[str, Outcome]) -> list[ForecastRun]:
    """Take every run one step on; returns those that are still in our hands."""
    if not rolling:
        return []
    try:
        following = iter(_advance([part for run in rolling for part in run.next_inputs()]))
    except Exception as error:
        for run in rolling:
            outcomes[run.work.job.id] = run.work.end(error)
        return []
    left = []
    for run in rolling:
        states = [next(following) for _ in run.parts]
        try:
            run.accept(states)
        except Exception as error:
            outcomes[run.work.job.id] = run.work.end(error)
        else:
            left.append(run)
    return left


def _advance(parts: list[tuple[PearForecaster, State]]) -> list[State]:
    """Step states with their forecasters, those of one forecaster together as batches."""
    following: dict[int, State] = {}
    order = sorted(range(len(parts)), key=lambda index: id(parts[index][0]))
    for _, same in groupby(order, key=lambda index: id(parts[index][0])):
        places = list(same)
        forecaster = parts[places[0]][0]
        batch = concat_states([parts[place][1] for place in places])
        states = split_state(
            _batched(forecaster, batch), [parts[place][1].batch for place in places]
        )
        following |= dict(zip(places, states, strict=True))
    return [following[index] for index in range(len(parts))]


def _batched(forecaster: PearForecaster, states: State) -> State:
    """Step a batch in pieces that fit into memory: where a piece does not, in smaller ones."""
    most = _MOST_SIDE_BY_SIDE
    while True:
        sizes = _sizes(states.batch, most)
        try:
            return concat_states([forecaster.step(piece) for piece in split_state(states, sizes)])
        except torch.OutOfMemoryError:
            if sizes[0] == 1:
                raise
            most = sizes[0] // 2
        torch.cuda.empty_cache()


def _sizes(count: int, most: int) -> list[int]:
    return [min(most, count - start) for start in range(0, count, most)]


def forecaster_of(
    data: DataFolder,
    model: Model,
    precision: str = "float32",
    group: tuple[Element, ...] = (IDENTITY,),
) -> PearForecaster:
    """Return the forecaster of a model of the catalog; loaded once per process and kept.

    Raises
    ------
    InputError
        If the checkpoint is not there, is damaged, or is another one than the catalog says.
    """
    return _forecaster(str(data.root / model.path), model.sha256, precision, group)


@lru_cache(maxsize=_MODELS_KEPT)
def _forecaster(
    folder: str, sha256: str, precision: str, group: tuple[Element, ...]
) -> PearForecaster:
    return PearForecaster(
        _load(folder, sha256), device=device(), dtype=_PRECISIONS[precision], group=group
    )


@lru_cache(maxsize=1)
def device() -> torch.device:
    """Where this process computes: ``PEAR_DEVICE``, by default a CUDA device if there is one."""
    place = os.environ.get("PEAR_WORKER", "0")
    return runtime.choose_device(os.environ.get("PEAR_DEVICE"), int(place))


@lru_cache(maxsize=_MODELS_KEPT)
def _load(folder: str, sha256: str) -> checkpoint.Checkpoint:
    prepare()
    found = checkpoint.load(folder)
    if found.sha256 != sha256:
        raise InputError(
            f"checkpoint {folder} has sha256 {found.sha256[:12]}…, the catalog says {sha256[:12]}…",
            field="model",
            hint="add it anew with `pear models add`",
        )
    return found


@lru_cache(maxsize=1)
def prepare() -> None:
    """Set this process up for computing: its threads, how it keeps memory, and where."""
    runtime.keep_memory()
    # The thread that writes must not keep the interpreter from the one that computes for 5 ms.
    sys.setswitchinterval(_SWITCH_SECONDS)
    threads = os.environ.get("PEAR_THREADS")
    runtime.set_threads(int(threads) if threads else None)
    if device().type == "cuda":
        torch.zeros(1, device=device())  # starts the driver before somebody waits for a step
