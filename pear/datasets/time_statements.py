"""What a file says of its times beside their axis: clocks, calendars, coverage and forecasts."""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any, Final, NoReturn

import numpy as np
import xarray as xr

from pear.datasets.base import Scan
from pear.datasets.declared_gaps import attribute_key, numbers_of, outside_declared
from pear.datasets.time_decoding import GREGORIAN, as_numbers
from pear.errors import InputError
from pear.times import parse_time, to_iso
from pear.typing import Times

_ZONE_KEYS: Final = ("timezone", "tz", "timesystem", "timescale", "timestandard")
_TEXTS: Final = ("long_name", "description", "comment", "note")
_UTC: Final = re.compile(
    r"|z|zulu|utc?|gmt|universal|(?:etc/)?(?:utc|gmt|universal)|coordinated universal time|unknown"
    r"|(?:utc|gmt)?\s*[+-]?0?0(?::?00)?",
    re.IGNORECASE,
)
_OTHER_CLOCK: Final = re.compile(
    r"(?i:\blocal(?: \w+)? time\b|\bsolar time\b|\bgps(?: time)?\b|\bterrestrial time\b"
    r"|\b(?:eastern|central|mountain|pacific|european|japan|india) (?:\w+ )?time\b)"
    r"|\b(?:TAI|TDT|CET|CEST|EST|EDT|CDT|MST|PST|PDT|JST|MSK|AEST)\b"
)
_REFERENCES: Final = (
    *("forecastreferencetime", "inittime", "initializationtime", "initialisationtime"),
    *("modelruntime", "forecastinitializationtime", "forecaststarttime"),
)
_LEAD_HOURS: Final = ("forecasthour", "leadhour", "forecastleadhour", "forecastleadtimehour")
_GRIB_LEADS: Final = ("gribstep", "gribendstep", "gribsteprange", "gribforecasttime")
# Units of time of GRIB, code table 4.4, as ecCodes writes them.
_GRIB_UNITS: Final = {
    **{"0": 60, "m": 60, "1": 3600, "h": 3600, "2": 86_400, "d": 86_400, "13": 1, "s": 1},
    **{"10": 10_800, "3h": 10_800, "11": 21_600, "6h": 21_600, "12": 43_200, "12h": 43_200},
}
_FORECASTS: Final = ("fc", "pf", "cf", "forecast")
_TYPE_KEYS: Final = ("gribdatatype", "gribmarstype", "datatype", "marstype", "type")
_TOLERANCE: Final = 60  # s
_DATE: Final = re.compile(r"\d{4}-?\d{2}-?\d{2}")


def require_clock(coordinate: xr.DataArray, label: str) -> None:
    """Refuse times of another clock than UTC or another calendar, and those that leave their range.

    Parameters
    ----------
    coordinate
        Times with their attributes.
    label
        Name of the source and the variable, for messages.

    Raises
    ------
    InputError
        If an attribute names another time zone, time scale or calendar, or a range that does not
        hold the times.

    Examples
    --------
    >>> from pear.datasets.time_statements import require_clock
    >>> require_clock(xr.DataArray(0.0, attrs={"time_zone": "CET"}, name="time"), "a.nc: t2m")
    Traceback (most recent call last):
    pear.errors.InputError: a.nc: t2m: its time says time_zone 'CET', while times are in UTC...
    """
    name = coordinate.name
    for key, stated in coordinate.attrs.items():
        text, plain = str(stated).strip(), attribute_key(key)
        is_zone = plain in _ZONE_KEYS and not _UTC.fullmatch(text)
        is_text = key in _TEXTS and not re.search(r"\b(?:utc|gmt)\b", text, re.IGNORECASE)
        if is_zone or (is_text and _OTHER_CLOCK.search(text)):
            raise InputError(
                f"{label}: its {name} says {key} {text!r}, while times are in UTC",
                field="time",
                hint="convert the times to UTC, or correct what the file says",
            )
        if plain == "calendar" and text.lower() not in ("", *GREGORIAN):
            raise InputError(
                f"{label}: its {name} says {key} {text!r}",
                field="time",
                hint="PEAR needs dates of the Gregorian calendar, called 'standard'",
            )
    numbers = as_numbers(coordinate)
    if text := outside_declared(numbers, rounding=1e-7):
        raise InputError(
            f"{label}: its {name} has {text}{_dated(numbers, coordinate)}",
            field="time",
            hint="correct the one that is wrong, or remove it",
        )


