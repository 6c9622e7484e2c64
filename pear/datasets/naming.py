"""What a variable of a Dataset is, by its name and by what the file says of it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
import xarray as xr

from pear.datasets.base import Scan, SkippedVariableError
from pear.datasets.declared_gaps import attribute_key, numbers_of
from pear.datasets.statements import (
    contradicts,
    contradicts_standard_name,
    fits_height,
    heights,
    is_unknown,
    pressures,
)
from pear.datasets.units import RELATIVE_HUMIDITY, Quantity, level_types, recognise
from pear.errors import InputError
from pear.variables import BY_NAME, VARIABLES

_HEIGHTS: Final = ("height", "heightAboveGround", "height_above_ground", "altitude", "z_height")
_METRES: Final = {
    **dict.fromkeys(("m", "meter", "metre", "meters", "metres"), 1.0),
    **dict.fromkeys(("cm", "centimeter", "centimetre", "centimeters", "centimetres"), 0.01),
    **{"km": 1000.0, "dm": 0.1, "mm": 0.001, "ft": 0.3048, "feet": 0.3048},
}
# Attributes, without case and separators, that give a height in m, and those of any level.
_HEIGHT_NUMBERS: Final = (
    *("height", "heightaboveground", "heightabovegroundlevel", "measurementheight", "altitude"),
    *("sensorheight", "heightm", "nominalheight", "verticalheight"),
)
_HEIGHT_TEXTS: Final = ("level", "leveldesc", "leveldescription", "lev", "verticallevel", "z")
_OF_DEPTH: Final = ("depth", "depthbelowland", "depthbelowsea", "depth_below_surface")
_ALONG_GRID: Final = re.compile(r"(?:grid_(?:east|north)ward|[xy])_(?:wind|velocity)")
_EAST_NORTH: Final = re.compile(r"deg(?:rees?)?[_ ]?[ne](?:ast|orth)?", re.IGNORECASE)
# ECMWF's numbers of the same quantity beside that of the table of variables.
_MORE_NUMBERS: Final = {
    RELATIVE_HUMIDITY: (157,),
    "geopotential": (156,),
    "total_cloud_cover": (228164,),
    "total_precipitation_6hr": (228228,),
}
_MORE_CODES: Final = {"geopotential": ((0, 3, 5),)}
_LOCAL: Final = 260_000  # numbers from here on are those of other centres
_LOCAL_CODE: Final = 192
_MAX_HEIGHT: Final = 10  # a number in a name up to this may be a height in m, as in t2 and q2


def identify(array: xr.DataArray, source: str) -> Quantity | None:
    """Return the quantity of a variable, or None if PEAR does not use it.

    A number in a name, as in ``t2``, is a height if the file says so. A contradiction between the
    name and what the file says raises InputError, an undecidable name SkippedVariableError.

    Parameters
    ----------
    array : DataArray
        The variable.
    source : str
        Name of the source, for messages.

    Returns
    -------
    Quantity or None
        What it is.

    Examples
    --------
    >>> from pear.datasets.naming import identify
    >>> t2 = xr.DataArray(0.0, name="t2", attrs={"long_name": "2-meter temperature"})
    >>> identify(t2, "a.nc")
    Quantity(name='2m_temperature', level=None)
    """
    name = str(array.name)
    quantity = recognise(name, array.attrs)
    if quantity is None:
        return None
    if quantity.upper and quantity.level is not None:
        quantity = _resolve_number(array, quantity)
        if quantity is None:
            return None
    _require_east_and_north(array, quantity, source)
    for key, denies in (
        ("standard_name", contradicts_standard_name),
        ("long_name", contradicts),
        ("GRIB_name", contradicts),
        ("GRIB_cfName", contradicts_standard_name),
    ):
        stated = array.attrs.get(key, "")
        if not is_unknown(stated) and denies(stated, quantity):
            _refuse(array, quantity, f"{key} {str(stated)!r}", source)
    short = str(array.attrs.get("GRIB_shortName", ""))
    if not is_unknown(short) and short != "~":
        told = recognise(short, array.attrs)
        if told is None or told.name not in (quantity.name, _upper_name(quantity)):
            _refuse(array, quantity, f"GRIB_shortName {short!r}", source)
    if number := _number_of_another(array.attrs, quantity):
        _refuse(array, quantity, number, source)
    return quantity


def _number_of_another(attributes: Mapping[Any, Any], quantity: Quantity) -> str:
    """Return the number that a file gives a variable, if it is that of another one in GRIB.

    cfgrib keeps ``GRIB_paramId``; CDO writes ``code`` and ``table``, or ``param``: the number with
    its table in GRIB 1, with category and discipline in GRIB 2.

    Returns
    -------
    str
        The attribute and its value; empty if there is none.
    """
    row = BY_NAME.get(quantity.name)
    known = _MORE_NUMBERS.get(quantity.name, ())
    if row is not None and row.param_id is not None:
        known = (row.param_id, *known)
    if not known:
        return ""
    stated: list[tuple[str, str]] = [("GRIB_paramId", str(attributes.get("GRIB_paramId", "")))]
    if str(attributes.get("table", "")) == "128":
        stated.append(("code", str(attributes.get("code", ""))))
    parts = str(attributes.get("param", "")).split(".")
    if len(parts) == 2 and parts[1] == "128":
        stated.append(("param", parts[0]))
    for key, text in stated:
        if text.isdigit() and 0 < int(text) < _LOCAL and int(text) not in known:
            return f"{key} {attributes[key]}"
    code = None if row is None else row.discipline_category_number
    if code is not None and len(parts) == 3 and all(part.isdigit() for part in parts):
        number, category, discipline = map(int, parts)
        codes = (code, *_MORE_CODES.get(quantity.name, ()))
        if number < _LOCAL_CODE and (discipline, category, number) not in codes:
            return f"param {attributes['param']}"
    return ""


def _require_east_and_north(array: xr.DataArray, quantity: Quantity, source: str) -> None:
    """Refuse components of wind along the axes of a grid other than latitude and longitude."""
    stated = str(array.attrs.get("standard_name", "")).strip().lower()
    if _ALONG_GRID.fullmatch(stated) is None:
        return
    in_degrees = [
        name
        for name, axis in array.coords.items()
        if axis.ndim == 1 and _EAST_NORTH.fullmatch(str(axis.attrs.get("units", "")).strip())
    ]
    if stated.startswith("grid_") or len(in_degrees) < 2:
        raise InputError(
            f"{source}: {array.name} means {quantity.name}, but its standard_name {stated!r} is a "
            "component along the axes of its own grid",
            field=str(array.name),
            hint="rotate it to east and north, and say eastward_wind or northward_wind",
        )


def require_place(array: xr.DataArray, quantity: Quantity, scan: Scan) -> None:
    """Compare the height and type of level that a file gives with those that the name means.

    Another height raises InputError.

    Parameters
    ----------
    array : DataArray
        The variable.
    quantity : Quantity
        What it is by its name.
    scan : Scan
        Receives a note on a height beside pressure levels, which is left over from other fields.

    Raises
    ------
    SkippedVariableError
        If it is another type of level.

    Examples
    --------
    >>> from pear.datasets.naming import require_place
    >>> wind = xr.DataArray(0.0, {"height": 100.0}, name="u10")
    >>> require_place(wind, Quantity("10m_u_component_of_wind"), Scan("a.nc", "NetCDF"))
    Traceback (most recent call last):
    pear.errors.InputError: a.nc: u10 means 10m_u_component_of_wind, but the file says height ...
    """
    kind = str(array.attrs.get("GRIB_typeOfLevel", ""))
    if kind and kind != "unknown":
        wanted = level_types(quantity)
        if kind not in wanted:
            raise SkippedVariableError(f"on {kind} (GRIB_typeOfLevel), not on {wanted[0]}")
    row = BY_NAME.get(quantity.name)
    _require_stated_heights(array, quantity, scan.source)
    for name, coordinate in array.coords.items():
        is_depth = (
            str(name).lower() in _OF_DEPTH or coordinate.attrs.get("standard_name") == "depth"
        )
        if is_depth and coordinate.size == 1 and (row is None or row.missing is None):
            depth = f"{coordinate.values.item()} {coordinate.attrs.get('units', '')}".strip()
            _refuse(array, quantity, f"{name} {depth}", scan.source)
        metres = _height(array, str(name))
        if metres is None:
            continue
        if quantity.upper:
            scan.note(f"{array.name}: {name} {metres:g} m beside pressure levels is ignored")
        elif not fits_height(quantity, metres):
            _refuse(array, quantity, f"{name} {metres:g} m", scan.source)


def _require_stated_heights(array: xr.DataArray, quantity: Quantity, source: str) -> None:
    """Refuse a height in an attribute that is another one than the name means."""
    row = BY_NAME.get(quantity.name)
    if row is None or row.height is None:
        return
    for stated, metres in _stated_heights(array):
        if not fits_height(quantity, metres):
            _refuse(array, quantity, stated, source)


def _stated_heights(array: xr.DataArray) -> Iterator[tuple[str, float]]:
    """Yield the heights in m that attributes of a variable give, each with its name."""
    above_ground = str(array.attrs.get("GRIB_typeOfLevel", "")) == "heightAboveGround"
    for name, stated in array.attrs.items():
        plain = attribute_key(name)
        is_number = plain in _HEIGHT_NUMBERS or (plain == "griblevel" and above_ground)
        if not is_number and plain not in _HEIGHT_TEXTS:
            continue
        found = heights(stated) if isinstance(stated, str) else []
        if not found and is_number and (numbers := numbers_of(stated)).size == 1:
            found = [float(numbers[0])] if re.fullmatch(r"[-+.\d\s]*m?", str(stated)) else []
        for metres in found[:1]:
            yield f"{name} {stated!r}" if isinstance(stated, str) else f"{name} {stated}", metres


def _height(array: xr.DataArray, name: str) -> float | None:
    """Return the height in m that a coordinate of one value gives, or None."""
    coordinate = array.coords[name]
    is_height = name in _HEIGHTS or coordinate.attrs.get("standard_name") == "height"
    if not is_height or coordinate.size != 1 or not np.issubdtype(coordinate.dtype, np.number):
        return None
    factor = _METRES.get(str(coordinate.attrs.get("units", "m")).strip().lower())
    return None if factor is None else round(float(coordinate.values.item()) * factor, 6)


def _resolve_number(array: xr.DataArray, quantity: Quantity) -> Quantity | None:
    """Return what a number in a name means: a height near the ground, or a pressure."""
    names = (array.attrs.get(key, "") for key in ("long_name", "standard_name"))
    told = [one for name in names for one in heights(name)]
    told += [one for name in array.coords if (one := _height(array, str(name))) is not None]
    told += [metres for _, metres in _stated_heights(array)]
    if told and not pressures(array.attrs.get("long_name", "")):
        near = [Quantity(row.name) for row in VARIABLES if row.aloft == quantity.name]
        return next((one for one in near if fits_height(one, told[0])), None)
    if quantity.level is not None and quantity.level <= _MAX_HEIGHT and not _says_pressure(array):
        raise SkippedVariableError(
            f"{quantity.name} at {quantity.level} m or at {quantity.level} hPa? "
            "say which in its long_name"
        )
    return quantity


def _says_pressure(array: xr.DataArray) -> bool:
    kind = str(array.attrs.get("GRIB_typeOfLevel", ""))
    return kind.startswith("isobaric") or bool(pressures(array.attrs.get("long_name", "")))


def _upper_name(quantity: Quantity) -> str:
    """Return the name of the same quantity on pressure levels, which old GRIB files use."""
    row = BY_NAME.get(quantity.name)
    return (row.aloft if row else None) or ""


def _refuse(array: xr.DataArray, quantity: Quantity, stated: str, source: str) -> None:
    raise InputError(
        f"{source}: {array.name} means {quantity.name}, but the file says {stated}",
        field=str(array.name),
        hint="rename the variable, or correct what the file says",
    )
