"""Times in UTC as ``datetime64[s]``, their ISO 8601 form and the phase of the year."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np

from pear.errors import InputError
from pear.typing import DurationLike, Float64, TimeLike, Times, TimesLike

HOUR: Final = np.timedelta64(1, "h")
DAY: Final = np.timedelta64(1, "D")
YEAR_SECONDS: Final = 365.2425 * 86_400.0
"""Length of the mean Gregorian year in seconds."""
_EPOCH: Final = np.datetime64("2000-01-01T00:00:00", "s")
_LONGEST_SECONDS: Final = 365_250 * 86_400
_ZONE: Final = r"(?:Z|[+-][0-9]{2}:?[0-9]{2})"
_CLOCK: Final = r"[0-9]{2}(?::?[0-9]{2}(?::?[0-9]{2}(?:\.[0-9]{1,6})?)?)?"
_DATE: Final = r"(?:[0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{8})"
_TIME: Final = re.compile(rf"{_DATE}(?:[T ]{_CLOCK}{_ZONE}?)?", re.IGNORECASE)


def as_utc(times: TimesLike) -> Times:
    """Return times as a one-dimensional ``datetime64[s]`` array (UTC), whatever their unit.

    Texts are read by :func:`parse_time`, which refuses what is not a full date; a ``datetime``
    with a time zone is converted.

    Returns
    -------
    numpy.ndarray
        (time,); a single time gives one element.

    Examples
    --------
    >>> as_utc("2019-01-01")
    array(['2019-01-01T00:00:00'], dtype='datetime64[s]')
    """
    array = np.atleast_1d(np.asarray(times))
    if array.dtype.kind in "UO":
        read = [_one_as_utc(each) for each in array.ravel().tolist()]
        return np.array(read, dtype="datetime64[s]").reshape(array.shape)
    return array.astype("datetime64[s]")


def _one_as_utc(time: object) -> np.datetime64:
    if isinstance(time, str):
        return parse_time(time)
    if isinstance(time, datetime) and time.tzinfo is not None:
        time = time.astimezone(UTC).replace(tzinfo=None)
    converted: np.datetime64 = np.array([time], dtype="datetime64[s]")[0]
    return converted


def parse_time(text: str) -> np.datetime64:
    """Read one date, or date and time, of ISO 8601; without a zone it is UTC.

    Parameters
    ----------
    text
        ``2001-03-01`` or ``20010301``, with or without a time of the day, ``T06``, ``T06:00`` or
        ``T06:00:00``, and a zone, ``Z`` or ``+02:00``. A date alone is its 00 UTC.

    Returns
    -------
    numpy.datetime64
        UTC, in seconds.

    Raises
    ------
    InputError
        For anything else: a word such as ``now``, a year alone or of other than four digits, a
        date that does not exist, a fraction of a second.

    Examples
    --------
    >>> parse_time("20010301"), parse_time("2001-03-01T02:00+02:00")
    (np.datetime64('2001-03-01T00:00:00'), np.datetime64('2001-03-01T00:00:00'))
    """
    try:
        time = (
            datetime.fromisoformat(text.strip().upper()) if _TIME.fullmatch(text.strip()) else None
        )
        if time is not None and time.tzinfo is not None:
            time = time.astimezone(UTC).replace(tzinfo=None)
    except (ValueError, OverflowError):
        time = None
    if time is None or time.microsecond:
        raise InputError(
            f"invalid time {text!r}: expected e.g. 2001-03-01, 20010301 or 2001-03-01T06:00Z",
            field="time",
        )
    return np.datetime64(time, "s")


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
        match = re.fullmatch(r"([0-9]+)\s*([hd])", value.strip())
        if match is None or int(match[1]) == 0:
            raise InputError(f"invalid duration {value!r}: expected e.g. 10d or 240h", field="lead")
        seconds = int(match[1]) * (86_400 if match[2] == "d" else 3_600)
        if seconds > _LONGEST_SECONDS:
            raise InputError(f"duration {value!r} is longer than 1000 years", field="lead")
        return np.timedelta64(seconds, "s")
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
