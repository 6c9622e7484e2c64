"""Files of variables of one's own."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path

from pear.errors import InputError
from pear.typing import StrPath
from pear.variables.definition import Variable, read_rows
from pear.variables.units import check_units


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
    rows = [replace(row, published=False) for row in read_rows(document, source)]
    for row in rows:
        check_units(row, source)
    return rows, used
