"""The changed initial state of a counterfactual run: sought once, kept until it is published."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from pear.counterfactual.chart import Chart
from pear.counterfactual.find import find_counterfactual
from pear.errors import InputError
from pear.rollout import OneStepForecaster
from pear.state import State
from pipelines.catalog import Model, Run
from pipelines.catalog.lease import JobLease
from pipelines.forecasting.options import ForecastOptions
from pipelines.storage.atomic import write_atomically

ATTRIBUTE: Final = "counterfactual"
"""Attribute of the store of a counterfactual forecast: its figures."""


def change_initial(
    lease: JobLease, forecaster: OneStepForecaster, model: Model, initial: State
) -> tuple[State, dict[str, Any]]:
    """Return the changed initial state of a run, and the figures of the change.

    Parameters
    ----------
    lease
        The claimed run; its cancellation stops the search.
    forecaster, model
        Its forecaster, and the model with its chart.
    initial
        The factual initial state.

    Returns
    -------
    state, figures
        Of an earlier attempt if there was one.

    Raises
    ------
    InputError
        If no counterfactual can be found, or the chart is not the one that was asked for.
    TypeError
        If the job is not a counterfactual run.
    """
    run = lease.job
    path = lease.data.scratch / f"{run.id}.counterfactual.npz"
    found = _load(path, initial)
    if found is not None:
        return found
    if not isinstance(run, Run):
        raise TypeError(f"job {run.id} is not a forecast run")
    options = ForecastOptions.from_dict(run.options)
    if options.counterfactual is None:
        raise TypeError(f"run {run.id} is not a counterfactual")
    chart = Chart.load(lease.data.root / model.path)
    if options.chart not in (None, chart.id):
        raise InputError(
            f"the chart of model {model.id} was fitted anew: it is {chart.id}, not {options.chart}",
            field="counterfactual",
            hint="ask for the counterfactual again",
        )
    total = run.lead_hours // model.step_hours
    result = find_counterfactual(
        forecaster,
        initial,
        chart,
        options.counterfactual,
        longest=run.lead_hours,
        tick=lambda: lease.progress(0, total),
    )
    figures = result.figures.to_dict()
    surface, upper = result.initial.to_arrays()
    buffer = io.BytesIO()
    text = np.array(json.dumps(figures, allow_nan=False))
    np.savez(buffer, surface=surface, upper=upper, figures=text)
    write_atomically(path, buffer.getbuffer())
    return result.initial, figures


def forget(lease: JobLease) -> None:
    """Remove the changed state of a published run."""
    (lease.data.scratch / f"{lease.job.id}.counterfactual.npz").unlink(missing_ok=True)


def _load(path: Path, like: State) -> tuple[State, dict[str, Any]] | None:
    try:
        with path.open("rb") as file, np.load(file) as saved:
            surface, upper = (torch.from_numpy(saved[name]) for name in ("surface", "upper"))
            figures = dict(json.loads(str(saved["figures"])))
            return State(surface, upper, like.valid_time, like.layout), figures
    except (OSError, zipfile.BadZipFile, KeyError, ValueError):
        return None
