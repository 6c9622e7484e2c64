"""The table of variables: names, aliases, units, valid ranges, and the order of channels.

Names are WeatherBench2's; aliases are those of ECMWF, CDS and NCEP. Units, channel order and the
behaviour under the mirror at the equator are defined here only.
"""

from __future__ import annotations

import math
import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Self

from pear.errors import InputError, did_you_mean
from pear.typing import Channel

Kind = Literal["surface", "upper"]

STANDARD_GRAVITY: Final = 9.80665
"""Standard acceleration of gravity, m s⁻²: geopotential over geopotential height."""


@dataclass(frozen=True)
class Variable:
    """A physical variable.

    Attributes
    ----------
    name, short_name, long_name, standard_name
        WeatherBench2, ECMWF and CF names.
    units
        UDUNITS string; every store and state holds the variable in this unit.
    kind
        ``"surface"`` for single-level fields, ``"upper"`` for pressure-level fields.
    valid_range
        Inclusive bounds in ``units``; values outside do not occur on Earth.
    mirror_sign
        Factor of the field under the reflection at the equator: -1 for northward components.
    aliases
        Other names accepted on input.

    Examples
    --------
    >>> from pear.variables import Variable, variable
    >>> wind = variable("v10")
    >>> wind.name, wind.units, wind.mirror_sign
    ('10m_v_component_of_wind', 'm s-1', -1)
    """

    name: str
    short_name: str
    long_name: str
    standard_name: str
    units: str
    kind: Kind
    valid_range: tuple[float, float]
    mirror_sign: Literal[1, -1] = 1
    aliases: tuple[str, ...] = ()


VARIABLES: Final[tuple[Variable, ...]] = (
    Variable(
        "mean_sea_level_pressure",
        "msl",
        "Mean sea level pressure",
        "air_pressure_at_mean_sea_level",
        "Pa",
        "surface",
        (85_000.0, 110_000.0),
        aliases=("mslp", "prmsl", "psl"),
    ),
    Variable(
        "10m_u_component_of_wind",
        "u10",
        "Eastward wind at 10 m",
        "eastward_wind",
        "m s-1",
        "surface",
        (-100.0, 100.0),
        aliases=("10u", "u10m", "uas"),
    ),
    Variable(
        "10m_v_component_of_wind",
        "v10",
        "Northward wind at 10 m",
        "northward_wind",
        "m s-1",
        "surface",
        (-100.0, 100.0),
        mirror_sign=-1,
        aliases=("10v", "v10m", "vas"),
    ),
    Variable(
        "2m_temperature",
        "t2m",
        "Air temperature at 2 m",
        "air_temperature",
        "K",
        "surface",
        (170.0, 345.0),
        aliases=("2t", "tas"),
    ),
    Variable(
        "geopotential",
        "z",
        "Geopotential",
        "geopotential",
        "m2 s-2",
        "upper",
        (-10_000.0, 250_000.0),
        aliases=("phi",),
    ),
    Variable(
        "specific_humidity",
        "q",
        "Specific humidity",
        "specific_humidity",
        "kg kg-1",
        "upper",
        (-1e-4, 0.05),
        aliases=("hus", "spfh"),
    ),
    Variable(
        "temperature",
        "t",
        "Air temperature",
        "air_temperature",
        "K",
        "upper",
        (150.0, 345.0),
        aliases=("ta", "tmp"),
    ),
    Variable(
        "u_component_of_wind",
        "u",
        "Eastward wind",
        "eastward_wind",
        "m s-1",
        "upper",
        (-200.0, 200.0),
        aliases=("ua", "ugrd", "uwnd"),
    ),
    Variable(
        "v_component_of_wind",
        "v",
        "Northward wind",
        "northward_wind",
        "m s-1",
        "upper",
        (-200.0, 200.0),
        mirror_sign=-1,
        aliases=("va", "vgrd", "vwnd"),
    ),
)

WIND_PAIRS: Final = (
    ("10m_u_component_of_wind", "10m_v_component_of_wind"),
    ("u_component_of_wind", "v_component_of_wind"),
)
"""Canonical names of the components of each wind, eastward and northward."""

PROBABILITY: Final = "pear_probability_of"
"""Attribute of a store whose fields are probabilities: the event they are probabilities of."""
STATISTIC: Final = "pear_statistic"
"""Attribute of a store with a statistic of an ensemble by component: its spread, a quantile."""

