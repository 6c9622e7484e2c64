"""The table of variables: every variable that is known in this process, by its names."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from threading import RLock
from typing import Final, overload

from pear.errors import InputError, did_you_mean
from pear.variables.checks import check_distinct, check_row
from pear.variables.definition import Variable, contradiction, read_file
from pear.variables.derived import derived_rows, find_row

STANDARD_GRAVITY: Final = 9.80665
"""Standard acceleration of gravity, m s⁻²: geopotential over geopotential height."""
VARIABLE: Final = "PEAR_VARIABLES"
"""Environment variable that names a file of variables of one's own."""


class Table(Mapping[str, Variable]):
    """Variables by canonical name, in the order of channels; read when it is first used.

    It begins with ``variables.toml`` and the file that ``PEAR_VARIABLES`` names. Files of users,
    stores and checkpoints add the variables that they define.
    """

    def __init__(self) -> None:
        self._rows: dict[str, Variable] = {}
        self._names: dict[str, Variable] = {}
        self._sources: dict[str, str] = {}
        self._used: set[str] = set()
        self._lock = RLock()

    def __getitem__(self, name: str) -> Variable:
        return self._read()[name]

    def __contains__(self, name: object) -> bool:
        return name in self._read()

    def __iter__(self) -> Iterator[str]:
        return iter(self._read())

    def __len__(self) -> int:
        return len(self._read())

    def names(self) -> dict[str, Variable]:
        """Return all names and aliases, with the variable that each means."""
        self._read()
        return self._names

    def is_used(self, name: str) -> bool:
        """Return whether ingestions take a variable that nobody asks for.

        Returns
        -------
        bool
            True for the published ones, those of a user's file, and those that its ``use`` lists.
        """
        self._read()
        return name in self._used

    def is_shipped(self, name: str) -> bool:
        """Return whether a variable comes with PEAR, whose names the sources of ERA5 share."""
        self._read()
        return self._sources.get(name) == "PEAR"

    def define(self, rows: Sequence[Variable], source: str) -> None:
        """Add the variables of a user's file; those that are the same already are kept.

        Parameters
        ----------
        rows
            The variables.
        source
            Name of the file, for messages.

        Raises
        ------
        InputError
            If a name or alias means another variable already, or a partner or unit is wrong.
        """
        self._read()
        with self._lock:
            new = [row for row in rows if self._rows.get(row.name) != row]
            known, own = self._names, {row.name: row for row in new}
            for row in new:
                if row.name in self._rows:
                    raise InputError(
                        f"{source}: {row.name} is defined already, by {self._sources[row.name]}",
                        field="variables",
                        hint="use another name",
                    )
                for name in (row.name, row.short_name, *row.aliases):
                    other = known.get(name, own.get(name, row))
                    if other.name != row.name:
                        raise InputError(
                            f"{source}: {row.name}: {name!r} means {other.name} already",
                            field="variables",
                            hint="remove or change it",
                        )
                check_row(row, {**self._rows, **own}, source)
            check_distinct(new, source)
            for row in new:
                self._add(row, source)
            self._used |= {row.name for row in rows}

    def use(self, names: Sequence[str], source: str) -> None:
        """Let ingestions take variables that PEAR knows and does not take by itself."""
        try:
            self._used |= {_stored(name).name for name in names}
        except InputError as error:
            raise InputError(
                f"{source}: use: {error.message}", field="variables", hint=error.hint
            ) from error

    def adopt(self, rows: Sequence[Variable], source: str) -> None:
        """Add the variables that a store or checkpoint defines.

        Parameters
        ----------
        rows
            The variables; one that is known is kept as it is.
        source
            The store or checkpoint, for messages.

        Raises
        ------
        InputError
            If a variable is known with another unit, kind or meaning of its values.
        """
        self._read()
        with self._lock:
            for row in rows:
                known = self._rows.get(row.name)
                if known is None:
                    self._add(row, source)
                elif (what := contradiction(known, row)) is not None:
                    raise InputError(
                        f"{source} defines {row.name} otherwise than {self._sources[row.name]}: "
                        f"{what}",
                        field="variables",
                        hint="rename the variable in your own file",
                    )

    def _read(self) -> dict[str, Variable]:
        if self._rows:
            return self._rows
        with self._lock:
            if not self._rows:
                for row in read_file("variables.toml"):
                    self._add(row, "PEAR")
                self._used = {row.name for row in self._rows.values() if row.published}
                try:
                    if path := os.environ.get(VARIABLE):
                        from pear.variables.files import read_own

                        rows, used = read_own(path)
                        self.define(rows, path)
                        self.use(used, path)
                except InputError:
                    self._rows, self._names, self._sources = {}, {}, {}
                    raise
        return self._rows

    def _add(self, row: Variable, source: str) -> None:
        self._rows[row.name], self._sources[row.name] = row, source
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


