"""The axes of a variable in a file: place, valid time, pressure, and what else there may be."""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from typing import Any, Final

import numpy as np
import xarray as xr

from pear.datasets.base import Scan, ScanOptions, choose_member
from pear.datasets.units import Quantity
from pear.errors import InputError
from pear.typing import Times

LAT: Final = ("latitude", "lat", "y")
LON: Final = ("longitude", "lon", "x")
_TIME: Final = ("valid_time", "time")
_LEAD: Final = ("step", "prediction_timedelta", "lead_time", "leadtime", "forecast_period")
LEVEL: Final = (
    "level",
    "pressure_level",
    "isobaricInhPa",
    "plev",
    "pressure",
    "air_pressure",
    "lev",
    "isobaricInPa",
    "isobaric",
)
_TO_HPA: Final = {
    "hpa": 1.0,
    "hectopascal": 1.0,
    "hectopascals": 1.0,
    "millibars": 1.0,
    "millibar": 1.0,
    "mb": 1.0,
    "mbar": 1.0,
    "pa": 0.01,
    "pascal": 0.01,
    "pascals": 0.01,
    "kpa": 10.0,
}
# Levels that a file without units may have: those of reanalyses, and tens. Numbered model levels
# are neither.
_USUAL: Final = frozenset({1, 2, 3, 5, 7, 125, 175, 225, 775, 825, 875, 925, 975})
_NO_PRESSURE: Final = ("model", "hybrid", "sigma", "height", "depth", "theta", "isentropic")


class UnfitError(Exception):
    """A variable that PEAR leaves aside, with the reason: no fault of the file's."""


def place(array: xr.DataArray, names: Sequence[str], what: str, source: str) -> Any:
    """Latitude or longitude of a variable.

    Raises
    ------
    InputError
        If there is none, or the grid is curvilinear.
    """
    for name, coordinate in array.coords.items():
        known = name in names or coordinate.attrs.get("standard_name") == what
        if known and coordinate.ndim == 1:
            return coordinate
        if known and coordinate.ndim > 1:
            raise InputError(
                f"{source}: {array.name} is on a curvilinear grid",
                field="grid",
                hint="PEAR needs global data on a regular latitude-longitude grid",
            )
    raise InputError(
        f"{source}: {array.name} has no {what}",
        field="grid",
        hint="PEAR needs global data on a regular latitude-longitude grid",
    )


def pressures(array: xr.DataArray, quantity: Quantity) -> tuple[tuple[int, ...], Hashable | None]:
    """Levels in hPa and the dimension they lie along, if any.

    Raises
    ------
    UnfitError
        If the levels are none of pressure.
    """
    for name, coordinate in array.coords.items():
        if name not in LEVEL and coordinate.attrs.get("standard_name") != "air_pressure":
            continue
        hpa = np.atleast_1d(coordinate.values).astype(np.float64) * _to_hpa(str(name), coordinate)
        rounded = tuple(round(float(v)) for v in hpa)
        return rounded, coordinate.dims[0] if coordinate.ndim else None
    return ((quantity.level,), None) if quantity.level is not None else ((), None)


def _to_hpa(name: str, coordinate: xr.DataArray) -> float:
    units = str(coordinate.attrs.get("units", "")).strip()
    said = " ".join(str(coordinate.attrs.get(k, "")) for k in ("standard_name", "long_name"))
    if any(word in said.lower() for word in _NO_PRESSURE):
        raise UnfitError(f"its levels are no pressures but {said.strip()}")
    if units:
        if units.lower() not in _TO_HPA:
            raise UnfitError(f"its levels are in {units!r}, which is no unit of pressure")
        return _TO_HPA[units.lower()]
    values = np.atleast_1d(coordinate.values).astype(np.float64)
    factor = 0.01 if name == "isobaricInPa" or values.max() > 1100 else 1.0
    hpa = values * factor
    if not all(v in _USUAL or v % 10 == 0 for v in hpa):
        raise UnfitError("its levels have no units and are none that pressures usually have")
    return factor


def valid_times(array: xr.DataArray, scan: Scan) -> tuple[Times, Hashable | None]:
    """Valid times and the dimension they lie along, if any; notes those of forecasts.

    Raises
    ------
    InputError
        If there is no time, or it is none of the real calendar.
    """
    source = scan.source
    for name in _TIME:
        if name not in array.coords or array.coords[name].ndim > 1:
            continue
        coordinate = array.coords[name]
        _require_dates(array, coordinate, source)
        if "climatology" in coordinate.attrs or _is_mean_of_years(array):
            raise InputError(f"{source}: {array.name} is a climatology, not states", field="time")
        values = np.atleast_1d(coordinate.values)
        leads = _leads(array, source, several=name == "valid_time")
        if name == "time":
            values = values + leads[0]
        if np.isnat(values).any():
            raise InputError(f"{source}: {array.name} has times that are missing", field="time")
        note_leads(str(array.name), [int(lead) for lead in leads.astype(np.int64)], scan)
        times: Times = values.astype("datetime64[s]")
        return times, coordinate.dims[0] if coordinate.ndim else None
    raise InputError(
        f"{source}: {array.name} has no time (its axes: {', '.join(map(str, array.dims))})",
        field="time",
        hint="PEAR needs dated fields",
    )


