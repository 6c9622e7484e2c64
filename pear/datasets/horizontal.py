"""Latitude and longitude of a variable, and points that are not on a regular grid."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import xarray as xr

from pear.errors import InputError

LAT: Final = ("latitude", "lat", "y")
LON: Final = ("longitude", "lon", "x")
_HINT: Final = "PEAR needs global data on a regular latitude-longitude grid"
_LIST_AXES: Final = re.compile(
    "n?cells?|values|nodes?|points?|stations?|ncol|locations?|nface|nod2|horizontal"
)
_DEGREES: Final = {
    "latitude": re.compile(r"|deg(rees?)?|°|(deg(rees?)?|°) ?n(orth)?|unknown|1"),
    "longitude": re.compile(r"|deg(rees?)?|°|(deg(rees?)?|°) ?e(ast)?|unknown|1"),
}
_AXIS: Final = {"latitude": "y", "longitude": "x"}
_UNIT_OF_AXIS: Final = {
    "latitude": re.compile(r"deg(rees?)?[_ ]?n(orth)?", re.IGNORECASE),
    "longitude": re.compile(r"deg(rees?)?[_ ]?e(ast)?", re.IGNORECASE),
}


def find_horizontal(
    array: xr.DataArray, names: Sequence[str], standard_name: str, source: str
) -> xr.DataArray:
    """Return the latitude or longitude of a variable.

    Parameters
    ----------
    array : DataArray
        The variable.
    names : sequence of str
        Names that the coordinate may have, in any case.
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
        If there is none, the grid is curvilinear or a list of points, or what the coordinate says
        of itself is something else.

    Examples
    --------
    >>> import numpy as np
    >>> from pear.datasets.horizontal import find_horizontal
    >>> coords = {"lat": [90.0, 0.0, -90.0], "lon": [0.0, 120.0, 240.0]}
    >>> array = xr.DataArray(np.zeros((3, 3)), coords, name="t2m")
    >>> find_horizontal(array, LAT, "latitude", "the dataset").values
    array([ 90.,   0., -90.])
    """
    ranked: list[tuple[int, xr.DataArray]] = []
    for name, coordinate in array.coords.items():
        says_so = str(coordinate.attrs.get("standard_name", "")) == standard_name
        is_named = str(name).lower() in names[:2]
        units = str(coordinate.attrs.get("units", "")).strip()
        in_degrees = _UNIT_OF_AXIS[standard_name].fullmatch(units) is not None
        if says_so or is_named or in_degrees or name in names:
            ranked.append(((says_so, is_named, in_degrees, True).index(True), coordinate))
    for _, coordinate in sorted(ranked, key=lambda one: one[0]):
        if coordinate.ndim > 1:
            raise InputError(
                f"{source}: {array.name} is on a curvilinear grid", field="grid", hint=_HINT
            )
        if coordinate.ndim == 1:
            _require_statements(coordinate, standard_name, f"{source}: {array.name}")
            return coordinate
    refuse_list_of_points(array, source)
    raise InputError(f"{source}: {array.name} has no {standard_name}", field="grid", hint=_HINT)


def require_rows_and_columns(
    array: xr.DataArray, lat: xr.DataArray, lon: xr.DataArray, dataset: xr.Dataset, source: str
) -> None:
    """Refuse latitude and longitude that do not span a grid, or that are of a rotated pole.

    Parameters
    ----------
    array, lat, lon : DataArray
        The variable and its coordinates.
    dataset : Dataset
        Its Dataset, for the grid mapping.
    source : str
        Name of the source, for messages.

    Raises
    ------
    InputError
        If they do not.

    Examples
    --------
    >>> import numpy as np
    >>> from pear.datasets.horizontal import require_rows_and_columns
    >>> points = {"lat": ("cell", [0.0, 1.0]), "lon": ("cell", [0.0, 1.0])}
    >>> array = xr.DataArray(np.zeros(2), points, ["cell"], name="t2m")
    >>> require_rows_and_columns(array, array["lat"], array["lon"], xr.Dataset(), "a.nc")
    Traceback (most recent call last):
    pear.errors.InputError: a.nc: t2m is on a list of points (dimension 'cell' of 2), which is ...
    """
    if lat.dims == lon.dims:
        _refuse_points(array, str(lat.dims[0]), source)
    mapping = str(array.attrs.get("grid_mapping", array.encoding.get("grid_mapping", "")))
    if mapping in dataset.variables:
        kind = str(dataset[mapping].attrs.get("grid_mapping_name", "latitude_longitude"))
        if kind != "latitude_longitude":
            raise InputError(
                f"{source}: {array.name} is on a grid of kind {kind!r} ({mapping})",
                field="grid",
                hint=_HINT,
            )


def refuse_list_of_points(array: xr.DataArray, source: str) -> None:
    """Refuse a variable on a list of points, such as an unstructured or a reduced grid.

    Such a variable raises InputError.

    Parameters
    ----------
    array : DataArray
        The variable.
    source : str
        Name of the source, for messages.

    Examples
    --------
    >>> import numpy as np
    >>> from pear.datasets.horizontal import refuse_list_of_points
    >>> refuse_list_of_points(xr.DataArray(np.zeros((3, 3)), dims=("lat", "lon"), name="t2m"), "a")
    """
    for dim in array.dims:
        if _LIST_AXES.fullmatch(str(dim).lower()):
            _refuse_points(array, str(dim), source)


def _require_statements(coordinate: xr.DataArray, standard_name: str, where: str) -> None:
    """Compare units, standard name, long name and axis of a coordinate with what it should be."""
    other = "longitude" if standard_name == "latitude" else "latitude"
    units = str(coordinate.attrs.get("units", "")).strip()
    stated = str(coordinate.attrs.get("standard_name", "")).strip().lower()
    about = str(coordinate.attrs.get("long_name", "")).lower()
    axis = str(coordinate.attrs.get("axis", "")).lower()
    found = ""
    if not _DEGREES[standard_name].fullmatch(units.lower().replace("_", " ")):
        found = f"units {units!r}"
    elif stated not in ("", "unknown", standard_name):
        found = f"standard_name {stated!r}"
    elif other in about and standard_name not in about:
        found = f"long_name {about!r}"
    elif axis in ("x", "y", "z", "t") and axis != _AXIS[standard_name]:
        found = f"axis {axis.upper()!r}"
    if found:
        raise InputError(
            f"{where}: its coordinate {coordinate.name} is the {standard_name} by name or units, "
            f"but says {found}",
            field="grid",
            hint=f"{standard_name} is in degrees_{'north' if other == 'longitude' else 'east'}",
        )


def _refuse_points(array: xr.DataArray, dim: str, source: str) -> None:
    raise InputError(
        f"{source}: {array.name} is on a list of points (dimension {dim!r} of {array.sizes[dim]}), "
        "which is neither a regular grid nor HEALPix with its order stated",
        field="grid",
        hint="interpolate it to a regular latitude-longitude grid first",
    )