def _stored(name: str) -> Variable:
    """Return a variable that stores can hold, or raise InputError with the closest name."""
    names = BY_NAME.names()
    return _found(names.get(name) or names.get(name.strip().lower()), name, names)


def _found(row: Variable | None, name: str, known: Iterable[str]) -> Variable:
    if not name.strip():
        raise InputError(
            "the name of a variable is empty",
            field="variable",
            hint="name at least one, such as t2m or z500, without a comma at the end",
        )
    if row is None:
        raise InputError(
            f"unknown variable {name!r}", field="variable", hint=did_you_mean(name, known)
        )
    return row


def variable(name: str) -> Variable:
    """Look up a variable, stored or derived, by its canonical name or any alias.

    An unknown name is an InputError, whose hint names the closest one.

    Parameters
    ----------
    name
        Name in any case.

    Returns
    -------
    Variable
        Row of the table.

    Examples
    --------
    >>> variable("t2m").units
    'K'
    >>> variable("vorticity").units
    's-1'
    """
    names = BY_NAME.names()
    row = names.get(name) or names.get(name.strip().lower()) or find_row(name)
    return _found(row, name, [*names, *derived_rows()])


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
    """Return the inclusive bounds of a variable at a pressure level, wide enough for any weather.

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
    >>> valid_range("temperature", 50), valid_range("temperature", 1000)
    ((160.0, 280.0), (165.0, 345.0))
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
    if (found := _neighbours(BY_NAME[name].valid_range_at, level)) is not None:
        one, other, share = found
        return (
            one[0] * (1.0 - share) + other[0] * share,
            one[1] * (1.0 - share) + other[1] * share,
        )
    return low, high


def _neighbours(
    table: Mapping[int, tuple[float, float]], level: int
) -> tuple[tuple[float, float], tuple[float, float], float] | None:
    """Return the bounds above and below a level, and where it lies between them in log pressure."""
    if level in table:
        return table[level], table[level], 0.0
    known = sorted(table)
    if not known or not known[0] < level < known[-1]:
        return None
    above, below = max(p for p in known if p < level), min(p for p in known if p > level)
    return table[above], table[below], math.log(level / above) / math.log(below / above)


def rms_range(name: str, level: int | None = None) -> tuple[float, float] | None:
    """Return bounds of the root mean square of a variable over the globe.

    They hold in any climate and differ from those of other units, which the valid range of single
    values may not: specific humidity in kg/kg that is labelled g/kg, heights near the ground.

    Parameters
    ----------
    name
        Canonical name.
    level
        Pressure level in hPa; between the levels of the table bounds are interpolated.

    Returns
    -------
    low, high : float
        In the units of the variable; None where the table says nothing.

    Examples
    --------
    >>> rms_range("2m_temperature"), rms_range("specific_humidity", 50)
    ((264.0, 308.0), None)
    >>> [float(f"{bound:.2g}") for bound in rms_range("specific_humidity", 600)]
    [0.00023, 0.021]
    """
    row = BY_NAME[name]
    if level is None:
        return row.rms_range
    if (found := _neighbours(row.rms_range_at, level)) is None:
        return None
    low, high = (
        one ** (1.0 - found[2]) * other ** found[2]
        for one, other in zip(found[0], found[1], strict=True)
    )
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
        return _stored(text), None
    found = names[match["name"]]
    if found.kind == "surface":
        raise InputError(
            f"{found.name} is a surface variable and has no level {match['level']}",
            field="variable",
            hint=f"use {found.name}",
        )
    return found, int(match["level"])
