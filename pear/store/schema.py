"""Schema of the stores: attributes, coordinates, channel names and chunk shapes.

Stores open unchanged in xarray, xdggs (by ``cell_ids``), easygems, earthkit-plots and
healpy tools. ``cell_ids`` must carry the attributes below and no others: xdggs refuses what it
does not know.
"""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import zarr

from pear import __version__
from pear.errors import InputError
from pear.sphere.healpix import cells_of_nside, centres
from pear.store.attributes import as_attribute, as_attributes
from pear.store.verified import VerifiedStore
from pear.times import as_utc
from pear.typing import Array, StrPath, Times, TimesLike
from pear.variables import BY_NAME, VARIABLES, Layout, variable
from pear.variables import PROBABILITY as PROBABILITY
from pear.variables import STATISTIC as STATISTIC

COMPLETE: Final = "complete"
"""Coordinate of an analysis that flags the fields it holds, (time, channel)."""
PRELIMINARY: Final = "preliminary"
"""Coordinate of an analysis that flags the times that final data will replace, (time,)."""
LEAD_TIME: Final = "source_lead_time"
"""Coordinate of an analysis: lead time of the states that are forecasts, 0 of analyses, (time,).

WeatherBench-X selects valid times along a dimension ``lead_time`` of its own, which a coordinate
of that name would contradict.
"""
EARLIER_LEAD_TIME: Final = "lead_time"
"""Name of the same coordinate in stores of earlier versions."""
MEMBER: Final = "ensemble_member"
"""Attribute of an analysis: number or name of the member that all its states are of, if known."""
REGRIDDING: Final = "pear_regridding"
"""Attribute of an analysis: the method by which fields on other grids were brought to cells."""
REPLACEMENTS: Final = "pear_replacements"
"""Attribute of a store: how often times of it were replaced; absent until the first time."""
VERSION: Final = "pear_schema"
"""Attribute of a store: version of this schema; absent in stores of the first one."""
CURRENT: Final = 4
"""Version of stores that are written now.

From version 2 on with latitude, longitude and valid time of each value; from version 3 on with
attributes that netCDF can hold too: tables are JSON text, and the grid stands at ``crs`` alone;
from version 4 on the lead times of analyses have a name that is not a dimension elsewhere.
"""
LATITUDE: Final = {
    "standard_name": "latitude",
    "long_name": "latitude",
    "units": "degrees_north",
}
LONGITUDE: Final = {
    "standard_name": "longitude",
    "long_name": "longitude",
    "units": "degrees_east",
}
CELL_METHODS: Final = "pear_cell_methods"
"""Attribute of a store: ``cell_methods`` of all its fields, such as ``realization: mean``."""
VALID_TIME: Final = "valid_time"
"""Coordinate of a forecast: the times that its values are of, (time, prediction_timedelta)."""
TIME_ENCODING: Final = {"units": "seconds since 1970-01-01", "calendar": "proleptic_gregorian"}
LEAD_ENCODING: Final = {"units": "seconds", "dtype": "timedelta64[ns]"}
_SHARD_BYTES: Final = 100_000_000
_MOST_SHARD_TIMES: Final = 256


class Coordinate(NamedTuple):
    """One coordinate of a store or Dataset: dimensions, values and attributes.

    Examples
    --------
    >>> from pear.store.schema import Coordinate
    >>> Coordinate(("cell",), np.arange(12), {"units": "1"}).values.size
    12
    """

    dims: tuple[str, ...]
    values: Array
    attributes: dict[str, Any]


