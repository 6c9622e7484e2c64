"""Times in UTC as ``datetime64[s]``, their ISO 8601 form and the phase of the year."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final

import numpy as np

from pear.errors import InputError
from pear.typing import DurationLike, Float64, TimeLike, Times, TimesLike

HOUR: Final = np.timedelta64(1, "h")
DAY: Final = np.timedelta64(1, "D")
YEAR_SECONDS: Final = 365.2425 * 86_400.0
"""Length of the mean Gregorian year in seconds."""
_EPOCH: Final = np.datetime64("2000-01-01T00:00:00", "s")


def as_utc(times: TimesLike) -> Times:
    """Return times as a one-dimensional ``datetime64[s]`` array (UTC), whatever their unit.

    Returns
    -------
    numpy.ndarray
        (time,); a single time gives one element.

    Examples
    --------
    >>> as_utc("2019-01-01")
    array(['2019-01-01T00:00:00'], dtype='datetime64[s]')
    """
    return np.atleast_1d(np.asarray(times, dtype="datetime64[s]"))


def to_iso(time: TimeLike) -> str:
    """Format one time as ISO 8601 with seconds and ``Z``.

    Returns
    -------
    str
        Such as ``2019-01-01T06:00:00Z``.

    Examples
    --------
    >>> to_iso("2019-01-01T06")
    '2019-01-01T06:00:00Z'
    """
    return f"{as_utc(time)[0]}Z"


def as_duration(value: DurationLike) -> np.timedelta64:
    """Return a duration as ``timedelta64[s]``.

    Parameters
    ----------
    value
        A text such as ``"10d"`` or ``"240h"``, or any ``timedelta``.

    Returns
    -------
    numpy.timedelta64
        Positive, a whole number of seconds.

    Raises
    ------
    InputError
        If it is not a positive duration.

    Examples
    --------
    >>> as_duration("10d") / HOUR
    np.float64(240.0)
    """
    if isinstance(value, str):
        match = re.fullmatch(r"(\d+)\s*([hd])", value.strip())
        if match is None or int(match[1]) == 0:
            raise InputError(f"invalid duration {value!r}: expected e.g. 10d or 240h", field="lead")
        return np.timedelta64(int(match[1]) * (86_400 if match[2] == "d" else 3_600), "s")
    if not isinstance(value, timedelta | np.timedelta64):
        raise InputError(
            f"duration {value!r} has no unit: expected e.g. '10d' or '240h'", field="lead"
        )
    duration = np.timedelta64(value, "s")
    if not duration > np.timedelta64(0, "s"):
        raise InputError(f"duration {value} is not positive", field="lead")
    return duration


def year_phase(times: TimesLike) -> Float64:
    """Return the phase of the year in [0, 1), continuous in time and without leap-day jumps.

    Returns
    -------
    numpy.ndarray
        (time,), the fractional part of the time since 1 January 2000, 00 UTC, in mean Gregorian
        years of 365.2425 days.

    Examples
    --------
    >>> year_phase("2000-07-01").round(3)
    array([0.498])
    """
    seconds = (as_utc(times) - _EPOCH).astype("timedelta64[s]").astype(np.float64)
    return np.asarray(np.mod(seconds / YEAR_SECONDS, 1.0))
