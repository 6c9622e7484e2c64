"""Style of each variable on maps: unit, colour map, limits, and spacing of isolines.

The colour maps suit readers with red–green colour blindness (viridis, and ColorBrewer's RdYlBu,
PuOr, BrBG and YlGnBu). Limits are fixed for each variable and level, so that a colour is the same
value at every lead time and in every run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal

import numpy as np

from pear.errors import InputError, did_you_mean
from pear.typing import Array, Float32
from pear.variables import LEVELS, STANDARD_GRAVITY, VARIABLES, variable

Kind = Literal["field", "difference", "spread", "probability"]


@dataclass(frozen=True)
class Style:
    """Style of one variable; shown = stored · scale + offset.

    Attributes
    ----------
    units
        Unit of the shown values.
    scale, offset
        Conversion from the stored unit.
    colours
        Name of the colour map.
    limits
        Limits of the colour bar in shown units; None to derive them from the field.
    symmetric
        True if the limits are symmetric about zero.
    isolines
        Spacing of isolines in shown units, or None.
    from_zero
        True if the lower limit is zero.
    label
        Name of the shown quantity, if it differs from the stored one.
    limits_at
        Limits by pressure level, hPa.

    Examples
    --------
    >>> from pear.plotting import Style
    >>> style = Style("°C", 1.0, -273.15, "RdYlBu_r")
    >>> float(style.shown(np.array([273.15], dtype=np.float32))[0])
    0.0
    """

    units: str
    scale: float
    offset: float
    colours: str
    limits: tuple[float, float] | None = None
    symmetric: bool = False
    isolines: float | None = None
    from_zero: bool = False
    label: str | None = None
    limits_at: Mapping[int, tuple[float, float]] = field(default_factory=dict)

    def shown(self, values: Array) -> Float32:
        """Convert stored values to shown values."""
        return (values * np.float32(self.scale) + np.float32(self.offset)).astype(np.float32)


def _at_levels(low: tuple[float, ...], high: tuple[float, ...]) -> dict[int, tuple[float, float]]:
    """Return lower and upper limits by level, 50 hPa first."""
    return dict(zip(reversed(LEVELS), zip(low, high, strict=True), strict=True))


_HEIGHT: Final = Style(
    "dam",
    0.1 / STANDARD_GRAVITY,
    0.0,
    "RdYlBu_r",
    isolines=8.0,
    label="Geopotential height",
    limits_at=_at_levels(
        (1840, 1480, 1240, 1060, 930, 810, 630, 480, 360, 240, 100, 30, -40),
        (2080, 1680, 1440, 1260, 1110, 990, 780, 600, 460, 340, 170, 100, 40),
    ),
)
_CELSIUS: Final = Style(
    "°C",
    1.0,
    -273.15,
    "RdYlBu_r",
    limits_at=_at_levels(
        (-90, -90, -85, -80, -70, -65, -55, -45, -40, -35, -30, -35, -40),
        (-40, -40, -45, -40, -40, -30, -15, 0, 10, 20, 30, 35, 40),
    ),
)
_HUMIDITY: Final = Style(
    "g kg⁻¹",
    1000.0,
    0.0,
    "YlGnBu",
    limits_at=_at_levels(
        (0,) * 13, (0.006, 0.006, 0.02, 0.06, 0.2, 0.5, 1.5, 3, 6, 10, 16, 20, 25)
    ),
)
_PROBABILITY: Final = Style("%", 100.0, 0.0, "YlGnBu", limits=(0.0, 100.0))
_FAST: Final = (40, 50, 60, 60, 60, 60, 50, 40, 40, 30, 30, 20, 20)
_WIND: Final = Style(
    "m s⁻¹",
    1.0,
    0.0,
    "PuOr_r",
    symmetric=True,
    limits_at=_at_levels(tuple(-end for end in _FAST), _FAST),
)
STYLES: Final[dict[str, Style]] = {
    "mean_sea_level_pressure": Style("hPa", 0.01, 0.0, "BrBG_r", (970.0, 1050.0), isolines=5.0),
    "2m_temperature": replace(_CELSIUS, limits=(-45.0, 45.0)),
    "10m_u_component_of_wind": replace(_WIND, limits=(-20.0, 20.0)),
    "10m_v_component_of_wind": replace(_WIND, limits=(-20.0, 20.0)),
    "geopotential": _HEIGHT,
    "specific_humidity": _HUMIDITY,
    "temperature": _CELSIUS,
    "u_component_of_wind": _WIND,
    "v_component_of_wind": _WIND,
}
COLOUR_MAPS: Final = tuple(
    sorted({style.colours for style in STYLES.values()} | {"cividis", "viridis", "RdBu_r", "gray"})
)


def style_of(name: str, kind: Kind = "field") -> Style:
    """Return the style of a variable.

    Parameters
    ----------
    name
        Canonical name or alias.
    kind
        What is shown of it: a field, the difference of two, or the spread or a probability of an
        ensemble.

    Returns
    -------
    Style
        Differences and spreads have the scale of the variable and no offset.

    Examples
    --------
    >>> from pear.plotting import style_of
    >>> style_of("t2m").units, style_of("t2m", "difference").offset
    ('°C', 0.0)
    """
    style = STYLES[variable(name).name]
    if kind == "field":
        return style
    if kind == "probability":
        return _PROBABILITY
    plain = replace(style, offset=0.0, limits=None, limits_at={}, isolines=None)
    if kind == "difference":
        return replace(plain, colours="RdBu_r", symmetric=True)
    return replace(plain, colours="viridis", symmetric=False, from_zero=True)


def check_colours(name: str) -> None:
    """Check the name of a colour map.

    Raises
    ------
    InputError
        If the colour map is unknown.

    Examples
    --------
    >>> from pear.plotting.styles import check_colours
    >>> check_colours("viridis")
    >>> check_colours("rainbow")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    pear.errors.InputError: unknown colour map 'rainbow'; known: BrBG_r, ...
    """
    if name not in COLOUR_MAPS:
        raise InputError(
            f"unknown colour map {name!r}", field="cmap", hint=did_you_mean(name, COLOUR_MAPS)
        )


def limits_for(style: Style, shown: Array, level: int | None = None) -> tuple[float, float]:
    """Return the limits of the colour bar: those of the style, or rounded percentiles.

    Returns
    -------
    low, high : float
        Shown units.

    Examples
    --------
    >>> from pear.plotting.styles import limits_for
    >>> from pear.plotting import style_of
    >>> low, high = limits_for(style_of("t2m", "difference"), np.linspace(-2.0, 3.0, 100))
    >>> bool(low == -high), float(high)
    (True, 3.0)
    """
    given = style.limits if level is None else style.limits_at.get(level)
    if given is not None:
        return given
    low, high = (float(value) for value in np.nanpercentile(shown, (0.5, 99.5)))
    if style.symmetric:
        high = max(abs(low), abs(high))
        low = -high
    if style.from_zero:
        low = 0.0
    step = _nice((high - low) / 10.0)
    low, high = np.floor(low / step) * step, np.ceil(high / step) * step
    return (low, high) if high > low else (low - step, high + step)


def _nice(span: float) -> float:
    """Round a span up to 1, 2 or 5 times a power of ten."""
    if not span > 0:
        return 1.0
    power = 10.0 ** np.floor(np.log10(span))
    return float(next(factor * power for factor in (1, 2, 5, 10) if factor * power >= span))


def check_styles() -> None:
    """Check that every variable has a style; called once at import."""
    missing = {each.name for each in VARIABLES} - set(STYLES)
    if missing:
        raise RuntimeError(f"variables without a style in pear.plotting.styles: {sorted(missing)}")


check_styles()
