"""Regridding between HEALPix grids of any two resolutions: means over cells, or interpolation.

A base pixel of HEALPix is a square in its own coordinates x and y, in which area is uniform (Górski
et al., ApJ 622, 759, 2005, section 5.1). The share of a cell that another cell covers is therefore
a product of two shares of an interval, for any two nsides, and means are exact.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
from scipy import sparse

from pear.sphere import healpix
from pear.sphere.source_grids import HealpixGrid, frames_of
from pear.sphere.vectors import Frames, cell_frames, exact_for_linear
from pear.typing import Float64

_CACHED: Final = 6


@lru_cache(maxsize=_CACHED)
def mean_over_cells(grid: HealpixGrid, nside: int) -> sparse.csr_array:
    """Return the weights of area means over the nested cells of another resolution.

    Parameters
    ----------
    grid
        Grid of the fields.
    nside
        Resolution of the means, a power of two; finer cells inside one cell have its value.

    Returns
    -------
    scipy.sparse.csr_array
        (cell, cell of ``grid``), float64; rows sum to 1.

    Examples
    --------
    >>> from pear.sphere.between_cells import mean_over_cells
    >>> weights = mean_over_cells(HealpixGrid(6), 4)
    >>> weights.shape, bool(np.allclose(weights.sum(axis=0), 192 / 432))  # areas are preserved
    ((192, 432), True)
    """
    line = _overlap_of_intervals(grid.nside, nside)
    square = sparse.kron(line, line, format="csr")  # (y, x) by (y, x)
    whole = sparse.block_diag([square] * healpix.BASE_PIXELS, format="csr")
    if grid.order == "nested":
        x, y, face = healpix.xy_of_nest(grid.nside)
    else:
        x, y, face = healpix.xy_of_ring(grid.nside)
    place = (face * grid.nside + y) * grid.nside + x
    x, y, face = healpix.xy_of_nest(nside)
    wanted = (face * nside + y) * nside + x
    return sparse.csr_array(sparse.csc_array(whole[wanted])[:, place])


def _overlap_of_intervals(many: int, few: int) -> sparse.csr_array:
    """Return which share of each of ``few`` equal intervals each of ``many`` covers."""
    edges = np.arange(few + 1)[:, None] * many, np.arange(many + 1)[None] * few  # exact integers
    low = np.maximum(edges[0][:-1], edges[1][:, :-1])
    high = np.minimum(edges[0][1:], edges[1][:, 1:])
    return sparse.csr_array(np.clip(high - low, 0, None) / many)


@lru_cache(maxsize=_CACHED)
def interpolation_between(
    grid: HealpixGrid, nside: int, *, vector: bool = False
) -> sparse.csr_array:
    """Return the weights of interpolation from the four cells around each cell centre.

    Parameters
    ----------
    grid
        Grid of the fields.
    nside
        Resolution of the result, a power of two.
    vector
        True for winds, see :func:`pear.sphere.vectors.wind_weights`.

    Returns
    -------
    scipy.sparse.csr_array
        (cell, cell of ``grid``), float64; for scalars HEALPix's own weights.

    Examples
    --------
    >>> from pear.sphere.between_cells import interpolation_between
    >>> weights = interpolation_between(HealpixGrid(4), 8)
    >>> weights.shape, bool(np.allclose(weights.sum(axis=1), 1.0))
    ((768, 192), True)
    """
    lat, lon = healpix.centres(nside)
    nested = grid.order == "nested"
    around = healpix.interpolation_weights if nested else healpix.ring_interpolation_weights
    index, weight = around(lat, lon, grid.nside)
    if vector:
        places: Frames = cell_frames(nside)
        weight = exact_for_linear(weight, places, frames_of(grid).take(index).positions())
    rows = np.broadcast_to(np.arange(lat.size), index.shape)
    return _matrix(rows.ravel(), index.ravel(), weight.ravel(), (lat.size, grid.size))


def _matrix(
    rows: np.typing.NDArray[np.int64],
    columns: np.typing.NDArray[np.int64],
    values: Float64,
    shape: tuple[int, int],
) -> sparse.csr_array:
    matrix = sparse.csr_array(sparse.coo_array((values, (rows, columns)), shape=shape))
    matrix.sum_duplicates()
    matrix.eliminate_zeros()  # a zero weight must not let a missing value through
    return matrix
