"""Attributes of stores and Datasets that are tables: JSON text, which every format can hold."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def as_attribute(value: object) -> object:
    """Return a value that Zarr and netCDF can both hold: a table becomes JSON text.

    Parameters
    ----------
    value
        Text, a number, a list of them, or a table.

    Returns
    -------
    object
        JSON text for a mapping and for a list with mappings or lists in it; all else as it is.

    Examples
    --------
    >>> from pear.store.attributes import as_attribute
    >>> as_attribute({"python": "3.11"}), as_attribute([0, 1]), as_attribute("PEAR")
    ('{"python": "3.11"}', [0, 1], 'PEAR')
    """
    nested = (dict, list, tuple)
    if isinstance(value, Mapping):
        return json.dumps(dict(value), ensure_ascii=False)
    if isinstance(value, list | tuple) and any(isinstance(one, nested) for one in value):
        return json.dumps(value, ensure_ascii=False)
    return value


def as_attributes(values: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return attributes of which each is what :func:`as_attribute` makes of it.

    Returns
    -------
    dict
        In the same order.

    Examples
    --------
    >>> from pear.store.attributes import as_attributes
    >>> as_attributes({"title": "ERA5", "options": {"members": 3}})
    {'title': 'ERA5', 'options': '{"members": 3}'}
    """
    return {name: as_attribute(value) for name, value in values.items()}


def read_json(value: object) -> dict[str, Any]:
    """Return a mapping that is one already or is JSON text; an empty one for anything else.

    Parameters
    ----------
    value
        An attribute. Stores of the first two versions hold tables, later ones JSON text.

    Returns
    -------
    dict
        The mapping.

    Examples
    --------
    >>> from pear.store.attributes import read_json
    >>> read_json('{"grid": "H128"}'), read_json("H128")
    ({'grid': 'H128'}, {})
    """
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return {}
    return dict(value) if isinstance(value, Mapping) else {}