def grid_coordinates(nside: int, version: int = CURRENT) -> dict[str, Coordinate]:
    """Return the coordinates of the grid, with the attributes that other tools look for.

    Parameters
    ----------
    nside
        HEALPix resolution.
    version
        Version of the schema.

    Returns
    -------
    dict
        ``cell``, ``cell_ids`` and ``crs``; from version 2 on ``latitude`` and ``longitude`` of the
        centres of the cells, degrees, longitudes from 0 to 360.

    Examples
    --------
    >>> from pear.store.schema import grid_coordinates
    >>> coordinates = grid_coordinates(2)
    >>> coordinates["cell"].values.size, coordinates["crs"].attributes["refinement_level"]
    (48, 1)
    """
    cells, k = np.arange(cells_of_nside(nside), dtype=np.int64), refinement_level(nside)
    ids = {"grid_name": "healpix", "level": k, "indexing_scheme": "nested"}
    crs = {"grid_mapping_name": "healpix", "refinement_level": k, "indexing_scheme": "nested"}
    if version >= 3:  # gridlook looks for the first
        crs |= {"healpix_nside": nside, "long_name": "HEALPix grid, cells in nested order"}
    found = {
        "cell": Coordinate(("cell",), cells, {"standard_name": "healpix_index", "units": "1"}),
        "cell_ids": Coordinate(("cell",), cells, ids),
        "crs": Coordinate((), np.array(0, dtype=np.int32), crs),
    }
    if version < 2:
        return found
    latitude, longitude = centres(nside)
    return found | {
        "latitude": Coordinate(("cell",), latitude, dict(LATITUDE)),
        "longitude": Coordinate(("cell",), longitude, dict(LONGITUDE)),
    }


def level_coordinate(levels: Sequence[int], version: int = CURRENT) -> Coordinate:
    """Return pressure levels in hPa, from the top down.

    Returns
    -------
    Coordinate
        (level,).

    Examples
    --------
    >>> from pear.store.schema import level_coordinate
    >>> level_coordinate([500, 850]).attributes["standard_name"]
    'air_pressure'
    """
    attributes = {"standard_name": "air_pressure", "units": "hPa", "positive": "down"}
    if version >= 2:
        attributes |= {"long_name": "pressure level", "axis": "Z"}
    return Coordinate(("level",), np.array(levels, dtype=np.int64), attributes)


def fixed_coordinates(layout: Layout, nside: int, version: int = CURRENT) -> dict[str, Coordinate]:
    """Return the coordinates that follow from layout and resolution: grid and levels.

    Returns
    -------
    dict
        Those of :func:`grid_coordinates`, and ``level`` if the layout has upper-air variables.

    Examples
    --------
    >>> from pear.store.schema import fixed_coordinates
    >>> coordinates = fixed_coordinates(Layout.default(), nside=2)
    >>> list(coordinates), coordinates["level"].values[:3]
    (['cell', 'cell_ids', 'crs', 'latitude', 'longitude', 'level'], array([ 50, 100, 150]))
    """
    levels = {"level": level_coordinate(level_order(layout), version)} if layout.upper else {}
    return grid_coordinates(nside, version) | levels


def time_coordinate(kind: str, times: TimesLike) -> Coordinate:
    """Return the valid times of an analysis or the init times of forecasts, ``datetime64[s]``.

    Returns
    -------
    Coordinate
        (time,).

    Examples
    --------
    >>> from pear.store.schema import time_coordinate
    >>> time_coordinate("forecast", "2019-01-01").attributes["standard_name"]
    'forecast_reference_time'
    """
    name, long_name = {
        "analysis": ("time", "valid time"),
        "forecast": ("forecast_reference_time", "initial time of the forecast"),
    }[kind]
    attributes = {"standard_name": name, "long_name": long_name, "axis": "T"}
    return Coordinate(("time",), as_utc(times), attributes)


def valid_time_coordinate(times: Times, leads: npt.NDArray[np.timedelta64]) -> Coordinate:
    """Return the times that the values of forecasts are of, ``datetime64[s]``.

    Parameters
    ----------
    times
        (time,) init times.
    leads
        (prediction_timedelta,) lead times.

    Returns
    -------
    Coordinate
        (time, prediction_timedelta).

    Examples
    --------
    >>> from pear.store.schema import valid_time_coordinate
    >>> init, lead = np.array(["2019-01-01"], "datetime64[s]"), np.array([6], "timedelta64[h]")
    >>> valid_time_coordinate(init, lead).values
    array([['2019-01-01T06:00:00']], dtype='datetime64[s]')
    """
    valid = as_utc(times)[:, None] + np.atleast_1d(leads).astype("timedelta64[s]")[None]
    attributes = {"standard_name": "time", "long_name": "valid time"}
    return Coordinate(("time", "prediction_timedelta"), valid, attributes)


