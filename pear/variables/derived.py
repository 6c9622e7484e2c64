"""Rows of the quantities that are computed from stored variables; see :mod:`pear.derived`."""

from __future__ import annotations

import re
from functools import cache
from typing import Final

from pear.variables.definition import Style, Variable, read_file

_THICKNESS: Final = re.compile(r"thickness[_: ]?(?P<one>\d{1,4})[-_:, ](?P<other>\d{1,4})(?:hPa)?")


@cache
def derived_rows() -> dict[str, Variable]:
    """Return the derived quantities by canonical name; thicknesses are not among them.

    Returns
    -------
    dict
        Rows in the form of the table.

    Examples
    --------
    >>> from pear.variables.derived import derived_rows
    >>> derived_rows()["vorticity"].units
    's-1'
    """
    return {row.name: row for row in read_file("derived.toml")}


@cache
def _names() -> dict[str, Variable]:
    rows = derived_rows()
    aliases = {alias: row for row in rows.values() for alias in (row.short_name, *row.aliases)}
    return aliases | rows


def find_row(name: str) -> Variable | None:
    """Return the derived quantity of a name or alias, or None.

    Parameters
    ----------
    name
        Such as ``wind_speed``, ``vo`` or ``thickness_1000_500``.

    Returns
    -------
    Variable or None
        Its row.

    Examples
    --------
    >>> from pear.variables.derived import find_row
    >>> find_row("vo").name, find_row("thickness 500-1000").name, find_row("temperature")
    ('vorticity', 'thickness_1000_500', None)
    """
    text = name.strip()
    found = _names().get(text) or _names().get(text.lower())
    levels = thickness_levels(text)
    return found if levels is None else _thickness_row(*levels)


def thickness_levels(name: str) -> tuple[int, int] | None:
    """Return the lower and the upper level of a thickness, hPa; None for other names.

    Returns
    -------
    tuple of int or None
        The larger pressure first.

    Examples
    --------
    >>> from pear.variables.derived import thickness_levels
    >>> thickness_levels("thickness_500_1000")
    (1000, 500)
    """
    match = _THICKNESS.fullmatch(name)
    if match is None or int(match["one"]) == int(match["other"]):
        return None
    one, other = int(match["one"]), int(match["other"])
    return max(one, other), min(one, other)


def _thickness_row(lower: int, upper: int) -> Variable:
    return Variable(
        name=f"thickness_{lower}_{upper}",
        short_name=f"dz{lower}_{upper}",
        long_name=f"Thickness from {lower} to {upper} hPa",
        standard_name="",
        units="m",
        kind="surface",
        valid_range=(0.0, 40_000.0),
        style=Style("dam", 0.1, 0.0, "RdYlBu_r", isolines=6.0),
    )
