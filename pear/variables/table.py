"""The table of variables: every variable that is known in this process, by its names."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from typing import Final, overload

from pear.errors import InputError, did_you_mean
from pear.variables.definition import Variable, read_rows

STANDARD_GRAVITY: Final = 9.80665
"""Standard acceleration of gravity, m s⁻²: geopotential over geopotential height."""


class Table(Mapping[str, Variable]):
    """Variables by canonical name, in the order of channels; read when it is first used."""

    def __init__(self) -> None:
        self._rows: dict[str, Variable] = {}
        self._names: dict[str, Variable] = {}

    def __getitem__(self, name: str) -> Variable:
        return self._read()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._read())

    def __len__(self) -> int:
        return len(self._read())

    def names(self) -> dict[str, Variable]:
        """Return all names and aliases, with the variable that each means."""
        self._read()
        return self._names

    def _read(self) -> dict[str, Variable]:
        if not self._rows:
            import tomllib  # takes longer than `import pear` may

            text = resources.files(__package__).joinpath("variables.toml").read_text("utf-8")
            for row in read_rows(tomllib.loads(text), "variables.toml"):
                self._add(row)
        return self._rows

    def _add(self, row: Variable) -> None:
        self._rows[row.name] = row
        for name in (row.name, row.short_name, *row.aliases):
            self._names.setdefault(name, row)


class _Rows(Sequence[Variable]):
    """The rows of a table as a sequence."""

    def __init__(self, table: Table) -> None:
        self._table = table

    @overload
    def __getitem__(self, index: int) -> Variable: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Variable]: ...
    def __getitem__(self, index: int | slice) -> Variable | Sequence[Variable]:
        return tuple(self._table.values())[index]

    def __iter__(self) -> Iterator[Variable]:
        return iter(self._table.values())

    def __len__(self) -> int:
        return len(self._table)


BY_NAME: Final = Table()
"""All variables by canonical name."""
VARIABLES: Final[Sequence[Variable]] = _Rows(BY_NAME)
"""All variables in the order of channels."""


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
    names = BY_NAME.names()
    found = names.get(name) or names.get(name.strip().lower())
    if found is None:
        raise InputError(
            f"unknown variable {name!r}", field="variable", hint=did_you_mean(name, names)
        )
    return found


def wind_pairs() -> list[tuple[str, str]]:
    """Return the canonical names of the components of each wind, eastward and northward.

    Returns
    -------
    list of tuple
        In the order of the table.

    Examples
    --------
    >>> from pear.variables import wind_pairs
    >>> wind_pairs()[0]
    ('10m_u_component_of_wind', '10m_v_component_of_wind')
    """
    return [
        (row.name, row.partner)
        for row in VARIABLES
        if row.partner is not None and row.mirror_sign == 1
    ]


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
    other = wind_partner(name)
    if other is None:
        return None
    return (name, other) if BY_NAME[name].mirror_sign == 1 else (other, name)


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
    row = BY_NAME.get(name)
    return None if row is None else row.partner


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
    rule = BY_NAME[name].range_by_level
    if rule == "height":
        height = _standard_height(level)
        spread = 1000.0 + 0.06 * abs(height)
        return STANDARD_GRAVITY * (height - spread), STANDARD_GRAVITY * (height + spread)
    if rule == "moisture":
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
    names = BY_NAME.names()
    if text in names:
        return names[text], None
    match = re.fullmatch(r"(?P<name>.*?[a-z])[_:@ ]?(?P<level>\d{1,4})(?:hPa)?", text.strip())
    if match is None or match["name"] not in names:
        return variable(text), None
    found = names[match["name"]]
    if found.kind == "surface":
        raise InputError(
            f"{found.name} is a surface variable and has no level {match['level']}",
            field="variable",
            hint=f"use {found.name}",
        )
    return found, int(match["level"])
