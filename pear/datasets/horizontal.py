"""Grid of a variable: latitude and longitude, HEALPix cells, or points that PEAR does not read."""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Final

import xarray as xr

from pear.datasets.base import require_global_grid
from pear.datasets.cell_numbers import CellOrder
from pear.datasets.grib_statements import require_same_grid
from pear.datasets.healpix import find_cells, nside_of
from pear.datasets.horizontal_statements import require_agreement, require_greenwich
from pear.datasets.point_lists import describe_faces, describe_points
from pear.errors import InputError
from pear.sphere.source_grids import SourceGrid

LAT: Final = ("latitude", "lat", "y")
LON: Final = ("longitude", "lon", "x")
_HINT: Final = "PEAR needs global data on a regular latitude-longitude grid or on HEALPix"
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


@dataclass(frozen=True)
class Horizontal:
    """Horizontal grid of a variable.

    Attributes
    ----------
    grid
        The grid.
    dims
        Dimensions of its points: rows and columns, or cells.
    order
        For HEALPix: how to bring cells to the order of the grid.

    Examples
    --------
    >>> from pear.datasets.horizontal import Horizontal
    >>> from pear.sphere.latlon import global_grid
    >>> Horizontal(global_grid(19, 36), ("lat", "lon")).order is None
    True
    """

    grid: SourceGrid
    dims: tuple[Hashable, ...]
    order: CellOrder | None = None


def find_grid(dataset: xr.Dataset, array: xr.DataArray, source: str) -> Horizontal:
    """Return the horizontal grid of a variable, whichever it is.

    Parameters
    ----------
    dataset
        The Dataset.
    array
        A variable of it.
    source
        Name of the source, for messages.

    Returns
    -------
    Horizontal
        Latitude and longitude, or all cells of HEALPix.

    Raises
    ------
    InputError
        If it is on another grid or a region, or what is stated contradicts itself.

    Examples
    --------
    >>> import numpy as np
    >>> from pear.datasets.horizontal import find_grid
    >>> data = xr.Dataset(
    ...     {"t2m": ("cell", np.zeros(48))}, attrs={"healpix_nside": 2, "healpix_order": "nest"}
    ... )
    >>> found = find_grid(data, data["t2m"], "a.nc")
    >>> str(found.grid), found.dims
    ('HEALPix, nside 2, 48 cells', ('cell',))
    """
    cells = find_cells(dataset, array, source)
    if cells is not None:
        return Horizontal(cells.grid, (cells.dim,), cells.order)
    faces = describe_faces(array)
    if faces is not None:
        raise InputError(f"{source}: {array.name} is on {faces}", field="grid", hint=_HINT)
    refuse_list_of_points(array, dataset, source)
    lat = _find_axis(array, LAT, "latitude", source)
    lon = _find_axis(array, LON, "longitude", source)
    if lat.dims == lon.dims:
        _refuse_points(array, dataset, lat.dims[0], source)
    _require_latlon_mapping(array, dataset, source)
    for axis, standard_name in ((lat, "latitude"), (lon, "longitude")):
        require_agreement(axis, dataset, standard_name, f"{source}: {array.name}")
    grid = require_global_grid(lat.values, lon.values, f"{source}: {array.name}")
    require_same_grid(array, lat.values, lon.values, source)
    return Horizontal(grid, (lat.dims[0], lon.dims[0]))


def _find_axis(
    array: xr.DataArray, names: Sequence[str], standard_name: str, source: str
) -> xr.DataArray:
    """Return the latitude or longitude of a variable, (row,) or (column,)."""
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
    raise InputError(f"{source}: {array.name} has no {standard_name}", field="grid", hint=_HINT)


def _require_latlon_mapping(array: xr.DataArray, dataset: xr.Dataset, source: str) -> None:
    """Refuse a rotated pole and other grids that a grid mapping names."""
    stated = str(array.attrs.get("grid_mapping", array.encoding.get("grid_mapping", "")))
    # CF's long form names the coordinates of each mapping: "crs: latitude longitude".
    named = [word.rstrip(":") for word in stated.split() if word.endswith(":")] or [stated]
    for mapping in named:
        if mapping not in dataset.variables:
            continue
        kind = str(dataset[mapping].attrs.get("grid_mapping_name", "latitude_longitude"))
        if kind != "latitude_longitude":
            raise InputError(
                f"{source}: {array.name} is on a grid of kind {kind!r} ({mapping})",
                field="grid",
                hint=_HINT,
            )
        require_greenwich(array, mapping, dataset, source)


def refuse_list_of_points(array: xr.DataArray, dataset: xr.Dataset, source: str) -> None:
    """Refuse a variable on a list of points, such as an unstructured or a reduced grid.

    Such a variable raises InputError.

    Parameters
    ----------
    array
        The variable.
    dataset
        Its Dataset.
    source
        Name of the source, for messages.

    Examples
    --------
    >>> import numpy as np
    >>> from pear.datasets.horizontal import refuse_list_of_points
    >>> rows = xr.Dataset({"t2m": (("lat", "lon"), np.zeros((3, 3)))})
    >>> refuse_list_of_points(rows["t2m"], rows, "a.nc")
    """
    for dim in array.dims:
        if _LIST_AXES.fullmatch(str(dim).lower()):
            _refuse_points(array, dataset, dim, source)


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


def _refuse_points(array: xr.DataArray, dataset: xr.Dataset, dim: Hashable, source: str) -> None:
    count = array.sizes[dim]
    kind = describe_points(array, dataset, dim)
    like = nside_of(count)
    why = "which is neither a regular grid nor HEALPix"
    hint = "interpolate it to a regular latitude-longitude grid first"
    if like is not None and like > 1 and kind == "a list of points":
        why = f"as many as HEALPix of nside {like} has, but nothing says that it is HEALPix"
        hint = "if it is, add a grid mapping with refinement_level and indexing_scheme"
    raise InputError(
        f"{source}: {array.name} is on {kind} (dimension {str(dim)!r} of {count}), {why}",
        field="grid",
        hint=hint,
    )
