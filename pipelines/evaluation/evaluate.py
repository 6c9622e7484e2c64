"""Evaluate a model: forecast from many init times, score beside the baselines.

Those are persistence and climatology, and on request damped persistence and a linear inverse model,
which are fitted on other years.

The result is a folder that appears in one rename::

    evaluations/ID/
      scores.nc    everything: attributes, scores, intervals, sums by init time, spectra, maps
      scores.csv   the scores as a table
      scores_by_hour.csv   the same for each hour of the day, if forecasts start at several
      acc.png rmse.png scorecard.png ensemble.png spectra.png error_maps.png
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from distributed import Client

from pear.errors import InputError
from pear.metrics.dataset import scores_to_frame, scores_to_records
from pear.metrics.hours import hourly_records, scores_by_hour
from pear.models.climate import OTHER_CLIMATE, OUTSIDE_CLIMATE
from pear.progress import ProgressFactory, no_progress
from pear.rollout import Ensemble, Forecaster
from pear.store.analysis import Analysis
from pear.store.climatology import Climatology
from pear.store.static_fields import read_static_fields
from pear.times import as_utc, to_iso
from pear.typing import Channel, Times
from pear.variables import SIMULATED, channel_label
from pipelines.catalog.sharing import reading
from pipelines.evaluation.accumulators import REGIONS, Accumulators, EvaluationDesign
from pipelines.evaluation.baselines import BaselineOptions, check_apart, fit_baselines, times_of
from pipelines.evaluation.climate import check_models
from pipelines.evaluation.distribute import EvaluationSources, verify_distributed, with_baselines
from pipelines.evaluation.inputs import climatology_path, model_path, resolve_name, run_path
from pipelines.evaluation.plots import draw_plots
from pipelines.evaluation.scores import (
    FILE,
    describe,
    evaluation_dataset,
    write_scores,
)
from pipelines.evaluation.stored_forecasts import StoredForecasts
from pipelines.evaluation.verify import check_inputs, verify
from pipelines.forecasting.options import ForecastOptions
from pipelines.storage.atomic import publish, shared_lock
from pipelines.storage.checksums import write_checksums
from pipelines.storage.data_folder import DataFolder
from pipelines.storage.shared import share


@dataclass(frozen=True)
class EvaluationOptions:
    """What to evaluate, and how.

    Attributes
    ----------
    model, analysis, climatology
        Names in the data folder; default: the only one there is, and the climatology named like
        the analysis before any other.
    runs
        Finished forecasts to score instead of forecasting with a model.
    inits
        Init times; default: every time from which all lead times can be verified.
    lead_hours
        Longest lead time, a multiple of the model's step.
    regions
        Names as in :func:`pear.metrics.region_weights`.
    batch
        Number of forecasts that run side by side.
    device
        Device of the model.
    forecast
        Options of the forecasts, as of a forecast run; an ensemble is verified beside its control.
    derived
        Quantities that are computed from the channels, to score beside them.
    baselines
        Fit damped persistence and a linear inverse model, and score them too.
    """

    model: str | None = None
    analysis: str | None = None
    climatology: str | None = None
    runs: Sequence[str] = ()
    inits: Times | None = None
    lead_hours: int = 240
    regions: Sequence[str] = REGIONS
    batch: int = 4
    device: str = "cpu"
    forecast: ForecastOptions = field(default=ForecastOptions())
    derived: tuple[Channel, ...] = ()
    baselines: BaselineOptions | None = None


@dataclass(frozen=True)
class Evaluation:
    """A finished evaluation.

    Attributes
    ----------
    id
        Name of its folder; the same options on the same data give the same name.
    scores
        See :func:`pipelines.evaluation.scores.evaluation_dataset`.
    """

    id: str
    scores: xr.Dataset = field(repr=False)

    @property
    def about(self) -> dict[str, Any]:
        """What was evaluated: model, analysis, climatology, init times, regions and others."""
        return describe(self.scores)

    @property
    def records(self) -> list[dict[str, Any]]:
        """One dictionary per forecaster, variable, level, lead time and region."""
        return scores_to_records(self.scores)

    @property
    def hourly_records(self) -> list[dict[str, Any]]:
        """The same by hour of the init and the valid time; empty if all start at one hour."""
        return hourly_records(self.scores)

    def write(self, folder: Path, *, plots: bool = True) -> None:
        """Write the folder of the evaluation; replaces an older result of the same name.

        Parameters
        ----------
        folder
            Appears completely or not at all.
        plots
            Draw the plots too.
        """
        scratch = folder.with_name(f".{folder.name}.building")
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        try:
            write_scores(self.scores, scratch / FILE)
            scores_to_frame(self.scores).to_csv(scratch / "scores.csv", index=False)
            by_hour = scores_by_hour(self.scores)
            if by_hour is not None:
                by_hour.to_csv(scratch / "scores_by_hour.csv", index=False)
            if plots:
                draw_plots(self.scores, scratch, _title(self.about))
            write_checksums(scratch)
            shutil.rmtree(folder, ignore_errors=True)
            publish(scratch, folder)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def evaluate_model(
    data: DataFolder,
    options: EvaluationOptions,
    *,
    plots: bool = True,
    client: Client | None = None,
    progress: ProgressFactory | None = None,
) -> Evaluation:
    """Evaluate a model or finished forecasts, and write the evaluation to the data folder.

    Parameters
    ----------
    data
        Data folder with models, analyses and climatologies.
    options
        What to evaluate, and how.
    plots
        Draw the plots too.
    client
        Dask client whose workers share the init times; default: this process does all.
    progress
        Receives the number of init times once it is known.

    Returns
    -------
    Evaluation
        As written to ``data.evaluation(id)``.
    """
    analysis_name = resolve_name(data.root / "analyses", options.analysis, "analysis", ".zarr")
    model = None if options.runs else model_path(data, options.model)
    sources = EvaluationSources(
        data.analysis(analysis_name),
        climatology_path(data, options.climatology, analysis_name),
        model=model,
        runs=tuple(run_path(data, run) for run in options.runs),
        device=options.device,
        options=options.forecast,
        models=tuple(model_path(data, name) for name in options.forecast.models),
        derived=options.derived,
    )
    with ExitStack() as locks:
        locks.enter_context(reading(data, [store.stem.partition(".")[0] for store in sources.runs]))
        for store in sources.runs:
            locks.enter_context(shared_lock(store))
        forecaster, analysis, climatology = sources.open()
        if isinstance(forecaster, StoredForecasts):
            inits = forecaster.inits if options.inits is None else options.inits
            options = replace(options, model=forecaster.model, inits=inits)
        elif model is not None:
            options = replace(options, model=model.name)
        distribute = None
        if client is not None:
            distribute = partial(verify_distributed, client, sources, batch=options.batch)
        fitted_on = None
        if options.baselines is not None and options.baselines.analysis is not None:
            other = resolve_name(
                data.root / "analyses", options.baselines.analysis, "analysis", ".zarr"
            )
            fitted_on = Analysis(data.analysis(other), forecaster.layout, forecaster.nside)
        evaluation = evaluate(
            forecaster,
            analysis,
            climatology,
            options,
            fitted_on=fitted_on,
            ensemble=sources.ensemble(),
            distribute=distribute,
            progress=progress,
        )
    evaluation.write(data.evaluation(evaluation.id), plots=plots)
    share(data, "evaluations", evaluation.id)
    return evaluation


def evaluate(  # noqa: PLR0913 — sources, and how to verify them
    forecaster: Forecaster,
    analysis: Analysis,
    climatology: Climatology,
    options: EvaluationOptions,
    *,
    fitted_on: Analysis | None = None,
    ensemble: Ensemble | None = None,
    distribute: Callable[..., Accumulators] | None = None,
    progress: ProgressFactory | None = None,
) -> Evaluation:
    """Score a forecaster beside the baselines, without writing anything.

    Parameters
    ----------
    forecaster, analysis, climatology
        On the same channels and grid.
    options
        Model and forecast options (for the attributes), init times, lead time, regions and batch.
    fitted_on
        Analyses that the fitted baselines learn from; default: ``analysis``.
    ensemble
        Ensemble to verify as well.
    distribute
        Verifies elsewhere, given the design, ``fit`` and ``tick``; default: in this process.
    progress
        Receives the number of init times once it is known.

    Returns
    -------
    Evaluation
        Its scores are in memory.

    Raises
    ------
    InputError
        If the lead time is not a multiple of the model's step, a time is missing in the analysis,
        the analysis is of another climate than the model's training data, or the baselines would
        be fitted on times that they are scored on.
    """
    steps = _steps(forecaster, options.lead_hours)
    inits = options.inits
    if inits is None:
        inits = analysis.inits(steps * forecaster.time_step, forecaster.time_step)
    if len(inits) == 0:
        raise InputError(
            f"analysis {analysis.name} has no init time with {options.lead_hours} h after it",
            field="--lead",
            hint="choose a shorter lead time",
        )
    design = EvaluationDesign.build(
        forecaster.layout,
        forecaster.nside,
        as_utc(inits),
        forecaster.time_step * np.arange(1, steps + 1),
        options.regions,
        land_fraction=read_static_fields(analysis.path, forecaster.nside)["land_fraction"],
        derived=options.derived,
    )
    forecasters = with_baselines(forecaster, climatology, ensemble)
    check_inputs(design, forecasters, analysis, climatology, design.inits)
    climate = check_models(forecaster, ensemble, analysis, design.inits, options.forecast)
    fit = None
    total = len(design.inits)
    if options.baselines is not None:
        check_apart(options.baselines, design.inits, design.leads[-1])
        fitted_on = fitted_on or analysis
        total += times_of(fitted_on, options.baselines).size
    tick = None if progress is None else progress(total)
    if options.baselines is not None and fitted_on is not None:
        fit = fit_baselines(
            fitted_on,
            climatology,
            options.baselines,
            forecaster.time_step,
            steps,
            tick or no_progress,
        )
        forecasters = with_baselines(forecaster, climatology, ensemble, fit)
    if distribute is not None:
        sums = distribute(design, fit=fit, tick=tick)
    else:
        sums = verify(
            design,
            forecasters,
            analysis,
            climatology,
            batch=options.batch,
            tick=tick,
        )
    about: dict[str, Any] = {
        "model": options.model or forecaster.name,
        "forecasts": "stored" if isinstance(forecaster, StoredForecasts) else "rolled out",
        "analysis": analysis.name,
        "climatology": climatology.name,
        "climatology_kind": climatology.kind,
        "climatology_period": list(climatology.period),
        "inits": [to_iso(time) for time in design.inits],
        "lead_hours": options.lead_hours,
        "regions": list(options.regions),
        **climate,
    }
    if options.derived:
        about["derived"] = [channel_label(channel) for channel in options.derived]
    if fit is not None and options.baselines is not None:
        about |= options.baselines.about(analysis.name) | fit.about
    if ensemble is not None:
        about["members"] = ensemble.size
    if given := options.forecast.to_dict():
        about["options"] = json.dumps(given, sort_keys=True)
    return Evaluation(_identity(about), evaluation_dataset(sums, about))


def _title(about: Mapping[str, Any]) -> str:
    first, last = about["inits"][0][:10], about["inits"][-1][:10]
    count = len(about["inits"])
    parts = [f"model {about['model']} on {about['analysis']}", f"{count} forecasts"]
    title = f"{', '.join(parts)} {first} to {last}"
    if SIMULATED in about:
        title += ", simulated atmosphere"
    return title + (f"\n{OUTSIDE_CLIMATE}" if OTHER_CLIMATE in about else "")


def _steps(forecaster: Forecaster, lead_hours: int) -> int:
    step_hours = int(forecaster.time_step / np.timedelta64(1, "h"))
    if lead_hours < step_hours or lead_hours % step_hours:
        raise InputError(
            f"lead time {lead_hours} h is not a multiple of the {step_hours} h model step",
            field="--lead",
        )
    return lead_hours // step_hours


def _identity(about: Mapping[str, Any]) -> str:
    """Return a readable beginning and a hash of everything that was evaluated."""
    digest = hashlib.sha256(repr(sorted(about.items())).encode()).hexdigest()[:8]
    return f"{about['model'][:12]}-{about['analysis'][:40]}-{len(about['inits'])}x-{digest}"
