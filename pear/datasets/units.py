"""What a field in a file is: names and units of the world, brought to those of the contract.

A unit is recognised by its name and then by the values: after conversion they must lie in the
range of the variable at its level. What fits neither is refused, never guessed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pear.errors import InputError, did_you_mean
from pear.variables import BY_NAME, STANDARD_GRAVITY, parse_field, valid_range

"""m s-2: geopotential = standard gravity x geopotential height (WMO)."""


RELATIVE_HUMIDITY: Final = "relative_humidity"


_RELATIVE_NAMES: Final = ("r", "rh", "relhum", "hur", RELATIVE_HUMIDITY)


_HEIGHT_NAMES: Final = ("gh", "hgt", "zg", "geopotential_height")


_RELATIVE_RANGE: Final = (-30.0, 200.0)


# ERA5 has winds at 100 m and 200 m under names that read like winds at 100 and 200 hPa.
_METRES_NOT_HPA: Final = frozenset({"u100", "v100", "u200", "v200", "100u", "100v", "200u", "200v"})


_SPEED = {
    "m s-1": (1.0, 0.0),
    "m/s": (1.0, 0.0),
    "m.s-1": (1.0, 0.0),
    "meters/second": (1.0, 0.0),
    "metre/second": (1.0, 0.0),
    "km/h": (1 / 3.6, 0.0),
    "kt": (0.514444, 0.0),
    "knots": (0.514444, 0.0),
}


_TEMPERATURE = {
    "k": (1.0, 0.0),
    "kelvin": (1.0, 0.0),
    "degk": (1.0, 0.0),
    "c": (1.0, 273.15),
    "degc": (1.0, 273.15),
    "°c": (1.0, 273.15),
    "celsius": (1.0, 273.15),
    "degrees_celsius": (1.0, 273.15),
    "deg_c": (1.0, 273.15),
    "degree_celsius": (1.0, 273.15),
}


_PRESSURE = {
    "pa": (1.0, 0.0),
    "pascal": (1.0, 0.0),
    "hpa": (100.0, 0.0),
    "mb": (100.0, 0.0),
    "mbar": (100.0, 0.0),
    "millibar": (100.0, 0.0),
    "millibars": (100.0, 0.0),
    "kpa": (1000.0, 0.0),
}


_GEOPOTENTIAL = {
    "m2 s-2": (1.0, 0.0),
    "m2/s2": (1.0, 0.0),
    "m2.s-2": (1.0, 0.0),
    "j kg-1": (1.0, 0.0),
    "j/kg": (1.0, 0.0),
    "gpm": (STANDARD_GRAVITY, 0.0),
    "m": (STANDARD_GRAVITY, 0.0),
    "meter": (STANDARD_GRAVITY, 0.0),
    "metre": (STANDARD_GRAVITY, 0.0),
    "meters": (STANDARD_GRAVITY, 0.0),
    "metres": (STANDARD_GRAVITY, 0.0),
    "dam": (10 * STANDARD_GRAVITY, 0.0),
    "gpdm": (10 * STANDARD_GRAVITY, 0.0),
}


_MIXING = {
    "kg kg-1": (1.0, 0.0),
    "kg/kg": (1.0, 0.0),
    "1": (1.0, 0.0),
    "g/kg": (1e-3, 0.0),
    "g kg-1": (1e-3, 0.0),
    "mg/kg": (1e-6, 0.0),
    "mg kg-1": (1e-6, 0.0),
}


_PERCENT = {"%": (1.0, 0.0), "percent": (1.0, 0.0), "1": (100.0, 0.0), "fraction": (100.0, 0.0)}


_UNITS: Final[dict[str, dict[str, tuple[float, float]]]] = {
    "m s-1": _SPEED,
    "K": _TEMPERATURE,
    "Pa": _PRESSURE,
    "m2 s-2": _GEOPOTENTIAL,
    "kg kg-1": _MIXING,
    "%": _PERCENT,
}


@dataclass(frozen=True)
class Quantity:
    """What a field is and how its numbers become those of the contract.

    Attributes
    ----------
    name
        A canonical variable, or ``relative_humidity``.
    level
        Pressure level in hPa that the name itself tells (``z500``), or None.
    """

    name: str
    level: int | None = None

    @property
    def upper(self) -> bool:
        """Whether it lives on pressure levels."""
        return self.name == RELATIVE_HUMIDITY or BY_NAME[self.name].kind == "upper"

    @property
    def units(self) -> str:
        """Units after conversion."""
        return "%" if self.name == RELATIVE_HUMIDITY else BY_NAME[self.name].units

    def limits(self, level: int | None) -> tuple[float, float]:
        """Inclusive bounds of values after conversion."""
        if self.name == RELATIVE_HUMIDITY:
            return _RELATIVE_RANGE
        return valid_range(self.name, level)


@dataclass(frozen=True)
class Conversion:
    """value x factor + offset, and what it was for.

    Attributes
    ----------
    stated
        Units as the file states them; empty if it states none.
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
        """Whether it alters numbers, or takes a unit that was not stated."""
        return not self.stated or (self.factor, self.offset) != (1.0, 0.0)


