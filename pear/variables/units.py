"""Units of variables of one's own, by pint; PEAR's own variables have tables of units."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from pear.errors import InputError
from pear.variables.definition import Variable

if TYPE_CHECKING:
    from pint import UnitRegistry


_DEGREES: Final = re.compile(
    r"(?:deg|degree|degrees)[ ._]*(?P<scale>c|celsius|centigrade|f|fahrenheit|k|kelvin)"
)


@cache
def _registry() -> UnitRegistry[Any]:
    try:
        import pint  # takes a third of a second
    except ImportError as error:
        raise InputError(
            "variables of your own need pint", field="variables", hint="pip install pint"
        ) from error
    registry: UnitRegistry[Any] = pint.UnitRegistry(autoconvert_offset_to_baseunit=True)
    registry.define("degree_north = degree = degrees_north = degree_N = degrees_N")
    registry.define("geopotential_metre = metre = gpm")
    registry.define("dBZ = [reflectivity]")
    registry.define("dobson_unit = [ozone_column] = DU")
    return registry


def temperature_unit(text: str) -> str | None:
    """Return the unit of a temperature whose degrees are spelled out, or None for other units.

    Returns
    -------
    str or None
        ``degC``, ``degF`` or ``K``.

    Examples
    --------
    >>> from pear.variables.units import temperature_unit
    >>> temperature_unit("deg C"), temperature_unit("degrees Kelvin"), temperature_unit("deg")
    ('degC', 'K', None)
    """
    match = _DEGREES.fullmatch(text.strip().lower())
    return None if match is None else {"c": "degC", "f": "degF", "k": "K"}[match["scale"][0]]


def _pint_text(text: str) -> str:
    """Return a unit of UDUNITS, such as ``kg m-2 s-1``, as pint writes it."""
    if (degrees := temperature_unit(text)) is not None:
        return degrees  # pint takes the degree of an angle
    plain = re.sub(r"\*\*|\^", "", text.strip())
    if plain.startswith("(0 - 1)") or plain in ("", "1", "fraction"):
        return "dimensionless"
    plain = plain.replace("%", "percent")
    plain = re.sub(r"(?<=[A-Za-z])(-?\d+)", r"**\1", plain)
    return re.sub(r"(?<=[\w)])[ .](?=[A-Za-z])", "*", plain)


def linear_conversion(stated: str, target: str) -> tuple[float, float] | None:
    """Return factor and offset from one unit to another.

    Parameters
    ----------
    stated, target
        Units in the spelling of UDUNITS.

    Returns
    -------
    factor, offset : float or None
        target = stated · factor + offset; None if one cannot be converted into the other.

    Examples
    --------
    >>> from pear.variables.units import linear_conversion
    >>> linear_conversion("mm", "m")
    (0.001, 0.0)
    >>> linear_conversion("degC", "K"), linear_conversion("Pa", "K")
    ((1.0, 273.15), None)
    """
    registry = _registry()
    try:
        source, wanted = (registry.parse_units(_pint_text(text)) for text in (stated, target))
        zero = float(registry.Quantity(0.0, source).to(wanted).magnitude)
        ten = float(registry.Quantity(10.0, source).to(wanted).magnitude)
    except Exception:  # pint raises errors of tokenize, of its own and of Python
        return None
    return float(f"{(ten - zero) / 10.0:.13g}"), zero


def check_units(row: Variable, source: str) -> None:
    """Raise unless the unit of a variable is one.

    Parameters
    ----------
    row
        The variable.
    source
        Name of the file, for messages.

    Raises
    ------
    InputError
        If pint does not know the unit.

    Examples
    --------
    >>> from dataclasses import replace
    >>> from pear.variables import variable
    >>> from pear.variables.units import check_units
    >>> check_units(replace(variable("t2m"), units="W m-2"), "mine.toml")
    >>> check_units(replace(variable("t2m"), units="Kelvims"), "mine.toml")
    Traceback (most recent call last):
    pear.errors.InputError: mine.toml: 2m_temperature: units = 'Kelvims' is not a unit; write ...
    """
    if linear_conversion(row.units, row.units) is None:
        raise InputError(
            f"{source}: {row.name}: units = {row.units!r} is not a unit",
            field="variables",
            hint='write it as UDUNITS does, such as "K", "m s-1" or "W m-2"',
        )
