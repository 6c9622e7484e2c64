"""The channels of states, their order and their labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self

from pear.errors import InputError, did_you_mean
from pear.typing import Channel
from pear.variables.definition import Kind, Variable
from pear.variables.derived import find_row
from pear.variables.table import BY_NAME, VARIABLES, variable

LEVELS: Final[tuple[int, ...]] = (1000, 925, 850, 700, 600, 500, 400, 300, 250, 200, 150, 100, 50)
"""The published pressure levels in hPa, in the published order: from the ground up."""


def _published(kind: Kind) -> tuple[str, ...]:
    """Return the variables of a kind that the published model has."""
    return tuple(row.name for row in VARIABLES if row.published and row.kind == kind)


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

    surface: tuple[str, ...] = field(default_factory=lambda: _published("surface"))
    upper: tuple[str, ...] = field(default_factory=lambda: _published("upper"))
    levels: tuple[int, ...] = LEVELS

    def __post_init__(self) -> None:
        for kind, names in (("surface", self.surface), ("upper", self.upper)):
            for name in names:
                row = self._row(name)
                if row is None or row.kind != kind:
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

    def _row(self, name: str) -> Variable | None:
        return BY_NAME.get(name)

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


class ProbabilityLayout(Layout):
    """Channels of a store of probabilities, which may be those of derived quantities.

    No state has such channels: what is derived is computed from the members of an ensemble, and
    its probability cannot be computed from theirs. A name that is neither a stored variable nor a
    derived quantity is an :class:`~pear.errors.InputError`.

    Examples
    --------
    >>> from pear.variables import ProbabilityLayout
    >>> ProbabilityLayout((), ("wind_speed",), (850,)).channels
    (('wind_speed', 850),)
    """

    def _row(self, name: str) -> Variable | None:
        return super()._row(name) or find_derived_row(name)


def find_derived_row(name: str) -> Variable | None:
    """Return the derived quantity of a canonical name; None for aliases and stored variables.

    Returns
    -------
    Variable or None
        Its row.

    Examples
    --------
    >>> from pear.variables.layout import find_derived_row
    >>> find_derived_row("wind_speed").units, find_derived_row("ws"), find_derived_row("level")
    ('m s-1', None, None)
    """
    row = None if name in BY_NAME else find_row(name)
    return row if row is not None and row.name == name else None


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
    return variable(name).short_name + ("" if level is None else str(level))
