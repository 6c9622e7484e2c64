"""Spread over skill of an evaluated ensemble, to be kept with its model."""

from __future__ import annotations

import numpy as np

from pear.errors import InputError
from pear.models.spread_skill import SpreadSkill, ensemble_options
from pipelines.evaluation.evaluate import Evaluation
from pipelines.forecasting.options import ForecastOptions

_DIGITS = 3


def measured_spread_skill(evaluation: Evaluation, options: ForecastOptions) -> SpreadSkill:
    """Return spread over skill of the ensemble of an evaluation.

    Parameters
    ----------
    evaluation
        Of an ensemble.
    options
        Options of its forecasts.

    Returns
    -------
    SpreadSkill
        Of all channels and lead times in the first region.

    Raises
    ------
    InputError
        If no ensemble was evaluated.
    """
    scores, about = evaluation.scores, evaluation.about
    if "spread_skill" not in scores or "members" not in about:
        raise InputError(
            "the evaluation has no ensemble whose spread could be recorded",
            field="--record",
            hint="give --members",
        )
    ratio = scores["spread_skill"].isel(region=0)
    (which,) = np.flatnonzero(np.isfinite(ratio.values).any(axis=(1, 2)))
    ratio = ratio.isel(forecaster=int(which)).transpose("channel", "prediction_timedelta")
    hours = ratio["prediction_timedelta"].values / np.timedelta64(1, "h")
    rows = np.round(ratio.values.astype(np.float64), _DIGITS).tolist()
    names = [str(name) for name in ratio["channel"].values]
    return SpreadSkill(
        options=ensemble_options(options.to_dict()),
        analysis=str(about["analysis"]),
        first=str(about["inits"][0]),
        last=str(about["inits"][-1]),
        inits=len(about["inits"]),
        region=str(about["regions"][0]),
        members=int(about["members"]),
        lead_hours=tuple(int(hour) for hour in hours),
        ratios={name: tuple(row) for name, row in zip(names, rows, strict=True)},
    )
