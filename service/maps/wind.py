"""Wind as arrows on a map, in every projection pointing where the wind blows."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pear.sphere.grid import interpolation_weights, nside_from_cells
from service.maps.projections import IndexImage, View, locate, project

_PIXELS_APART: Final = 30
_STEP_DEGREES: Final = 0.05
_SPEED_OF_FULL_ARROW: Final = 20.0
Fields = tuple[npt.NDArray[Any], npt.NDArray[Any]]


def draw_wind(axes: Any, view: View, table: IndexImage, wind: Fields) -> None:
    """Draw arrows every 30 pixels; one as long as that gap is 20 m s⁻¹."""
    x, y, east, north = arrows(view, table, wind)
    gap = _PIXELS_APART * (table.extent[1] - table.extent[0]) / table.shape[1]
    scale = gap / _SPEED_OF_FULL_ARROW
    axes.quiver(
        x, y, east * scale, north * scale, angles="xy", scale_units="xy", scale=1, width=0.0014,
        headwidth=4.5, color="0.1", pivot="mid", zorder=2.5,
    )  # fmt: skip


def arrows(
    view: View, table: IndexImage, wind: Fields
) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]:
    """Places and components of arrows, each (arrow,), in projection units and m s⁻¹.

    The direction on the map is that of a short step along the wind on the sphere; the length is
    the speed.
    """
    rows, columns = table.shape
    left, right, bottom, top = table.extent
    half = _PIXELS_APART / 2
    x = left + np.arange(half, columns, _PIXELS_APART) * (right - left) / columns
    y = top - np.arange(half, rows, _PIXELS_APART) * (top - bottom) / rows
    grid_x, grid_y = (axis.ravel() for axis in np.meshgrid(x, y))
    longitude, latitude, inside = locate(view, grid_x, grid_y)
    inside &= np.abs(latitude) < 85.0  # where a step eastwards is no longer straight
    grid_x, grid_y = grid_x[inside], grid_y[inside]
    longitude, latitude = longitude[inside], latitude[inside]
    index, weight = interpolation_weights(latitude, longitude, nside_from_cells(wind[0].size))
    u, v = ((weight * field[index]).sum(axis=0) for field in wind)
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
