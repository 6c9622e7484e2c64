"""The channels of states, their order and their labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self

from pear.errors import InputError, did_you_mean
from pear.typing import Channel
from pear.variables.definition import Kind
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
    return variable(name).short_name + ("" if level is None else str(level))
