"""Axes of a variable: latitude, longitude, valid time, pressure level and others."""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from typing import Final

import numpy as np
import xarray as xr

from pear.datasets.base import Scan, ScanOptions, choose_member
from pear.datasets.units import PRESSURE_UNITS, Quantity
from pear.errors import InputError
from pear.typing import Times

LAT: Final = ("latitude", "lat", "y")
LON: Final = ("longitude", "lon", "x")
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
_DEGREES: Final = {
    "latitude": (
        *("degrees_north", "degree_north", "degrees_n", "degree_n", "degreesn", "degreen"),
        *("degrees north", "degree north"),
    ),
    "longitude": (
        *("degrees_east", "degree_east", "degrees_e", "degree_e", "degreese", "degreee"),
        *("degrees east", "degree east"),
    ),
}
_MEMBER: Final = ("number", "member", "realization", "ensemble")
# Levels accepted without units, besides multiples of ten: those of reanalyses, which numbered
# model levels are not.
_COMMON_LEVELS: Final = frozenset({1, 2, 3, 5, 7, 125, 175, 225, 775, 825, 875, 925, 975})
_OTHER_LEVELS: Final = ("model", "hybrid", "sigma", "height", "depth", "theta", "isentropic")


class SkippedVariableError(Exception):
    """A variable that cannot be ingested, although nothing is wrong with the source."""


def is_level(name: Hashable, coordinate: xr.DataArray) -> bool:
    """Return whether a coordinate is a pressure level, by its name or standard name.

    Returns
    -------
    bool
        True also for levels in other units than hPa.

    Examples
    --------
    >>> from pear.datasets.axes import is_level
    >>> level = xr.DataArray([500.0, 850.0], dims="plev", attrs={"units": "hPa"})
    >>> is_level("plev", level), is_level("height", level)
    (True, False)
    """
    return name in LEVEL or coordinate.attrs.get("standard_name") == "air_pressure"


def find_horizontal(
    array: xr.DataArray, names: Sequence[str], standard_name: str, source: str
) -> xr.DataArray:
    """Return the latitude or longitude of a variable.

    Parameters
    ----------
    array : DataArray
        The variable.
    names : sequence of str
        Names that the coordinate may have.
    standard_name : {"latitude", "longitude"}
        Its CF standard name.
    source : str
        Name of the source, for messages.

    Returns
    -------
    (row,) or (column,) DataArray
        The coordinate.

    Raises
    ------
    InputError
        If there is none, or the grid is curvilinear.

    Examples
    --------
    >>> from pear.datasets.axes import find_horizontal
    >>> coords = {"lat": [90.0, 0.0, -90.0], "lon": [0.0, 120.0, 240.0]}
    >>> array = xr.DataArray(np.zeros((3, 3)), coords, name="t2m")
    >>> find_horizontal(array, LAT, "latitude", "the dataset").values
    array([ 90.,   0., -90.])
    """
    hint = "PEAR needs global data on a regular latitude-longitude grid"
    units = _DEGREES[standard_name]
    ranked: list[tuple[int, xr.DataArray]] = []
    for name, coordinate in array.coords.items():
        said = str(coordinate.attrs.get("standard_name", ""))
        is_named = str(name).lower() in names[:2]
        in_degrees = str(coordinate.attrs.get("units", "")).strip().lower() in units
        if said == standard_name or is_named or in_degrees or name in names:
            order = (said == standard_name, is_named, in_degrees, True).index(True)
            ranked.append((order, coordinate))
    for _, coordinate in sorted(ranked, key=lambda one: one[0]):
        if coordinate.ndim == 1:
            return coordinate
        if coordinate.ndim > 1:
            raise InputError(
                f"{source}: {array.name} is on a curvilinear grid", field="grid", hint=hint
            )
    raise InputError(f"{source}: {array.name} has no {standard_name}", field="grid", hint=hint)


