"""Regridding between regular latitude-longitude grids and nested HEALPix, as sparse weights.

A matrix is built once per pair of grids (cached) and applied to all fields by :func:`apply`, to
the two components of winds by :func:`apply_wind`. Rows sum to one, so constants are preserved.
Columns follow the order of the input: latitude may run either way and longitude may start
anywhere; fields are never flipped or rolled.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
from scipy import sparse

from pear.sphere import healpix
from pear.sphere.conservative import overlap_areas
from pear.sphere.latlon import LatLonGrid
from pear.sphere.vectors import Frames, carry, wind_weights
from pear.typing import Array, Float64, Int64

_CACHED: Final = 12


@lru_cache(maxsize=_CACHED)
def bilinear_to_healpix(grid: LatLonGrid, nside: int, *, vector: bool = False) -> sparse.csr_array:
    """Return the weights of bilinear interpolation to the cell centres.

    Periodic in longitude. Where the grid has no row at a pole, one is made from the two nearest
    rings: for a scalar their mean, extrapolated in the square of the colatitude (a smooth scalar
    has no other zonally symmetric term there); for components of a wind their zonal wavenumber 1,
    as one vector at the pole appears along a ring. A grid that is not global is a ValueError.

    Parameters
    ----------
    grid
        Global grid of the fields.
    nside
        Resolution of the result.
    vector
        True for a component of a wind.

    Returns
    -------
    scipy.sparse.csr_array
        (cell, row x column), float64.

    Examples
    --------
    >>> from pear.sphere.latlon import global_grid
    >>> weights = bilinear_to_healpix(global_grid(19, 36), nside=4)
    >>> apply(weights, np.full(19 * 36, 280.0))[:2]
    array([280., 280.])
    """
    return _bilinear(grid, *healpix.centres(nside), vector=vector)


@lru_cache(maxsize=_CACHED)
def bilinear_between(
    grid: LatLonGrid, other: LatLonGrid, *, vector: bool = False
) -> sparse.csr_array:
    """Return the weights of interpolation to another grid, as :func:`bilinear_to_healpix`.

    Returns
    -------
    scipy.sparse.csr_array
        (row x column of ``other``, row x column of ``grid``), float64; rows sum to 1.

    Examples
    --------
    >>> from pear.sphere.regrid import bilinear_between
    >>> from pear.sphere.latlon import global_grid
    >>> weights = bilinear_between(global_grid(19, 36), global_grid(37, 72))
    >>> weights.shape, bool(np.allclose(weights.sum(axis=1), 1.0))
    ((2664, 684), True)
    """
    north, east = np.meshgrid(other.lat, other.lon, indexing="ij")
    return _bilinear(grid, north.ravel(), east.ravel(), vector=vector)


def _bilinear(grid: LatLonGrid, lat: Float64, lon: Float64, *, vector: bool) -> sparse.csr_array:
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
                index, weight = _pole(grid, ring, float(lon[cell]), vector=vector)
                rows.append(np.full(index.size, cell))
                cols.append(index)
                values.append(wy[cell] * weight)
    return _matrix(rows, cols, values, (lat.size, grid.size))


@lru_cache(maxsize=_CACHED)
def healpix_to_latlon_bilinear(
    nside: int, grid: LatLonGrid, *, vector: bool = False
) -> sparse.csr_array:
    """Return the weights of interpolation from the four cells around each point of a grid.

    Parameters
    ----------
    nside
        Resolution of the fields.
    grid
        Grid of the result, global or regional.
    vector
        True for winds, see :func:`pear.sphere.vectors.wind_weights`.

    Returns
    -------
    scipy.sparse.csr_array
        (row x column, cell), float64; for scalars cells and weights are HEALPix's own.

    Examples
    --------
    >>> from pear.sphere.regrid import healpix_to_latlon_bilinear
    >>> from pear.sphere.latlon import global_grid
    >>> weights = healpix_to_latlon_bilinear(4, global_grid(19, 36))
    >>> weights.shape, bool(np.allclose(weights.sum(axis=1), 1.0))
    ((684, 192), True)
    """
    lat, lon = np.meshgrid(np.clip(grid.lat, -90.0, 90.0), grid.lon, indexing="ij")
    weights_at = wind_weights if vector else healpix.interpolation_weights
    index, weight = weights_at(lat.ravel(), lon.ravel(), nside)
    points = np.broadcast_to(np.arange(grid.size), index.shape)
    shape = (grid.size, healpix.cells_of_nside(nside))
    return _matrix([points.ravel()], [index.ravel()], [weight.ravel()], shape)


@lru_cache(maxsize=_CACHED)
def conservative_to_healpix(grid: LatLonGrid, nside: int) -> sparse.csr_array:
    """Return the weights of area means over the HEALPix cells.

    Each point of the grid represents the cell around it, out to half a step (at the poles: to the
    pole); overlaps are exact, so the global mean is preserved. A grid that is not global is a
    ValueError.

    Parameters
    ----------
    grid
        Global grid of the fields.
    nside
        Resolution of the result.

    Returns
    -------
    scipy.sparse.csr_array
        (cell, row x column), float64.

    Examples
    --------
    >>> from pear.sphere.regrid import conservative_to_healpix
    >>> from pear.sphere.latlon import global_grid
    >>> grid = global_grid(19, 36, poles=False)
    >>> field = np.random.default_rng(0).random(grid.shape)
    >>> edges = np.sin(np.deg2rad(np.linspace(90, -90, 20)))
    >>> area = np.repeat(-np.diff(edges)[:, None] / 72, 36, axis=1)  # sums to 1
    >>> cells = apply(conservative_to_healpix(grid, 4), field.ravel())
    >>> bool(np.isclose(cells.mean(), (area * field).sum()))
    True
    """
    return _rows_to_one(_all_columns(_overlap(grid.require_global(), nside), grid))


@lru_cache(maxsize=_CACHED)
def healpix_to_latlon_conservative(
    nside: int, grid: LatLonGrid, *, vector: bool = False
) -> sparse.csr_array:
    """Return the weights of area means over the cells of a grid.

    Parameters
    ----------
    nside
        Resolution of the fields.
    grid
        Grid of the result, global or regional.
    vector
        True for winds: a pole has one, so that all points of a row on it have the mean of the cap
        around it. Scalars have the mean of the sector of each point there, as at ECMWF.

    Returns
    -------
    scipy.sparse.csr_array
        (row x column, HEALPix cell), float64.

    Examples
    --------
    >>> from pear.sphere.regrid import healpix_to_latlon_conservative
    >>> from pear.sphere.latlon import global_grid
    >>> weights = healpix_to_latlon_conservative(4, global_grid(19, 36))
    >>> weights.shape, bool(np.allclose(weights.sum(axis=1), 1.0))
    ((684, 192), True)
    """
    areas = sparse.csr_array(_overlap(grid, nside).T)
    for row in np.flatnonzero(vector & (np.abs(grid.lat) > 90.0 - 1e-6)):
        areas = _shared_row(areas, int(row) * grid.columns, grid.columns)
    matrix = _rows_to_one(areas)
    if grid.closed:
        index = [*range(grid.columns), 0]
        place = np.arange(grid.lat.size)[:, None] * grid.columns + np.array(index)
        matrix = sparse.csr_array(matrix[place.ravel()])
    return matrix


@lru_cache(maxsize=2)
def _overlap(grid: LatLonGrid, nside: int) -> sparse.csr_array:
    """Return the overlap areas, (HEALPix cell, row x distinct column)."""
    middle = (grid.lat[1:] + grid.lat[:-1]) / 2.0
    ends = [grid.lat[0] - grid.lat_step / 2, grid.lat[-1] + grid.lat_step / 2]
    ends = [np.sign(e) * 90.0 if 90.0 - abs(e) < abs(grid.lat_step) else e for e in ends]
    lat = np.clip(np.concatenate([ends[:1], middle, ends[1:]]), -90.0, 90.0)
    lon = grid.lon[0] + grid.lon_step * (np.arange(grid.columns + 1) - 0.5)
    return overlap_areas(lat, lon, nside)


def _shared_row(areas: sparse.csr_array, start: int, count: int) -> sparse.csr_array:
    """Give all points of a row of the grid the sum of their areas."""
    whole = sparse.csr_array(areas[start : start + count].sum(axis=0)[None])
    parts = [areas[:start], *[whole] * count, areas[start + count :]]
    return sparse.csr_array(sparse.vstack([part for part in parts if part.shape[0]], "csr"))


def _all_columns(matrix: sparse.csr_array, grid: LatLonGrid) -> sparse.csr_array:
    """Widen the matrix to the columns of a closed grid, the repeated one without weight."""
    if not grid.closed:
        return matrix
    row, column = np.divmod(matrix.indices, grid.columns)
    index = row * grid.lon.size + column
    shape = (matrix.shape[0], grid.size)
    return sparse.csr_array((matrix.data, index, matrix.indptr), shape=shape)


def _rows_to_one(matrix: sparse.csr_array) -> sparse.csr_array:
    """Scale each row to a sum of one."""
    total = np.asarray(matrix.sum(axis=1)).ravel()
    data = matrix.data / np.repeat(total, np.diff(matrix.indptr))
    return sparse.csr_array((data, matrix.indices, matrix.indptr), shape=matrix.shape)


def apply(weights: sparse.csr_array, fields: Array) -> Array:
    """Regrid fields.

    Sums run in float64. A NaN spreads to exactly the targets that have weight on it.

    Parameters
    ----------
    weights
        (target point, source point), from a function of this module.
    fields
        (…, source point).

    Returns
    -------
    numpy.ndarray
        (…, target point), in the dtype of the fields, at least float32.

    Raises
    ------
    ValueError
        If the last axis does not fit the weights.

    Examples
    --------
    >>> from pear.sphere.regrid import apply
    >>> from pear.sphere.latlon import global_grid
    >>> from pear.sphere.regrid import bilinear_to_healpix
    >>> fields = np.full((2, 3, 19 * 36), 280.0, dtype=np.float32)
    >>> out = apply(bilinear_to_healpix(global_grid(19, 36), nside=4), fields)
    >>> out.shape, out.dtype, float(out.min())
    ((2, 3, 192), dtype('float32'), 280.0)
    """
    if fields.shape[-1] != weights.shape[1]:
        raise ValueError(
            f"fields have {fields.shape[-1]} points, the weights expect {weights.shape[1]}"
        )
    flat = fields.reshape(-1, fields.shape[-1])
    out = np.empty((flat.shape[0], weights.shape[0]), dtype=np.result_type(fields.dtype, "f4"))
    used, compact = _compact(weights)
    for field, target in zip(flat, out, strict=True):
        target[:] = compact @ field[used].astype(np.float64)
    return out.reshape(*fields.shape[:-1], weights.shape[0])


def apply_wind(
    weights: sparse.csr_array, u: Array, v: Array, source: Frames, target: Frames
) -> tuple[Array, Array]:
    """Regrid winds as vectors.

    Parameters
    ----------
    weights
        (target point, source point), from a function of this module.
    u, v
        (…, source point), eastward and northward.
    source, target
        Frames at the points of both grids.

    Returns
    -------
    u, v : numpy.ndarray
        (…, target point) each, in the dtype of the fields, at least float32.

    Raises
    ------
    ValueError
        If the shapes differ, or the last axis does not fit the weights.

    Examples
    --------
    >>> from pear.sphere.latlon import global_grid
    >>> from pear.sphere.regrid import apply_wind, healpix_to_latlon_bilinear
    >>> from pear.sphere.vectors import cell_frames, grid_frames
    >>> grid = global_grid(19, 36)
    >>> cells = cell_frames(16)
    >>> u, v = cells.from_cartesian(np.array([10.0, 0.0, 0.0])[:, None])  # across both poles
    >>> weights = healpix_to_latlon_bilinear(16, grid, vector=True)
    >>> east, north = apply_wind(weights, u, v, cells, grid_frames(grid))
    >>> np.hypot(east, north).reshape(grid.shape)[0, :3].round(1).tolist()
    [10.0, 10.0, 10.0]
    """
    if u.shape != v.shape:
        raise ValueError(f"u has shape {u.shape}, v {v.shape}")
    eastward, northward = (part.reshape(-1, part.shape[-1]) for part in (u, v))
    out = np.empty((2, eastward.shape[0], weights.shape[0]), np.result_type(u.dtype, v.dtype, "f4"))

    def interpolate(xyz: Float64) -> Array:
        return apply(weights, xyz)

    for row in range(eastward.shape[0]):  # one at a time: Cartesian components take much memory
        out[:, row] = carry(eastward[row], northward[row], source, target, interpolate)
    east, north = out.reshape(2, *u.shape[:-1], weights.shape[0])
    return east, north


def _compact(weights: sparse.csr_array) -> tuple[Int64 | slice, sparse.csr_array]:
    """Return the columns with weight and the matrix on those: fine grids have many without."""
    kept: tuple[Int64 | slice, sparse.csr_array] | None = getattr(weights, "_pear_compact", None)
    if kept is None:
        used, inverse = np.unique(weights.indices, return_inverse=True)
        if used.size == weights.shape[1]:
            kept = (slice(None), weights)
        else:
            shape = (weights.shape[0], used.size)
            kept = (used, sparse.csr_array((weights.data, inverse, weights.indptr), shape=shape))
        weights._pear_compact = kept  # freed with the cached matrix
    return kept


def _matrix(
    rows: list[Int64], cols: list[Int64], values: list[Float64], shape: tuple[int, int]
) -> sparse.csr_array:
    data, ij = np.concatenate(values), (np.concatenate(rows), np.concatenate(cols))
    matrix = sparse.csr_array(sparse.coo_array((data, ij), shape=shape))
    matrix.sum_duplicates()
    matrix.eliminate_zeros()  # a zero weight must not let a missing value through
    return matrix


def _column(grid: LatLonGrid, lon: Float64) -> tuple[Int64, Float64]:
    """Return the column to the left of each longitude and the fraction of the way to the next."""
    position = np.mod((lon - grid.lon[0]) / grid.lon_step, grid.columns)
    left = np.floor(position)
    return left.astype(np.int64) % grid.columns, position - left


def _row(grid: LatLonGrid, lat: Float64) -> tuple[Int64, Float64]:
    """Return the row before each latitude and the fraction of the way to the next."""
    # Row -1 lies beyond the first; beyond the first and the last row the way ends at the pole.
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


def _pole(grid: LatLonGrid, ring: int, lon: float, *, vector: bool) -> tuple[Int64, Float64]:
    """Return points and weights of the value at the pole next to a ring, as seen from ``lon``."""
    step = 1 if ring == 0 else -1
    near, next_ = (np.deg2rad(90.0 - abs(grid.lat[r])) ** 2 for r in (ring, ring + step))
    n = grid.columns
    shape = np.full(n, 1.0 / n)
    if vector:
        shape = 2.0 / n * np.cos(np.deg2rad(grid.lon[:n] - lon))
    index = np.concatenate([r * grid.lon.size + np.arange(n) for r in (ring, ring + step)])
    return index, np.concatenate([shape * next_, -shape * near]) / (next_ - near)