SIMULATED: Final = "simulated"
"""Attribute of a store or Dataset of a simulated atmosphere, with the value ``true``."""
MEMBERS: Final = "pear_members"
"""Attribute of a store with the mean of an ensemble: the number of its members."""

BY_NAME: Final[dict[str, Variable]] = {variable.name: variable for variable in VARIABLES}
_LOOKUP: Final[dict[str, Variable]] = {
    alias: variable
    for variable in VARIABLES
    for alias in (variable.name, variable.short_name, *variable.aliases)
}
LEVELS: Final[tuple[int, ...]] = (1000, 925, 850, 700, 600, 500, 400, 300, 250, 200, 150, 100, 50)
"""The published pressure levels in hPa, in the published order: from the ground up."""


def variable(name: str) -> Variable:
    """Look up a variable by its canonical name or any alias.

    Parameters
    ----------
    name
        Name in any case.

    Returns
    -------
    Variable
        Row of the table.

    Raises
    ------
    InputError
        If the name is unknown; the hint names the closest one.

    Examples
    --------
    >>> variable("t2m").units
    'K'
    """
    found = _LOOKUP.get(name) or _LOOKUP.get(name.strip().lower())
    if found is None:
        raise InputError(
            f"unknown variable {name!r}", field="variable", hint=did_you_mean(name, _LOOKUP)
        )
    return found


def wind_pair(name: str) -> tuple[str, str] | None:
    """Return the eastward and northward component of the wind that a variable is part of.

    Parameters
    ----------
    name
        Canonical name.

    Returns
    -------
    tuple of str or None
        None if the variable is not a component of a wind.

    Examples
    --------
    >>> wind_pair("v_component_of_wind")
    ('u_component_of_wind', 'v_component_of_wind')
    >>> wind_pair("temperature") is None
    True
    """
    return next((pair for pair in WIND_PAIRS if name in pair), None)


def wind_partner(name: str) -> str | None:
    """Return the other component of a wind; None if the variable is not a component of one.

    Parameters
    ----------
    name
        Canonical name.

    Returns
    -------
    str or None
        Canonical name.

    Examples
    --------
    >>> wind_partner("10m_v_component_of_wind")
    '10m_u_component_of_wind'
    """
    pair = wind_pair(name)
    return None if pair is None else pair[1 - pair.index(name)]


def holds_vectors(attributes: Mapping[Hashable, object]) -> bool:
    """Return whether the wind components of a store or Dataset are those of vectors.

    Parameters
    ----------
    attributes
        Its attributes.

    Returns
    -------
    bool
        False for the spread, the quantiles and the probabilities of an ensemble: the two
        components of a wind are reduced one by one there, and do not make a wind.

    Examples
    --------
    >>> from pear.variables import holds_vectors
    >>> holds_vectors({"title": "PEAR forecast"}), holds_vectors({"pear_statistic": "spread"})
    (True, False)
    """
    return STATISTIC not in attributes and PROBABILITY not in attributes


def valid_range(name: str, level: int | None = None) -> tuple[float, float]:
    """Return the inclusive bounds of a variable at a pressure level.

    Geopotential follows the standard atmosphere within 1000 m and 6 % of the height; specific
    humidity is bounded by 0.05 kg/kg at 1000 hPa, decreasing with the square of the pressure. The
    bounds are narrow enough to tell height from geopotential and g/kg from kg/kg, and wide enough
    for any storm.

    Parameters
    ----------
    name
        Canonical name.
    level
        Pressure level in hPa; default: bounds for all levels.

    Returns
    -------
    low, high : float
        In the units of the variable.

    Examples
    --------
    >>> [round(bound) for bound in valid_range("geopotential", 500)]
    [41580, 67753]
    """
    low, high = BY_NAME[name].valid_range
    if level is None:
        return low, high
    if name == "geopotential":
        height = _standard_height(level)
        spread = 1000.0 + 0.06 * abs(height)
        return STANDARD_GRAVITY * (height - spread), STANDARD_GRAVITY * (height + spread)
    if name == "specific_humidity":
        return low, high * min(1.0, (level / 1000.0) ** 2)
    return low, high


def _standard_height(level: float) -> float:
    """Return the height in m of a pressure level in hPa in the ICAO standard atmosphere."""
    if level >= 226.32:
        return 44_330.8 * (1.0 - math.pow(level / 1013.25, 0.190263))
    return 11_000.0 + 6_341.6 * math.log(226.32 / level)