def _require_dates(array: xr.DataArray, coordinate: xr.DataArray, source: str) -> None:
    if np.issubdtype(coordinate.dtype, np.datetime64):
        return
    if coordinate.dtype != object:
        raise InputError(
            f"{source}: the time of {array.name} is a number without a unit and a first date",
            field="time",
            hint="write units such as 'hours since 1900-01-01' into the file",
        )
    calendar = coordinate.encoding.get("calendar", coordinate.dtype)
    raise InputError(
        f"{source}: the time of {array.name} is on the calendar {calendar!s}",
        field="time",
        hint="PEAR needs dates of the real (Gregorian) calendar",
    )


def _is_mean_of_years(array: xr.DataArray) -> bool:
    said = " ".join(str(array.attrs.get(key, "")) for key in ("statistic", "cell_methods"))
    return "long term mean" in said.lower() or "over years" in said.lower()


def require_instants(array: xr.DataArray) -> None:
    """Leave aside what is a mean, a sum or an extreme over a period.

    Raises
    ------
    UnfitError
        If it is.
    """
    step = str(array.attrs.get("GRIB_stepType", "instant"))
    found = re.search(
        r"\btime\d?:\s*(mean|sum|max\w*|min\w*)\b(?!\s+over)",
        str(array.attrs.get("cell_methods", "")),
    )
    what = found[1] if found else step
    if what not in ("instant", "unknown", ""):
        raise UnfitError(f"{what} over a period, not a state")


def _leads(array: xr.DataArray, source: str, several: bool) -> Any:
    """Spans from initial to valid time, (lead,) timedelta64[s]; one zero where a file has none."""
    for name in _LEAD:
        if name not in array.coords:
            continue
        lead = array.coords[name]
        if lead.size > 1 and not several:
            raise InputError(
                f"{source}: {array.name} has {lead.size} lead times",
                field="time",
                hint="PEAR ingests analyses, or forecasts of one lead time",
            )
        values = np.atleast_1d(lead.values).ravel()
        if np.issubdtype(lead.dtype, np.timedelta64):
            return values.astype("timedelta64[s]")
        unit = str(lead.attrs.get("units", "hours")).lower()
        seconds = {"h": 3600, "m": 60, "s": 1, "d": 86400}[unit[0]]
        return np.rint(values.astype(np.float64) * seconds).astype("timedelta64[s]")
    return np.zeros(1, dtype="timedelta64[s]")


def note_leads(name: str, seconds: Sequence[int], scan: Scan) -> None:
    """Tell that fields are forecasts: they stand at their valid times among analyses."""
    hours = sorted({second / 3600 for second in seconds})
    if hours != [0.0]:
        some = ", ".join(f"{hour:g}" for hour in hours[:6]) + (" …" if len(hours) > 6 else "")
        scan.note(f"{name}: forecasts of {some} h, stored at their valid times")


def other_axes(
    array: xr.DataArray, known: set[Hashable | None], scan: Scan, options: ScanOptions
) -> tuple[tuple[tuple[Hashable, int], ...], Hashable | None]:
    """Positions along axes that are neither time, level nor place; and the expver axis.

    Raises
    ------
    InputError
        If an axis has several values of which none was chosen.
    """
    fixed: list[tuple[Hashable, int]] = []
    expver = None
    if "expver" in array.coords and "expver" not in array.dims:
        note_versions(str(array.name), np.atleast_1d(array.coords["expver"].values).tolist(), scan)
    for dim in array.dims:
        if dim in known:
            continue
        size = array.sizes[dim]
        if dim == "expver" and size > 1:
            expver = dim
            scan.note(f"{array.name}: {size} experiment versions merged, final first")
        elif dim in ("number", "member", "realization", "ensemble"):
            labels = [int(v) for v in np.atleast_1d(array[dim].values)]
            member = choose_member(labels, options, f"{scan.source}: {array.name}")
            fixed.append((dim, labels.index(member)))
        elif size == 1:
            fixed.append((dim, 0))
        else:
            raise InputError(
                f"{scan.source}: {array.name} has an axis {dim!s} of {size}",
                field=str(array.name),
                hint="select one value of it first",
            )
    return tuple(fixed), expver


def note_versions(name: str, versions: Sequence[Any], scan: Scan) -> None:
    """Flag preliminary reanalysis (ERA5T)."""
    if "5" in {str(version).lstrip("0") for version in versions}:
        scan.note(f"{name}: some times are preliminary (expver 5, ERA5T)")


def in_order(times: Times, name: str, scan: Scan) -> tuple[list[int], Times]:
    """Positions that put the times in order, each once; what was not in order is noted."""
    unique, first = np.unique(times, return_index=True)
    if unique.size < times.size:
        scan.note(f"{name}: {times.size - unique.size} times come twice; the first is taken")
    elif not np.array_equal(unique, times):
        scan.note(f"{name}: times were not in order")
    return [int(i) for i in first], unique
