"""Winds as vectors: the one way in which every regridding takes them from place to place.

East and north are other directions at every place, and have no meaning at a pole. Eastward and
northward components are therefore not interpolated or averaged by themselves: the vector is
written in three Cartesian components, which are, and the result is resolved into east and north
where it belongs. A flow across a pole is then as accurate as any other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from pear.sphere import healpix
from pear.sphere.latlon import LatLonGrid
from pear.typing import Array, Float64, Int64

_CACHED: Final = 8

Interpolation = Callable[[Float64], Array]
"""A linear map of scalars from one set of points to another, along the last axes."""


@dataclass(frozen=True, eq=False)
class Frames:
    """Directions east and north at some points.

    Attributes
    ----------
    sin_lat, cos_lat, sin_lon, cos_lon
        Sines and cosines of latitude and longitude; shapes broadcast to that of the points.

    Examples
    --------
    >>> pole = Frames.at([90.0, 90.0], [0.0, 90.0])  # the same place, looked at along two meridians
    >>> x, y, z = pole.to_cartesian(np.array([0.0, 5.0]), np.array([5.0, 0.0]))
    >>> x.round(9).tolist(), y.round(9).tolist()
    ([-5.0, -5.0], [0.0, 0.0])
    """

    sin_lat: Float64
    cos_lat: Float64
    sin_lon: Float64
    cos_lon: Float64

    @classmethod
    def at(cls, latitude: npt.ArrayLike, longitude: npt.ArrayLike) -> Frames:
        """Return the frames at points.

        Parameters
        ----------
        latitude, longitude
            Degrees north and east; shapes broadcast. At a pole the longitude tells which way
            north is: along the meridian on which the pole is reached.

        Returns
        -------
        Frames
            Of the same points.
        """
        lat = np.deg2rad(np.asarray(latitude, dtype=np.float64))
        lon = np.deg2rad(np.asarray(longitude, dtype=np.float64))
        return cls(np.sin(lat), np.cos(lat), np.sin(lon), np.cos(lon))

    def take(self, index: npt.ArrayLike) -> Frames:
        """Return the frames of some of the points, in the shape of the index."""
        parts = (self.sin_lat, self.cos_lat, self.sin_lon, self.cos_lon)
        return Frames(*(part[np.asarray(index)] for part in parts))

    def positions(self) -> Float64:
        """Return the points as unit vectors, (3, *points)."""
        x, y = self.cos_lat * self.cos_lon, self.cos_lat * self.sin_lon
        return np.stack([x, y, np.broadcast_to(self.sin_lat, x.shape)])

    def to_cartesian(self, u: Array, v: Array) -> Float64:
        """Return Cartesian components of winds.

        Parameters
        ----------
        u, v
            (…, *points), eastward and northward.

        Returns
        -------
        ndarray
            (3, …, *points): towards 0° E, 90° E, and the north pole.
        """
        inward = v * self.sin_lat
        x = -u * self.sin_lon - inward * self.cos_lon
        y = u * self.cos_lon - inward * self.sin_lon
        return np.stack([x, y, v * self.cos_lat])

    def from_cartesian(self, xyz: Array) -> tuple[Float64, Float64]:
        """Return eastward and northward components, without the vertical one.

        Parameters
        ----------
        xyz
            (3, …, *points).

        Returns
        -------
        u, v : ndarray
            (…, *points) each.
        """
        x, y, z = xyz
        u = y * self.cos_lon - x * self.sin_lon
        v = z * self.cos_lat - (x * self.cos_lon + y * self.sin_lon) * self.sin_lat
        return u, v


def carry(
    u: Array, v: Array, source: Frames, target: Frames, interpolate: Interpolation
) -> tuple[Float64, Float64]:
    """Interpolate or average winds.

    Parameters
    ----------
    u, v
        (…, *points of the source), eastward and northward.
    source, target
        Frames at the points from which and to which the winds are taken.
    interpolate
        Applied to (3, …, *points of the source); returns (3, …, *points of the target).

    Returns
    -------
    u, v : ndarray
        (…, *points of the target) each.

    Examples
    --------
    The wind at the pole from four cells around it, through all of which 20 m/s blow the same way:

    >>> around = Frames.at(np.full(4, 89.0), [45.0, 135.0, 225.0, 315.0])
    >>> u, v = around.from_cartesian(np.array([20.0, 0.0, 0.0])[:, None])
    >>> mean = lambda fields: fields.mean(axis=-1)
    >>> east, north = carry(u, v, around, Frames.at(90.0, 270.0), mean)
    >>> bool(np.isclose(east, 20, atol=0.01)), bool(np.isclose(north, 0, atol=0.01))
    (True, True)
    >>> bool(np.isclose(u.mean(), 0)), bool(np.isclose(v.mean(), 0))  # of the components: calm
    (True, True)
    """
    return target.from_cartesian(interpolate(source.to_cartesian(u, v)))


def keep_speed(
    wind: tuple[Float64, Float64], before: tuple[Array, Array]
) -> tuple[Float64, Float64]:
    """Scale winds to the speed they had, where each is taken from one place to another.

    What :func:`carry` projects onto another horizontal plane is a little shorter; a mean is to be
    so, a single wind that is only turned is not.

    Parameters
    ----------
    wind
        Eastward and northward.
    before
        The same winds where they were taken from.

    Returns
    -------
    u, v : ndarray
        Eastward and northward.

    Examples
    --------
    >>> u, v = keep_speed((np.array([2.9]), np.array([0.0])), (np.array([0.0]), np.array([3.0])))
    >>> u.round(6), v
    (array([3.]), array([0.]))
    """
    speed = np.hypot(*wind)
    factor = np.hypot(*before) / np.where(speed > 0, speed, 1.0)
    return wind[0] * factor, wind[1] * factor


def wind_weights(
    latitude: npt.ArrayLike, longitude: npt.ArrayLike, nside: int
) -> tuple[Int64, Float64]:
    """Return the four nested cells around each point and the weights of winds at them.

    Bilinear weights follow the parallels, which are tight circles at the poles: in a rigid
    rotation of the atmosphere the wind half-way between two of the innermost four cells is a third
    too slow. The weights are therefore changed by as little as makes them exact for what is linear
    in the tangent plane of the point.

    Parameters
    ----------
    latitude, longitude
        (point,), degrees north and degrees east.
    nside
        Resolution, a power of two.

    Returns
    -------
    index, weight : numpy.ndarray
        (4, point) each; the weights sum to 1, some are slightly negative.

    Examples
    --------
    >>> index, weight = wind_weights([88.0], [10.0], nside=16)
    >>> cells, point = cell_frames(16).take(index), Frames.at(88.0, 10.0)
    >>> u, v = 40 * cells.cos_lat, np.zeros(index.shape)  # a rigid rotation, 40 m/s at the equator
    >>> east, _ = carry(u, v, cells, point, lambda xyz: (weight * xyz).sum(axis=1))
    >>> (east / (40 * point.cos_lat)).round(3).tolist()
    [0.999]
    """
    index, weight = healpix.interpolation_weights(latitude, longitude, nside)
    cells = np.take(cell_positions(nside), index, axis=1)
    return index, exact_for_linear(weight, Frames.at(latitude, longitude), cells)


def exact_for_linear(weight: Float64, place: Frames, cells: Float64) -> Float64:
    """Change weights by as little as makes them exact for what is linear around each point.

    Parameters
    ----------
    weight
        (4, *points), which sum to 1.
    place
        Frames at the points.
    cells
        (3, 4, *points), unit vectors of the cells around them.

    Returns
    -------
    ndarray
        (4, *points), which sum to 1.

    Examples
    --------
    >>> index, _ = healpix.interpolation_weights([80.0], [10.0], 16)
    >>> place, cells = Frames.at([80.0], [10.0]), cell_positions(16)[:, index]
    >>> exact_for_linear(np.full((4, 1), 0.25), place, cells).sum().round(12)
    np.float64(1.0)
    """
    # Coordinates of the cells in the tangent plane; in place, since the arrays are large.
    east, north = place.from_cartesian(cells)
    off_east, off_north = _product(weight, east), _product(weight, north)
    east -= east.mean(axis=0)
    north -= north.mean(axis=0)
    aa, ab, bb = _product(east, east), _product(east, north), _product(north, north)
    scale = 1.0 / (aa * bb - ab**2)
    east *= (ab * off_north - bb * off_east) * scale
    north *= (ab * off_east - aa * off_north) * scale
    east += north
    east += weight
    return east


def _product(one: Float64, other: Float64) -> Float64:
    """Return Σ one · other over the first axis."""
    return np.asarray(np.einsum("k...,k...->...", one, other))


@lru_cache(maxsize=_CACHED)
def cell_frames(nside: int) -> Frames:
    """Return the frames at the centres of the nested HEALPix cells.

    Returns
    -------
    Frames
        (cell,), cached.

    Examples
    --------
    >>> cell_frames(4).sin_lat.shape
    (192,)
    """
    return Frames.at(*healpix.centres(nside))


@lru_cache(maxsize=_CACHED)
def cell_positions(nside: int) -> Float64:
    """Return the centres of the nested HEALPix cells as unit vectors.

    Returns
    -------
    ndarray
        (3, cell), cached.

    Examples
    --------
    >>> cell_positions(4).shape, (cell_positions(4) ** 2).sum(axis=0).round(12).max()
    ((3, 192), np.float64(1.0))
    """
    return cell_frames(nside).positions()


def grid_frames(grid: LatLonGrid) -> Frames:
    """Return the frames at the points of a grid.

    Returns
    -------
    Frames
        (row x column,), in the order of the grid.

    Examples
    --------
    >>> from pear.sphere.latlon import global_grid
    >>> grid_frames(global_grid(19, 36)).cos_lon.shape
    (684,)
    """
    north, east = np.meshgrid(grid.lat, grid.lon, indexing="ij")
    return Frames.at(np.clip(north.ravel(), -90.0, 90.0), east.ravel())


def coarsen_wind(u: Array, v: Array, nside_out: int) -> tuple[Array, Array]:
    """Average winds over the cells of a coarser grid, as :func:`pear.sphere.healpix.coarsen`.

    Parameters
    ----------
    u, v
        (…, cell), nested, eastward and northward.
    nside_out
        Resolution of the result.

    Returns
    -------
    u, v : ndarray
        (…, coarse cell) each, in the dtype of ``u``; unchanged if the resolution is the same.

    Examples
    --------
    >>> east, north = coarsen_wind(np.full(192, 3.0), np.zeros(192), 4)
    >>> bool((east == 3.0).all()), north.shape
    (True, (192,))
    """
    nside = healpix.nside_from_cells(u.shape[-1])
    if nside == nside_out:
        return u, v
    source, target = cell_frames(nside), cell_frames(nside_out)
    out = carry(u, v, source, target, lambda xyz: healpix.coarsen(xyz, nside_out))
    east, north = (part.astype(u.dtype, copy=False) for part in out)
    return east, north
