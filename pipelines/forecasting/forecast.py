"""The task of a worker: compute forecast runs step by step, resumable at every step.

Workers import this module to compute; the process that submits runs never does.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from functools import lru_cache, partial
from pathlib import Path
from typing import Final

import torch

from pear import device as runtime
from pear.errors import InputError
from pear.models import checkpoint
from pear.rollout import OneStepForecaster, PearForecaster, step_together
from pear.sphere.symmetry import IDENTITY
from pipelines.catalog import Model
from pipelines.catalog.installed_models import is_installed
from pipelines.catalog.lease import JobLease, Outcome, acquire_lease
from pipelines.forecasting.ensemble import DTYPES, Group, open_without_symmetries
from pipelines.forecasting.options import ForecastOptions, Precision
from pipelines.forecasting.run import ForecastRun
from pipelines.storage.data_folder import DataFolder

_CACHED_MODELS: Final = 12
_SWITCH_SECONDS: Final = 5e-4
_DEFAULT: Final = ForecastOptions()


def run_forecast(root: str, run_id: str, catalog_url: str) -> Outcome:
    """Compute one run of the catalog; see :func:`run_forecasts`."""
    return run_forecasts(root, [run_id], catalog_url)[run_id]


def run_forecasts(root: str, run_ids: Sequence[str], catalog_url: str) -> dict[str, Outcome]:
    """Compute runs of the catalog side by side.

    Safe to call again after any interruption: each run resumes from its last complete step, and
    runs that have ended are skipped. An error or a cancellation of one run does not affect others.

    Parameters
    ----------
    root
        The data folder.
    run_ids
        Ids of the runs; those with the same model step together as one batch.
    catalog_url
        Path or URL of the catalog.

    Returns
    -------
    dict
        Run id → :data:`pipelines.catalog.lease.Outcome`.
    """
    outcomes: dict[str, Outcome] = {}
    with ExitStack() as stack:
        active: list[ForecastRun] = []
        for run_id in run_ids:
            lease = stack.enter_context(acquire_lease(root, run_id, catalog_url))
            if not isinstance(lease, JobLease):
                outcomes[run_id] = lease
                continue
            try:
                run = ForecastRun(lease, partial(load_forecaster, lease.data))
            except Exception as error:
                outcomes[run_id] = lease.end(error)
            else:
                stack.callback(run.close)  # before the lock is released
                active.append(run)
        while active := _publish_complete(active, outcomes):
            active = _step(active, outcomes)
    return outcomes


def _publish_complete(runs: list[ForecastRun], outcomes: dict[str, Outcome]) -> list[ForecastRun]:
    """Publish the complete runs; returns the others."""
    for run in runs:
        if run.is_complete:
            error: Exception | None = None
            try:
                run.publish()
            except Exception as raised:
                error = raised
            outcomes[run.lease.job.id] = run.lease.end(error)
    return [run for run in runs if not run.is_complete]


def _step(runs: list[ForecastRun], outcomes: dict[str, Outcome]) -> list[ForecastRun]:
    """Advance every run by one step; returns the runs that have not ended."""
    try:
        following = iter(step_together([pair for run in runs for pair in run.next_inputs()]))
    except Exception as error:
        outcomes |= {run.lease.job.id: run.lease.end(error) for run in runs}
        return []
    left = []
    for run in runs:
        states = [next(following) for _ in run.states]
        try:
            run.accept(states)
        except Exception as error:
            outcomes[run.lease.job.id] = run.lease.end(error)
        else:
            left.append(run)
    return left


def load_forecaster(
    data: DataFolder,
    model: Model,
    options: ForecastOptions = _DEFAULT,
    group: Group = (IDENTITY,),
) -> OneStepForecaster:
    """Return the forecaster of a model of the catalog, loaded once per process.

    Parameters
    ----------
    data
        The data folder.
    model
        A model of its catalog.
    options
        Of the forecast: the precision, and whether steps are corrected.
    group
        Symmetries over which each step is averaged.

    Returns
    -------
    OneStepForecaster
        The same object for equal arguments; InputError if the checkpoint is missing, damaged or
        not the one that the catalog lists.
    """
    how = options.precision, options.correction
    return _forecaster(str(data.root / model.path), model.sha256, how, group)


@lru_cache(maxsize=_CACHED_MODELS)
def _forecaster(
    folder: str, sha256: str, how: tuple[Precision, bool], group: Group
) -> OneStepForecaster:
    if is_installed(Path(folder)):
        configure_process()
        return open_without_symmetries(Path(folder), str(choose_device()), group)
    precision, correct = how
    return PearForecaster(
        _load(folder, sha256),
        device=choose_device(),
        dtype=DTYPES[precision],
        group=group,
        correct=correct,
    )


@lru_cache(maxsize=1)
def choose_device() -> torch.device:
    """Return the device of this process: ``PEAR_DEVICE``, or a CUDA device if there is one."""
    place = os.environ.get("PEAR_WORKER", "0")
    return runtime.choose_device(os.environ.get("PEAR_DEVICE"), int(place))


@lru_cache(maxsize=_CACHED_MODELS)
def _load(folder: str, sha256: str) -> checkpoint.Checkpoint:
    configure_process()
    found = checkpoint.load(folder)
    if found.sha256 != sha256:
        raise InputError(
            f"checkpoint {folder} has SHA-256 {found.sha256[:12]}…, the catalog lists "
            f"{sha256[:12]}…",
            field="model",
            hint="add it again with `pear models add`",
        )
    return found


@lru_cache(maxsize=1)
def configure_process() -> None:
    """Set the threads, the allocator and the device of this process up for computing."""
    runtime.keep_memory()
    # So that the writer thread blocks the computing one for less than the default 5 ms.
    sys.setswitchinterval(_SWITCH_SECONDS)
    # Steps choose their own number; everything between them is small.
    torch.set_num_threads(runtime.choose_threads(0))
    if choose_device().type == "cuda":
        torch.zeros(1, device=choose_device())  # starts the driver before the first step
