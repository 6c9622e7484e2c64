"""Names that tools write for variables of GRIB: of wgrib2, of NOMADS' OPeNDAP (GrADS), and of CDO.

They are made of NCEP's or ECMWF's name or number of a variable and of its level, so the table of
variables gives them all: ``TMP_2maboveground`` and ``tmp2m``, ``UGRD_500mb``, ``ugrdprs``, and
``var167`` beside ``table = 128``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from pear.variables import VARIABLES

_UPPER: Final = {
    **{"tmp": "t", "ugrd": "u", "vgrd": "v", "spfh": "q", "vvel": "w"},
    **{"hgt": "gh", "rh": "r"},
}
_STATIC: Final = {"hgt": "orog", "land": "lsm"}
# How GrADS and wgrib2 write NCEP's names of levels.
_LEVELS: Final = {"sfc": "surface", "msl": "mean sea level", "clm": "entire atmosphere"}
_NCEP: Final = re.compile(r"(?P<name>[a-z]+?)(?:_(?P<wgrib2>\w+)|(?P<grads>\d+m|prs|sfc|msl|clm))")
_NUMBER: Final = re.compile(r"var(?P<number>\d+)")
_TRIPLE: Final = re.compile(r"param\d+\.\d+\.\d+")
_STATIC_NUMBERS: Final = {129: "z", 172: "lsm"}
_RELATIVE_HUMIDITY: Final = 157
_ECMWF_TABLE: Final = 128


def plain_name(name: str, attributes: Mapping[str, Any]) -> str:
    """Return a name of the table of variables for one that a tool wrote.

    Parameters
    ----------
    name : str
        Name in the source.
    attributes : mapping
        Attributes of the variable: the table of a number.

    Returns
    -------
    str
        A name, with the level if the source has it in its name; the same name if it is of no tool.

    Examples
    --------
    >>> from pear.datasets.foreign_names import plain_name
    >>> [plain_name(name, {}) for name in ("TMP_2maboveground", "UGRD_500mb", "hgtprs", "tmp2m")]
    ['t2m', 'u500', 'gh', 't2m']
    >>> plain_name("var167", {"table": 128}), plain_name("var167", {})
    ('t2m', 'var167')
    """
    plain = name.strip().lower()
    if (number := _number_of(plain, attributes)) is not None:
        if number == _RELATIVE_HUMIDITY:
            return "r"
        return next((row.short_name for row in VARIABLES if row.param_id == number), name)
    found = _NCEP.fullmatch(plain)
    if found is None:
        return name
    stem, level = found["name"], found["wgrib2"] or found["grads"]
    if stem in _UPPER:
        if level == "prs":
            return _UPPER[stem]
        if pressure := re.fullmatch(r"(\d+)mb", level):
            return f"{_UPPER[stem]}{pressure[1]}"
    place = _LEVELS.get(level, re.sub(r"^(\d+)m$", r"\1maboveground", level)).replace(" ", "")
    for row in VARIABLES:
        known = row.ncep or ("", "")
        if (known[0].lower(), known[1].replace(" ", "").lower()) == (stem, place):
            return row.short_name
    return name


def plain_static_name(name: str, attributes: Mapping[str, Any]) -> str:
    """Return a name of a static field for one that a tool wrote for a field without level.

    Parameters
    ----------
    name : str
        Name in the source.
    attributes : mapping
        Attributes of the variable: the table of a number.

    Returns
    -------
    str
        The same name if it is of no tool.

    Examples
    --------
    >>> from pear.datasets.foreign_names import plain_static_name
    >>> [plain_static_name(name, {}) for name in ("HGT_surface", "landsfc", "z")]
    ['orog', 'lsm', 'z']
    """
    plain = name.strip().lower()
    if (number := _number_of(plain, attributes)) is not None:
        return _STATIC_NUMBERS.get(number, name)
    found = _NCEP.fullmatch(plain)
    if found is None or (found["wgrib2"] or found["grads"]) not in ("sfc", "surface"):
        return name
    return _STATIC.get(found["name"], name)


def _number_of(plain: str, attributes: Mapping[str, Any]) -> int | None:
    """Return the number of ECMWF's table 128 that a name of CDO is."""
    found = _NUMBER.fullmatch(plain)
    if found is None or str(attributes.get("table", "")) != str(_ECMWF_TABLE):
        return None
    return int(found["number"])


def why_unknown(name: str, attributes: Mapping[str, Any]) -> str:
    """Return why a number stands for no variable, or nothing for other names.

    Returns
    -------
    str
        The reason, with what would tell.

    Examples
    --------
    >>> from pear.datasets.foreign_names import why_unknown
    >>> why_unknown("var11", {"table": 2})
    'a number of table 2, and PEAR knows table 128 alone: rename it, to t2m or the like'
    """
    plain = name.strip().lower()
    if _TRIPLE.fullmatch(plain):
        return "a number that several variables share: rename it, to t2m or the like"
    table = str(attributes.get("table", ""))
    if _NUMBER.fullmatch(plain) is None or table == str(_ECMWF_TABLE):
        return ""
    where = f"of table {table}" if table else "of a table that is not stated"
    known = f"PEAR knows table {_ECMWF_TABLE} alone"
    return f"a number {where}, and {known}: rename it, to t2m or the like"
