"""Entry points of the workers that import neither the service nor the submitting process."""

from __future__ import annotations

import atexit
import json
import logging
import os
import signal
from contextlib import suppress
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Final

import numpy as np
from distributed import Worker

from pear.errors import InputError, did_you_mean
from pear.rollout import OneStepForecaster
from pear.store.analysis import Analysis
from pear.store.climatology import Climatology
from pear.times import as_utc
from pipelines.catalog import Evaluation, Model, NotFoundError, ScheduleRun, Status, describe_error
from pipelines.catalog.lease import JobLease, Outcome, catalog_of_process, run_job
from pipelines.catalog.sharing import fetch_inputs
from pipelines.evaluation.evaluate import EvaluationOptions, evaluate
from pipelines.evaluation.inputs import climatology_path, resolve_name
from pipelines.forecasting.ensemble import Group, averaging_group, build_ensemble
from pipelines.forecasting.forecast import load_forecaster
from pipelines.forecasting.options import ForecastOptions
from pipelines.logging import configure_from_environment
from pipelines.schedules import Scheduler, run_action, validate_action
from pipelines.storage.shared import open_worker_folder, share

_ENTRIES: Final = ("analysis", "climatology", "init_times", "lead_hours", "model", "options")


def run_evaluation(root: str, evaluation_id: str, catalog_url: str) -> Outcome:
    """Compute one evaluation of the catalog and write its folder.

    Parameters
    ----------
    root
        The data folder.
    evaluation_id
        Id of the evaluation. Its request may name ``analysis``, ``climatology``, ``init_times``
        (ISO 8601; default: all that can be verified), ``lead_hours`` (default: 240) and the
        ``options`` of the forecasts.
    catalog_url
        Path or URL of the catalog.

    Returns
    -------
    Outcome
        How the attempt ended.
    """
    return run_job(root, evaluation_id, catalog_url, _evaluate)


def run_schedule(root: str, name: str, catalog_url: str) -> str | None:
    """Run a schedule if it is due; returns a summary, or None if it was not due."""
    scheduler = Scheduler(open_worker_folder(root), catalog_of_process(catalog_url))
    result = scheduler.run_if_due(name)
    return None if result is None else result.summary


def run_schedule_job(root: str, job_id: str, catalog_url: str) -> Outcome:
    """Run the action of a schedule that was asked for, or what was left for its jobs' end.

    Parameters
    ----------
    root
        The data folder.
    job_id
        Id of the run of the schedule.
    catalog_url
        Path or URL of the catalog.

    Returns
    -------
    Outcome
        How the attempt ended.
    """
    return run_job(root, job_id, catalog_url, _run_action)


def _run_action(lease: JobLease) -> None:
    job, catalog = lease.job, lease.catalog
    if not isinstance(job, ScheduleRun):
        raise TypeError(f"job {job.id} is not a run of a schedule")
    if not job.after:
        result = Scheduler(lease.data, catalog).run(job.schedule, lease.progress)
    else:
        action = validate_action(job.action)
        try:
            result = run_action(lease.data, catalog, action, datetime.now(UTC), lease.progress)
        except InputError as error:
            with suppress(NotFoundError):  # the schedule may have been removed
                reason = describe_error(error)
                catalog.schedules.finish_trigger(job.schedule, Status.FAILED, reason)
            raise
    catalog.schedule_runs.set_result(
        job.id, asdict(result) | {"summary": result.summary}, owner=job.owner
    )


def _evaluate(lease: JobLease) -> None:
    job = lease.job
    if not isinstance(job, Evaluation):
        raise TypeError(f"job {job.id} is not an evaluation")
    request = dict(job.request)
    for name in request:
        if name not in _ENTRIES:
            hint = did_you_mean(name, _ENTRIES)
            raise InputError(f"unknown entry {name!r}", field=name, hint=hint)
    data, models = lease.data, lease.catalog.models
    fetch_inputs(data)
    options = ForecastOptions.from_dict(request.get("options") or {})

    if options.counterfactual is not None:
        raise InputError(
            "a counterfactual is not verified: it did not happen",
            field="options",
            hint="evaluate forecasts without it",
        )

    def load(model: Model, group: Group) -> OneStepForecaster:
        return load_forecaster(data, model, options, group)

    model = models.get(job.model)
    forecaster = load(model, averaging_group(options))
    lead_hours = int(request.get("lead_hours", 240))
    name = resolve_name(data.root / "analyses", request.get("analysis"), "analysis", ".zarr")
    store = data.analysis(name)
    analysis = Analysis(store, forecaster.layout, forecaster.nside)
    climatology = Climatology.open(
        climatology_path(data, request.get("climatology"), name),
        forecaster.layout,
        forecaster.nside,
    )
    ensemble = None
    if options.is_ensemble:
        members = [model, *(models.get(other) for other in options.models)]
        ensemble = build_ensemble(options, members, load, store)
    given = request.get("init_times")
    longest = np.timedelta64(lead_hours, "h").astype("timedelta64[s]")
    inits = analysis.inits(longest, forecaster.time_step) if given is None else as_utc(given)
    done = 0.0

    def tick(advance: float = 1, note: str = "") -> None:
        nonlocal done
        done += advance
        lease.progress(int(done), len(inits))

    lease.progress(0, len(inits))
    evaluation = evaluate(
        forecaster,
        analysis,
        climatology,
        EvaluationOptions(model=job.model, inits=inits, lead_hours=lead_hours, forecast=options),
        ensemble=ensemble,
        progress=lambda total: tick,
    )
    text = json.dumps(request, sort_keys=True)  # with which a lost catalog is made anew
    scores = evaluation.scores.assign_attrs(request=text)
    replace(evaluation, id=job.id, scores=scores).write(data.evaluation(job.id))
    share(data, "evaluations", job.id)


def dask_setup(worker: Worker) -> None:
    """Set up a local worker (a dask preload): log level, interrupts, and a fast exit."""
    configure_from_environment()
    logging.getLogger("distributed.worker").addFilter(_is_not_heartbeat)
    if isinstance(worker.name, int):
        os.environ["PEAR_WORKER"] = str(worker.name)  # spreads workers over accelerators
    # Ctrl-C reaches every process of the terminal; the parent decides when workers stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Orderly shutdown of torch takes seconds, and everything that is done is on disk. Registered
    # after the handlers of other modules, this one runs before them.
    atexit.register(os._exit, 0)


def _is_not_heartbeat(record: logging.LogRecord) -> bool:
    # A heartbeat that is under way when the cluster closes fails, and dask writes its traceback to
    # standard error. A connection that is really lost is reported by the worker itself, and by the
    # dispatcher.
    return not record.getMessage().startswith("Failed to communicate with scheduler during heart")
