"""Spread of an analysis about its climatology, by calendar month and hour of the day."""

from __future__ import annotations

from typing import Final

import numpy as np
import xarray as xr

from pear.store.day_of_year import hour_of_day
from pear.times import as_utc, year_phase
from pear.typing import Channel, Float32, Float64, Int64, TimesLike

MONTHS: Final = 12
SUFFIX: Final = "_spread"
"""Ending of the name of the array of a variable's standard deviations."""
DEFINITION: Final = (
    "standard deviation of the analyses about the mean, by calendar month and hour of the day, "
    "interpolated between the middles of months"
)


def month_of(times: TimesLike) -> Int64:
    """Return the calendar month of each time, 0 to 11.

    Returns
    -------
    ndarray
        (time,).

    Examples
    --------
    >>> from pear.store.climate_spread import month_of
    >>> month_of(["2019-01-31", "2020-12-01T06"])
    array([ 0, 11])
    """
    months = as_utc(times).astype("datetime64[M]").astype(np.int64)
    return np.asarray(months % MONTHS)


def month_weights(times: TimesLike) -> tuple[Int64, Float64]:
    """Return the two months whose middles are around each time, and their weights.

    Returns
    -------
    months, weights
        (2, time), 0 to 11, and shares that sum to 1.

    Examples
    --------
    >>> from pear.store.climate_spread import month_weights
    >>> months, weights = month_weights(["2001-01-01T00"])
    >>> months[:, 0], weights[:, 0].round(1)
    (array([11,  0]), array([0.5, 0.5]))
    """
    place = year_phase(times) * MONTHS - 0.5
    first = np.floor(place).astype(np.int64)
    share = place - first
    months = np.stack([first % MONTHS, (first + 1) % MONTHS])
    return months, np.stack([1.0 - share, share])


def has_spread(data: xr.Dataset, name: str) -> bool:
    """Return whether a climatology holds the spread of a variable."""
    return f"{name}{SUFFIX}" in data


def read_spread(data: xr.Dataset, channel: Channel, times: TimesLike, cells: Int64) -> Float32:
    """Return the standard deviation about the climatology, (time, cell).

    Parameters
    ----------
    data
        An open climatology that :func:`has_spread` of the variable.
    channel
        Variable and level in hPa.
    times
        Times at hours of the day that the climatology covers.
    cells
        Cells to read.

    Returns
    -------
    ndarray
        In the unit of the variable; variances are interpolated between the middles of months.
    """
    name, level = channel
    array = data[f"{name}{SUFFIX}"]
    if level is not None:
        array = array.sel(level=level)
    variance = np.asarray(array.isel(cell=cells).values, dtype=np.float64) ** 2
    hours = np.searchsorted(data["hour"].values, hour_of_day(as_utc(times)))
    months, weights = month_weights(times)
    found = [w[:, None] * variance[hours, m] for m, w in zip(months, weights, strict=True)]
    return np.asarray(np.sqrt(found[0] + found[1]), dtype=np.float32)
