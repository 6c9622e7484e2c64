"""Files of variables of one's own."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path

from pear.errors import InputError
from pear.typing import StrPath
from pear.variables.definition import Variable, read_rows
from pear.variables.units import check_units


def _check_effect(row: Variable, table: Mapping[str, object], source: str) -> None:
    """Raise InputError for a setting that would change nothing."""
    style = table.get("map")
    without = {
        "published": ("published" in table, "it marks the channels of the published model"),
        "transform_scale": (
            "transform_scale" in table and row.transform is None,
            'it is the scale of transform = "log1p"',
        ),
        "height": (
            "height" in table and row.kind == "upper",
            'it is the height above the ground of a field with levels = "single"',
        ),
        "range_by_level": (
            "range_by_level" in table and row.kind == "surface",
            'it narrows the range of a field with levels = "pressure"',
        ),
        "map.limits_at": (
            isinstance(style, Mapping) and "limits_at" in style and row.kind == "surface",
            "write limits = [lowest, highest]",
        ),
    }
    for key, (is_idle, why) in without.items():
        if is_idle:
            raise InputError(
                f"{source}: {row.name}: {key} has no effect here: {why}",
                field="variables",
                hint="remove it",
            )


def read_own(path: StrPath) -> tuple[list[Variable], list[str]]:
    """Read a file of variables.

    Parameters
    ----------
    path
        TOML: a table for each variable, as in PEAR's own ``variables.toml``, and optionally
        ``use``, a list of variables that PEAR knows and that ingestions shall take as well.

    Returns
    -------
    rows : list of Variable
        What it defines, not yet compared with other variables.
    used : list of str
        Names that it uses.

    Raises
    ------
    InputError
        If the file cannot be read, or an entry is wrong; the message names it.
    """
    source = str(path)
    try:
        document = tomllib.loads(Path(path).read_text("utf-8"))
    except OSError as error:
        raise InputError(
            f"{source} cannot be read: {error.strerror or error}",
            field="variables",
            hint="give the path of a file of variables with --variables or PEAR_VARIABLES",
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(
            f"{source} is not TOML: {error}", field="variables", hint="correct the line it names"
        ) from error
    used = document.pop("use", [])
    if not isinstance(used, list) or not all(isinstance(name, str) for name in used):
        raise InputError(
            f"{source}: use = {used!r} is not a list of names",
            field="variables",
            hint='write use = ["total_precipitation_6hr"]',
        )
    rows = read_rows(document, source)
    for row in rows:
        check_units(row, source)
        _check_effect(row, document[row.name], source)
    return rows, used
