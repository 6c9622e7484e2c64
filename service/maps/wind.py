"""Wind arrows, in the direction of the wind in every projection."""

from __future__ import annotations

from typing import Final

import numpy as np
from matplotlib.axes import Axes

from pear.plotting.projections import IndexImage, View, locate, project
from pear.sphere.healpix import nside_from_cells
from pear.sphere.vectors import Frames, carry, cell_frames, wind_weights
from pear.typing import Array

_PIXELS_APART: Final = 30
"""Distance of arrows on a map of 1000 pixels; larger on larger maps."""
_LONGEST: Final = 1.3
"""Length of the arrow that the key names, in distances between arrows."""
_STEP_DEGREES: Final = 0.05
_SPEEDS: Final = (1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 60.0, 80.0, 120.0, 160.0, 200.0)
"""Speeds of the key, m s⁻¹."""
WindField = tuple[Array, Array]
"""Eastward and northward wind (cell,), m s⁻¹."""


def draw_wind(
    axes: Axes, view: View, table: IndexImage, wind: WindField, key_at: tuple[float, float]
) -> None:
    """Draw wind arrows, their length in proportion to the speed, and an arrow of a round speed.

    The scale is such that all but the fastest winds are about as long as the distance of arrows;
    the fastest are longer, never cut off.

    Parameters
    ----------
    axes
        Axes of the map.
    view, table
        Projection and pixels of the map.
    wind
        Eastward and northward wind.
    key_at
        Where the key is drawn, as shares of the figure.
    """
    x, y, east, north = arrows(view, table, wind)
    full = _full_speed(np.hypot(east, north))
    gap = _apart(table) * (table.extent[1] - table.extent[0]) / table.shape[1]
    scale = _LONGEST * gap / full
    drawn = axes.quiver(
        x,
        y,
        east * scale,
        north * scale,
        angles="xy",
        scale_units="xy",
        scale=1,
        width=0.0013,
        headwidth=3.4,
        headlength=3.8,
        headaxislength=3.4,
        minlength=0.6,
        color="0.1",
        pivot="mid",
        zorder=2.5,
    )
    key = axes.quiverkey(
        drawn,
        *key_at,
        full * scale,
        f"{full:g} m s⁻¹",
        labelpos="E",
        coordinates="figure",
        labelsep=0.05,
        fontproperties={"size": 7.5},
    )
    key.set_zorder(5)


def _apart(table: IndexImage) -> float:
    """Return the distance of arrows, pixels."""
    return _PIXELS_APART * min(2.0, max(0.7, table.shape[1] / 1000))


def _full_speed(speed: Array) -> float:
    """Return a round speed that 98 % of the winds are below, m s⁻¹."""
    fast = float(np.percentile(speed, 98)) if speed.size else 0.0
    return next((full for full in _SPEEDS if full >= fast), _SPEEDS[-1])


def arrows(view: View, table: IndexImage, wind: WindField) -> tuple[Array, Array, Array, Array]:
    """Return positions and components of the arrows.

    The direction on the map is that of a short step along the wind on the sphere.

    Returns
    -------
    tuple
        x and y in projection units; components along x and y, m s⁻¹. Each (arrow,).
    """
    rows, columns = table.shape
    left, right, bottom, top = table.extent
    gap = _apart(table)
    x = left + np.arange(gap / 2, columns, gap) * (right - left) / columns
    y = top - np.arange(gap / 2, rows, gap) * (top - bottom) / rows
    grid_x, grid_y = (axis.ravel() for axis in np.meshgrid(x, y))
    longitude, latitude, inside = locate(view, grid_x, grid_y)
    inside &= np.abs(latitude) < 90.0 - 2 * _STEP_DEGREES
    grid_x, grid_y = grid_x[inside], grid_y[inside]
    longitude, latitude = longitude[inside], latitude[inside]
    nside = nside_from_cells(wind[0].size)
    index, weight = wind_weights(latitude, longitude, nside)
    u, v = carry(
        wind[0][index],
        wind[1][index],
        cell_frames(nside).take(index),
        Frames.at(latitude, longitude),
        lambda xyz: (weight * xyz).sum(axis=1),
    )
    speed = np.hypot(u, v)
    unit = _STEP_DEGREES / np.maximum(speed, 1e-6)
    step_x, step_y = project(
        view, longitude + u * unit / np.cos(np.radians(latitude)), latitude + v * unit
    )
    along_x, along_y = step_x - grid_x, step_y - grid_y
    length = np.hypot(along_x, along_y)
    near = np.isfinite(length) & (length > 0) & (length < 0.02 * (right - left))
    factor = np.where(near, speed / np.where(near, length, 1.0), 0.0)
    return grid_x[near], grid_y[near], (along_x * factor)[near], (along_y * factor)[near]