def lead_time_name(names: Iterable[Hashable]) -> str:
    """Return the name that the lead times of an analysis have in a store, or would have.

    Parameters
    ----------
    names
        Names of the arrays of the store.

    Returns
    -------
    str
        ``source_lead_time``, or ``lead_time`` if an earlier version of PEAR wrote the store.

    Examples
    --------
    >>> from pear.store.schema import lead_time_name
    >>> lead_time_name(["time", "lead_time"]), lead_time_name(["time"])
    ('lead_time', 'source_lead_time')
    """
    held = set(names)
    earlier = LEAD_TIME not in held and EARLIER_LEAD_TIME in held
    return EARLIER_LEAD_TIME if earlier else LEAD_TIME


def lead_coordinate(leads: npt.ArrayLike) -> Coordinate:
    """Return the lead times of forecasts, ``timedelta64[s]``.

    Returns
    -------
    Coordinate
        (prediction_timedelta,).

    Examples
    --------
    >>> from pear.store.schema import lead_coordinate
    >>> lead_coordinate(np.arange(3) * np.timedelta64(1, "D")).values
    array([     0,  86400, 172800], dtype='timedelta64[s]')
    """
    attributes = {"standard_name": "forecast_period", "long_name": "time since the initial time"}
    values = np.atleast_1d(np.asarray(leads)).astype("timedelta64[s]")
    return Coordinate(("prediction_timedelta",), values, attributes)


def member_coordinate(members: int) -> Coordinate:
    """Return the numbers of ensemble members, 0 being the control.

    Returns
    -------
    Coordinate
        (number,).

    Examples
    --------
    >>> from pear.store.schema import member_coordinate
    >>> member_coordinate(3).values
    array([0, 1, 2])
    """
    attributes = {
        "standard_name": "realization",
        "long_name": "ensemble member",
        "units": "1",
        "axis": "E",
    }
    return Coordinate(("number",), np.arange(members, dtype=np.int64), attributes)


def refinement_level(nside: int) -> int:
    """Return the HEALPix refinement level k of nside = 2^k.

    Returns
    -------
    int
        k.

    Examples
    --------
    >>> from pear.store.schema import refinement_level
    >>> refinement_level(64)
    6
    """
    return nside.bit_length() - 1


def level_order(layout: Layout) -> tuple[int, ...]:
    """Return the levels in the order of all stores: from the top (50 hPa) down.

    Returns
    -------
    tuple of int
        hPa; empty without upper-air variables.

    Examples
    --------
    >>> from pear.store.schema import level_order
    >>> level_order(Layout.default())[:3]
    (50, 100, 150)
    """
    return tuple(sorted(layout.levels)) if layout.upper else ()


def channels(layout: Layout) -> tuple[str, ...]:
    """Return the names of the channels of a layout: ``variable`` or ``variable@level``.

    Returns
    -------
    tuple of str
        Surface first, then each upper-air variable from the top down.

    Examples
    --------
    >>> from pear.store.schema import channels
    >>> channels(Layout(("2m_temperature",), ("temperature",), (850, 500)))
    ('2m_temperature', 'temperature@500', 'temperature@850')
    """
    return tuple(layout.surface) + tuple(
        f"{name}@{level}" for name in layout.upper for level in level_order(layout)
    )


def all_channels(levels: Sequence[int], names: Iterable[str] = ()) -> tuple[str, ...]:
    """Return the names along the channel axis of the completeness array.

    Parameters
    ----------
    levels
        Pressure levels in hPa.
    names
        Variables of the store; those that are not published follow the published ones.

    Returns
    -------
    tuple of str
        ``variable`` or ``variable@level``, for every published variable, present or not:
        adding a published variable to a store does not change the shape of the array.

    Examples
    --------
    >>> from pear.store.schema import all_channels
    >>> names = all_channels([500, 850])
    >>> len(names), names[0], names[-1]
    (14, 'mean_sea_level_pressure', 'v_component_of_wind@850')
    >>> all_channels([500], ["vertical_velocity"])[-1]
    'vertical_velocity@500'
    """
    published = [row for row in VARIABLES if row.published]
    rows = [row for row in published if row.kind == "surface"]
    rows += [row for row in published if row.kind == "upper"]
    rows += [BY_NAME[name] for name in names if not BY_NAME[name].published]
    return tuple(
        row.name if level is None else f"{row.name}@{level}"
        for row in rows
        for level in ((None,) if row.kind == "surface" else levels)
    )


