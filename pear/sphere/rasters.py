"""Cells and weights at the points of a raster: rows along parallels, columns along meridians."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from pear.sphere.healpix import cells_of_nside, check_nside, nest_of_ring
from pear.sphere.vectors import Frames, cell_positions, exact_for_linear
from pear.typing import Float64, Int64

_BLOCK: Final = 8_192
"""Points whose weights are computed together, so that what is between stays in a core's cache."""


def raster_weights(
    latitude: npt.ArrayLike, longitude: npt.ArrayLike, nside: int
) -> tuple[Int64, Float64]:
    """Return what :func:`pear.sphere.healpix.interpolation_weights` does, for a raster.

    Rings and their weights are those of a row, so that only the place along a ring is computed
    for each point: several times as fast.

    Parameters
    ----------
    latitude, longitude
        (row,) degrees north, in [-90, 90]; (column,) degrees east.
    nside
        Resolution, a power of two.

    Returns
    -------
    index, weight : numpy.ndarray
        (4, row, column) each, nested cells.

    Examples
    --------
    >>> from pear.sphere.healpix import interpolation_weights
    >>> index, weight = raster_weights([60.0, -89.9], [10.0, 200.0], nside=16)
    >>> one, other = interpolation_weights([60.0], [200.0], nside=16)
    >>> bool((index[:, 0, 1] == one[:, 0]).all()), bool(np.allclose(weight[:, 0, 1], other[:, 0]))
    (True, True)
    """
    theta = np.pi / 2 - np.deg2rad(np.asarray(latitude, dtype=np.float64))[:, None]
    turns = np.mod(np.asarray(longitude, dtype=np.float64), 360.0)[None] / 360.0
    nside = check_nside(nside)
    above = _ring_above(np.cos(theta), nside)
    index = np.empty((4, theta.size, turns.size), dtype=np.int64)
    weight = np.empty(index.shape)
    starts, sizes, shifts, thetas = _rings(nside)
    for part, ring in ((0, above), (2, above + 1)):
        place = turns * sizes[ring] - shifts[ring]
        first = np.floor(place)
        np.subtract(place, first, out=weight[part + 1])
        np.subtract(1.0, weight[part + 1], out=weight[part])
        number = first.astype(np.int64)
        number += np.where(number < 0, sizes[ring], 0)
        np.add(number, starts[ring], out=index[part])
        number += 1
        number *= number != sizes[ring]
        np.add(number, starts[ring], out=index[part + 1])
    last = 4 * nside
    north, south = np.flatnonzero(above == 0), np.flatnonzero(above + 1 == last)
    share = (theta - thetas[above]) / (thetas[above + 1] - thetas[above])
    weight[:2] *= 1.0 - share
    weight[2:] *= share
    # Beyond the last ring the pole is the mean of its four cells.
    for rows, own, other, base in (
        (north, (2, 3), (0, 1), 0),
        (south, (0, 1), (2, 3), cells_of_nside(nside) - 4),
    ):
        at_pole = (1.0 - share if base == 0 else share)[rows] / 4.0
        for one, opposite in zip(own, other, strict=True):
            weight[one, rows] += at_pole
            weight[opposite, rows] = at_pole
            index[opposite, rows] = (index[one, rows] - base + 2) % 4 + base
    return np.take(nest_of_ring(nside), index), weight


def raster_wind_weights(
    latitude: npt.ArrayLike, longitude: npt.ArrayLike, nside: int
) -> tuple[Int64, Float64]:
    """Return what :func:`pear.sphere.vectors.wind_weights` does, for the points of a raster.

    Parameters
    ----------
    latitude, longitude
        (row,) degrees north, in [-90, 90]; (column,) degrees east.
    nside
        Resolution, a power of two.

    Returns
    -------
    index, weight : numpy.ndarray
        (4, row, column) each, nested cells; some weights are slightly negative.

    Examples
    --------
    >>> index, weight = raster_wind_weights([60.0, -80.0], [10.0, 200.0], nside=16)
    >>> weight.shape, weight.sum(axis=0).round(12).tolist()
    ((4, 2, 2), [[1.0, 1.0], [1.0, 1.0]])
    """
    index, weight = raster_weights(latitude, longitude, nside)
    north, east = np.asarray(latitude)[:, None], np.asarray(longitude)[None]
    positions, rows = cell_positions(nside), max(1, _BLOCK // max(1, east.size))
    for start in range(0, north.size, rows):
        block = np.s_[:, start : start + rows]
        place = Frames.at(north[start : start + rows], east)
        cells = np.take(positions, index[block], axis=1)
        weight[block] = exact_for_linear(weight[block], place, cells)
    return index, weight


def _ring_above(z: Float64, nside: int) -> Int64:
    """Return the ring at or north of each height on the unit sphere; 0 north of the first."""
    cap = (nside * np.sqrt(3.0 * (1.0 - np.abs(z)))).astype(np.int64)
    belt = (nside * (2.0 - 1.5 * z)).astype(np.int64)
    in_cap = np.where(z > 0, cap, 4 * nside - cap - 1)
    return np.where(np.abs(z) > 2.0 / 3.0, in_cap, belt)


@lru_cache(maxsize=8)
def _rings(nside: int) -> tuple[Int64, Int64, Float64, Float64]:
    """Describe the rings of cells, from 0 to 4 nside: the first and the last are the poles.

    Returns
    -------
    starts, sizes, shifts, theta : ndarray
        (ring,): first ring index, number of cells, place of the first centre in cells, and
        colatitude, radians. The ring of a pole has the numbers of the four cells around it.
    """
    ring = np.arange(4 * nside + 1)
    north = np.minimum(ring, 4 * nside - ring)
    in_cap = north < nside
    sizes = np.where(in_cap, 4 * np.maximum(north, 1), 4 * nside)
    shifted = in_cap | ((ring - nside) % 2 == 0)
    belt = 2 * nside * (nside - 1) + 4 * nside * (ring - nside)
    starts = np.where(in_cap, 2 * north * (north - 1), belt)
    south = in_cap & (ring > nside)
    starts[south] = cells_of_nside(nside) - 2 * north[south] * (north[south] + 1)
    starts[[0, -1]] = 0, cells_of_nside(nside) - 4
    z = np.where(in_cap, 1.0 - north**2 / (3.0 * nside**2), (2.0 - ring / nside) * 2.0 / 3.0)
    theta = np.arccos(np.where(south, -z, z))
    # Near a pole the cosine loses digits; the sine of the half angle does not.
    caps = 2.0 * np.arcsin(north / (nside * np.sqrt(6.0)))
    theta = np.where(in_cap, np.where(south, np.pi - caps, caps), theta)
    return starts, sizes, np.where(shifted, 0.5, 0.0), theta