def _dated(numbers: xr.DataArray, coordinate: xr.DataArray) -> str:
    """Return the units of the numbers, which tell what they mean."""
    units = numbers.attrs.get("units", coordinate.encoding.get("units", ""))
    return f" in {units!r}" if units else ""


def compare_times(
    array: xr.DataArray,
    dataset: xr.Dataset,
    found: tuple[Times, Hashable | None, tuple[int, ...]],
    roles: frozenset[str],
    scan: Scan,
) -> tuple[int, ...]:
    """Compare valid times with what attributes and other coordinates say of them.

    A contradiction, and a lead of which nothing says whether it is part of a time, raise
    InputError.

    Parameters
    ----------
    array, dataset
        The variable and its Dataset.
    found
        Valid times, their dimension and their leads in s, as coordinates give them.
    roles
        What its coordinates are in time.
    scan
        Scan of its source.

    Returns
    -------
    tuple of int
        Lead times in s: those of the coordinates, or of a forecast that attributes tell of.

    Examples
    --------
    >>> from pear.datasets.time_statements import compare_times
    >>> times = np.array(["2020-01-02"], "datetime64[s]")
    >>> array = xr.DataArray([0.0], attrs={"forecast_reference_time": "2020-01-01"}, name="t2m")
    >>> found = (times, "time", (0,))
    >>> compare_times(array, xr.Dataset(), found, frozenset(["time"]), Scan("a.nc", "NetCDF"))
    (86400,)
    """
    times, dim, leads = found
    if not times.size:
        return leads
    label = f"{scan.source}: {array.name}"
    leads = _stated_leads(array, dataset, times, leads, roles, scan)
    _require_coverage(dataset, times, label)
    starts = times - np.broadcast_to(np.array(leads, "timedelta64[s]"), times.shape)
    for name in ("year", "month"):
        other = array.coords.get(name, dataset.get(name))
        if other is None or other.dims not in ((), (dim,)) or other.dtype.kind not in "iuf":
            continue
        told = np.broadcast_to(other.values, times.shape)
        fits = [np.array_equal(told, _calendar_part(each, name)) for each in (times, starts)]
        if not any(fits):
            _refuse(label, f"its {name} is {told.ravel()[0]}", times)
    return leads


def _calendar_part(times: Times, name: str) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    if name == "year":
        return np.asarray(times.astype("datetime64[Y]").astype(np.int64) + 1970)
    return np.asarray(times.astype("datetime64[M]").astype(np.int64) % 12 + 1)


def _stated_leads(
    array: xr.DataArray,
    dataset: xr.Dataset,
    times: Times,
    leads: tuple[int, ...],
    roles: frozenset[str],
    scan: Scan,
) -> tuple[int, ...]:
    """Return leads after comparison with a reference time and a forecast hour in attributes."""
    label = f"{scan.source}: {array.name}"
    is_known = bool(roles & {"lead", "reference"})
    attributes = {**dataset.attrs, **array.attrs}
    for key, stated in attributes.items():
        if attribute_key(key) not in _REFERENCES or (start := _time_of(stated)) is None:
            continue
        since = (times - start).astype("timedelta64[s]").astype(np.int64)
        if (since < 0).any() or (is_known and not _same(since, leads)):
            _refuse(label, f"its attribute {key} is {str(stated)!r}", times, leads)
        leads, is_known = tuple(since.tolist()), True
    kinds = [
        (key, text)
        for key, stated in attributes.items()
        if attribute_key(key) in _TYPE_KEYS and (text := str(stated).strip().lower()) in _FORECASTS
    ]
    for key, stated in attributes.items():
        seconds = _lead_of(key, stated, attributes, is_forecast=bool(kinds))
        if seconds is None:
            continue
        if not is_known and seconds and "valid" not in roles:
            raise InputError(
                f"{label}: its attribute {key} is {stated}, and its times {_span(times)} do not "
                "say whether it is part of them",
                field="time",
                hint="set the standard_name of the axis to 'time' (valid), or add a step",
            )
        if is_known and not _same(np.array([seconds]), leads):
            _refuse(label, f"its attribute {key} is {stated}", times, leads)
        leads, is_known = (leads if is_known else (seconds,)), True
    if kinds and not is_known:
        key, text = kinds[0]
        scan.note(
            f"{array.name}: a forecast ({key} {text}) that does not say its lead time; its times "
            "are taken as valid times"
        )
    return leads