def times_per_shard(layout: Layout, nside: int) -> int:
    """Return the times per shard of an analysis that make the largest shard about 100 MB.

    Returns
    -------
    int
        1 to 256.

    Examples
    --------
    >>> from pear.store.schema import times_per_shard
    >>> times_per_shard(Layout.default(), nside=64)
    39
    """
    per_time = 4 * cells_of_nside(nside) * max(len(level_order(layout)), 1)
    return int(np.clip(round(_SHARD_BYTES / per_time), 1, _MOST_SHARD_TIMES))


def group_attributes(kind: str, nside: int, extra: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes of the root group.

    Parameters
    ----------
    kind
        ``analysis`` or ``forecast``.
    nside
        HEALPix resolution.
    extra
        Further attributes; may replace title, source and history.

    Returns
    -------
    dict
        Independent of the clock: a repeated run writes the same bytes.

    Examples
    --------
    >>> from pear.store.schema import group_attributes
    >>> attributes = group_attributes("analysis", 64, {"title": "ERA5"})
    >>> attributes["title"], attributes["pear_kind"]
    ('ERA5', 'analysis')
    """
    return {
        "Conventions": "CF-1.13",
        "title": f"PEAR {kind}",
        "source": f"PEAR {__version__}",
        "history": f"written by PEAR {__version__}",
        "pear_kind": kind,
        VERSION: CURRENT,
        "coordinates": "cell_ids crs"
        + (f" {COMPLETE} {PRELIMINARY} {LEAD_TIME}" if kind == "analysis" else ""),
        "libraries": as_attribute(
            {name: version(name) for name in ("numpy", "xarray", "zarr", "healpy")}
            | {"python": platform.python_version()}
        ),
        **as_attributes(extra),
    }


def version_of(attributes: Mapping[str, Any]) -> int:
    """Return the version of the schema of a store by the attributes of its group.

    Returns
    -------
    int
        1 for stores that do not tell.

    Examples
    --------
    >>> from pear.store.schema import version_of
    >>> version_of({}), version_of({"pear_schema": 2})
    (1, 2)
    """
    return int(attributes.get(VERSION, 1))


def variable_attributes(
    name: str, nside: int, group: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the attributes of a data variable.

    Parameters
    ----------
    name
        Canonical name.
    nside
        HEALPix resolution.
    group
        Attributes of its group, which tell a forecast from an analysis, what statistic of an
        ensemble the values are, and the version of the schema; default: an analysis of today.

    Returns
    -------
    dict
        JSON-serialisable values.

    Examples
    --------
    >>> from pear.store.schema import variable_attributes
    >>> attributes = variable_attributes("geopotential", nside=64)
    >>> attributes["units"], attributes["ek_grid_spec"]
    ('m2 s-2', '{"grid": "H64", "order": "nested"}')
    >>> variable_attributes("geopotential", 64, {PROBABILITY: "more than 5000 m2 s-2"})["units"]
    '1'
    """
    group = {VERSION: CURRENT} if group is None else group
    row, probability = variable(name), group.get(PROBABILITY)  # of a climatology it may be derived
    about = {"standard_name": row.standard_name, "long_name": row.long_name, "units": row.units}
    if probability is not None:  # no standard name is one of a probability of exceedance
        about = {"long_name": f"Probability of {probability}", "units": "1"}
    if version_of(group) >= 2:
        about |= _descriptions(row.units, group)
    return {
        **about,
        "short_name": row.short_name,
        "grid_mapping": "crs",
        "ek_grid_spec": json.dumps({"grid": f"H{nside}", "order": "nested"}),
    }


def _descriptions(units: str, group: Mapping[str, Any]) -> dict[str, str]:
    """Return what the conventions of netCDF add: coordinates, statistic, kind of temperature."""
    is_forecast = group.get("pear_kind") == "forecast"
    found = {"coordinates": "latitude longitude" + (f" {VALID_TIME}" if is_forecast else "")}
    methods = group.get(CELL_METHODS)
    if methods is not None:
        found["cell_methods"] = str(methods)
    statistic = group.get(STATISTIC)
    if statistic is not None:
        found["comment"] = f"{statistic} of the ensemble"
    if units == "K" and group.get(PROBABILITY) is None:
        is_difference = "standard_deviation" in str(methods)
        found["units_metadata"] = f"temperature: {'difference' if is_difference else 'on_scale'}"
    return found


def overview_name(nside: int) -> str:
    """Return the name of the group with means over coarser cells.

    Returns
    -------
    str
        Name in the root group.

    Examples
    --------
    >>> from pear.store.schema import overview_name
    >>> overview_name(16)
    'nside16'
    """
    return f"nside{nside}"


def overviews(root: zarr.Group) -> tuple[int, ...]:
    """Return the resolutions of the overviews of a store, finest first.

    Returns
    -------
    tuple of int
        nside of each.

    Examples
    --------
    >>> from pear.store.schema import overviews
    >>> root = zarr.group()
    >>> _ = [root.create_group(name) for name in ("nside4", "nside16", "static")]
    >>> overviews(root)
    (16, 4)
    """
    found = (re.fullmatch(r"nside(\d+)", name) for name in root.group_keys())
    return tuple(sorted((int(match[1]) for match in found if match), reverse=True))


def default_overviews(nside: int) -> tuple[int, ...]:
    """Return the default resolutions of the overviews: a quarter of nside, if that is 8 or more.

    Returns
    -------
    tuple of int
        One resolution or none.

    Examples
    --------
    >>> from pear.store.schema import default_overviews
    >>> default_overviews(64), default_overviews(16)
    ((16,), ())
    """
    return (nside // 4,) if nside >= 32 else ()


def check_overviews(coarser: Sequence[int], nside: int) -> None:
    """Raise unless all resolutions are powers of two below that of the store.

    Raises
    ------
    InputError
        Naming the first that is not.

    Examples
    --------
    >>> from pear.store.schema import check_overviews
    >>> check_overviews([16, 4], nside=64)
    >>> check_overviews([24], nside=64)
    Traceback (most recent call last):
    pear.errors.InputError: overview nside 24 is not a power of two below nside 64
    """
    for one in coarser:
        if one < 1 or one & (one - 1) or one >= nside:
            raise InputError(
                f"overview nside {one} is not a power of two below nside {nside}",
                field="overviews",
            )


def open_group(path: StrPath) -> zarr.Group:
    """Open the root group of a store read-only; files that are lost or damaged are refused.

    Returns
    -------
    zarr.Group
        Read-only.

    Examples
    --------
    >>> from pear.store.schema import open_group
    >>> from pear import resources
    >>> open_group(resources.path("climatology")).attrs["climatology_kind"]
    'harmonic'
    """
    return zarr.open_group(VerifiedStore(Path(path)), mode="r")


def get_array(group: zarr.Group, name: str) -> zarr.Array[Any]:
    """Return an array of a group.

    Parameters
    ----------
    group
        Group of a store.
    name
        Path of the array below it.

    Returns
    -------
    zarr.Array
        The array.

    Raises
    ------
    TypeError
        If there is a group of this name; if there is nothing, a KeyError.

    Examples
    --------
    >>> from pear.store.schema import get_array
    >>> root = zarr.group()
    >>> _ = root.create_array("time", shape=(3,), dtype="int64")
    >>> get_array(root, "time").shape
    (3,)
    """
    array = group[name]
    if not isinstance(array, zarr.Array):
        raise TypeError(f"{name} is a group, not an array")
    return array
