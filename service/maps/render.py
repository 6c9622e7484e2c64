"""Rendering of one field as a PNG map, with Figure objects and the Agg canvas."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps, rc_context
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pear.errors import InputError
from pear.plotting.draw import colour, draw_bar_ends, draw_isolines, draw_outlines, heading
from pear.plotting.projections import IndexImage, View, index_image
from pear.plotting.styles import Kind, check_colours, limits_for, style_of
from pear.sphere.healpix import nside_from_cells
from pear.times import as_utc, to_iso
from pear.typing import Array
from pear.variables.own import DEFINITIONS, adopt_definitions
from service.maps.wind import draw_wind

MapFormat = Literal["png", "svg"]
_DPI: Final = 100
WIDTHS: Final = (200, 2000)
_BAR_PIXELS: Final = 56
_SIDE_PIXELS: Final = 12
_POINTS: Final = 8.5
_ONE_LINE, _TWO_LINES = 640, 340
"""Smallest widths in pixels at which the title fits on one line, and on two."""


@dataclass(frozen=True)
class MapTitle:
    """Title of a map.

    Attributes
    ----------
    model
        Name of the model.
    init_time
        Init time, UTC.
    lead_hours
        Lead time, hours.
    heading
        First line (default: variable, level and kind of map).
    note
        What else the field is, at the end of the first line: ``mean of 8 members``.
    """

    model: str
    init_time: np.datetime64
    lead_hours: int
    heading: str | None = None
    note: str = ""

    def first_line(self, default: str) -> str:
        """Return the heading, or a default one, with the note."""
        return ", ".join(part for part in (self.heading or default, self.note) if part)

    @property
    def valid_time(self) -> np.datetime64:
        """Init time plus lead time."""
        valid: np.datetime64 = as_utc(self.init_time)[0] + np.timedelta64(self.lead_hours, "h")
        return valid

    def line(self) -> str:
        """Return model, init, valid and lead time in one line."""
        init, valid = (
            to_iso(time)[:16].replace("T", " ") for time in (self.init_time, self.valid_time)
        )
        lead = f"+{self.lead_hours} h"
        return f"{self.model}   init {init} UTC   valid {valid} UTC   lead {lead}"

    def lines(self, width: int) -> list[str]:
        """Return the same, split into lines for a map of this width in pixels."""
        model, init, valid, lead = self.line().split("   ")
        if width >= _ONE_LINE:
            return [self.line()]
        if width >= _TWO_LINES:
            return [f"{model}   {lead}", f"{init}   {valid}"]
        return [model, init, f"{valid}   {lead}"]


@dataclass(frozen=True)
class MapOptions:
    """Options of a map.

    Attributes
    ----------
    view
        Projection and centre.
    width
        Width of the PNG in pixels.
    vmin, vmax
        Limits of the colour bar in shown units; None for those of the variable.
    colours
        Colour map; None for that of the variable.
    kind
        ``field``; ``difference`` of two fields, symmetric about zero; ``spread`` of an ensemble,
        from zero; ``probability``, per cent.
    isolines
        Draw isolines if the variable has a spacing of them.
    format
        ``png``, or ``svg``: text, isolines, coastlines and wind as curves, which print sharply at
        any size, over the field as an image of the width.
    defined
        Definitions of variables that the store carries, for a process that has not opened it.

    Raises
    ------
    InputError
        If the width is out of range, a limit is not finite, or the limits are reversed.
    """

    view: View = field(default_factory=View)
    width: int = 1000
    vmin: float | None = None
    vmax: float | None = None
    colours: str | None = None
    kind: Kind = "field"
    isolines: bool = True
    format: MapFormat = "png"
    defined: str | None = None

    def __post_init__(self) -> None:
        if not WIDTHS[0] <= self.width <= WIDTHS[1]:
            raise InputError(
                f"width {self.width} is outside {WIDTHS[0]} to {WIDTHS[1]} pixels", field="width"
            )
        if self.vmin is not None and self.vmax is not None and not self.vmin < self.vmax:
            raise InputError(f"vmin {self.vmin} must be below vmax {self.vmax}", field="vmin")
        if self.colours is not None:
            check_colours(self.colours)


class _Pixels(Artist):
    """An image copied to the pixels of its axes, which lie on whole ones: nothing is resampled.

    Parameters
    ----------
    rgba
        (row, column, 4), top row first, of the size of the axes.
    axes
        Where it goes.
    """

    zorder = -1  # below what the axes hold

    def __init__(self, rgba: npt.NDArray[np.uint8], axes: Axes) -> None:
        super().__init__()
        self._rgba, self._place = rgba, axes

    def draw(self, renderer: RendererBase) -> None:
        """Copy the pixels."""
        corner = self._place.get_window_extent()  # SVG has other units than the canvas of pixels
        x, y = corner.x0, corner.y0
        if isinstance(renderer, RendererAgg):
            x, y = round(x), round(y)
        renderer.draw_image(renderer.new_gc(), x, y, self._rgba[::-1])


def render_map(
    values: Array,
    name: str,
    title: MapTitle,
    *,
    level: int | None = None,
    options: MapOptions | None = None,
    wind: tuple[Array, Array] | None = None,
    partner: Array | None = None,
) -> bytes:
    """Draw one field with coastlines, colour bar, and init, valid and lead time.

    Parameters
    ----------
    values
        Field (cell,) in nested order, in the unit of the variable (:mod:`pear.variables`).
    name
        Canonical name or alias of the variable.
    title
        Title of the map.
    level
        Pressure level in hPa; None for surface variables.
    options
        Options of the map (default: those of :class:`MapOptions`).
    wind
        Eastward and northward wind (cell,), m s⁻¹, drawn as arrows.
    partner
        If the field is a component of a wind: the other component (cell,), with which it is
        interpolated as a vector.

    Returns
    -------
    bytes
        The PNG or SVG.

    Raises
    ------
    InputError
        If a value is not finite, or the limits are reversed.
    """
    options = options or MapOptions()
    adopt_definitions({DEFINITIONS: options.defined}, "the run")
    if not np.isfinite(values).all():
        raise InputError(
            f"{name} has {np.count_nonzero(~np.isfinite(values))} non-finite values",
            field="values",
        )
    style = style_of(name, options.kind)
    shown = style.shown(values)
    low, high = _limits(options, limits_for(style, shown, level))
    table = index_image(options.view, options.width - 2 * _SIDE_PIXELS, _nside(values))
    lines, colours = title.lines(options.width), colormaps[options.colours or style.colours]
    figure, axes, bar = _figure(table, options.width, len(lines))
    image = style.shown(table.of_variable(values, name, partner))
    figure.add_artist(_Pixels(colour(image, colours, Normalize(low, high)), axes))
    if options.isolines and style.isolines is not None:
        draw_isolines(axes, table, shown, style.isolines)
    if wind is not None:
        draw_wind(axes, options.view, table, wind, _key_place(figure, options.width))
    fine = options.width > 1200 or options.view.box is not None or options.format == "svg"
    draw_outlines(axes, options.view, "50m" if fine else "110m")
    _write(figure, [title.first_line(heading(name, level, options.kind)), *lines], options.width)
    _draw_bar(bar, style.units, colours, (low, high), options.width)
    draw_bar_ends(bar, colours, (low, high), shown)
    return _svg(figure) if options.format == "svg" else _png(figure)


def check_limits(name: str, level: int | None, options: MapOptions) -> None:
    """Check that the lower limit is below the upper one, where both are known without a field."""
    style = style_of(name, options.kind)
    given = style.limits if level is None else style.limits_at.get(level, style.limits)
    if given is not None:
        _limits(options, given)


def _limits(options: MapOptions, default: tuple[float, float]) -> tuple[float, float]:
    low = default[0] if options.vmin is None else options.vmin
    high = default[1] if options.vmax is None else options.vmax
    if not low < high:
        raise InputError(f"vmin {low:g} must be below vmax {high:g}", field="vmin")
    return low, high


def _nside(values: Array) -> int:
    try:
        return nside_from_cells(values.shape[-1])
    except ValueError as error:
        raise InputError(str(error), field="values") from error


def _factor(width: int) -> float:
    """Return the magnification of text relative to a map of 1000 pixels."""
    return min(1.7, max(1.0, width / 1000))


def _figure(table: IndexImage, width: int, lines: int) -> tuple[Figure, Axes, Axes]:
    """Return a figure with the axes of map and colour bar, laid out in whole pixels."""
    rows, columns = table.shape
    factor = _factor(width)
    below = round(_BAR_PIXELS * factor)
    height = rows + round((28 + 18 * lines) * factor) + below
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((_SIDE_PIXELS / width, below / height, columns / width, rows / height))
    axes.set_axis_off()
    axes.set_xlim(*table.extent[:2])
    axes.set_ylim(*table.extent[2:])
    bar = figure.add_axes((0.2, 34 * factor / height, 0.6, 12 * factor / height))
    return figure, axes, bar


def _write(figure: Figure, lines: list[str], width: int) -> None:
    """Write the lines of the title from the top of the figure down."""
    height, factor = figure.get_figheight() * _DPI, _factor(width)
    for number, line in enumerate(lines):
        size = (_POINTS + 2 if number == 0 else _POINTS) * factor
        shade = "black" if number == 0 else "0.25"
        _write_line(
            figure, line, width / 2, height - (16 + 18 * number) * factor, "center", size, shade
        )


def _write_line(
    figure: Figure,
    line: str,
    x: float,
    y: float,
    align: Literal["center", "right"],
    size: float = _POINTS - 1,
    shade: str = "0.25",
) -> None:
    """Write one line at a pixel from the lower left; shrink it if it exceeds the figure."""
    wide, high = (_DPI * length for length in figure.get_size_inches())
    text = figure.text(x / wide, y / high, line, ha=align, va="center", fontsize=size, color=shade)
    text.set_parse_math(False)  # a dollar in a title is a dollar
    room = text.get_window_extent().width / (wide - 2 * _SIDE_PIXELS)
    if room > 1:
        text.set_fontsize(size / room)


def _draw_bar(
    bar: Axes, units: str, colours: Colormap, limits: tuple[float, float], width: int
) -> None:
    size = _POINTS * _factor(width)
    bar.imshow(colours(np.linspace(0, 1, 256))[None], aspect="auto", extent=(*limits, 0, 1))
    bar.set_yticks([])
    bar.xaxis.set_major_locator(MaxNLocator(4 if width < 700 else 9, steps=[1, 2, 5, 10]))
    bar.tick_params(labelsize=size - 0.5, length=2.5, pad=1.5)
    bar.text(1.045, 0.5, units, va="center", fontsize=size, transform=bar.transAxes)


def _key_place(figure: Figure, width: int) -> tuple[float, float]:
    """Return where the key of the arrows goes, as shares of the figure."""
    high = figure.get_figheight() * _DPI
    return 1.0 - 86 * _factor(width) / width, 14 * _factor(width) / high


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI, pil_kwargs={"compress_level": 4})
    return buffer.getvalue()


def _svg(figure: Figure) -> bytes:
    """Return the figure as SVG, the same at every call."""
    buffer = io.BytesIO()
    with rc_context({"svg.hashsalt": "pear", "svg.fonttype": "path"}):
        figure.savefig(buffer, format="svg", dpi=_DPI, metadata={"Date": None})
    return buffer.getvalue()
