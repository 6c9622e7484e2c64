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
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import xarray as xr

from pear.metrics.accumulators import ScoreAccumulator
from pear.metrics.scores import has_score, score
from pear.typing import Channel
from pear.variables import channel_label, variable

if TYPE_CHECKING:
    import pandas as pd

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
    "energy_score": "energy score of whole fields, unbiased in the ensemble size",
    "spread": "ensemble spread, adjusted to the ensemble size",
    "rmse_of_mean": "root mean square error of the ensemble mean",
    "spread_skill": "ensemble spread over the root mean square error of the ensemble mean",
}
KEYS: Final = ("forecaster", "variable", "level", "lead_days", "region")
"""Columns that identify a row of a table of scores."""
CORRELATIONS: Final = ("acc", "acc_low", "acc_high", "acc_per_init", "acc_centered")
UNDEFINED: Final = "no anomaly to correlate (0/0): given as 0"
_LEVEL: Final = {
    "standard_name": "air_pressure",
    "long_name": "pressure level; NaN at the surface",
    "units": "hPa",
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
            if has_score(table, name):
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

    Examples
    --------
    >>> from pear.metrics.dataset import sums_to_dataset
    >>> from pear.metrics import ScoreAccumulator
    >>> lead = np.timedelta64(1, "D")
    >>> table = ScoreAccumulator(np.datetime64("2019-01-01"), lead, (("temperature", 850),))
    >>> table.add(table.inits[0], lead, *np.ones((3, 1, 48)))
    >>> data = sums_to_dataset({"pear": table})
    >>> data.sums.dims, float(data.sums.sel(statistic="weight").item())
    (('forecaster', 'statistic', 'time', 'prediction_timedelta', 'channel', 'region'), 48.0)
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
    """Return the tables of sums of :func:`sums_to_dataset`, by forecaster.

    Returns
    -------
    dict of str to ScoreAccumulator
        Tables without the statistics that are NaN.

    Examples
    --------
    >>> from pear.metrics.dataset import sums_from_dataset
    >>> from pear.metrics import ScoreAccumulator
    >>> from pear.metrics.dataset import sums_to_dataset
    >>> lead = np.timedelta64(1, "D")
    >>> table = ScoreAccumulator(np.datetime64("2019-01-01"), lead, (("temperature", 850),))
    >>> found = sums_from_dataset(sums_to_dataset({"pear": table}))["pear"]
    >>> found.channels, bool((found.values == table.values).all())
    ((('temperature', 850),), True)
    """
    names = [str(name) for name in data["statistic"].values]
    found = {}
    for forecaster in data["forecaster"].values:
        values = data["sums"].sel(forecaster=forecaster).transpose(*_SUMS_DIMS).values
        own = {n for n, one in zip(names, values, strict=True) if not np.isnan(one).all()}
        kept = tuple(n for n in names if n in own)
        found[str(forecaster)] = ScoreAccumulator(
            data["time"].values,
            data["prediction_timedelta"].values,
            channels_of_dataset(data),
            tuple(str(name) for name in data["region"].values),
            values[[names.index(n) for n in kept]].astype(np.float64),
            kept,
        )
    return found


def scores_to_frame(data: xr.Dataset) -> pd.DataFrame:
    """Return scores as a table with one row per forecaster, channel, lead time and region.

    Parameters
    ----------
    data
        Scores as in :func:`scores_to_dataset`; other variables are left out.

    Returns
    -------
    pandas.DataFrame
        :data:`KEYS`, ``init_times`` (their number), ``model`` and ``climatology`` where the
        attributes name them, and one column per score. A correlation that is 0/0, as that of the
        climatology itself, is 0 and has a ``note``.

    Examples
    --------
    >>> from pear.metrics.dataset import scores_to_frame
    >>> from pear.metrics import ScoreAccumulator
    >>> from pear.metrics.dataset import scores_to_dataset
    >>> lead = np.timedelta64(1, "D")
    >>> table = ScoreAccumulator(np.datetime64("2019-01-01"), lead, (("temperature", 850),))
    >>> table.add(table.inits[0], lead, *np.ones((3, 1, 48)))
    >>> frame = scores_to_frame(scores_to_dataset({"pear": table}, ["rmse"]))
    >>> frame.loc[0, ["forecaster", "variable", "level", "rmse"]].astype(str).tolist()
    ['pear', 'temperature', '850', '0.0']
    """
    names = [str(name) for name, array in data.data_vars.items() if set(array.dims) == set(DIMS)]
    order = [DIMS[k] for k in (0, 3, 2, 1)]
    frame = data[names].to_dataframe(dim_order=order).reset_index()
    days = frame["prediction_timedelta"].dt.total_seconds() / 86_400
    frame["lead_days"] = days.astype(int) if (days % 1 == 0).all() else days
    frame["level"] = frame["level"].astype("Int64")
    about = [name for name in ("model", "climatology") if name in data.attrs]
    frame = frame.assign(**{name: data.attrs[name] for name in about})
    undefined = frame[[name for name in names if name in CORRELATIONS]].isna()
    if undefined.to_numpy().any():
        frame[undefined.columns] = frame[undefined.columns].fillna(0.0)
        frame["note"] = undefined.any(axis=1).map({True: UNDEFINED, False: None})
        names.append("note")
    return frame[[*KEYS, "init_times", *about, *names]]


def scores_to_records(data: xr.Dataset) -> list[dict[str, Any]]:
    """Return the rows of :func:`scores_to_frame` as JSON can hold them; None where undefined.

    Returns
    -------
    list of dict
        One per forecaster, channel, lead time and region.

    Examples
    --------
    >>> from pear.metrics.dataset import scores_to_records
    >>> from pear.metrics import ScoreAccumulator
    >>> from pear.metrics.dataset import scores_to_dataset
    >>> lead = np.timedelta64(1, "D")
    >>> table = ScoreAccumulator(np.datetime64("2019-01-01"), lead, (("2m_temperature", None),))
    >>> table.add(table.inits[0], lead, *np.ones((3, 1, 48)))
    >>> (record,) = scores_to_records(scores_to_dataset({"pear": table}, ["rmse"]))
    >>> record["variable"], record["level"], record["rmse"]
    ('2m_temperature', None, 0.0)
    """
    return to_records(scores_to_frame(data))


def to_records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a table as JSON can hold them; None where a value is missing."""
    plain = frame.astype(object)
    return [
        {str(name): value for name, value in row.items()}
        for row in plain.where(plain.notna(), None).to_dict("records")
    ]


def channels_of_dataset(data: xr.Dataset) -> tuple[Channel, ...]:
    """Return (variable, level) along the channel dimension; the level is None at the surface.

    Returns
    -------
    tuple of (str, int or None)
        Canonical names and levels in hPa.

    Examples
    --------
    >>> from pear.metrics.dataset import channels_of_dataset
    >>> import xarray as xr
    >>> coords = {"variable": ("channel", ["2m_temperature", "temperature"])}
    >>> channels_of_dataset(xr.Dataset(coords=coords | {"level": ("channel", [np.nan, 850.0])}))
    (('2m_temperature', None), ('temperature', 850))
    """
    pairs = zip(data["variable"].values, data["level"].values, strict=True)
    return tuple((str(name), None if np.isnan(level) else int(level)) for name, level in pairs)


def _coordinates(table: ScoreAccumulator) -> dict[str, object]:
    names = [name for name, _ in table.channels]
    levels = [np.nan if level is None else float(level) for _, level in table.channels]
    lead = {"long_name": "lead time", "standard_name": "forecast_period"}
    return {
        "region": list(table.regions),
        "prediction_timedelta": ("prediction_timedelta", table.leads, lead),
        "channel": [channel_label(channel) for channel in table.channels],
        "variable": ("channel", names),
        "level": ("channel", levels, _LEVEL),
        "units": ("channel", [variable(name).units for name in names]),
    }
