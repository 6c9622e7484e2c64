"""Scores and sums as :class:`xarray.Dataset`: to select, to write to a file, to make a table of.

A Dataset of scores has one variable per score (``rmse``, ``acc`` …) and the dimensions

===========================  ===============================================================
``forecaster``, ``region``   names
``prediction_timedelta``     lead time
``channel``                  short name such as ``z500``; ``variable``, ``level`` and ``units``
                             lie along it
===========================  ===============================================================
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import xarray as xr

from pear.metrics.accumulators import ScoreAccumulator
from pear.metrics.ensemble import ENSEMBLE_NAMES
from pear.metrics.scores import ENSEMBLE_SCORES, score
from pear.metrics.statistics import NAMES
from pear.typing import Channel
from pear.variables import BY_NAME, label_of

DIMS: Final = ("forecaster", "region", "prediction_timedelta", "channel")
"""Dimensions of every score."""
LONG_NAMES: Final = {
    "acc": "anomaly correlation, not centred, pooled over cells and init times",
    "acc_per_init": "anomaly correlation, not centred, mean over init times",
    "acc_centered": "anomaly correlation, centred, mean over init times",
    "rmse": "root mean square error, pooled over cells and init times",
    "rmse_per_init": "root mean square error, mean over init times",
    "mae": "mean absolute error",
    "bias": "mean error, forecast minus analysis",
    "activity": "standard deviation of the forecast anomaly over that of the analysis",
    "crps": "continuous ranked probability score, unbiased in the ensemble size",
    "spread": "ensemble spread, adjusted to the ensemble size",
    "rmse_of_mean": "root mean square error of the ensemble mean",
    "spread_skill": "ensemble spread over the root mean square error of the ensemble mean",
}
_SUMS_DIMS: Final = ("statistic", "time", "prediction_timedelta", "channel", "region")


def scores_to_dataset(
    sums: Mapping[str, ScoreAccumulator], metrics: Sequence[str] = ("acc", "rmse", "mae", "bias")
) -> xr.Dataset:
    """Compute scores of every forecaster.

    Parameters
    ----------
    sums
        Table of sums of each forecaster, by name; all on the same axes.
    metrics
        Names of :data:`pear.metrics.SCORES`.

    Returns
    -------
    xarray.Dataset
        One variable (forecaster, region, prediction_timedelta, channel) per score, float64; NaN
        where a table lacks the statistics of a score or the score is 0/0, as the anomaly
        correlation of the climatology itself.

    Examples
    --------
    >>> import numpy as np
    >>> from pear.metrics import verify_forecast
    >>> fields = np.zeros((1, 1, 48))
    >>> sums = verify_forecast(
    ...     fields + 2.0,
    ...     fields,
    ...     fields,
    ...     init=np.datetime64("2019-01-01"),
    ...     leads=np.array([1], dtype="timedelta64[D]"),
    ...     channels=[("geopotential", 500)],
    ... )
    >>> scores = scores_to_dataset({"pear": sums}, ["rmse"])
    >>> float(scores["rmse"].sel(forecaster="pear", channel="z500").item())
    2.0
    """
    first = next(iter(sums.values()))
    shape = (len(sums), len(first.regions), first.leads.size, len(first.channels))
    data = xr.Dataset(coords=_coordinates(first))
    data = data.assign_coords(forecaster=list(sums), init_times=first.inits.size)
    for name in metrics:
        values = np.full(shape, np.nan)
        for row, table in enumerate(sums.values()):
            if (name in ENSEMBLE_SCORES) == ("crps" in table.names):
                values[row] = score(table, name).transpose(2, 0, 1)
        data[name] = DIMS, values, {"long_name": LONG_NAMES[name]}
    return data


def sums_to_dataset(sums: Mapping[str, ScoreAccumulator]) -> xr.Dataset:
    """Return the sums themselves, from which any score can be computed later.

    Parameters
    ----------
    sums
        Table of sums of each forecaster, by name; all on the same axes.

    Returns
    -------
    xarray.Dataset
        ``sums`` (forecaster, statistic, time, prediction_timedelta, channel, region), float64,
        where ``time`` is the init time; NaN where a table lacks a statistic. Divide by the
        statistic ``weight`` for means. Inverse: :func:`sums_from_dataset`.
    """
    first = next(iter(sums.values()))
    statistics = list(dict.fromkeys(name for table in sums.values() for name in table.names))
    values = np.full((len(sums), len(statistics), *first.values.shape[1:]), np.nan)
    for row, table in enumerate(sums.values()):
        values[row, [statistics.index(name) for name in table.names]] = table.values
    data = xr.Dataset(
        {"sums": (("forecaster", *_SUMS_DIMS), values)},
        {"forecaster": list(sums), "statistic": statistics, "time": first.inits},
    )
    return data.assign_coords(_coordinates(first))


def sums_from_dataset(data: xr.Dataset) -> dict[str, ScoreAccumulator]:
    """Return the tables of sums of :func:`sums_to_dataset`, by forecaster."""
    names = [str(name) for name in data["statistic"].values]
    found = {}
    for forecaster in data["forecaster"].values:
        values = data["sums"].sel(forecaster=forecaster).transpose(*_SUMS_DIMS).values
        own = [n for n, one in zip(names, values, strict=True) if not np.isnan(one).all()]
        kept = tuple(n for n in (NAMES if "error" in own else ENSEMBLE_NAMES) if n in own)
        found[str(forecaster)] = ScoreAccumulator(
            data["time"].values,
            data["prediction_timedelta"].values,
            channels_of_dataset(data),
            tuple(str(name) for name in data["region"].values),
            values[[names.index(n) for n in kept]].astype(np.float64),
            kept,
        )
    return found


def channels_of_dataset(data: xr.Dataset) -> tuple[Channel, ...]:
    """Return (variable, level) along the channel dimension; the level is None at the surface."""
    pairs = zip(data["variable"].values, data["level"].values, strict=True)
    return tuple((str(name), None if np.isnan(level) else int(level)) for name, level in pairs)


def _coordinates(table: ScoreAccumulator) -> dict[str, object]:
    names = [name for name, _ in table.channels]
    levels = [np.nan if level is None else float(level) for _, level in table.channels]
    lead = {"long_name": "lead time", "standard_name": "forecast_period"}
    return {
        "region": list(table.regions),
        "prediction_timedelta": ("prediction_timedelta", table.leads, lead),
        "channel": [label_of(channel) for channel in table.channels],
        "variable": ("channel", names),
        "level": ("channel", levels, {"units": "hPa"}),
        "units": ("channel", [BY_NAME[name].units for name in names]),
    }