def _lead_of(
    key: object, stated: object, attributes: dict[Any, Any], *, is_forecast: bool
) -> int | None:
    """Return the lead in s that an attribute states; None if it states none."""
    # A step alone, as in a request to MARS, may also be that of a grid.
    plain = attribute_key(key)
    if plain in _LEAD_HOURS or (plain == "step" and is_forecast):
        numbers = numbers_of(stated)
        if numbers.size != 1 or not np.isfinite(numbers[0]):
            return None
        return round(float(numbers[0]) * 3600)
    if plain not in _GRIB_LEADS:
        return None
    end = str(stated).strip().rpartition("-")[2]  # of a range such as 0-6
    unit = attributes.get("GRIB_stepUnits", 1)
    if plain == "gribforecasttime":
        unit = attributes.get("GRIB_indicatorOfUnitOfTimeRange", 1)
    seconds = _GRIB_UNITS.get(str(unit).strip().lower())
    try:
        return None if seconds is None else round(float(end) * seconds)
    except (ValueError, OverflowError):
        return None


def _same(seconds: np.ndarray[tuple[int, ...], np.dtype[np.int64]], leads: tuple[int, ...]) -> bool:
    return bool((np.abs(seconds - np.array(leads)) <= _TOLERANCE).all())


def _require_coverage(dataset: xr.Dataset, times: Times, label: str) -> None:
    """Refuse times outside of the coverage that a file states; a date alone is a whole day."""
    for key, stated in dataset.attrs.items():
        plain = attribute_key(key)
        if plain not in ("timecoveragestart", "timecoverageend"):
            continue
        if (bound := _time_of(stated)) is None:
            continue
        if plain.endswith("start"):
            outside = times.min() < bound - np.timedelta64(_TOLERANCE, "s")
        else:
            day = np.timedelta64(86_400 if _DATE.fullmatch(str(stated).strip()) else 0, "s")
            outside = times.max() > bound + day + np.timedelta64(_TOLERANCE, "s")
        if outside:
            _refuse(label, f"its file says {key} {str(stated)!r}", times)


def _time_of(stated: object) -> np.datetime64 | None:
    """Return the time of a text; None for one that is not understood."""
    text = re.sub(r"\.0+(?=\D|$)", "", str(stated).strip())
    text = re.sub(r"(?<=\d)\s+(?=\d)", "T", re.sub(r"\s*(?:UTC|GMT)$", "Z", text))
    try:
        return parse_time(text)
    except (InputError, ValueError):
        return None


def _span(times: Times) -> str:
    first, last = times.min(), times.max()
    return to_iso(first) if first == last else f"{to_iso(first)} to {to_iso(last)}"


def _refuse(label: str, stated: str, times: Times, leads: tuple[int, ...] = ()) -> NoReturn:
    told = sorted({lead / 3600 for lead in leads})[:4]
    after = f", {', '.join(f'{hour:g}' for hour in told)} h after their start" if any(told) else ""
    raise InputError(
        f"{label}: {stated}, but its times are {_span(times)}{after}",
        field="time",
        hint="correct the one that is wrong, or remove it",
    )
