"""Variables of one's own: files of users, and definitions that stores and checkpoints carry."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Final

from pear.errors import InputError
from pear.typing import StrPath
from pear.variables.definition import read_rows, to_document
from pear.variables.files import read_own
from pear.variables.table import BY_NAME

FILE: Final = "variables.toml"
"""Name of the file of variables in a data folder."""
DEFINITIONS: Final = "pear_variables"
"""Attribute of a store, entry of a checkpoint: its variables that are not published, as JSON."""


def load_variables(path: StrPath) -> tuple[str, ...]:
    """Add the variables of a file to the table of this process.

    Parameters
    ----------
    path
        See :func:`pear.variables.files.read_own`; a fault of the file is an InputError.

    Returns
    -------
    tuple of str
        Canonical names that the file defines or uses.
    """
    rows, used = read_own(path)
    BY_NAME.define(rows, str(path))
    BY_NAME.use(used, str(path))
    return (*(row.name for row in rows), *used)


def definitions(names: Iterable[str]) -> str | None:
    """Return the definitions of variables as JSON, or None if every version of PEAR has them.

    Returns
    -------
    str or None
        For the attribute :data:`DEFINITIONS`.

    Examples
    --------
    >>> from pear.variables.own import definitions
    >>> definitions(["temperature", "2m_temperature"]) is None
    True
    >>> definitions(["2m_dewpoint_temperature"])[:45]
    '{"2m_dewpoint_temperature": {"levels": "singl'
    """
    rows = [BY_NAME[name] for name in names if name in BY_NAME and not BY_NAME[name].published]
    if not rows:
        return None
    return json.dumps({row.name: to_document(row) for row in rows}, ensure_ascii=False)


def adopt_definitions(attributes: Mapping[str, object], source: str) -> None:
    """Add the variables that a store or checkpoint defines to the table of this process.

    Parameters
    ----------
    attributes
        Attributes of the store, or the document of the checkpoint.
    source
        Its name, for messages.

    Raises
    ------
    InputError
        If the definitions are damaged, or contradict those of another file.
    """
    stated = attributes.get(DEFINITIONS)
    if stated is None:
        return
    try:
        document = json.loads(str(stated))
    except ValueError as error:
        raise InputError(
            f"{source}: its attribute {DEFINITIONS} is not JSON", field="variables"
        ) from error
    if not isinstance(document, dict):
        raise InputError(f"{source}: its attribute {DEFINITIONS} is not a table", field="variables")
    BY_NAME.adopt(read_rows(document, source), source)
