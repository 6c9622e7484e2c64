"""Tasks of the engine that are thin: they bring a job of the catalog to the room that does it."""

from __future__ import annotations

import atexit
import os
import signal
from dataclasses import replace
from typing import Any

import numpy as np

from pear.errors import InputError, did_you_mean
from pear.store.analysis import Analysis
from pear.store.climatology import Climatology
from pear.times import as_utc
from pipelines.catalog import Evaluation
from pipelines.catalog.lease import JobLease, Outcome, open_catalog, run_job
from pipelines.evaluation.evaluate import EvaluationOptions, evaluate
from pipelines.evaluation.inputs import climatology_path, resolve_name
from pipelines.forecasting.forecast import load_forecaster
from pipelines.logging import configure_from_environment
from pipelines.schedules import Scheduler
from pipelines.storage.data_folder import DataFolder

_KNOWN = ("analysis", "climatology", "init_times", "lead_hours", "model")


def run_evaluation(root: str, evaluation_id: str, catalog_url: str) -> Outcome:
    """Work on one evaluation of the catalog.

    Its request may name ``analysis`` and ``climatology``, ``init_times`` (ISO texts; by default
    every time that can be verified) and ``lead_hours`` (by default 240). The result is the
    evaluation's folder.
    """
    return run_job(root, evaluation_id, catalog_url, _evaluate)


def fire_schedule(root: str, name: str, catalog_url: str) -> str | None:
    """Fire a schedule if it is due; returns one line on what came of it, None if it did not."""
    clockwork = Scheduler(DataFolder.open(root), open_catalog(catalog_url))
    done = clockwork.fire_if_due(name)
    return None if done is None else done.summary


def _evaluate(work: JobLease) -> None:
    job = work.job
    if not isinstance(job, Evaluation):
        raise TypeError(f"{job.id} is no evaluation")
    request = dict(job.request)
    for name in request:
        if name not in _KNOWN:
            raise InputError(f"unknown entry {name!r}", field=name, hint=did_you_mean(name, _KNOWN))
    forecaster = load_forecaster(work.data, work.catalog.models.get(job.model))
    lead_hours = int(request.get("lead_hours", 240))
    name = resolve_name(work.data.root / "analyses", request.get("analysis"), "analysis", ".zarr")
    truth = Analysis(work.data.analysis(name), forecaster.layout, forecaster.nside)
    usual = Climatology.open(
        climatology_path(work.data, request.get("climatology"), name),
        forecaster.layout,
        forecaster.nside,
    )
    given = request.get("init_times")
    steps = np.timedelta64(lead_hours, "h").astype("timedelta64[s]")
    inits = truth.inits(steps, forecaster.time_step) if given is None else as_utc(given)
    done = 0.0

    def tick(advance: float = 1, note: str = "") -> None:
        nonlocal done
        done += advance
        work.progress(int(done), len(inits))

    work.progress(0, len(inits))
    found = evaluate(
        forecaster,
        truth,
        usual,
        EvaluationOptions(model=job.model, inits=inits, lead_hours=lead_hours),
        progress=lambda total: tick,
    )
    replace(found, id=job.id).write(work.data.evaluation(job.id))


def dask_setup(worker: Any) -> None:
    """Follow the parent's log level, leave interrupts to the parent, and be quick to leave."""
    configure_from_environment()
    if isinstance(worker.name, int):
        os.environ["PEAR_WORKER"] = str(worker.name)  # deals several accelerators out
    # Ctrl-C reaches every process of the terminal; the parent decides what becomes of us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Taking torch and its friends down in order takes seconds, and a worker has nothing to lose:
    # what is done is on disk. Registered after theirs, this runs before them.
    atexit.register(os._exit, 0)
