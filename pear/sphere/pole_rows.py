"""Rows of latitude-longitude grids that lie on a pole, where all points are one place."""

from __future__ import annotations

from typing import Final

import numpy as np

from pear.sphere.latlon import LatLonGrid
from pear.typing import Array, Float64

_TOLERANCE: Final = 0.05
"""Share of a row that may be something else than one wind: packing and rounding are smaller."""
_CALM: Final = 0.1
"""Share of the wind that the rows beside it imply, below which a row holds nothing."""


def mend_pole_rows(component: Array, grid: LatLonGrid) -> Array:
    """Return a component of a wind with one wind in the rows on the poles.

    A pole has one wind, which looks from each meridian like a cosine of the longitude. Many files
    hold that; others hold zeros, one value, or the mean of the next row instead. Such a row is
    replaced by the wavenumber 1 of the two rows beside it, extrapolated to the pole.

    Parameters
    ----------
    component
        (…, point), eastward or northward, finite.
    grid
        Grid of the points.

    Returns
    -------
    ndarray
        (…, point); the argument itself if nothing had to be replaced.

    Examples
    --------
    >>> from pear.sphere.latlon import global_grid
    >>> from pear.sphere.pole_rows import mend_pole_rows
    >>> grid = global_grid(19, 36)
    >>> lon = np.deg2rad(grid.lon)
    >>> u = np.broadcast_to(10 * np.cos(lon), grid.shape).copy()
    >>> u[0] = 0.0
    >>> mended = mend_pole_rows(u.ravel(), grid).reshape(grid.shape)
    >>> bool(np.allclose(mended[0], 10 * np.cos(lon))), bool(u[0].any())
    (True, False)
    """
    ends = [end for end in (0, -1) if abs(grid.lat[end]) > 90.0 - 1e-6]
    if not ends or grid.lat.size < 5:
        return component
    fields = component.reshape(-1, *grid.shape)
    mended = None
    for end in ends:
        step = 1 if end == 0 else -1
        rows = fields[:, [end, end + step, end + 2 * step], : grid.columns].astype(np.float64)
        pole, near, next_ = np.moveaxis(_wavenumber_1(rows, grid), 1, 0)
        a, b = (np.deg2rad(90.0 - abs(grid.lat[end + k * step])) ** 2 for k in (1, 2))
        wind = (near * b - next_ * a) / (b - a)
        wrong = _wrong(rows[:, 0], pole, wind)
        if not wrong.any():
            continue
        mended = fields.copy() if mended is None else mended
        mended[wrong, end, : grid.columns] = wind[wrong]
        if grid.closed:
            mended[wrong, end, -1] = wind[wrong, 0]
    return component if mended is None else mended.reshape(component.shape)


def _wavenumber_1(rows: Float64, grid: LatLonGrid) -> Float64:
    """Return the part of rows (…, column) that varies as the cosine of the longitude."""
    lon = np.deg2rad(grid.lon[: grid.columns])
    waves = np.stack([np.cos(lon), np.sin(lon)])
    return np.asarray(2.0 / grid.columns * (rows @ waves.T) @ waves)


def _wrong(row: Float64, pole: Float64, wind: Float64) -> Array:
    """Return which rows (field, column) do not hold one wind, or none where there is one."""
    size = np.maximum(_rms(row), _rms(wind))
    return np.asarray((_rms(row - pole) > _TOLERANCE * size) | (_rms(row) < _CALM * _rms(wind)))


def _rms(row: Float64) -> Float64:
    return np.asarray(np.sqrt((row**2).mean(axis=-1)))
