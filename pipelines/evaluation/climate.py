"""Whether an analysis belongs to the climate of the models that are evaluated on it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np

from pear.errors import InputError
from pear.models.climate import OTHER_CLIMATE, analysis_atmosphere
from pear.rollout import Ensemble, Forecaster, PearForecaster
from pear.store.analysis import Analysis
from pear.typing import Times
from pear.variables import SIMULATED
from pipelines.evaluation.stored_forecasts import StoredForecasts
from pipelines.forecasting.options import ForecastOptions
from pipelines.forecasting.request import check_symmetry

_MOST_STATES: Final = 8
"""Initial states whose global means are compared; they are spread over the init times."""


def check_models(
    forecaster: Forecaster,
    ensemble: Ensemble | None,
    analysis: Analysis,
    inits: Times,
    options: ForecastOptions,
) -> dict[str, str]:
    """Refuse to evaluate what a forecast with the same options would be refused for.

    Parameters
    ----------
    forecaster, ensemble
        What is evaluated.
    analysis
        Source of the initial states and of the fields to compare with.
    inits
        Init times.
    options
        Options of the forecasts.

    Returns
    -------
    dict
        Attributes of the evaluation: ``simulated``, and ``other_climate`` where that is allowed.

    Raises
    ------
    InputError
        If the analysis is of another climate than a model's training data and that is not allowed;
        if a model neither keeps nor learnt a symmetry that the options ask for.
    """
    given = analysis_atmosphere(analysis.attributes)
    found = {SIMULATED: "true"} if given == "simulated" else {}
    difference = None
    if isinstance(forecaster, StoredForecasts):
        difference = forecaster.other_climate(given)
    for model in _models(forecaster, ensemble):
        check_symmetry(
            options, model.checkpoint.id, vars(model.checkpoint.config), model.checkpoint.provenance
        )
        difference = difference or _difference(model, analysis, inits)
    if difference is None:
        return found
    if not options.allow_other_climate:
        raise InputError(
            f"analysis {analysis.name} is of another climate than the model: {difference}",
            field="--analysis",
            hint="choose another analysis, or allow it with --allow-other-climate "
            "(allow_other_climate)",
        )
    return {**found, OTHER_CLIMATE: difference}


def _models(forecaster: Forecaster, ensemble: Ensemble | None) -> Iterable[PearForecaster]:
    groups = () if ensemble is None else ensemble.groups
    each = [forecaster, *(group.forecaster for group in groups)]
    return {m.checkpoint.id: m for m in each if isinstance(m, PearForecaster)}.values()


def _difference(model: PearForecaster, analysis: Analysis, inits: Times) -> str | None:
    if model.climate.atmosphere is None:
        return None
    given = analysis_atmosphere(analysis.attributes)
    chosen = np.unique(np.linspace(0, len(inits) - 1, _MOST_STATES).astype(int))
    found = (model.climate.difference(given, analysis.read(inits[row])) for row in chosen)
    return next((each for each in found if each is not None), None)