def parse_field(text: str) -> tuple[Variable, int | None]:
    """Parse a field such as ``z500``, ``t_850``, ``temperature:850`` or ``2m_temperature``.

    Parameters
    ----------
    text
        Name or alias of a variable, optionally with a level in hPa.

    Returns
    -------
    variable : Variable
        Row of the table.
    level : int or None
        Pressure level in hPa, if the text has one.

    Raises
    ------
    InputError
        If a surface variable is given a level, or the variable is unknown.

    Examples
    --------
    >>> found, level = parse_field("z500")
    >>> found.name, level
    ('geopotential', 500)
    """
    if text in _LOOKUP:
        return _LOOKUP[text], None
    match = re.fullmatch(r"(?P<name>.*?[a-z])[_:@ ]?(?P<level>\d{1,4})(?:hPa)?", text.strip())
    if match is None or match["name"] not in _LOOKUP:
        return variable(text), None
    found = _LOOKUP[match["name"]]
    if found.kind == "surface":
        raise InputError(
            f"{found.name} is a surface variable and has no level {match['level']}",
            field="variable",
            hint=f"use {found.name}",
        )
    return found, int(match["level"])


@dataclass(frozen=True)
class Layout:
    """Channels of a state, in order.

    Attributes
    ----------
    surface, upper
        Canonical names in channel order.
    levels
        Pressure levels in hPa in the order of the level axis.

    Raises
    ------
    InputError
        If a name is unknown or an entry is repeated.

    Examples
    --------
    >>> Layout(("2m_temperature",), ("temperature",), (850, 500)).channels
    (('2m_temperature', None), ('temperature', 850), ('temperature', 500))
    """

    surface: tuple[str, ...] = field(
        default=tuple(v.name for v in VARIABLES if v.kind == "surface")
    )
    upper: tuple[str, ...] = field(default=tuple(v.name for v in VARIABLES if v.kind == "upper"))
    levels: tuple[int, ...] = LEVELS

    def __post_init__(self) -> None:
        for kind, names in (("surface", self.surface), ("upper", self.upper)):
            for name in names:
                if name not in BY_NAME or BY_NAME[name].kind != kind:
                    raise InputError(
                        f"{name!r} is not a {kind} variable",
                        field="layout",
                        hint=did_you_mean(name, [v.name for v in VARIABLES if v.kind == kind]),
                    )
        for label, items in (
            ("surface", self.surface),
            ("upper", self.upper),
            ("levels", self.levels),
        ):
            if len(set(items)) != len(items):
                raise InputError(f"layout repeats an entry in {label}: {items}", field="layout")

    @property
    def names(self) -> tuple[str, ...]:
        """Canonical names of all variables, surface first."""
        return self.surface + self.upper

    @property
    def channels(self) -> tuple[Channel, ...]:
        """All (variable, level) pairs: surface, then upper variables level by level."""
        return tuple((name, None) for name in self.surface) + tuple(
            (name, level) for name in self.upper for level in self.levels
        )

    @classmethod
    def default(cls) -> Self:
        """Return the published layout: 4 surface and 5 upper-air variables on 13 levels.

        Returns
        -------
        Layout
            Equal to ``Layout()``.

        Examples
        --------
        >>> Layout.default().surface[0], len(Layout.default().channels)
        ('mean_sea_level_pressure', 69)
        """
        return cls()

    @classmethod
    def from_dict(cls, parts: Mapping[str, Sequence[Any]]) -> Self:
        """Build from the lists ``surface``, ``upper`` and ``levels``, as read from JSON."""
        return cls(*(tuple(parts[name]) for name in ("surface", "upper", "levels")))

    def mirror_signs(self, kind: Kind) -> tuple[int, ...]:
        """Return the sign of each variable of a kind under the mirror at the equator."""
        names = self.surface if kind == "surface" else self.upper
        return tuple(BY_NAME[name].mirror_sign for name in names)


def channel_label(channel: Channel) -> str:
    """Return short name and level of a channel, such as ``z500`` or ``msl``.

    Returns
    -------
    str
        Without level for surface variables.

    Examples
    --------
    >>> from pear.variables import channel_label
    >>> channel_label(("geopotential", 500)), channel_label(("mean_sea_level_pressure", None))
    ('z500', 'msl')
    """
    name, level = channel
    return BY_NAME[name].short_name + ("" if level is None else str(level))
