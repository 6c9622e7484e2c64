"""What a file says of the direction and the extent of its axes beside their values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import xarray as xr

from pear.datasets.declared_gaps import attribute_key, numbers_of
from pear.errors import InputError

# Global attributes of ACDD and of NASA, without case and separators.
_EXTENT: Final = {
    "latitude": (
        ("geospatiallatmin", "southernmostlatitude", "southboundlatitude"),
        ("geospatiallatmax", "northernmostlatitude", "northboundlatitude"),
    ),
    "longitude": (
        ("geospatiallonmin", "westernmostlongitude", "westboundlongitude"),
        ("geospatiallonmax", "easternmostlongitude", "eastboundlongitude"),
    ),
}
_GLOBE: Final = {"latitude": 180.0, "longitude": 360.0}


def require_direction(coordinate: xr.DataArray, where: str, field: str) -> None:
    """Refuse an axis whose values run in another direction than the file says.

    Parameters
    ----------
    coordinate
        (point,) latitudes, longitudes or pressure levels.
    where
        Name of the source and the axis, for messages.
    field
        ``grid`` or ``level``.

    Raises
    ------
    InputError
        If ``stored_direction`` says otherwise.

    Examples
    --------
    >>> from pear.datasets.axis_statements import require_direction
    >>> lat = xr.DataArray([90.0, 0.0, -90.0], attrs={"stored_direction": "increasing"})
    >>> require_direction(lat, "a.nc: lat", "grid")
    Traceback (most recent call last):
    pear.errors.InputError: a.nc: lat says stored_direction 'increasing', but runs from 90 to -90...
    """
    stated = str(coordinate.attrs.get("stored_direction", "")).strip().lower()
    values = np.atleast_1d(coordinate.values)
    known = stated in ("increasing", "decreasing") and values.size > 1
    if known and (values[-1] > values[0]) != (stated == "increasing"):
        raise InputError(
            f"{where} says stored_direction {stated!r}, but runs from {values[0]:g} to "
            f"{values[-1]:g}",
            field=field,
            hint="correct the one that is wrong: are the fields stored the other way round?",
        )


def require_extent(
    coordinate: xr.DataArray, attributes: Mapping[Any, Any], standard_name: str, where: str
) -> None:
    """Refuse latitudes or longitudes beyond the extent that the global attributes state.

    Parameters
    ----------
    coordinate
        (point,) degrees.
    attributes
        Of the Dataset: ``geospatial_lat_min`` and ``_max`` of ACDD, and what NASA calls them.
    standard_name
        ``latitude`` or ``longitude``.
    where
        Name of the source and the variable, for messages.

    Raises
    ------
    InputError
        If the stated extent is narrower than the axis by more than two steps of it.

    Examples
    --------
    >>> from pear.datasets.axis_statements import require_extent
    >>> lat = xr.DataArray(np.linspace(90.0, -90.0, 19), dims="lat", name="lat")
    >>> says = {"geospatial_lat_min": 30.0, "geospatial_lat_max": "60.0"}
    >>> require_extent(lat, says, "latitude", "a.nc: t2m")
    Traceback (most recent call last):
    pear.errors.InputError: a.nc: t2m: its coordinate lat runs from 90 to -90, but the file says ...
    """
    keys = {attribute_key(name): name for name in attributes}
    found = [
        next((keys[one] for one in names if one in keys), None) for names in _EXTENT[standard_name]
    ]
    if found[0] is None or found[1] is None or coordinate.size < 2:
        return
    numbers = [numbers_of(attributes[name]) for name in found]
    if any(one.size != 1 or not np.isfinite(one[0]) for one in numbers):
        return
    values = np.asarray(coordinate.values, dtype=np.float64)
    step = float(np.abs(np.diff(values)).max())
    low, high = (float(one[0]) for one in numbers)
    # A range of longitudes from 170 to -170 goes on over the date line.
    stated = abs(high - low) if standard_name == "latitude" or high >= low else high - low + 360.0
    covered = min(float(np.ptp(values)), _GLOBE[standard_name])
    if stated >= covered - 2.0 * step:
        return
    raise InputError(
        f"{where}: its coordinate {coordinate.name} runs from {values[0]:g} to {values[-1]:g}, but "
        f"the file says {found[0]} {low:g} and {found[1]} {high:g}",
        field="grid",
        hint="correct the one that is wrong, or remove the attributes",
    )
