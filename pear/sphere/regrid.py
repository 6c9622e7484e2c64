"""Regular latitude-longitude grids to nested HEALPix and back, as sparse weights.

A matrix is built once per pair of grids (cached), applied to all fields by :func:`apply`. Rows
sum to one, so a constant stays that constant. Column order is the order of the input as given:
latitude may run either way and longitude may start anywhere, no field is ever flipped or rolled.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy import sparse

from pear.sphere import healpix
from pear.sphere.latlon import LatLonGrid, global_grid
from pear.sphere.overlap import overlap

__all__ = [
    "LatLonGrid",
    "apply",
    "bilinear_to_healpix",
    "conservative_to_healpix",
    "global_grid",
    "healpix_to_latlon_bilinear",
    "healpix_to_latlon_conservative",
]

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

_CACHED: Final = 12


@lru_cache(maxsize=_CACHED)
def bilinear_to_healpix(grid: LatLonGrid, nside: int, vector: bool = False) -> sparse.csr_array:
    """Weights of bilinear interpolation to the cell centres, (cell, row x column), float64.

    Periodic in longitude. Where the grid has no row at a pole, one is made from the two nearest
    rings: for a scalar their mean, extrapolated in the square of the colatitude (a smooth scalar
    has no other zonally symmetric term there); with ``vector=True``, for components of a wind,
    their zonal wavenumber 1, which is what one vector at the pole looks like along a ring.

    Raises
    ------
    ValueError
        If the grid does not cover the globe.
    """
    return _bilinear(grid, *healpix.centres(nside), vector)


@lru_cache(maxsize=_CACHED)
def bilinear_between(grid: LatLonGrid, other: LatLonGrid, vector: bool = False) -> sparse.csr_array:
    """Weights of bilinear interpolation to another regular grid; as :func:`bilinear_to_healpix`."""
    north, east = np.meshgrid(other.lat, other.lon, indexing="ij")
    return _bilinear(grid, north.ravel(), east.ravel(), vector)


def _bilinear(grid: LatLonGrid, lat: Floats, lon: Floats, vector: bool) -> sparse.csr_array:
    grid.require_global()
    j, fx = _column(grid, lon)
    up, fy = _row(grid, lat)
    columns = grid.columns
    j_next = (j + 1) % columns
    rows, cols, values = [], [], []
    target = np.arange(lat.size)
    for row, wy in ((up, 1.0 - fy), (up + 1, fy)):
        for column, wx in ((j, 1.0 - fx), (j_next, fx)):
            inside = (row >= 0) & (row < grid.lat.size)
            rows.append(target[inside])
            cols.append((row * grid.lon.size + column)[inside])
            values.append((wy * wx)[inside])
        for outside, ring in ((row < 0, 0), (row >= grid.lat.size, grid.lat.size - 1)):
            for cell in np.flatnonzero(outside & (wy > 0)):
                index, weight = _pole(grid, ring, float(lon[cell]), vector)
                rows.append(np.full(index.size, cell))
                cols.append(index)
                values.append(wy[cell] * weight)
    return _matrix(rows, cols, values, (lat.size, grid.size))


@lru_cache(maxsize=_CACHED)
def healpix_to_latlon_bilinear(nside: int, grid: LatLonGrid) -> sparse.csr_array:
    """Weights of bilinear interpolation on the cells to the points, (row x column, cell).

    The four cells round each point are those of HEALPix's own interpolation. The grid may be
    regional.
    """
    lat, lon = np.meshgrid(np.clip(grid.lat, -90.0, 90.0), grid.lon, indexing="ij")
    index, weight = healpix.interpolation_weights(lat.ravel(), lon.ravel(), nside)
    points = np.broadcast_to(np.arange(grid.size), index.shape)
    shape = (grid.size, healpix.cells_of_nside(nside))
    return _matrix([points.ravel()], [index.ravel()], [weight.ravel()], shape)


@lru_cache(maxsize=_CACHED)
def conservative_to_healpix(grid: LatLonGrid, nside: int) -> sparse.csr_array:
    """Weights of area means over the HEALPix cells, (cell, row x column), float64.

    Each point of the grid stands for the cell round it, out to half a step (at the poles: to the
    pole); overlaps are exact, so the global mean is kept.

    Raises
    ------
    ValueError
        If the grid does not cover the globe.
    """
    matrix = _all_columns(_overlap(grid.require_global(), nside), grid)
    return _rows_to_one(matrix)


@lru_cache(maxsize=_CACHED)
def healpix_to_latlon_conservative(nside: int, grid: LatLonGrid) -> sparse.csr_array:
    """Weights of area means over the cells of a grid, (row x column, HEALPix cell), float64.

    The grid may be regional.
    """
    matrix = sparse.csr_array(_rows_to_one(_overlap(grid, nside).T.tocsr()))
    if grid.closed:
        index = [*range(grid.columns), 0]
        place = np.arange(grid.lat.size)[:, None] * grid.columns + np.array(index)
        matrix = sparse.csr_array(matrix[place.ravel()])
    return matrix


@lru_cache(maxsize=2)
def _overlap(grid: LatLonGrid, nside: int) -> sparse.csr_array:
    """Areas of overlap, (HEALPix cell, row x distinct column)."""
    middle = (grid.lat[1:] + grid.lat[:-1]) / 2.0
    ends = [grid.lat[0] - grid.lat_step / 2, grid.lat[-1] + grid.lat_step / 2]
    ends = [np.sign(e) * 90.0 if 90.0 - abs(e) < abs(grid.lat_step) else e for e in ends]
    lat = np.clip(np.concatenate([ends[:1], middle, ends[1:]]), -90.0, 90.0)
    lon = grid.lon[0] + grid.lon_step * (np.arange(grid.columns + 1) - 0.5)
    return overlap(lat, lon, nside)


def _all_columns(matrix: sparse.csr_array, grid: LatLonGrid) -> sparse.csr_array:
    """Leave the repeated column of a closed grid without weight."""
    if not grid.closed:
        return matrix
    row, column = np.divmod(matrix.indices, grid.columns)
    index = row * grid.lon.size + column
    shape = (matrix.shape[0], grid.size)
    return sparse.csr_array((matrix.data, index, matrix.indptr), shape=shape)


def _rows_to_one(matrix: sparse.csr_array) -> sparse.csr_array:
    total = np.asarray(matrix.sum(axis=1)).ravel()
    data = matrix.data / np.repeat(total, np.diff(matrix.indptr))
    return sparse.csr_array((data, matrix.indices, matrix.indptr), shape=matrix.shape)


def apply(weights: sparse.csr_array, fields: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Regrid fields: (…, source point) to (…, target point), in the dtype of the fields.

    Sums run in float64. A NaN spreads to every target that has weight on it, and no further.

    Raises
    ------
    ValueError
        If the last axis does not fit the weights.
    """
    if fields.shape[-1] != weights.shape[1]:
        raise ValueError(
            f"fields have {fields.shape[-1]} points, the weights take {weights.shape[1]}"
        )
    flat = fields.reshape(-1, fields.shape[-1])
    out = np.empty((flat.shape[0], weights.shape[0]), dtype=np.result_type(fields.dtype, "f4"))
    used, compact = _compact(weights)
    for field, target in zip(flat, out, strict=True):
        target[:] = compact @ field[used].astype(np.float64)
    return out.reshape(*fields.shape[:-1], weights.shape[0])


