"""Quantities that are computed from stored variables when they are asked for."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from pear.derived import formulas
from pear.errors import InputError
from pear.sphere.healpix import curl_and_divergence
from pear.typing import Array, Channel, Float64
from pear.variables import (
    BY_NAME,
    STANDARD_GRAVITY,
    Variable,
    derived_rows,
    parse_field,
    variable,
    wind_partner,
)
from pear.variables.derived import find_row, thickness_levels

Compute = Callable[[Sequence[Float64], Float64], Float64]
"""From fields (…, cell) and the pressure in Pa, which broadcasts with them."""


@dataclass(frozen=True)
class Derived:
    """A quantity and how it is computed.

    Attributes
    ----------
    row
        Names, unit and style, as of a stored variable.
    needs
        Canonical names of the variables it is computed from.
    compute
        Given their fields (…, cell), float64, and the pressure in Pa, returns the quantity.
    levels
        Levels of the fields in hPa, of a quantity of two levels; else empty.
    is_global
        True if a value depends on the whole globe, as a derivative does.

    Examples
    --------
    >>> from pear.derived import find_derived
    >>> find_derived("relative_humidity").needs
    ('specific_humidity', 'temperature')
    """

    row: Variable
    needs: tuple[str, ...]
    compute: Compute
    levels: tuple[int, ...] = ()
    is_global: bool = False

    def channels(self, level: int | None) -> tuple[Channel, ...]:
        """Return variable and level of each field that is needed.

        Parameters
        ----------
        level
            Level of the quantity in hPa; None for one without level.

        Returns
        -------
        tuple of (str, int or None)
            In the order of the fields for :attr:`compute`.
        """
        if self.levels:
            return tuple((name, one) for name in self.needs for one in self.levels)
        return tuple((name, level) for name in self.needs)

    def of(self, fields: Sequence[Array], level: int | None) -> Float64:
        """Compute the quantity.

        Parameters
        ----------
        fields
            (…, cell), in the order of :meth:`channels`.
        level
            Level in hPa, or None.

        Returns
        -------
        ndarray
            (…, cell), float64.
        """
        wide = [np.asarray(field, dtype=np.float64) for field in fields]
        return self.compute(wide, np.asarray(100.0 * (level or 0)))


def _speed(fields: Sequence[Float64], _: Float64) -> Float64:
    return np.asarray(np.hypot(fields[0], fields[1]))


def _direction(fields: Sequence[Float64], _: Float64) -> Float64:
    return formulas.wind_direction(fields[0], fields[1])


def _vorticity(fields: Sequence[Float64], _: Float64) -> Float64:
    return curl_and_divergence(fields[0], fields[1])[0] / formulas.EARTH_RADIUS


def _divergence(fields: Sequence[Float64], _: Float64) -> Float64:
    return curl_and_divergence(fields[0], fields[1])[1] / formulas.EARTH_RADIUS


_MOIST: Final = ("specific_humidity", "temperature")
_WIND: Final = ("u_component_of_wind", "v_component_of_wind")
_WIND_10M: Final = ("10m_u_component_of_wind", "10m_v_component_of_wind")
_WIND_100M: Final = ("100m_u_component_of_wind", "100m_v_component_of_wind")
_RECIPES: Final[dict[str, tuple[tuple[str, ...], Compute]]] = {
    "10m_wind_speed": (_WIND_10M, _speed),
    "10m_wind_direction": (_WIND_10M, _direction),
    "100m_wind_speed": (_WIND_100M, _speed),
    "100m_wind_direction": (_WIND_100M, _direction),
    "2m_relative_humidity": (
        ("2m_dewpoint_temperature", "2m_temperature"),
        lambda fields, _: formulas.relative_humidity_of_dewpoint(fields[0], fields[1]),
    ),
    "wind_speed": (_WIND, _speed),
    "wind_direction": (_WIND, _direction),
    "relative_humidity": (
        _MOIST,
        lambda fields, pressure: formulas.relative_humidity(fields[0], fields[1], pressure),
    ),
    "dewpoint_temperature": (
        ("specific_humidity",),
        lambda fields, pressure: formulas.dewpoint(fields[0], pressure),
    ),
    "potential_temperature": (
        ("temperature",),
        lambda fields, pressure: formulas.potential_temperature(fields[0], pressure),
    ),
    "vorticity": (_WIND, _vorticity),
    "divergence": (_WIND, _divergence),
}
_LEVEL: Final = re.compile(r"(?P<name>.*?[A-Za-z])[_:@ ]?(?P<level>\d{1,4})(?:hPa)?")
_GLOBAL: Final = ("vorticity", "divergence")


def find_derived(name: str) -> Derived | None:
    """Return the derived quantity of a canonical name, or None if it is a stored variable.

    Parameters
    ----------
    name
        Such as ``wind_speed`` or ``thickness_1000_500``.

    Returns
    -------
    Derived or None
        The quantity.

    Examples
    --------
    >>> from pear.derived import find_derived
    >>> find_derived("temperature") is None, find_derived("thickness_1000_500").levels
    (True, (1000, 500))
    """
    if name in BY_NAME:
        return None  # a table of one's own may store what is derived otherwise
    if name in _RECIPES:
        needs, compute = _RECIPES[name]
        return Derived(derived_rows()[name], needs, compute, is_global=name in _GLOBAL)
    levels, row = thickness_levels(name), find_row(name)
    if levels is None or row is None:
        return None
    return Derived(row, ("geopotential",), _thickness, levels)


def _thickness(fields: Sequence[Float64], _: Float64) -> Float64:
    return np.asarray((fields[1] - fields[0]) / STANDARD_GRAVITY)


def parse_quantity(text: str) -> tuple[Variable, int | None]:
    """Parse a field that is stored or derived, such as ``z500``, ``vo850`` or ``wind_speed_250``.

    Parameters
    ----------
    text
        Name or alias, optionally with a level in hPa; ``thickness_1000_500``.

    Returns
    -------
    variable : Variable
        Row of the table.
    level : int or None
        Pressure level in hPa, if the text has one.

    Raises
    ------
    InputError
        If a quantity without levels is given one, or the name is unknown.

    Examples
    --------
    >>> from pear.derived import parse_quantity
    >>> [(row.name, level) for row, level in map(parse_quantity, ("vo850", "ws10", "t850"))]
    [('vorticity', 850), ('10m_wind_speed', None), ('temperature', 850)]
    """
    try:
        return parse_field(text)
    except InputError:
        row = find_row(text)
        if row is not None:
            return row, None
        match = _LEVEL.fullmatch(text.strip())
        row = None if match is None else find_row(match["name"])
        if row is None or match is None:
            variable(text if match is None else match["name"])  # the closest name, derived or not
            raise
        if row.kind == "surface":
            raise InputError(
                f"{row.name} has no level {match['level']}",
                field="variable",
                hint=f"use {row.name}",
            ) from None
        return row, int(match["level"])


def require_derivable(found: Derived, names: Sequence[str], where: str) -> None:
    """Raise unless the variables are there from which a quantity is computed.

    Parameters
    ----------
    found
        The quantity.
    names
        Canonical names of the variables that are there.
    where
        What has them, for the message.

    Raises
    ------
    InputError
        Naming what is missing.

    Examples
    --------
    >>> from pear.derived import find_derived
    >>> from pear.derived.quantities import require_derivable
    >>> require_derivable(find_derived("wind_speed"), ["u_component_of_wind"], "the run")
    Traceback (most recent call last):
    pear.errors.InputError: wind_speed needs v_component_of_wind, which the run does not have: ...
    """
    missing = [name for name in found.needs if name not in names]
    if missing:
        is_wind = wind_partner(missing[0]) in found.needs
        raise InputError(
            f"{found.row.name} needs {' and '.join(missing)}, which {where} does not have"
            + (": a wind is a vector" if is_wind else ""),
            field="variable",
        )
