"""Comparison of a field before and after regridding, without interpolation between points."""

from __future__ import annotations

import io
from typing import Final

import numpy as np
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from pear.datasets.fields import regrid_field
from pear.plotting.draw import exceeds_as_extend
from pear.plotting.styles import Kind, limits_for, style_of
from pear.resources.natural_earth import coastline
from pear.sphere.healpix import cell_of, nside_from_cells
from pear.sphere.regrid import apply, apply_wind, healpix_to_latlon_bilinear
from pear.sphere.source_grids import HealpixGrid, SourceGrid, area_shares
from pear.sphere.vectors import cell_frames, grid_frames
from pear.typing import Array, Float64, Int64
from pear.variables import variable, wind_pair

_ROWS, _COLUMNS = 720, 1440
_EXTENT: Final = (-180.0, 180.0, -90.0, 90.0)


def render_comparison(
    cells: Array,
    name: str,
    heading: str,
    before: tuple[SourceGrid, Array] | None = None,
    partner: Array | None = None,
    level: int | None = None,
    kind: Kind = "field",
) -> bytes:
    """Draw the cells of a store as a PNG, below the points that they were regridded from.

    Each pixel has the value of the nearest cell or point. A third panel shows the cells
    interpolated back to the points, minus the points.

    Parameters
    ----------
    cells
        Field (cell,) in nested order, in the unit of the variable; missing values stay white.
    name
        Canonical name or alias of the variable.
    heading
        Level, time and store, which follow the name in the title.
    before
        Grid of the source, and its field (point,) in the same unit (default: the cells only).
    partner
        If the field is a component of a wind: the other component (cell,), with which it is
        interpolated as a vector.
    level
        Pressure level in hPa, for the limits of the colour bar (default: those of the field).
    kind
        What is shown of the variable.

    Returns
    -------
    bytes
        The PNG.
    """
    style = style_of(name, kind)
    nside = nside_from_cells(cells.shape[-1])
    lat, lon = _pixels()
    panels: list[tuple[str, Array]] = [
        (f"HEALPix nside {nside}", style.shown(cells)[cell_of(lat, lon, nside)])
    ]
    low, high = limits_for(style, style.shown(cells)[np.isfinite(cells)], level)
    norms, colours = [Normalize(low, high)], [style.colours]
    if before is not None:
        grid, field = before
        nearest = _nearest(grid, lat, lon)
        panels.insert(0, (f"source: {grid}", style.shown(field)[nearest]))
        error = (_at_points(cells, partner, name, grid) - field) * style.scale
        rms, largest = _error_size(grid, error)
        text = f"cells interpolated to the source minus source: rms {rms:.3g}, max {largest:.3g}"
        panels.append((text, error[nearest]))
        end = max(largest, 1e-9)
        norms, colours = [*norms, norms[0], Normalize(-end, end)], [*colours, *colours, "RdBu_r"]
    long_name = variable(name).long_name
    if kind != "field":
        long_name = f"{kind.capitalize()} of {long_name[0].lower()}{long_name[1:]}"
    return _draw(panels, norms, colours, f"{long_name}{heading}", style.units)


def _at_points(cells: Array, partner: Array | None, name: str, grid: SourceGrid) -> Array:
    """Return the cells interpolated to the points of a grid (point,)."""
    nside, pair = nside_from_cells(cells.shape[-1]), wind_pair(variable(name).name)
    if isinstance(grid, HealpixGrid):
        field = cells, partner
        return regrid_field(field, HealpixGrid(nside), grid.nside, "bilinear", variable(name).name)
    if pair is None or partner is None:
        return apply(healpix_to_latlon_bilinear(nside, grid), cells)
    which = pair.index(variable(name).name)
    u, v = (cells, partner) if which == 0 else (partner, cells)
    weights = healpix_to_latlon_bilinear(nside, grid, vector=True)
    return apply_wind(weights, u, v, cell_frames(nside), grid_frames(grid))[which]


def _pixels() -> tuple[Float64, Float64]:
    """Return latitude and longitude (row, column) of the pixels, from the north-west corner."""
    lat = 90.0 - (np.arange(_ROWS) + 0.5) * 180.0 / _ROWS
    lon = -180.0 + (np.arange(_COLUMNS) + 0.5) * 360.0 / _COLUMNS
    a, b = np.meshgrid(lat, lon, indexing="ij")
    return a, b


def _nearest(grid: SourceGrid, lat: Float64, lon: Float64) -> Int64:
    """Return the nearest point of a grid, or the cell that holds each pixel."""
    if isinstance(grid, HealpixGrid):
        return cell_of(lat, lon, grid.nside)
    row = np.rint((lat - grid.lat[0]) / grid.lat_step).astype(np.int64)
    column = np.rint((lon - grid.lon[0]) / grid.lon_step).astype(np.int64) % grid.columns
    return np.asarray(np.clip(row, 0, grid.lat.size - 1) * grid.lon.size + column)


def _error_size(grid: SourceGrid, error: Array) -> tuple[float, float]:
    """Return the area-weighted root mean square and the largest absolute value."""
    return float(np.sqrt((area_shares(grid) * error**2).sum())), float(np.abs(error).max())


def _draw(
    panels: list[tuple[str, Array]],
    norms: list[Normalize],
    colours: list[str],
    title: str,
    unit: str,
) -> bytes:
    size = (10, 4.9 * len(panels) + 0.4)
    figure = Figure(figsize=size, dpi=100, facecolor="white", layout="constrained")
    rows = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
    for axes, (text, image), norm, name in zip(rows, panels, norms, colours, strict=True):
        shown = axes.imshow(image, norm=norm, cmap=colormaps[name], extent=_EXTENT)
        lines = LineCollection(list(coastline("110m")), colors="black", linewidths=0.6)
        axes.add_collection(lines, autolim=False)
        axes.set(title=text, xticks=range(-180, 181, 60), yticks=range(-90, 91, 30))
        axes.title.set_fontsize(9)
        extend = exceeds_as_extend(image, (float(norm.vmin or 0.0), float(norm.vmax or 0.0)))
        figure.colorbar(shown, ax=axes, shrink=0.8, pad=0.02, label=unit, extend=extend)
    figure.suptitle(title, fontsize=11)
    buffer = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