def find_levels(array: xr.DataArray, quantity: Quantity) -> tuple[tuple[int, ...], Hashable | None]:
    """Find the pressure levels of a variable.

    A level coordinate in other units than those of pressure raises SkippedVariableError.

    Parameters
    ----------
    array : DataArray
        The variable.
    quantity : Quantity
        What it is; its name may include the level.

    Returns
    -------
    levels : tuple of int
        In hPa; empty if there are none.
    dimension : hashable or None
        Dimension of the levels, if they have one.

    Examples
    --------
    >>> from pear.datasets.axes import find_levels
    >>> plev = xr.DataArray([50000.0, 85000.0], dims="plev", attrs={"units": "Pa"})
    >>> array = xr.DataArray([1.0, 2.0], {"plev": plev})
    >>> find_levels(array, Quantity("temperature"))
    ((500, 850), 'plev')
    """
    for name, coordinate in array.coords.items():
        if is_level(name, coordinate):
            values = np.atleast_1d(coordinate.values).astype(np.float64)
            hpa = values * _factor_to_hpa(str(name), coordinate)
            levels = tuple(round(float(level)) for level in hpa)
            return levels, coordinate.dims[0] if coordinate.ndim else None
    return ((quantity.level,) if quantity.level is not None else ()), None


def _factor_to_hpa(name: str, coordinate: xr.DataArray) -> float:
    units = str(coordinate.attrs.get("units", "")).strip()
    about = " ".join(str(coordinate.attrs.get(k, "")) for k in ("standard_name", "long_name"))
    if any(word in about.lower() for word in _OTHER_LEVELS):
        raise SkippedVariableError(f"not on pressure levels but on {about.strip()}")
    if units:
        if units.lower() not in PRESSURE_UNITS:
            raise SkippedVariableError(f"the units of its levels, {units!r}, are not of pressure")
        return PRESSURE_UNITS[units.lower()][0] / 100
    values = np.atleast_1d(coordinate.values).astype(np.float64)
    factor = 0.01 if name == "isobaricInPa" or values.max() > 1100 else 1.0
    if not all(level in _COMMON_LEVELS or level % 10 == 0 for level in values * factor):
        raise SkippedVariableError("its levels have no units and are not common pressure levels")
    return factor


def require_instants(array: xr.DataArray) -> None:
    """Skip a mean, sum or extreme over a period.

    Parameters
    ----------
    array : DataArray
        The variable.

    Raises
    ------
    SkippedVariableError
        If its step type or cell methods say so.

    Examples
    --------
    >>> from pear.datasets.axes import require_instants
    >>> require_instants(xr.DataArray(0.0, attrs={"cell_methods": "area: point"}))
    >>> require_instants(xr.DataArray(0.0, attrs={"cell_methods": "time: mean"}))
    Traceback (most recent call last):
    pear.datasets.axes.SkippedVariableError: mean over a period, not a state
    """
    found = re.search(
        r"\btime\d?:\s*(mean|sum|max\w*|min\w*)\b(?!\s+over)",
        str(array.attrs.get("cell_methods", "")),
    )
    kind = found[1] if found else str(array.attrs.get("GRIB_stepType", "instant"))
    if kind not in ("instant", "unknown", ""):
        raise SkippedVariableError(f"{kind} over a period, not a state")


def note_leads(name: str, seconds: Sequence[int], scan: Scan) -> None:
    """Note that fields are forecasts, which are stored at their valid times.

    Examples
    --------
    >>> from pear.datasets.axes import note_leads
    >>> scan = Scan("forecast.nc", "NetCDF")
    >>> note_leads("t2m", [0, 21600], scan)
    >>> scan.notes
    ['t2m: forecasts of 0, 6 h, stored at their valid times']
    """
    hours = sorted({second / 3600 for second in seconds})
    if hours != [0.0]:
        listed = ", ".join(f"{hour:g}" for hour in hours[:6]) + (" …" if len(hours) > 6 else "")
        scan.note(f"{name}: forecasts of {listed} h, stored at their valid times")


