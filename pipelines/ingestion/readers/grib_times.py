"""When a GRIB field is valid by its header, to the minute."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal, TypeAlias

import numpy as np

from pear.errors import InputError

_Get: TypeAlias = Callable[[str], str | int | float | None]

# Units without a fixed length (code table 4.4 of GRIB 2, table 4 of GRIB 1).
_OF_THE_CALENDAR: Final = {
    3: "months",
    4: "years",
    5: "decades",
    6: "normals of 30 years",
    7: "centuries",
}
_SECONDS: Final = {13, 254}  # of GRIB 2, and of GRIB 1


def require_exact_times(get: _Get, source: str) -> None:
    """Refuse times that ecCodes rounds without a word: calendar months, and seconds.

    Parameters
    ----------
    get : callable
        Returns the value of a GRIB key, or None.
    source : str
        Name of the source, for messages.

    Raises
    ------
    InputError
        If the lead has a unit of no fixed length, or a time is not a whole minute.
    """
    unit, lead = get("indicatorOfUnitOfTimeRange"), get("forecastTime")
    lead = get("P1") if lead is None else lead
    n_units = int(lead or 0)
    unit = -1 if unit is None else int(unit)
    if n_units and unit in _OF_THE_CALENDAR:
        raise InputError(
            f"{source} has a lead of {n_units} {_OF_THE_CALENDAR[unit]} "
            f"(indicatorOfUnitOfTimeRange {unit}), which have no fixed length",
            field="time",
            hint="write the lead in hours",
        )
    seconds = int(get("second") or 0)
    if seconds or (unit in _SECONDS and n_units % 60):
        moment = f"{get('dataDate')} {int(get('dataTime') or 0):04d}"
        raise InputError(
            f"{source} has the reference time {moment} and {seconds} s with a lead of {n_units} "
            f"{'s' if unit in _SECONDS else 'units'}: not a whole minute",
            field="time",
            hint="write times in whole minutes",
        )


def read_time(get: _Get, kind: Literal["data", "validity"], source: str) -> int:
    """Return the initial (data) or the valid time of a field.

    Parameters
    ----------
    get : callable
        Returns the value of a GRIB key, or None.
    kind : {"data", "validity"}
        Which of the two.
    source : str
        Name of the source, for messages.

    Returns
    -------
    int
        Seconds since 1970.

    Raises
    ------
    InputError
        If the message has no such time.
    """
    day, clock = get(f"{kind}Date"), get(f"{kind}Time")
    if day is None or clock is None:
        raise InputError(f"{source} has a message without {kind}Date", field="time")
    date, hhmm = f"{int(day):08d}", f"{int(clock):04d}"
    text = f"{date[:4]}-{date[4:6]}-{date[6:]}T{hhmm[:2]}:{hhmm[2:]}"
    return int(np.datetime64(text, "s").astype(np.int64))
