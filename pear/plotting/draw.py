"""Parts of a map, drawn on matplotlib axes in projection units."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import Colormap, Normalize
from matplotlib.patches import Polygon

from pear.plotting.projections import IndexImage, View, boundary, extent, outlines
from pear.plotting.styles import Kind, style_of
from pear.resources.natural_earth import Resolution
from pear.typing import Array, Float32
from pear.variables import variable

_BLOCK_ROWS: Final = 128
_HALO: Final = (1.0, 1.0, 1.0, 0.45)


def colour(image: Float32, colours: Colormap, norm: Normalize) -> npt.NDArray[np.uint8]:
    """Return the colours (row, column, 4) of an image; NaN, off the map, is transparent."""
    rgba = np.empty((*image.shape, 4), dtype=np.uint8)
    for start in range(0, image.shape[0], _BLOCK_ROWS):  # matplotlib's steps need much more memory
        rows = slice(start, start + _BLOCK_ROWS)
        rgba[rows] = colours(norm(image[rows]), bytes=True)
    rgba[~np.isfinite(image)] = 0
    return rgba


def draw_isolines(axes: Axes, table: IndexImage, shown: Array, spacing: float) -> None:
    """Draw isolines from every other pixel, which is finer than the cells and four times faster."""
    image = table.image(shown)[::2, ::2]
    low, high = float(np.nanmin(image)), float(np.nanmax(image))
    while (high - low) / spacing > 40:
        spacing *= 2
    levels = np.arange(np.ceil(low / spacing), np.floor(high / spacing) + 1) * spacing
    if levels.size == 0:
        return
    left, right, bottom, top = table.extent
    x = left + (np.arange(image.shape[1]) * 2 + 0.5) * (right - left) / table.shape[1]
    y = top - (np.arange(image.shape[0]) * 2 + 0.5) * (top - bottom) / table.shape[0]
    lines = axes.contour(x, y, np.ma.masked_invalid(image), levels, colors="0.15", linewidths=0.6)
    axes.clabel(lines, levels[::2], fontsize=6, fmt="%g", inline_spacing=2)


def draw_outlines(axes: Axes, view: View, resolution: Resolution = "110m") -> None:
    """Draw coastlines and the edge of the map."""
    coast = outlines(view, resolution)
    # A light line below the dark one keeps it visible on dark colours.
    for colour, width in ((_HALO, 2.0), ("black", 0.7)):
        lines = LineCollection(coast, colors=colour, linewidths=width, zorder=3)
        axes.add_collection(lines, autolim=False)
    if view.box is None:
        edge = boundary(view)
    else:
        left, right, bottom, top = extent(view)
        edge = np.array([(left, bottom), (right, bottom), (right, top), (left, top)])
    frame = Polygon(edge, closed=True, fill=False, lw=1.0, ec="0.2", zorder=4)
    axes.add_patch(frame)
    frame.set_clip_on(False)


def exceeds(shown: Array, limits: tuple[float, float]) -> tuple[bool, bool]:
    """Return whether values lie below and above the limits of a colour bar.

    Parameters
    ----------
    shown
        Values in shown units; missing ones do not count.
    limits
        Ends of the colour bar.

    Returns
    -------
    below, above : bool
        By more than rounding.

    Examples
    --------
    >>> from pear.plotting.draw import exceeds
    >>> exceeds(np.array([-1.0, 5.0]), (0.0, 5.0))
    (True, False)
    """
    slack = 1e-6 * (limits[1] - limits[0])
    low, high = float(np.nanmin(shown)), float(np.nanmax(shown))
    return low < limits[0] - slack, high > limits[1] + slack


def exceeds_as_extend(shown: Array, limits: tuple[float, float]) -> str:
    """Return matplotlib's ``extend`` for a colour bar: which ends values lie beyond.

    Parameters
    ----------
    shown
        Values in shown units; missing ones do not count.
    limits
        Ends of the colour bar.

    Returns
    -------
    str
        ``neither``, ``min``, ``max`` or ``both``.

    Examples
    --------
    >>> from pear.plotting.draw import exceeds_as_extend
    >>> exceeds_as_extend(np.array([-1.0, 5.0]), (0.0, 5.0))
    'min'
    """
    below, above = exceeds(shown, limits)
    return {(0, 0): "neither", (1, 0): "min", (0, 1): "max", (1, 1): "both"}[below, above]


def draw_bar_ends(bar: Axes, colours: Colormap, limits: tuple[float, float], shown: Array) -> None:
    """Draw a triangle at each end of a horizontal colour bar that values lie beyond."""
    below, above = exceeds(shown, limits)
    for drawn, x, tip, colour in (
        (below, 0.0, -0.03, colours(0.0)),
        (above, 1.0, 1.03, colours(1.0)),
    ):
        if drawn:
            corners = [(x, 0.0), (tip, 0.5), (x, 1.0)]
            end = Polygon(corners, fc=colour, ec="black", lw=0.8, transform=bar.transAxes)
            end.set_clip_on(False)
            bar.add_patch(end)


def heading(name: str, level: int | None, kind: Kind = "field") -> str:
    """Return the title of a map: the variable, its level and what is shown of it.

    Parameters
    ----------
    name
        Canonical name or alias.
    level
        Pressure level in hPa, or None.
    kind
        What is shown of the variable.

    Returns
    -------
    str
        Such as ``Geopotential height at 500 hPa``.

    Examples
    --------
    >>> from pear.plotting.draw import heading
    >>> heading("z", 500), heading("t2m", None, "difference")
    ('Geopotential height at 500 hPa', 'Difference of air temperature at 2 m')
    """
    long_name = style_of(name).label or variable(name).long_name
    where = long_name if level is None else f"{long_name} at {level} hPa"
    where = where if kind == "field" else f"{where[0].lower()}{where[1:]}"
    return {
        "field": where,
        "difference": f"Difference of {where}",
        "spread": f"Ensemble spread of {where}",
        "probability": f"Probability of {where}",
    }[kind]