def _compact(weights: sparse.csr_array) -> tuple[Any, sparse.csr_array]:
    """Columns in use and the matrix on them alone: a fine grid has many points without weight."""
    kept = getattr(weights, "_pear_compact", None)
    if kept is None:
        used, inverse = np.unique(weights.indices, return_inverse=True)
        if used.size == weights.shape[1]:
            kept = (slice(None), weights)
        else:
            shape = (weights.shape[0], used.size)
            kept = (used, sparse.csr_array((weights.data, inverse, weights.indptr), shape=shape))
        weights._pear_compact = kept  # lives and dies with the cached matrix
    return kept


def _matrix(rows: Any, cols: Any, values: Any, shape: tuple[int, int]) -> sparse.csr_array:
    data, ij = np.concatenate(values), (np.concatenate(rows), np.concatenate(cols))
    matrix = sparse.csr_array(sparse.coo_array((data, ij), shape=shape))
    matrix.sum_duplicates()
    matrix.eliminate_zeros()  # a zero weight must not let a missing value through
    return matrix


def _column(grid: LatLonGrid, lon: Floats) -> tuple[Integers, Floats]:
    """Column to the left of each longitude and the fraction of the way to the next one."""
    position = np.mod((lon - grid.lon[0]) / grid.lon_step, grid.columns)
    left = np.floor(position)
    return left.astype(np.int64) % grid.columns, position - left


def _row(grid: LatLonGrid, lat: Floats) -> tuple[Integers, Floats]:
    """Row before each latitude (-1: beyond the first) and the fraction of the way to the next.

    Beyond the first and the last row the way ends at the pole, wherever that lies.
    """
    position = (lat - grid.lat[0]) / grid.lat_step
    before = np.clip(np.floor(position), -1, grid.lat.size - 1)
    fraction = position - before
    for end, row in ((0, -1), (-1, grid.lat.size - 1)):
        gap = 90.0 - abs(grid.lat[end])
        beyond = before == row
        if beyond.any():
            way = np.abs(lat[beyond] - grid.lat[end]) / gap if gap > 0 else np.zeros(beyond.sum())
            fraction[beyond] = 1.0 - way if row < 0 else way
    return before.astype(np.int64), fraction


def _pole(grid: LatLonGrid, ring: int, lon: float, vector: bool) -> tuple[Integers, Floats]:
    """Points and weights that give the value at the pole beyond this ring, seen from ``lon``."""
    step = 1 if ring == 0 else -1
    near, next_ = (np.deg2rad(90.0 - abs(grid.lat[r])) ** 2 for r in (ring, ring + step))
    n = grid.columns
    shape = np.full(n, 1.0 / n)
    if vector:
        shape = 2.0 / n * np.cos(np.deg2rad(grid.lon[:n] - lon))
    index = np.concatenate([r * grid.lon.size + np.arange(n) for r in (ring, ring + step)])
    return index, np.concatenate([shape * next_, -shape * near]) / (next_ - near)
