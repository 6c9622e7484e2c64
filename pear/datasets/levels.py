"""Pressure levels of a variable: their units, and levels that are none or come twice."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final

import numpy as np
import xarray as xr

from pear.datasets.axis_statements import require_direction
from pear.datasets.base import Scan, SkippedVariableError
from pear.datasets.declared_gaps import outside_declared
from pear.datasets.statements import pressures
from pear.datasets.units import PRESSURE_UNITS, Quantity
from pear.errors import InputError
from pear.typing import Float64
from pear.variables import LEVELS

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
    "plevel",
)
# Levels accepted without units, besides multiples of ten: those of reanalyses, which numbered
# model levels are not.
_COMMON_LEVELS: Final = frozenset({1, 2, 3, 5, 7, 125, 175, 225, 775, 825, 875, 925, 975})
_OTHER_LEVELS: Final = (
    "model",
    "hybrid",
    "sigma",
    "height",
    "depth",
    "theta",
    "isentropic",
    "layer",
    "above ground",
    "vorticity",
)
_TEXTS: Final = ("long_name", "description", "standard_name", "level_desc", "GRIB_name")
_SAYS_LEVEL: Final = (
    *(*_TEXTS, "level", "lev", "plev", "pressure", "pressure_level", "isobaric_level"),
    *("vertical_level", "GRIB_level", "Grib2_Level_Value"),
)
_ROUNDING: Final = 0.02  # hPa: levels in single precision
# Coordinates that say where a field without pressure levels lies.
_PLACES: Final = (
    "surface",
    "heightAboveGround",
    "heightAboveSea",
    "meanSea",
    "tropopause",
    "maxWind",
    "hybrid",
    "sigma",
    "potentialVorticity",
    "height",
    "depthBelowLand",
)


@dataclass(frozen=True)
class LevelAxis:
    """Pressure levels of a variable.

    Attributes
    ----------
    hpa : tuple of int
        Levels in hPa; empty if there are none.
    dimension : hashable or None
        Their dimension, if they have one.
    positions : tuple of int
        Their positions along the dimension.

    Examples
    --------
    >>> from pear.datasets.levels import LevelAxis
    >>> LevelAxis((500, 850), "plev", (0, 1)).hpa
    (500, 850)
    """

    hpa: tuple[int, ...] = ()
    dimension: Hashable | None = None
    positions: tuple[int, ...] = ()


def is_level(name: Hashable, coordinate: xr.DataArray) -> bool:
    """Return whether a coordinate is a pressure level, by its name or standard name.

    Returns
    -------
    bool
        True also for levels in other units than hPa.

    Examples
    --------
    >>> from pear.datasets.levels import is_level
    >>> level = xr.DataArray([500.0, 850.0], dims="plev", attrs={"units": "hPa"})
    >>> is_level("plev", level), is_level("height", level)
    (True, False)
    """
    return name in LEVEL or coordinate.attrs.get("standard_name") == "air_pressure"


def find_levels(
    array: xr.DataArray, quantity: Quantity, scan: Scan, dataset: xr.Dataset | None = None
) -> LevelAxis:
    """Find the pressure levels of a variable.

    A level coordinate that is not of pressure, or has bounds that span layers, raises
    SkippedVariableError.

    Parameters
    ----------
    array : DataArray
        The variable.
    quantity : Quantity
        What it is; its name may include the level.
    scan : Scan
        Receives a note on levels between those of PEAR.
    dataset : Dataset, optional
        Its Dataset, for bounds of the levels.

    Returns
    -------
    LevelAxis
        Whole hPa; other levels are left out.

    Raises
    ------
    InputError
        If a level comes twice, is not a number, or depends on another axis.

    Examples
    --------
    >>> from pear.datasets.levels import find_levels
    >>> plev = xr.DataArray([50000.0, 85000.0], dims="plev", attrs={"units": "Pa"})
    >>> array = xr.DataArray([1.0, 2.0], {"plev": plev})
    >>> find_levels(array, Quantity("temperature"), Scan("a.nc", "NetCDF"))
    LevelAxis(hpa=(500, 850), dimension='plev', positions=(0, 1))
    """
    for name, coordinate in array.coords.items():
        if not is_level(name, coordinate):
            continue
        where = f"{scan.source}: {name} of {array.name}"
        values = _level_values(coordinate, where)
        if dataset is not None:
            _refuse_layers(array, name, dataset)
        hpa = values * _factor_to_hpa(str(name), coordinate, values)
        _require_levels(hpa, where)
        require_direction(coordinate, where, "level")
        _note_upwards(coordinate, where, scan)
        if text := outside_declared(coordinate):
            raise InputError(
                f"{where} has {text}",
                field="level",
                hint="correct the one that is wrong, or remove the range",
            )
        whole = np.abs(hpa - np.rint(hpa)) <= _ROUNDING
        kept = [round(float(level)) for level in hpa[whole]]
        axis = LevelAxis(
            tuple(kept),
            coordinate.dims[0] if coordinate.ndim else None,
            tuple(np.flatnonzero(whole).tolist()),
        )
        _compare_with_name(array, axis, quantity, scan)
        twice = sorted({level for level in kept if kept.count(level) > 1})
        if twice:
            raise InputError(
                f"{where} has {twice[0]} hPa twice (its levels: {_listed(hpa)} hPa)",
                field=str(array.name),
                hint="keep one field of each level",
            )
        _note_left_out(hpa[~whole], axis, array, scan)
        return axis
    axis = LevelAxis((quantity.level,) if quantity.level is not None else ())
    _compare_with_name(array, axis, quantity, scan)
    return axis


def require_level(array: xr.DataArray, source: str) -> None:
    """Refuse a field of an upper-air variable that does not say where it is.

    Parameters
    ----------
    array : DataArray
        A variable without pressure level.
    source : str
        Name of its source.

    Raises
    ------
    SkippedVariableError
        If it says that it is somewhere else, such as at the surface.
    InputError
        If it says nothing.

    Examples
    --------
    >>> from pear.datasets.levels import require_level
    >>> require_level(xr.DataArray(0.0, name="t"), "a.nc")
    Traceback (most recent call last):
    pear.errors.InputError: a.nc: t has no level; write the level into the file...
    """
    kind = str(array.attrs.get("GRIB_typeOfLevel", ""))
    places = [kind] if kind else [str(name) for name in array.coords if name in _PLACES]
    if places and not places[0].startswith("isobaric"):
        raise SkippedVariableError(f"not on pressure levels but on {places[0]}")
    raise InputError(
        f"{source}: {array.name} has no level",
        field=str(array.name),
        hint="write the level into the file, as a coordinate 'level' in hPa",
    )


def _level_values(coordinate: xr.DataArray, where: str) -> Float64:
    if coordinate.ndim > 1:
        raise InputError(
            f"{where} has {coordinate.ndim} dimensions ({', '.join(map(str, coordinate.dims))})",
            field="level",
            hint="a level axis has one value for each level",
        )
    try:
        values = np.atleast_1d(coordinate.values).astype(np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{where} is not a number: {error}", field="level") from error
    if not np.isfinite(values).all():
        raise InputError(
            f"{where} has levels that are missing or not finite: {_listed(values)}", field="level"
        )
    return values


def _refuse_layers(array: xr.DataArray, name: Hashable, dataset: xr.Dataset) -> None:
    """Set aside means over layers: levels with bounds that lie apart, unless they are points."""
    coordinate = array.coords[name]
    stated = str(coordinate.attrs.get("bounds", coordinate.encoding.get("bounds", "")))
    bounds = next((one for one in (stated, f"{name}_bnds", f"{name}_bounds") if one in dataset), "")
    said = str(array.attrs.get("cell_methods", "")).lower()
    if not bounds or f"{str(name).lower()}: point" in said:
        return
    edges = np.asarray(dataset[bounds].values)
    if edges.dtype.kind not in "iuf" or edges.shape[-1:] != (2,):
        return
    spans = np.abs(edges[..., 1] - edges[..., 0]).reshape(-1)
    if spans.size and (widest := float(np.nanmax(spans))) > 0:
        units = str(coordinate.attrs.get("units", ""))
        raise SkippedVariableError(
            f"means over layers: {bounds} is up to {widest:g} {units} wide, while levels are points"
        )


def _factor_to_hpa(name: str, coordinate: xr.DataArray, values: Float64) -> float:
    units = str(coordinate.attrs.get("units", "")).strip()
    about = " ".join(
        str(coordinate.attrs.get(key, "")) for key in ("standard_name", "long_name", "level_desc")
    ).strip()
    words = about.lower().replace("_", " ")
    if any(word in words for word in _OTHER_LEVELS) or "formula_terms" in coordinate.attrs:
        raise SkippedVariableError(f"not on pressure levels but on {about or name}")
    if units:
        if units.lower() not in PRESSURE_UNITS:
            raise SkippedVariableError(f"the units of its levels, {units!r}, are not of pressure")
        return PRESSURE_UNITS[units.lower()][0] / 100
    factor = 0.01 if name == "isobaricInPa" or values.max() > 1100 else 1.0
    if not all(level in _COMMON_LEVELS or level % 10 == 0 for level in values * factor):
        listed = _listed(values)
        raise SkippedVariableError(
            f"its levels {listed} have no units and are not common pressure levels; if they are of "
            f"pressure, write units = 'hPa' or 'Pa' into the axis {name}"
        )
    return factor


def _require_levels(hpa: Float64, where: str) -> None:
    if hpa.min() < 0:
        raise InputError(
            f"{where} has the level {hpa.min():g} hPa, which is not a pressure", field="level"
        )


def _note_upwards(coordinate: xr.DataArray, where: str, scan: Scan) -> None:
    """Note an axis that counts upwards by its attribute, and is one of pressure by its unit."""
    # Many files say so of sound pressures. Without a unit it may be an axis of heights.
    if str(coordinate.attrs.get("positive", "")).strip().lower() != "up":
        return
    if not str(coordinate.attrs.get("units", "")).strip():
        raise InputError(
            f"{where} says positive 'up', while pressure counts downwards, and has no units",
            field="level",
            hint="say positive = 'down' and the units, or correct what the axis is",
        )
    scan.note(
        f"{coordinate.name} says positive 'up', while pressure counts downwards: read by its "
        f"values, in {coordinate.attrs['units']}"
    )


def _compare_with_name(
    array: xr.DataArray, axis: LevelAxis, quantity: Quantity, scan: Scan
) -> None:
    """Refuse a level that contradicts the name, descriptions or attributes of the variable."""
    if not quantity.upper or len(axis.hpa) != 1:
        return
    stated = {key: _pressures_of(key, array.attrs.get(key, "")) for key in _SAYS_LEVEL}
    stated["name"] = {quantity.level} if quantity.level is not None else set()
    for key, levels in stated.items():
        if len(levels) == 1 and not levels & set(axis.hpa):
            words = repr(str(array.attrs[key])) if key in array.attrs else repr(str(array.name))
            raise InputError(
                f"{scan.source}: {array.name} has the level {axis.hpa[0]} hPa, but its "
                f"{key} {words} says {min(levels)} hPa",
                field=str(array.name),
                hint="correct the one that is wrong",
            )


def _pressures_of(key: str, stated: object) -> set[int]:
    """Return the pressures in hPa of an attribute; a bare number is one unless it is a text."""
    found = {round(one) for one in pressures(stated)}
    if found or key in _TEXTS or not np.isscalar(stated):
        return found
    try:
        number = float(str(stated))
    except ValueError:
        return set()
    in_hpa = number / 100 if number > 1100 else number
    return {round(in_hpa)} if np.isfinite(in_hpa) and in_hpa > 0 else set()


def _note_left_out(left_out: Float64, axis: LevelAxis, array: xr.DataArray, scan: Scan) -> None:
    near = [level for level in left_out if np.abs(np.array(LEVELS) - level).min() <= 1.0]
    if not axis.hpa:
        raise SkippedVariableError(f"its levels, {_listed(left_out)} hPa, are not those of PEAR")
    if near:
        scan.note(f"{array.name}: levels {_listed(np.array(near))} hPa are not PEAR's, left out")


def _listed(values: Float64) -> str:
    return ", ".join(f"{value:g}" for value in values[:20]) + (" …" if values.size > 20 else "")
