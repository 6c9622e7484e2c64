"""HEALPix cells of Datasets of any origin: what is stated of them, and the order they come in.

All that is stated (:mod:`pear.datasets.cell_statements`) must agree, also with the number of cells
and with latitudes and longitudes where those are given.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import xarray as xr

from pear.datasets.cell_numbers import SCHEMES, CellOrder
from pear.datasets.cell_statements import (
    CELL_AXES,
    Statement,
    find_numbers,
    read_statements,
)
from pear.errors import InputError
from pear.sphere.healpix import BASE_PIXELS, nest_of_ring
from pear.sphere.source_grids import HealpixGrid
from pear.store.attributes import read_json
from pear.typing import Float64

_HINT: Final = "PEAR reads all cells of the sphere, nested or in ring order, at any nside"
_NEAR: Final = 0.05  # of a cell: float32 coordinates are much nearer, neighbours much further
_CELL_WIDTH: Final = 58.6  # degrees at nside 1
_SPHERES: Final = ("", "sphere", "spherical", "unitsphere", "authalic_sphere")


@dataclass(frozen=True)
class Cells:
    """How the cells of a variable lie in a Dataset.

    Attributes
    ----------
    grid
        The grid of all cells.
    dim
        Dimension of the cells.
    order
        How to bring them to the order of ``grid``.

    Examples
    --------
    >>> from pear.datasets.healpix import Cells
    >>> Cells(HealpixGrid(8), "cell", CellOrder(8, "ring")).grid.size
    768
    """

    grid: HealpixGrid
    dim: Hashable
    order: CellOrder


def find_cells(dataset: xr.Dataset, array: xr.DataArray, source: str) -> Cells | None:
    """Return how a variable lies on HEALPix cells, or None if it does not.

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
    Cells or None
        None if nothing says that it is on HEALPix, neither a statement nor coordinates of cells.

    Raises
    ------
    InputError
        If the cells are a region, their order is not stated, or statements contradict each other.

    Examples
    --------
    >>> from pear.datasets.healpix import find_cells
    >>> about = {"grid_mapping_name": "healpix", "healpix_nside": 2, "healpix_order": "ring"}
    >>> data = xr.Dataset({"t2m": ("cell", np.zeros(48)), "crs": xr.DataArray(0, attrs=about)})
    >>> find_cells(data, data["t2m"], "a.nc")
    Cells(grid=HealpixGrid(nside=2), dim='cell', order=CellOrder(nside=2, scheme='ring', ids=None))
    """
    where = f"{source}: {array.name}"
    ids = find_numbers(dataset, array, where)
    said = list(read_statements(dataset, array, ids))
    dim = _cell_dim(dataset, array, ids, said)
    if dim is None:
        return None
    for what in ("nside", "order"):
        _require_agreement(what, said, where)
    _require_sphere(said, where)
    places = _places(dataset, array, dim)
    if not said:
        return None if places is None else _recognised(dim, places)
    numbers = None if ids is None else dataset.variables[ids].values
    grid = _grid(array.sizes[dim], dim, said, numbers, where)
    scheme = _value("order", said)
    if scheme is None and places is not None and ids is None:
        scheme = _order_of_places(grid, places)
    if scheme is None:
        raise InputError(
            f"{where} is on HEALPix (nside {grid.nside}), but nothing states the order of its "
            "cells",
            field="grid",
            hint="add indexing_scheme 'nested' or 'ring' to its grid mapping",
        )
    order = CellOrder(grid.nside, str(scheme), ids)
    moved = order.permutation(dataset, where)
    if places is not None:
        _require_places(grid, order.scheme, moved, places, where)
    return Cells(grid, dim, order)


def _recognised(dim: Hashable, places: tuple[Float64, Float64]) -> Cells | None:
    """Return cells of which nothing is stated, but that lie exactly where those of HEALPix do."""
    nside = nside_of(places[0].size)
    if nside is None:
        return None
    grid = HealpixGrid(nside)
    scheme = _order_of_places(grid, places)
    return None if scheme is None else Cells(grid, dim, CellOrder(nside, scheme))


def nside_of(count: int) -> int | None:
    """Return nside of a full grid of so many cells, any number, or None if there is none.

    Returns
    -------
    int or None
        Not only powers of two.

    Examples
    --------
    >>> from pear.datasets.healpix import nside_of
    >>> nside_of(768), nside_of(108), nside_of(100)
    (8, 3, None)
    """
    nside = round((count / BASE_PIXELS) ** 0.5)
    return nside if nside >= 1 and BASE_PIXELS * nside**2 == count else None


def _require_sphere(said: list[Statement], where: str) -> None:
    for one in said:
        if one.what == "ellipsoid" and str(one.value).lower() not in _SPHERES:
            raise InputError(
                f"{where} is on cells of an ellipsoid ({one.where}), and PEAR's are of the sphere",
                field="grid",
                hint="interpolate it to HEALPix on the sphere first",
            )


def _cell_dim(
    dataset: xr.Dataset, array: xr.DataArray, ids: Hashable | None, said: list[Statement]
) -> Hashable | None:
    """Return the dimension of the cells of a variable; None if it has none."""
    if ids is not None:
        return dataset.variables[ids].dims[0]
    stated = read_json(dataset.attrs.get("dggs")).get("spatial_dimension")
    if stated in array.dims:
        return str(stated)
    nside = _value("nside", said)
    sizes = [BASE_PIXELS * int(nside) ** 2] if isinstance(nside, int) else []
    for dim in array.dims:
        if CELL_AXES.fullmatch(str(dim).lower()) or (said and array.sizes[dim] in sizes):
            return dim
    return None


def _require_agreement(what: str, said: list[Statement], where: str) -> None:
    """Refuse two statements that differ."""
    found = [one for one in said if one.what == what]
    for one in found:
        if one.value != found[0].value:
            raise InputError(
                f"{where}: {found[0].where}, but {one.where}",
                field="grid",
                hint="correct the one that is wrong",
            )


def _value(what: str, said: list[Statement]) -> int | str | None:
    return next((one.value for one in said if one.what == what), None)


def _said(what: str, said: list[Statement]) -> str:
    return next(one.where for one in said if one.what == what)


def _grid(
    count: int,
    dim: Hashable,
    said: list[Statement],
    numbers: npt.NDArray[Any] | None,
    where: str,
) -> HealpixGrid:
    """Return the grid of a number of cells, of which it has all."""
    scheme, stated = _value("order", said), _value("nside", said)
    if scheme is not None and scheme not in SCHEMES:
        raise InputError(
            f"{where}: {_said('order', said)}, which is not an order of HEALPix cells",
            field="grid",
            hint=f"known orders: {', '.join(SCHEMES)}",
        )
    own = nside_of(count)
    nside = own if stated is None else int(stated)
    if nside is None:
        raise InputError(
            f"{where} has {count} cells of HEALPix, which are not all cells of any resolution: a "
            "region",
            field="grid",
            hint=_HINT,
        )
    try:
        grid = HealpixGrid(nside)
    except ValueError as error:
        raise InputError(
            f"{where}: {_said('nside', said)}, which is not a resolution", field="grid"
        ) from error
    numbered_from_0 = numbers is None or np.array_equal(numbers, np.arange(count))
    if count < grid.size and (own is None or not numbered_from_0):
        raise InputError(
            f"{where} has {count} of the {grid.size} cells of HEALPix with nside {nside} "
            f"({100 * count / grid.size:.3g} %): a region",
            field="grid",
            hint=_HINT,
        )
    if count != grid.size:
        fits = "" if own is None else f", as many as nside {own} has"
        raise InputError(
            f"{where}: {_said('nside', said)}, which means {grid.size} cells, but its dimension "
            f"{dim!s} has {count}{fits}",
            field="grid",
            hint="correct the one that is wrong",
        )
    if grid.order == "ring" and scheme not in (None, "ring"):
        raise InputError(
            f"{where}: {_said('order', said)}, but {count} cells mean nside {nside}, and only "
            "powers of two have a nested order",
            field="grid",
            hint="correct the one that is wrong",
        )
    return grid


def _places(
    dataset: xr.Dataset, array: xr.DataArray, dim: Hashable
) -> tuple[Float64, Float64] | None:
    """Return latitudes and longitudes of the cells in degrees, if the Dataset has them."""
    found: dict[str, Float64] = {}
    for name, coordinate in dataset.variables.items():
        if coordinate.dims != (dim,) or name == array.name or coordinate.dtype.kind not in "fiu":
            continue
        plain = str(name).lower()
        for kind, names in (
            ("latitude", ("lat", "latitude", "latitudes", "clat", "cell_latitude")),
            ("longitude", ("lon", "longitude", "longitudes", "clon", "cell_longitude")),
        ):
            if coordinate.attrs.get("standard_name") == kind or plain in names:
                values = np.asarray(coordinate.values, dtype=np.float64)
                in_radians = str(coordinate.attrs.get("units", "")).lower().startswith("rad")
                found.setdefault(kind, np.rad2deg(values) if in_radians else values)
    if len(found) < 2:
        return None
    return found["latitude"], found["longitude"]


def _order_of_places(grid: HealpixGrid, places: tuple[Float64, Float64]) -> str | None:
    """Return in which order latitudes and longitudes are those of the cells; None for neither."""
    centres = grid.centres()
    if _are_near(grid, centres, places):
        return grid.order
    if grid.order == "nested":
        ring = nest_of_ring(grid.nside)
        if _are_near(grid, (centres[0][ring], centres[1][ring]), places):
            return "ring"
    return None


def _are_near(
    grid: HealpixGrid, centres: tuple[Float64, Float64], places: tuple[Float64, Float64]
) -> bool:
    return bool(_distances(centres, places).max() < _NEAR * _CELL_WIDTH / grid.nside)


def _distances(
    centres: tuple[Float64, Float64], places: tuple[Float64, Float64]
) -> npt.NDArray[np.float64]:
    """Return how far places lie from centres in degrees; infinite where they are missing."""
    lat, lon = places
    east = np.mod(lon - centres[1] + 180.0, 360.0) - 180.0
    away = np.hypot(lat - centres[0], east * np.cos(np.deg2rad(centres[0])))
    return np.where(np.isfinite(away), away, np.inf)


def _require_places(
    grid: HealpixGrid,
    scheme: str,
    moved: npt.NDArray[np.int64] | None,
    places: tuple[Float64, Float64],
    where: str,
) -> None:
    """Compare latitudes and longitudes with the centres of the cells in the order stated."""
    if moved is not None:
        places = places[0][moved], places[1][moved]
    away = _distances(grid.centres(), places)
    if away.max() < _NEAR * _CELL_WIDTH / grid.nside:
        return
    worst = int(away.argmax())
    centre, found = (
        (float(lat[worst]), float(lon[worst])) for lat, lon in (grid.centres(), places)
    )
    raise InputError(
        f"{where}: the {scheme} order is stated, but a cell lies at latitude {found[0]:.4g}, "
        f"longitude {found[1]:.4g} where that order has {centre[0]:.4g}, {centre[1]:.4g}",
        field="grid",
        hint="correct the order, or the coordinates",
    )
