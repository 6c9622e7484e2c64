"""Times and durations of files: numbers with units, text and dates, exact to the second."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final

import numpy as np
import numpy.typing as npt
import xarray as xr

from pear.errors import InputError
from pear.typing import Float64, Times


def _spelled(seconds: float, *names: str) -> dict[str, float]:
    return dict.fromkeys(names, seconds)


SECONDS: Final[Mapping[str, float]] = {
    **_spelled(1e-9, "ns", "nsec", "nsecs", "nanosec", "nanosecond", "nanoseconds"),
    **_spelled(
        1e-6, "us", "\u00b5s", "\u03bcs", "usec", "usecs", "microsec", "microsecond", "microseconds"
    ),
    **_spelled(1e-3, "ms", "msec", "msecs", "millisec", "millisecs", "millisecond", "milliseconds"),
    **_spelled(1.0, "s", "sec", "secs", "second", "seconds"),
    **_spelled(60.0, "min", "mins", "minute", "minutes"),
    **_spelled(3600.0, "h", "hr", "hrs", "hour", "hours"),
    **_spelled(86_400.0, "d", "day", "days"),
    **_spelled(604_800.0, "week", "weeks"),
}
"""Length of a unit of time in seconds, by its lower-case name. ``m`` is not there: minute, month
or metre."""
GREGORIAN: Final = ("standard", "gregorian", "proleptic_gregorian")
_ZONES: Final = ("", "z", "utc", "gmt", "ut")
_EPOCH: Final = date(1970, 1, 1).toordinal()
_ORIGIN: Final = re.compile(
    r"(?P<year>[+-]?\d{1,4})(?P<sep>[-/])(?P<month>\d{1,2})(?P=sep)(?P<day>\d{1,2})(?!\d)"
    r"(?:(?:\s*t\s*|\s+)(?P<hour>\d{1,2})(?::(?P<minute>\d{1,2})(?::(?P<second>\d{1,2}(\.\d*)?))?)?)?"
    r"\s*(?P<zone>.*)",
    re.IGNORECASE,
)
# What a time may be rounded to, in seconds, and the coarsest resolution for which that is safe.
_ROUNDINGS: Final = ((1, 1.0, "second"), (60, 30.0, "minute"), (3600, 450.0, "hour"))
_DECIMALS: Final = 6


@dataclass(frozen=True)
class Decoded:
    """Times of a coordinate.

    Attributes
    ----------
    times : array
        ``datetime64[s]`` (UTC) in the shape of the coordinate; NaT where it is missing.
    note : str
        How times were rounded or a calendar understood; empty if there is nothing to say.

    Examples
    --------
    >>> from pear.datasets.time_decoding import Decoded
    >>> Decoded(np.array(["2001-01-01"], "datetime64[s]")).note
    ''
    """

    times: Times
    note: str = ""


def decode_times(coordinate: xr.DataArray, label: str) -> Decoded:
    """Decode a coordinate of times to the nearest second.

    Parameters
    ----------
    coordinate : DataArray
        Dates, text in ISO 8601, or numbers with units ``<unit> since <date>``.
    label : str
        Name of the source and the variable, for messages.

    Returns
    -------
    Decoded
        In the shape of the coordinate.

    Raises
    ------
    InputError
        If it is not a time of the Gregorian calendar, or a number too coarse for a minute.

    Examples
    --------
    >>> from pear.datasets.time_decoding import decode_times
    >>> days = xr.DataArray([1 / 24], dims="time", attrs={"units": "days since 2020-01-01"})
    >>> decode_times(days.rename("time"), "a.nc: t2m").times
    array(['2020-01-01T01:00:00'], dtype='datetime64[s]')
    """
    name, values = coordinate.name, np.asarray(coordinate.values)
    if np.issubdtype(values.dtype, np.datetime64):
        return _redecoded(coordinate, values, label)
    if values.dtype.kind in "OSU":
        return Decoded(_from_objects(coordinate, values, label))
    units = str(coordinate.attrs.get("units", "")).strip()
    if " since " not in units.lower():
        what = f"a number in {units!r}" if units else "a number without units and reference date"
        raise InputError(
            f"{label}: its {name} is {what} ({_first(values)})",
            field="time",
            hint="set its units, e.g. 'hours since 1900-01-01'",
        )
    named = {str(key).lower(): str(value) for key, value in coordinate.attrs.items()}
    calendar = str(coordinate.attrs.get("calendar", named.get("calendar", "standard")))
    factor, origin, early = _parse_units(units, calendar, f"{label}: its {name}")
    if values.dtype.kind not in "iuf":
        raise InputError(f"{label}: its {name} is not a number but {values.dtype}", field="time")
    stored = np.dtype(coordinate.encoding.get("dtype", values.dtype))
    times, note = _rounded(values, stored, factor, origin, f"{label}: its {name} in {units!r}")
    if early and not note:
        note = f"{name} in {units!r} counts in the Julian calendar before 1582, as CF has it"
    return Decoded(times, f"{name}: {note}" if note and not early else note)


def _redecoded(coordinate: xr.DataArray, values: Times, label: str) -> Decoded:
    """Round dates to seconds; those that were decoded from 32-bit numbers as these would be."""
    encoding = coordinate.encoding
    stored, units = np.dtype(encoding.get("dtype", np.int64)), str(encoding.get("units", ""))
    out: Times = values.astype("datetime64[s]")
    if values.dtype != out.dtype:
        rest = values.astype("datetime64[ns]") - out.astype("datetime64[ns]")
        out = out + (rest >= np.timedelta64(500, "ms")).astype("timedelta64[s]")
    if stored == np.float32 and " since " in units.lower() and not np.isnat(out).any():
        calendar = str(encoding.get("calendar", "standard"))
        factor, origin, _ = _parse_units(units, calendar, label)
        since = (values - np.asarray(origin).astype("datetime64[s]")) / np.timedelta64(1, "s")
        raw = (np.asarray(since) / factor).astype(np.float32)
        out, note = _rounded(raw, stored, factor, origin, f"{label}: its time in {units!r}")
        return Decoded(out, note and f"{coordinate.name}: {note}")
    return Decoded(out)


def as_numbers(coordinate: xr.DataArray) -> xr.DataArray:
    """Return dates as the numbers that a file has for them, for attributes that count alike.

    Parameters
    ----------
    coordinate : DataArray
        Dates, with the units they were decoded from in their encoding; others stay as they are.

    Returns
    -------
    DataArray
        With the same attributes.

    Examples
    --------
    >>> from pear.datasets.time_decoding import as_numbers
    >>> time = xr.DataArray(np.array(["2001-01-02"], "datetime64[ns]"), dims="time")
    >>> time.encoding["units"] = "hours since 2001-01-01"
    >>> as_numbers(time).values
    array([24.])
    """
    units = str(coordinate.encoding.get("units", ""))
    if coordinate.dtype.kind != "M" or " since " not in units.lower():
        return coordinate
    calendar = str(coordinate.encoding.get("calendar", "standard"))
    factor, origin, _ = _parse_units(units, calendar, str(coordinate.name))
    since = coordinate.values.astype("datetime64[s]").astype(np.int64) - origin
    return coordinate.copy(data=since / factor)


def decode_duration(coordinate: xr.DataArray, label: str) -> npt.NDArray[np.timedelta64]:
    """Decode a coordinate of durations, such as lead times, to the nearest second.

    Parameters
    ----------
    coordinate : DataArray
        Durations, or numbers with a unit.
    label : str
        Name of the source and the variable, for messages.

    Returns
    -------
    array
        ``timedelta64[s]`` in the shape of the coordinate.

    Raises
    ------
    InputError
        If the unit is not one of a fixed length, if there is none (but for zero), or if a value
        is missing.

    Examples
    --------
    >>> from pear.datasets.time_decoding import decode_duration
    >>> lead = xr.DataArray(86400e9, attrs={"units": "nanoseconds"}, name="lead_time")
    >>> decode_duration(lead, "a.nc: t2m")
    array(86400, dtype='timedelta64[s]')
    """
    values, name = np.asarray(coordinate.values), coordinate.name
    if values.dtype.kind == "m":
        if np.isnat(values).any():
            raise InputError(f"{label}: its {name} is missing", field="lead")
        seconds = values / np.timedelta64(1, "s")
        return np.asarray(np.rint(seconds)).astype("timedelta64[s]")
    units = str(coordinate.attrs.get("units", "")).strip()
    if values.dtype.kind not in "iuf":
        raise InputError(
            f"{label}: its {name} is text ({_first(values)}), not a lead time",
            field="lead",
            hint="write a number with units, e.g. 'hours'",
        )
    if not np.isfinite(values).all():
        raise InputError(f"{label}: its {name} is missing ({_first(values)})", field="lead")
    if not values.any() and units.lower() not in SECONDS:
        return np.zeros(values.shape, dtype="timedelta64[s]")  # zero of any unit
    if units.lower() not in SECONDS:
        has = f"units {units!r}, not a length of time" if units else "no units"
        raise InputError(
            f"{label}: its {name} of {_first(values)} has {has}",
            field="lead",
            hint="set its units, e.g. 'hours'",
        )
    seconds = values.astype(np.float64) * SECONDS[units.lower()]
    if np.abs(seconds).max() > 3.2e9:  # a century
        raise InputError(
            f"{label}: its {name} of {_first(values)} {units} is more than a century",
            field="lead",
            hint="correct its units",
        )
    return np.asarray(np.rint(seconds)).astype("timedelta64[s]")


def _first(values: npt.NDArray[np.generic]) -> str:
    shown = ", ".join(str(value) for value in values.ravel()[:3].tolist())
    return shown + (", …" if values.size > 3 else "")


def _parse_units(units: str, calendar: str, label: str) -> tuple[float, int, bool]:
    """Return seconds per unit, the origin in seconds since 1970, and whether it is before 1582."""
    kind = calendar.strip().lower()
    if kind not in GREGORIAN:
        raise InputError(
            f"{label} has the calendar {calendar!r}",
            field="time",
            hint="PEAR needs dates of the Gregorian calendar, called 'standard'",
        )
    unit, _, since = re.split(r"\s+(since)\s+", units.strip(), maxsplit=1, flags=re.IGNORECASE)
    factor = SECONDS.get(unit.strip().lower())
    if factor is None:
        raise InputError(
            f"{label} has units {units!r}: {unit!r} is not a unit of fixed length",
            field="time",
            hint="write times in hours or seconds since a date",
        )
    match = _ORIGIN.fullmatch(_separated(since.strip()))
    if match is None:
        raise InputError(
            f"{label} has units {units!r}: {since!r} is not a date",
            field="time",
            hint="write e.g. 'hours since 1900-01-01 00:00:00'",
        )
    year, month, day = int(match["year"]), int(match["month"]), int(match["day"])
    clock = int(match["hour"] or 0), int(match["minute"] or 0), float(match["second"] or 0.0)
    where = f"{label} has units {units!r}"
    offset = _zone_seconds(match["zone"], where)
    early = kind != "proleptic_gregorian" and (year, month, day) < (1582, 10, 15)
    days = _day_number(year, month, day, julian=early, where=where)
    seconds = clock[0] * 3600 + clock[1] * 60 + clock[2]
    if clock[1] > 59 or clock[2] >= 60 or seconds > 86_400:
        raise InputError(f"{where}: no such time of day", field="time")
    return factor, round(days * 86_400 + seconds) - offset, early


def _separated(text: str) -> str:
    """Return a date in digits alone with separators."""
    return re.sub(r"^(\d{4})(\d{2})(\d{2})(?!\d)", r"\1-\2-\3", text)


def _zone_seconds(zone: str, where: str) -> int:
    """Return how far a zone is ahead of UTC; names other than UTC are refused."""
    text = zone.strip()
    if text.lower() in _ZONES:
        return 0
    match = re.fullmatch(r"([+-])(\d{1,2})(?::?(\d{2}))?", text)
    if match is None or int(match[2]) > 15 or int(match[3] or 0) > 59:
        raise InputError(
            f"{where}: {text!r} is not an offset from UTC",
            field="time",
            hint="write the offset, e.g. +01:00, or convert the times to UTC",
        )
    seconds = int(match[2]) * 3600 + int(match[3] or 0) * 60
    return -seconds if match[1] == "-" else seconds


def _day_number(year: int, month: int, day: int, *, julian: bool, where: str) -> int:
    """Return days since 1970-01-01 of a date of the proleptic Gregorian or Julian calendar."""
    if 2 <= year <= 99:
        raise InputError(
            f"{where}: the year {year} has two digits", field="time", hint="write four"
        )
    if julian and year < 1:
        raise InputError(
            f"{where}: the standard calendar does not have a year {year}",
            field="time",
            hint="set the calendar to 'proleptic_gregorian', or count from a later year",
        )
    lengths = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
    leap = year % 4 == 0 and (julian or year % 100 != 0 or year % 400 == 0)
    if not 1 <= month <= 12 or not 1 <= day <= lengths[month - 1] - (month == 2 and not leap):
        raise InputError(f"{where}: no such date", field="time")
    # Years from March, so that a leap day is the last of its year.
    y, m = (year, month - 3) if month > 2 else (year - 1, month + 9)
    days = 365 * y + y // 4 + (153 * m + 2) // 5 + day - 1
    if julian:
        return days - 719_470
    return days - y // 100 + y // 400 - 719_468


_NOT_A_TIME: Final = np.iinfo(np.int64).min


def _rounded(
    values: npt.NDArray[np.generic],
    stored: np.dtype[np.generic],
    factor: float,
    origin: int,
    label: str,
) -> tuple[Times, str]:
    """Return times rounded to what their encoding carries, and a note if that is not a second."""
    numbers = values.astype(np.float64)
    missing = ~np.isfinite(numbers)
    seconds = np.where(missing, 0.0, numbers) * factor
    if values.dtype == np.int64 and bool(np.any(values.astype(np.int64) == _NOT_A_TIME)):
        raise InputError(
            f"{label} has values that are not a time ({_first(values)})",
            field="time",
            hint="drop the fields without a time",
        )
    if np.abs(seconds).max(initial=0.0) > 4e11:
        raise InputError(f"{label} lies beyond the year 9999 ({_first(values)})", field="time")
    if values.dtype.kind in "iu" and factor >= 1:
        whole = values.astype(np.int64) * round(factor)
    else:
        whole = np.rint(seconds).astype(np.int64)
    note = ""
    resolution = _resolution(numbers[~missing], values.dtype, stored, factor)
    if resolution > 1.0 or (
        ((whole + origin) % 60 != 0).any()
        and (resolution := max(resolution, _decimal_resolution(numbers[~missing], factor))) > 1.0
    ):
        whole, unit = _snapped(seconds, origin, resolution, values, label)
        moved = np.abs(whole - seconds)[~missing].max(initial=0.0)
        if moved > 0.5:
            note = (
                f"numbers carry {resolution:.3g} s only, rounded to the whole {unit} "
                f"(by up to {moved:.0f} s)"
            )
    times: Times = np.asarray(whole + origin).astype("datetime64[s]")
    years = times.astype("datetime64[Y]").astype(np.int64) + 1970
    if ((years < 1) | (years > 9999)).any():
        raise InputError(
            f"{label} lies outside the years 1 to 9999 ({_first(values)})", field="time"
        )
    return np.where(missing, np.datetime64("NaT", "s"), times), note


def _resolution(
    numbers: Float64, dtype: np.dtype[np.generic], stored: np.dtype[np.generic], factor: float
) -> float:
    """Return the distance of neighbouring numbers of the encoding in seconds; 0 for integers."""
    if dtype.kind != "f" or not numbers.size:
        return 0.0
    largest = np.abs(numbers).max()
    single = dtype.itemsize <= 4 or (stored.kind == "f" and stored.itemsize <= 4)
    return float(np.spacing(np.float32(largest) if single else largest)) * factor


def _decimal_resolution(numbers: Float64, factor: float) -> float:
    """Return the resolution in seconds of numbers that were written with few digits."""
    if factor <= 60 or not numbers.size:
        return 0.0
    if (numbers == numbers.astype(np.float32)).all():  # kept in 32 bits somewhere on their way
        return float(np.spacing(np.float32(np.abs(numbers).max()))) * factor
    for digits in range(_DECIMALS):
        scaled = numbers * 10.0**digits
        if (np.abs(scaled - np.rint(scaled)) < 1e-9 * np.maximum(np.abs(scaled), 1.0)).all():
            return factor / 10.0**digits
    return 0.0


def _snapped(
    seconds: Float64,
    origin: int,
    resolution: float,
    values: npt.NDArray[np.generic],
    label: str,
) -> tuple[npt.NDArray[np.int64], str]:
    """Round to the whole minute or hour next to all times within half of the resolution."""
    for unit, coarsest, name in _ROUNDINGS:
        if resolution <= coarsest:
            whole = np.rint((seconds + origin) / unit).astype(np.int64) * unit - origin
            if unit == 1 or (np.abs(whole - seconds) <= resolution / 2 + 0.5).all():
                return whole, name
            break
    raise InputError(
        f"{label} carries {resolution:.3g} s only, too coarse for a minute ({_first(values)})",
        field="time",
        hint="write times as 64-bit numbers or whole seconds",
    )


def _from_objects(coordinate: xr.DataArray, values: npt.NDArray[np.generic], label: str) -> Times:
    """Decode text in ISO 8601, or dates of Python or cftime."""
    out = np.empty(values.shape, dtype="datetime64[s]")
    for index, value in np.ndenumerate(values):
        if isinstance(value, bytes | str):
            text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
            out[index] = _from_text(text, f"{label}: its {coordinate.name}")
            continue
        calendar = str(
            getattr(value, "calendar", "") or coordinate.encoding.get("calendar", "standard")
        )
        if calendar.lower() not in GREGORIAN or not hasattr(value, "isoformat"):
            raise InputError(
                f"{label}: its {coordinate.name} has the calendar {calendar!r}",
                field="time",
                hint="PEAR needs dates of the Gregorian calendar",
            )
        out[index] = _from_text(value.isoformat(), f"{label}: its {coordinate.name}")
    return out


def _from_text(text: str, where: str) -> np.datetime64:
    plain = text.strip(" \0").replace("_", "T", 1)
    if _ORIGIN.fullmatch(plain) is None or not re.match(r"\d{4}-\d{2}-\d{2}", plain):
        raise InputError(
            f"{where} is text that is not a date of ISO 8601 ({text!r})",
            field="time",
            hint="write e.g. 2020-01-31T06:00, or numbers with units such as 'hours since …'",
        )
    said = f"{where}: {text!r}"
    _, seconds, _ = _parse_units(f"seconds since {plain}", "proleptic_gregorian", said)
    return np.datetime64(seconds, "s")
