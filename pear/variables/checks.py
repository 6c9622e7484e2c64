"""Checks of the rows that a user adds to the table of variables."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from pear.errors import InputError, did_you_mean
from pear.variables.definition import Variable


def check_row(row: Variable, known: Mapping[str, Variable], source: str) -> None:
    """Check the names of a row and what it says of other rows; a fault is named by its key.

    Parameters
    ----------
    row
        The row.
    known
        All rows by name.
    source
        Name of the file, for messages.
    """
    _check_names(row, source)
    _check_words(row, source)
    _check_relations(row, known, source)


def _check_relations(row: Variable, known: Mapping[str, Variable], source: str) -> None:
    for key, other in (("partner", row.partner), ("aloft", row.aloft)):
        if other is not None and other not in known:
            hint = did_you_mean(other, known)
            raise _refusal(row, source, f"{key} = {other!r} is not a variable", hint)
    if row.aloft is not None and (row.kind, known[row.aloft].kind) != ("surface", "upper"):
        hint = "it names a variable on pressure levels"
        raise _refusal(row, source, f"aloft = {row.aloft!r}", hint)
    if row.partner is not None:
        _check_partner(row, known[row.partner], source)
    if row.transform == "log1p" and not (row.floor is not None and row.floor >= 0):
        what = 'transform = "log1p" needs values that are not negative'
        raise _refusal(row, source, what, "add floor = 0")


def check_distinct(rows: Sequence[Variable], source: str) -> None:
    """Raise if two rows of a file share a name.

    Parameters
    ----------
    rows
        The rows.
    source
        Name of the file, for messages.

    Raises
    ------
    InputError
        Naming the name and both variables.

    Examples
    --------
    >>> from pear.variables import variable
    >>> from pear.variables.checks import check_distinct
    >>> check_distinct([variable("t"), variable("q")], "mine.toml")
    """
    seen: dict[str, str] = {}
    for row in rows:
        for name in dict.fromkeys((row.name, row.short_name, *row.aliases)):
            if seen.setdefault(name, row.name) != row.name:
                raise InputError(
                    f"{source}: {name!r} means {seen[name]} and {row.name}",
                    field="variables",
                    hint="remove it from one of them",
                )


def _refusal(row: Variable, source: str, what: str, hint: str) -> InputError:
    return InputError(f"{source}: {row.name}: {what}", field="variables", hint=hint)


def _check_names(row: Variable, source: str) -> None:
    for name in (row.name, row.short_name, *row.aliases):
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_]{0,79}", name):
            hint = "use letters, digits and underscores"
            raise _refusal(row, source, f"{name!r} is not a name", hint)


def _check_words(row: Variable, source: str) -> None:
    for key, words in (("said_by", row.said_by), ("denied_by", row.denied_by)):
        try:
            re.compile(words or "")
        except re.error as error:
            what = f"{key} is not a regular expression: {error}"
            raise _refusal(row, source, what, "correct it") from error


def _check_partner(row: Variable, other: Variable, source: str) -> None:
    same = (row.kind, row.units) == (other.kind, other.units)
    if other.partner != row.name or {row.mirror_sign, other.mirror_sign} != {1, -1} or not same:
        hint = "each names the other; units and levels are the same; northward: mirror_sign = -1"
        raise _refusal(row, source, f"partner = {row.partner!r} makes no vector with it", hint)
