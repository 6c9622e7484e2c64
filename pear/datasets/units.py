"""Names and units of fields in a source, converted to the canonical ones.

Units are recognised by their name and checked by the values, which after conversion must be in the
range of the variable at its level. What does not fit is refused, never guessed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from pear.datasets.foreign_names import plain_name
from pear.derived.formulas import EPSILON, TRIPLE_POINT, saturation_pressure
from pear.errors import InputError, did_you_mean
from pear.typing import Float32, Float64
from pear.variables import BY_NAME, STANDARD_GRAVITY, VARIABLES, parse_field, valid_range
from pear.variables.units import linear_conversion, temperature_unit

UnitTable: TypeAlias = dict[str, tuple[float, float]]
"""Factor and offset to the canonical unit, by the lower-case name of a unit."""

RELATIVE_HUMIDITY: Final = "relative_humidity"
_RELATIVE_NAMES: Final = ("r", "rh", "relhum", "hur", RELATIVE_HUMIDITY)
_SHARE: Final = 1.5
_MOIST_LEVEL: Final = 100  # hPa
_UNIT_KEYS: Final = ("units", "unit", "gribunits", "fieldunits")
_NO_UNIT: Final = ("", "unknown", "none", "undefined", "~", "-")
_RELATIVE_RANGE: Final = (-30.0, 200.0)
_HEIGHT_NAMES: Final = ("gh", "hgt", "zg", "geopotential_height")
# ERA5 names winds at 100 m and 200 m like winds at 100 and 200 hPa.
_METRES_NOT_HPA: Final = frozenset({"u200", "v200", "200u", "200v"})


def _units(*names: str, factor: float = 1.0, offset: float = 0.0) -> UnitTable:
    return dict.fromkeys(names, (factor, offset))


_SPEED: Final = {
    **_units("m s-1", "m/s", "m.s-1", "meters/second", "metre/second"),
    **_units("km/h", factor=1 / 3.6),
    **_units("kt", "knots", factor=0.514444),
}
_TEMPERATURE: Final = {
    **_units("k", "kelvin", "degk"),
    **_units("c", "degc", "°c", "celsius", "degrees_celsius", offset=273.15),
    **_units("deg_c", "degree_celsius", offset=273.15),
    **_units("f", "degf", "deg_f", "°f", "fahrenheit", factor=5 / 9, offset=459.67 * 5 / 9),
    **_units("degree_fahrenheit", "degrees_fahrenheit", factor=5 / 9, offset=459.67 * 5 / 9),
}
PRESSURE_UNITS: Final = {
    **_units("pa", "pascal", "pascals"),
    **_units("hpa", "hectopascal", "hectopascals", factor=100.0),
    **_units("mb", "mbar", "millibar", "millibars", factor=100.0),
    **_units("kpa", factor=1000.0),
}
GEOPOTENTIAL_UNITS: Final = {
    **_units("m2 s-2", "m2/s2", "m2.s-2", "j kg-1", "j/kg"),
    **_units("gpm", "m", "meter", "metre", "meters", "metres", factor=STANDARD_GRAVITY),
    **_units("geopotential meter", "geopotential metre", factor=STANDARD_GRAVITY),
    **_units("geopotential meters", "geopotential metres", factor=STANDARD_GRAVITY),
    **_units("geopotential_meter", "geopotential_metre", factor=STANDARD_GRAVITY),
    **_units("m above sea level", "m asl", "masl", factor=STANDARD_GRAVITY),
    **_units("dam", "gpdm", "dagpm", factor=10 * STANDARD_GRAVITY),
    **_units("km", "gpkm", factor=1000 * STANDARD_GRAVITY),
    **_units("ft", "feet", "foot", factor=0.3048 * STANDARD_GRAVITY),
}
SHARE_UNITS: Final = {
    **_units("", "1", "fraction", "dimensionless", "0 - 1", "0-1", "none", "unitless"),
    **_units("proportion", "share", "binary"),
    **_units("%", "percent", factor=0.01),
}
_MIXING_RATIO: Final = {
    **_units("kg kg-1", "kg/kg", "1"),
    **_units("g/kg", "g kg-1", factor=1e-3),
    **_units("mg/kg", "mg kg-1", factor=1e-6),
}
_PERCENT: Final = {**_units("%", "percent"), **_units("1", "fraction", factor=100.0)}
_UNITS: Final[dict[str, UnitTable]] = {
    "m s-1": _SPEED,
    "K": _TEMPERATURE,
    "Pa": PRESSURE_UNITS,
    "m2 s-2": GEOPOTENTIAL_UNITS,
    "kg kg-1": _MIXING_RATIO,
    "%": _PERCENT,
    "1": SHARE_UNITS,
    "Pa s-1": _units("pa s-1", "pa/s"),
    "m": _units("m", "metre", "meter", "metres", "meters"),
}


@dataclass(frozen=True)
class Quantity:
    """Physical quantity of a field.

    Attributes
    ----------
    name : str
        Canonical name of a variable, or ``relative_humidity``.
    level : int or None
        Pressure level in hPa that is part of the name in the source (``z500``).

    Examples
    --------
    >>> from pear.datasets.units import Quantity
    >>> quantity = Quantity("temperature", level=850)
    >>> quantity.upper, quantity.units, quantity.limits(850)
    (True, 'K', (190.0, 330.0))
    """

    name: str
    level: int | None = None

    @property
    def upper(self) -> bool:
        """True for quantities on pressure levels."""
        return self.name == RELATIVE_HUMIDITY or BY_NAME[self.name].kind == "upper"

    @property
    def units(self) -> str:
        """Units after conversion."""
        return "%" if self.name == RELATIVE_HUMIDITY else BY_NAME[self.name].units

    def limits(self, level: int | None) -> tuple[float, float]:
        """Return inclusive bounds of the values after conversion."""
        if self.name == RELATIVE_HUMIDITY:
            return _RELATIVE_RANGE
        return valid_range(self.name, level)


def level_types(quantity: Quantity) -> tuple[str, ...]:
    """Return the types of level in GRIB on which a quantity may lie, the usual one first.

    Returns
    -------
    tuple of str
        Names of ecCodes.

    Examples
    --------
    >>> from pear.datasets.units import level_types
    >>> level_types(Quantity("temperature")), level_types(Quantity("2m_temperature"))
    (('isobaricInhPa', 'isobaricInPa'), ('heightAboveGround', 'surface'))
    """
    if quantity.upper:
        return ("isobaricInhPa", "isobaricInPa")
    return BY_NAME[quantity.name].level_types or ("heightAboveGround", "surface")


@dataclass(frozen=True)
class Conversion:
    """Linear conversion of units: value x factor + offset.

    Attributes
    ----------
    factor, offset : float
        Coefficients.
    stated : str
        Units stated by the source; empty if it states none.
    target : str
        Canonical units.

    Examples
    --------
    >>> from pear.datasets.units import Conversion
    >>> how = Conversion(100.0, 0.0, "hPa", "Pa")
    >>> str(how), how.changes
    ('hPa to Pa (x 100)', True)
    """

    factor: float
    offset: float
    stated: str
    target: str

    def __str__(self) -> str:
        stated = self.stated or "no units stated"
        if (self.factor, self.offset) == (1.0, 0.0):
            return f"{stated} taken as {self.target}"
        sign = f" + {self.offset:g}" if self.offset else ""
        return f"{stated} to {self.target} (x {self.factor:g}{sign})"

    @property
    def changes(self) -> bool:
        """True if values change, or if units are assumed that the source does not state."""
        return not self.stated or (self.factor, self.offset) != (1.0, 0.0)


def recognise(name: str, attributes: Mapping[str, Any]) -> Quantity | None:
    """Return the quantity of a field, or None if PEAR does not use it.

    Parameters
    ----------
    name : str
        Name in the source: canonical, of ECMWF, NCEP or CF, also with a level (``t850``).
    attributes : mapping
        Attributes of the variable, of which a GRIB short name and level type are used.

    Returns
    -------
    Quantity or None
        Canonical name, and the level if the name includes it.

    Examples
    --------
    >>> recognise("z500", {})
    Quantity(name='geopotential', level=500)
    """
    short = str(attributes.get("GRIB_shortName", "")).lower()
    on_pressure = str(attributes.get("GRIB_typeOfLevel", "")).startswith("isobaric")
    if not on_pressure:
        if {name.lower(), short} & _METRES_NOT_HPA:
            return None
        if (found := _by_file_name(name.lower(), short)) is not None:
            return Quantity(found)
    for candidate in (name, name.lower(), short):
        if candidate in _RELATIVE_NAMES:
            return Quantity(RELATIVE_HUMIDITY)
        match = re.fullmatch(r"(?P<stem>[a-z_]+?)_?(?P<level>\d{2,4})?", candidate)
        if match and match["stem"] in _HEIGHT_NAMES:
            return Quantity("geopotential", int(match["level"]) if match["level"] else None)
        if candidate:
            try:
                row, level = parse_field(candidate)
            except InputError:
                continue
            return Quantity(row.name, level)
    plain = plain_name(name, attributes)
    # A pressure in such a name is one, also where others mean metres by the number.
    return None if plain == name else recognise(plain, {"GRIB_typeOfLevel": "isobaricInhPa"})


def _by_file_name(*names: str) -> str | None:
    """Return the variable that a file means by a name which elsewhere means another one."""
    return next((row.name for row in VARIABLES if set(row.file_names) & set(names)), None)


def units_of(quantity: Quantity) -> UnitTable:
    """Return the units of a quantity that files may state, by their lower-case names.

    Returns
    -------
    dict
        Factor and offset to the canonical unit.

    Examples
    --------
    >>> from pear.datasets.units import units_of
    >>> units_of(Quantity("total_precipitation_6hr"))["mm"]
    (0.001, 0.0)
    """
    found = dict(_UNITS.get(quantity.units) or _units(unit_key(quantity.units), quantity.units))
    if quantity.name != RELATIVE_HUMIDITY:
        accepted = BY_NAME[quantity.name].accepted_units
        found |= {unit_key(unit): (factor, 0.0) for unit, factor in accepted.items()}
    return found


def unit_key(text: str) -> str:
    """Return a unit in the spelling of the tables of units.

    Returns
    -------
    str
        In lower case, without brackets and marks of powers.

    Examples
    --------
    >>> from pear.datasets.units import unit_key
    >>> unit_key("m**2 s**-2"), unit_key("(m)"), unit_key("deg. C")
    ('m2 s-2', 'm', 'degc')
    """
    key = re.sub(r"\*\*|\^|(?<=[a-z])\s*\*\s*(?=[a-z])", "", text.lower())
    key = re.sub(r"\s+", " ", key.replace("(", "").replace(")", "")).strip(" .")
    return (temperature_unit(key) or key).lower()


def conversion(quantity: Quantity, stated: object, name: str, source: str) -> Conversion:
    """Return the conversion from the units stated by a source.

    Parameters
    ----------
    quantity : Quantity
        What the field is.
    stated : object
        Units attribute of the variable; None if there is none.
    name, source : str
        Name of the variable, and of the source for messages.

    Returns
    -------
    Conversion
        Without stated units those of the canonical variable are assumed; gpm for heights.

    Raises
    ------
    InputError
        If the units are unknown for this quantity.

    Examples
    --------
    >>> from pear.datasets.units import conversion
    >>> how = conversion(Quantity("2m_temperature"), "degC", "t2m", "era5.nc")
    >>> how.factor, how.offset, how.target
    (1.0, 273.15, 'K')
    """
    text = "" if stated is None else str(stated).strip()
    known, key = units_of(quantity), unit_key(text)
    if key in ("", "unknown", "none"):
        stem = re.sub(r"\d+$", "", plain_name(name, {}).lower())
        default = STANDARD_GRAVITY if stem in _HEIGHT_NAMES else 1.0
        return Conversion(default, 0.0, "", quantity.units)
    if key not in known and not _is_published(quantity):
        how = linear_conversion(text, quantity.units)  # pint knows more than the tables here
        known |= {} if how is None else {key: how}
    if key not in known:
        raise InputError(
            f"{source}: {name} has units {text!r}, which are unknown for {quantity.name}",
            field=name,
            hint=did_you_mean(key, known),
        )
    factor, offset = known[key]
    return Conversion(factor, offset, text, quantity.units)


def stated_units(quantity: Quantity, attributes: Mapping[str, Any], name: str, source: str) -> str:
    """Return the units that a file states for a variable, in whichever attribute.

    Parameters
    ----------
    quantity : Quantity
        What the field is.
    attributes : mapping
        Those of the variable: ``units`` in any spelling, and what cfgrib keeps of GRIB.
    name, source : str
        Name of the variable, and of the source for messages.

    Returns
    -------
    str
        Empty if there are none.

    Raises
    ------
    InputError
        If two attributes mean different units.

    Examples
    --------
    >>> from pear.datasets.units import stated_units
    >>> stated_units(Quantity("2m_temperature"), {"Unit": "K", "GRIB_units": "K"}, "t2m", "a.nc")
    'K'
    """
    found: dict[str, tuple[str, tuple[float, float] | None]] = {}
    known = units_of(quantity)
    for key in sorted(attributes, key=lambda one: one != "units"):
        text = str(attributes[key]).strip()
        if re.sub("[^a-z]", "", str(key).lower()) not in _UNIT_KEYS or text.lower() in _NO_UNIT:
            continue
        found[str(key)] = (text, known.get(unit_key(text)))
    if not found:  # GrADS writes it at the end of the long name
        last = re.search(r"\[([^\]]+)\]\s*$", str(attributes.get("long_name", "")))
        return last[1] if last and unit_key(last[1]) in known else ""
    (first, (text, how)), *others = found.items()
    for key, (other, meaning) in others:
        same = unit_key(other) == unit_key(text)
        if not same and how is not None and meaning is not None and how != meaning:
            raise InputError(
                f"{source}: {name} has {first} {text!r} and {key} {other!r}",
                field=name,
                hint="correct the one that is wrong, or remove it",
            )
    return text


def _is_published(quantity: Quantity) -> bool:
    return quantity.name == RELATIVE_HUMIDITY or BY_NAME[quantity.name].published


def check_values(
    values: npt.NDArray[np.floating], quantity: Quantity, level: int | None, how: Conversion
) -> str | None:
    """Check the converted values of one field.

    Parameters
    ----------
    values : (point,) array
        In the units of the quantity.
    quantity : Quantity
        What the field is.
    level : int or None
        Pressure level in hPa.
    how : Conversion
        How the values were converted.

    Returns
    -------
    str or None
        What is wrong; None if nothing is.

    Examples
    --------
    >>> from pear.datasets.units import check_values
    >>> quantity = Quantity("2m_temperature")
    >>> how = conversion(quantity, "K", "t2m", "era5.nc")
    >>> check_values(np.array([280.0]), quantity, None, how) is None
    True
    >>> check_values(np.array([np.nan, 280.0]), quantity, None, how)
    '1 of 2 values missing or not finite'
    """
    low, high = np.min(values), np.max(values)
    if not (np.isfinite(low) and np.isfinite(high)):
        missing = int((~np.isfinite(values)).sum())
        return f"{missing} of {values.size} values missing or not finite"
    least, most = quantity.limits(level)
    if _is_share(float(high), quantity, level, how):
        stated = how.stated or "none"
        return f"relative humidity up to {high:.3g} % looks like a share of 1; its units: {stated}"
    if least <= low and high <= most:
        return None
    text = (
        f"values from {low:.6g} to {high:.6g} {quantity.units}, outside the valid range "
        f"[{least:g}, {most:g}]"
    )
    raw = (low - how.offset) / how.factor, (high - how.offset) / how.factor
    for unit, (factor, offset) in units_of(quantity).items():
        if least <= raw[0] * factor + offset and raw[1] * factor + offset <= most:
            return (
                f"{text}; they fit units of {unit!r}: is the attribute units={how.stated!r} wrong?"
            )
    return f"{text}; the variable is mislabelled or damaged"


def _is_share(high: float, quantity: Quantity, level: int | None, how: Conversion) -> bool:
    """Return whether relative humidity in % is so low everywhere that it must be a share of 1."""
    is_percent = quantity.name == RELATIVE_HUMIDITY and how.factor == 1.0
    # Higher up the air may be as dry as this everywhere.
    return is_percent and high < _SHARE and (level is None or level >= _MOIST_LEVEL)


def specific_humidity(
    relative: npt.NDArray[np.floating],
    temperature: npt.NDArray[np.floating],
    level: int,
    centre: str = "",
) -> Float32:
    """Compute specific humidity from relative humidity and temperature.

    q = εe / (p - (1 - ε)e), e = rh/100 · e_s(T). Negative relative humidity (from packing) counts
    as 0; supersaturation is kept. The saturation vapour pressure is that of the IFS, or of NCEP's
    models for NCEP's fields.

    Parameters
    ----------
    relative : array
        Relative humidity, %.
    temperature : array
        Temperature, K; the same shape.
    level : int
        Pressure, hPa.
    centre : str
        Originating centre; ``kwbc`` is NCEP.

    Returns
    -------
    array
        Specific humidity, kg kg-1.

    Examples
    --------
    >>> round(float(specific_humidity(np.array([100.0]), np.array([300.0]), 1000)[0]), 4)
    0.0223
    """
    t = np.asarray(temperature, dtype=np.float64)
    saturation = _saturation_ncep(t) if centre == "kwbc" else saturation_pressure(t)
    e = np.maximum(np.asarray(relative, dtype=np.float64), 0.0) / 100.0 * saturation
    pressure = 100.0 * level
    e = np.minimum(e, pressure)
    return np.asarray(EPSILON * e / (pressure - (1.0 - EPSILON) * e), dtype=np.float32)


def _saturation_ncep(t: Float64) -> Float64:
    """Return NCEP's saturation vapour pressure in Pa (FPVSNEW): a linear mixture, -20 to 0 °C."""
    # Integrated Clausius-Clapeyron equation with constant heat capacities (NCEPLIBS-fv, funcphys).
    vapour, liquid, solid, gas = 1846.0, 4185.5, 2106.0, 461.5
    evaporation, fusion = 2.5e6, 3.3358e5
    ratio = TRIPLE_POINT / t

    def curve(capacity: float, heat: float) -> Float64:
        a = -(vapour - capacity) / gas
        b = a + heat / (gas * TRIPLE_POINT)
        return np.asarray(610.78 * ratio**a * np.exp(b * (1.0 - ratio)))

    share = np.clip((t - (TRIPLE_POINT - 20.0)) / 20.0, 0.0, 1.0)
    water, ice = curve(liquid, evaporation), curve(solid, evaporation + fusion)
    return np.asarray(share * water + (1.0 - share) * ice)