def fix_other_dimensions(
    array: xr.DataArray, known: set[Hashable | None], scan: Scan, options: ScanOptions
) -> tuple[tuple[tuple[Hashable, int], ...], Hashable | None]:
    """Choose a position along dimensions other than time, level, latitude and longitude.

    Parameters
    ----------
    array : DataArray
        The variable.
    known : set
        Dimensions of time, level, latitude and longitude.
    scan : Scan
        Scan of its source.
    options : ScanOptions
        Ensemble member to read.

    Returns
    -------
    fixed : tuple of (dimension, position)
        Dimensions of which one position is read.
    expver : hashable or None
        Dimension of experiment versions, which are merged.

    Raises
    ------
    InputError
        If a dimension has several positions of which none was chosen.

    Examples
    --------
    >>> from pear.datasets.axes import fix_other_dimensions
    >>> array = xr.DataArray(np.zeros((2, 1)), {"number": [0, 3]}, ["number", "height"])
    >>> fix_other_dimensions(array, set(), Scan("the dataset", "memory"), ScanOptions(member=3))
    ((('number', 1), ('height', 0)), None)
    """
    fixed: list[tuple[Hashable, int]] = []
    expver = None
    if "expver" in array.coords and "expver" not in array.dims:
        versions = np.atleast_1d(array.coords["expver"].values)
        note_versions(str(array.name), list(map(str, versions)), scan)
    for dim in array.dims:
        if dim in known:
            continue
        size = array.sizes[dim]
        if dim == "expver" and size > 1:
            expver = dim
            scan.note(f"{array.name}: {size} experiment versions merged, final first")
        elif dim in _MEMBER:
            members = [int(v) for v in np.atleast_1d(array[dim].values)]
            member = choose_member(members, options, f"{scan.source}: {array.name}")
            fixed.append((dim, members.index(member)))
        elif size == 1:
            fixed.append((dim, 0))
        else:
            raise InputError(
                f"{scan.source}: {array.name} has an unknown dimension {dim!s} of size {size}",
                field=str(array.name),
                hint="select one position of it first",
            )
    return tuple(fixed), expver


def note_versions(name: str, versions: Sequence[str], scan: Scan) -> None:
    """Note preliminary reanalysis (ERA5T).

    Examples
    --------
    >>> from pear.datasets.axes import note_versions
    >>> scan = Scan("era5.nc", "NetCDF")
    >>> note_versions("t2m", ["1", "5"], scan)
    >>> scan.notes
    ['t2m: some times are preliminary (expver 5, ERA5T)']
    """
    if "5" in {version.lstrip("0") for version in versions}:
        scan.note(f"{name}: some times are preliminary (expver 5, ERA5T)")


def sort_times(times: Times, name: str, scan: Scan) -> tuple[list[int], Times]:
    """Sort times and drop repetitions, which is noted in the scan.

    Parameters
    ----------
    times : (time,) array
        Valid times.
    name : str
        Name of the variable.
    scan : Scan
        Scan of its source.

    Returns
    -------
    positions : list of int
        Positions of the sorted times.
    times : (time,) array
        Increasing.

    Examples
    --------
    >>> from pear.datasets.axes import sort_times
    >>> times = np.array(["2001-01-02", "2001-01-01"], "datetime64[s]")
    >>> positions, sorted_times = sort_times(times, "t2m", Scan("the dataset", "memory"))
    >>> positions, bool((times[positions] == sorted_times).all())
    ([1, 0], True)
    """
    unique, first = np.unique(times, return_index=True)
    if unique.size < times.size:
        scan.note(f"{name}: {times.size - unique.size} times come twice; the first is taken")
    elif not np.array_equal(unique, times):
        scan.note(f"{name}: times were not in order")
    return first.tolist(), unique