def recognise(name: str, attributes: Mapping[str, Any]) -> Quantity | None:
    """Say what a field of this name is, or None if PEAR has no use for it.

    Parameters
    ----------
    name
        Name in the file: canonical, ECMWF's, NCEP's, CF's, or with its level (``t850``).
    attributes
        Attributes of the variable; a GRIB short name or level type there counts.
    """
    short = str(attributes.get("GRIB_shortName", "")).lower()
    pressure = str(attributes.get("GRIB_typeOfLevel", "")).startswith("isobaric")
    if {name.lower(), short} & _METRES_NOT_HPA and not pressure:
        return None
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
    return None


def conversion(quantity: Quantity, stated: Any, name: str, source: str) -> Conversion:
    """Find the conversion from the units that a file states.

    Raises
    ------
    InputError
        If the units are none that the quantity is measured in.
    """
    text = "" if stated is None else str(stated).strip()
    known = _UNITS[quantity.units]
    key = re.sub(r"\*\*|\^|(?<=[a-z])\s*\*\s*(?=[a-z])", "", text.lower())
    key = re.sub(r"\s+", " ", key.replace("(", "").replace(")", "")).strip()
    if key in ("", "unknown", "none"):
        default = STANDARD_GRAVITY if name.lower() in _HEIGHT_NAMES else 1.0
        return Conversion(default, 0.0, "", quantity.units)
    if key not in known:
        raise InputError(
            f"{source}: {name} is in {text!r}, which is no unit of {quantity.name}",
            field=name,
            hint=did_you_mean(key, known),
        )
    factor, offset = known[key]
    return Conversion(factor, offset, text, quantity.units)


def check_values(values: Any, quantity: Quantity, level: int | None, how: Conversion) -> str | None:
    """Judge converted values of one field: None if good, else what is wrong.

    Parameters
    ----------
    values
        (point,), in the units of the quantity.
    """
    low, high = np.min(values), np.max(values)
    if not (np.isfinite(low) and np.isfinite(high)):
        missing = int((~np.isfinite(values)).sum())
        return f"{missing} of {values.size} values missing or not finite"
    least, most = quantity.limits(level)
    if least <= low and high <= most:
        return None
    text = f"values from {low:.6g} to {high:.6g} {quantity.units} lie outside [{least:g}, {most:g}]"
    raw = (low - how.offset) / how.factor, (high - how.offset) / how.factor
    for unit, (factor, offset) in _UNITS[quantity.units].items():
        if least <= raw[0] * factor + offset and raw[1] * factor + offset <= most:
            return f"{text}; they would fit if the file meant {unit} and not {how.stated!r}"
    return f"{text}; the variable is mislabelled or damaged"


_EPSILON: Final = 287.0597 / 461.5250  # gas constants of dry air and water vapour


_TRIPLE: Final = 273.16


def specific_humidity(
    relative: npt.NDArray[Any], temperature: npt.NDArray[Any], level: int, centre: str = ""
) -> npt.NDArray[np.float32]:
    """Specific humidity in kg kg-1 from relative humidity in % and temperature in K at a level.

    q = εe / (p - (1 - ε)e), e = rh/100 · e_s(T). Negative relative humidity (packing) counts as
    none; supersaturation is kept.

    Parameters
    ----------
    relative, temperature
        Same shape.
    level
        hPa.
    centre
        Where the field comes from: ``kwbc`` (NCEP) measures against its own saturation curve,
        all others are taken to follow the IFS.
    """
    t = np.asarray(temperature, dtype=np.float64)
    saturation = _ncep(t) if centre == "kwbc" else _ifs(t)
    e = np.maximum(np.asarray(relative, dtype=np.float64), 0.0) / 100.0 * saturation
    pressure = 100.0 * level
    e = np.minimum(e, pressure)
    return np.asarray(_EPSILON * e / (pressure - (1.0 - _EPSILON) * e), dtype=np.float32)


def _ifs(t: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Saturation vapour pressure in Pa over water, ice and their mixture between -23 and 0 °C.

    IFS Documentation Cy47r3, part IV, section 7.4 (Teten's formula; Buck 1981, AERKi 1996).
    """
    water = 611.21 * np.exp(17.502 * (t - _TRIPLE) / (t - 32.19))
    ice = 611.21 * np.exp(22.587 * (t - _TRIPLE) / (t + 0.7))
    share = np.clip((t - 250.16) / (_TRIPLE - 250.16), 0.0, 1.0) ** 2
    return np.asarray(share * water + (1.0 - share) * ice)


def _ncep(t: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Saturation vapour pressure in Pa as in NCEP's FPVSNEW: a linear mixture from -20 to 0 °C.

    Integrated Clausius-Clapeyron equation with constant heat capacities (NCEPLIBS-fv, funcphys).
    """
    vapour, liquid, solid, gas = 1846.0, 4185.5, 2106.0, 461.5
    evaporation, fusion = 2.5e6, 3.3358e5
    ratio = _TRIPLE / t

    def curve(capacity: float, heat: float) -> npt.NDArray[np.float64]:
        a = -(vapour - capacity) / gas
        b = a + heat / (gas * _TRIPLE)
        return np.asarray(610.78 * ratio**a * np.exp(b * (1.0 - ratio)))

    share = np.clip((t - (_TRIPLE - 20.0)) / 20.0, 0.0, 1.0)
    water, ice = curve(liquid, evaporation), curve(solid, evaporation + fusion)
    return np.asarray(share * water + (1.0 - share) * ice)
