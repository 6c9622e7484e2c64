"""One forecast: initial state in, store out, step by step, resumable at every step.

This is the module that workers import to compute; it is the only one of the engine's that loads
tensors.
"""

from __future__ import annotations

import os
from functools import lru_cache

import numpy as np
import torch

from pear import runtime
from pear.errors import InputError
from pear.models import checkpoint
from pear.rollout import PearForecaster
from pear.state import State
from pear.variables import Layout
from pipelines.catalog import Model, Run
from pipelines.datafolder import DataFolder
from pipelines.states import read_state
from pipelines.store import ForecastWriter
from pipelines.work import Outcome, Work, perform

_MODELS_KEPT = 2


def run_forecast(root: str, run_id: str, catalog_url: str) -> Outcome:
    """Compute one run of the catalog; the task that the engine hands to workers.

    Safe to call again after any interruption: it goes on from the last complete step, and does
    nothing if the run has ended.

    Parameters
    ----------
    root
        The data folder.
    run_id
        The run.
    catalog_url
        Path or URL of the catalog.

    Returns
    -------
    Outcome
        As :func:`pipelines.work.perform`.
    """
    return perform(root, run_id, catalog_url, _forecast)


def _forecast(work: Work) -> None:
    run = work.job
    if not isinstance(run, Run):
        raise TypeError(f"{run.id} is no forecast run")
    forecaster = forecaster_of(work.data, work.catalog.model(run.model))
    total = run.lead_hours // forecaster.checkpoint.config.step_hours
    writer = _writer(work.data, run, forecaster, total)
    if not writer.published:
        done = _whole(writer)
        work.progress(max(done - 1, 0), total)
        if done == 0:
            path = work.data.analysis(run.options["analysis"])
            state = read_state(path, run.init_time, forecaster.layout, forecaster.nside)
            _write(writer, 0, state)
            done = 1
        else:
            state = _reread(writer, done - 1, forecaster.layout)
        if done <= total:
            # Leads count from 1: the state at lead 0 is the initial one and is kept as well.
            for lead, following in enumerate(forecaster.forecast(state, total + 1 - done), done):
                _write(writer, lead, following)
                work.progress(lead, total)
    writer.publish()


def _writer(data: DataFolder, run: Run, forecaster: PearForecaster, total: int) -> ForecastWriter:
    leads = np.arange(total + 1) * forecaster.step
    used = forecaster.checkpoint
    attrs = {
        "title": "PEAR forecast",
        "source": f"PEAR model {used.id}, checkpoint sha256 {used.sha256}",
        "model": used.id,
        "model_sha256": used.sha256,
        "run_id": run.id,
        "initial_state": run.options["analysis"],
    }
    return ForecastWriter(
        data.forecast(run.id), forecaster.layout, forecaster.nside, run.init_time, leads, attrs
    )


def _whole(writer: ForecastWriter) -> int:
    """Count the steps kept from lead 0 on without a hole; a hole ends what can be gone on from."""
    done = 0
    for index in writer.steps_done():
        if index != done:
            break
        done += 1
    while done:
        try:  # a step that does not read back is computed again
            writer.read_step(done - 1)
        except InputError:
            done -= 1
        else:
            break
    return done


def _write(writer: ForecastWriter, index: int, state: State) -> None:
    surface, upper = (
        values[0].to(dtype=torch.float32, device="cpu").numpy()
        for values in (state.surface, state.upper)
    )
    writer.write_step(index, surface, upper)


def _reread(writer: ForecastWriter, index: int, layout: Layout) -> State:
    surface, upper = writer.read_step(index)
    return State(
        torch.from_numpy(surface)[None], torch.from_numpy(upper)[None],
        writer.init_time + writer.leads[index], layout,
    )  # fmt: skip


def forecaster_of(data: DataFolder, model: Model) -> PearForecaster:
    """Return the forecaster of a model of the catalog; loaded once per process and kept.

    Raises
    ------
    InputError
        If the checkpoint is not there, is damaged, or is another one than the catalog says.
    """
    return _load(str(data.root / model.path), model.sha256)


@lru_cache(maxsize=_MODELS_KEPT)
def _load(folder: str, sha256: str) -> PearForecaster:
    prepare()
    found = checkpoint.load(folder)
    if found.sha256 != sha256:
        raise InputError(
            f"checkpoint {folder} has sha256 {found.sha256[:12]}…, the catalog says "
            f"{sha256[:12]}…", field="model", hint="add it anew with `pear models add`",
        )  # fmt: skip
    return PearForecaster(found)


@lru_cache(maxsize=1)
def prepare() -> None:
    """Set this process up for computing: its threads, and how it keeps memory."""
    runtime.keep_memory()
    threads = os.environ.get("PEAR_THREADS")
    runtime.set_threads(int(threads) if threads else None)
