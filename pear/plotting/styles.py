"""Style of each variable on maps: unit, colour map, limits, and spacing of isolines.

The colour maps suit readers with red–green colour blindness (viridis, and ColorBrewer's RdYlBu,
PuOr, BrBG and YlGnBu). Limits are fixed for each variable and level, so that a colour is the same
value at every lead time and in every run.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import replace
from typing import Final, Literal

import numpy as np

from pear.errors import InputError, did_you_mean
from pear.typing import Array
from pear.variables import PROBABILITY, STATISTIC, variable
from pear.variables import Style as Style

Kind = Literal["field", "difference", "spread", "probability"]


_PROBABILITY: Final = Style("%", 100.0, 0.0, "YlGnBu", limits=(0.0, 100.0))
COLOUR_MAPS: Final = (
    *("BrBG_r", "PuOr_r", "RdBu_r", "RdYlBu_r", "YlGnBu"),
    *("cividis", "gray", "twilight", "viridis"),
)
"""Colour maps that may be asked for, and that a variable may have."""


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
    style = variable(name).style
    if kind == "field":
        return style
    if kind == "probability":
        return _PROBABILITY
    plain = replace(style, offset=0.0, limits=None, limits_at={}, isolines=None)
    if kind == "difference":
        return replace(plain, colours="RdBu_r", symmetric=True)
    return replace(plain, colours="viridis", symmetric=False, from_zero=True)


def kind_of(attributes: Mapping[Hashable, object]) -> Kind:
    """Return what the fields of a Dataset or store are, by its attributes.

    Returns
    -------
    str
        ``field`` for means and quantiles too, which have the scale of the variable.

    Examples
    --------
    >>> from pear.plotting.styles import kind_of
    >>> kind_of({"pear_statistic": "spread"}), kind_of({"pear_statistic": "10 % quantile"})
    ('spread', 'field')
    """
    if PROBABILITY in attributes:
        return "probability"
    return "spread" if attributes.get(STATISTIC) == "spread" else "field"


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
    given = style.limits if level is None else style.limits_at.get(level, style.limits)
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
